#include "controller/membership/joining.h"

#include <utility>

#include "catalog/catalog.h"
#include "controller/membership/announcing.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr Duration kJoiningTick = std::chrono::milliseconds(300);

}  // namespace

Joining::Joining(runtime::Executor& executor, runtime::Network& network, pb::ControllerRecord self,
                 OwnCluster own, std::vector<runtime::Endpoint> hints, Logger logger)
    : executor_(executor),
      network_(network),
      self_(std::move(self)),
      own_(std::move(own)),
      logger_(std::move(logger)) {
  // Its own address is asked as well: if another controller is there, that one has to say so.
  AddAddresses(hints, {}, addresses_);
}

void Joining::Start(Callback<StatusOr<OwnCluster>> done) {
  done_ = std::move(done);
  OnTick();
}

void Joining::Stop() {
  tick_.Cancel();
  done_ = nullptr;
}

void Joining::OnTick() {
  tick_ = executor_.After(kJoiningTick, [this] { OnTick(); });
  ipb::Announcement announcement;
  announcement.set_cluster_id(own_.id);
  if (!own_.id.empty()) announcement.set_incarnation(own_.incarnation);
  *announcement.mutable_controller() = self_;
  announcement.mutable_controller()->set_newest_format(catalog::kNewestFormat);
  announcement.set_joining(true);
  own_.tokens.Sign(announcement);
  for (const runtime::Endpoint& to : addresses_) {
    Announce(network_, to, announcement, [this, alive = alive_](StatusOr<ipb::AnnouncementAnswer> answer) {
      if (*alive && answer.ok()) OnAnswer(*answer);
    });
  }
}

void Joining::OnAnswer(const ipb::AnnouncementAnswer& answer) {
  if (!done_) return;
  AddAddresses({answer.addresses().begin(), answer.addresses().end()}, {}, addresses_);
  switch (answer.verdict()) {
    case ipb::ANNOUNCEMENT_RECORDED:
      return Finish(OwnCluster{.id = answer.cluster_id(), .incarnation = answer.incarnation()});
    case ipb::ANNOUNCEMENT_NOT_ADDED:
      if (std::exchange(waiting_, answer.message()) != answer.message())
        logger_.Warn("waiting: {}", waiting_);
      return;
    case ipb::ANNOUNCEMENT_HEARD:
    case ipb::ANNOUNCEMENT_UNSPECIFIED:
      return;  // the leader decides
    default:
      return Finish(RefusalOf(answer));
  }
}

void Joining::Finish(StatusOr<OwnCluster> result) {
  tick_.Cancel();
  Callback<StatusOr<OwnCluster>> done = std::exchange(done_, nullptr);
  done(std::move(result));
}

}  // namespace tenure::controller
