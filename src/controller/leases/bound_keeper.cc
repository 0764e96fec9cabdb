#include "controller/leases/bound_keeper.h"

#include <utility>

#include "base/format.h"
#include "catalog/fencing.h"

namespace tenure::controller {

namespace ipb = ::tenure::internal::v1;

BoundKeeper::BoundKeeper(runtime::Executor& executor, CatalogAccess& access, AgentService& agents,
                         Logger logger)
    : executor_(executor),
      access_(access),
      agents_(agents),
      logger_(std::move(logger)),
      self_(std::make_shared<BoundKeeper*>(this)) {
  // Every heartbeat is news, so this is looked at as long as somebody lives to confirm anything.
  agents_.AddObserver([self = self_] {
    if (*self != nullptr) (*self)->Look();
  });
}

runtime::Task<Status> BoundKeeper::Start(Term epoch, runtime::StopToken) {
  epoch_ = epoch;
  in_flight_ = false;
  co_return OkStatus();
}

void BoundKeeper::Stop() {
  epoch_ = Term();
}

void BoundKeeper::Look() {
  if (epoch_.IsNone() || in_flight_ || access_.catalog().format_version() < catalog::kFormatOfLeases) return;
  const catalog::Fencing fencing = catalog::FencingOf(access_.catalog().cluster());
  if (catalog::IsBoundLowered(fencing)) return;
  if (!agents_.contacts()
           .Unconfirmed(access_.catalog().nodes(), access_.catalog().format_version(), fencing,
                        executor_.Now())
           .empty()) {
    return;
  }
  ipb::CatalogCommand command;
  command.mutable_lower_fencing_bound()->set_version(fencing.version.value());
  in_flight_ = true;
  access_.ProposeInEpoch(
      std::move(command), epoch_,
      [self = self_, epoch = epoch_, fencing](const StatusOr<ipb::CatalogResult>& result) {
        if (*self == nullptr || (*self)->epoch_ != epoch) return;
        BoundKeeper& keeper = **self;
        keeper.in_flight_ = false;
        if (result.ok()) {
          keeper.logger_.Info("all nodes go by the fencing settings of revision {}: leases of at most {} ms",
                              fencing.version, ToMillis(fencing.fence_time));
        } else {
          keeper.logger_.Info("the bound of leases was not lowered: {}", MessageOf(result.status()));
        }
      });
}

}  // namespace tenure::controller
