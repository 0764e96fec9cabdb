#include "controller/nodes/region_reports.h"

#include <utility>

#include "base/format.h"
#include "catalog/procedures.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr int kMaxItems = 500;
constexpr Duration kRetry = std::chrono::milliseconds(500);

}  // namespace

RegionReports::RegionReports(runtime::Executor& executor, CatalogAccess& access, AgentService& agents,
                             Logger logger)
    : executor_(executor),
      access_(access),
      agents_(agents),
      logger_(std::move(logger)),
      self_(std::make_shared<RegionReports*>(this)) {
  agents_.AddObserver([self = self_] {
    if (*self != nullptr) (*self)->Look();
  });
}

RegionReports::~RegionReports() {
  *self_ = nullptr;
}

runtime::Task<Status> RegionReports::Start(Term epoch, runtime::StopToken) {
  epoch_ = epoch;
  behind_.clear();
  in_flight_ = false;
  co_return OkStatus();
}

void RegionReports::Stop() {
  epoch_ = Term();
  retry_.Cancel();
}

void RegionReports::Look() {
  // Before it, regions keep the members that they began with.
  if (epoch_.IsNone() || access_.catalog().format_version() < catalog::kFormatOfProcedures) return;
  behind_.merge(agents_.TakeReconfigured());
  if (!behind_.empty() && !in_flight_) Propose();
}

void RegionReports::Propose() {
  ipb::CatalogCommand command;
  ipb::ReportRegions& reports = *command.mutable_report_regions();
  while (!behind_.empty() && reports.items_size() < kMaxItems) {
    const RegionId region = *behind_.begin();
    behind_.erase(behind_.begin());
    const RegionLeaderView* leader = agents_.region_leaders().Find(region);
    const NodeLoad* load = leader == nullptr ? nullptr : agents_.load().Find(leader->node);
    if (load == nullptr) continue;
    const auto found = load->regions.find(region.value());
    const auto record = access_.catalog().regions().find(region.value());
    if (found == load->regions.end() || !found->second.has_configuration() ||
        record == access_.catalog().regions().end() ||
        found->second.configuration().index() <= record->second.region().configuration_index()) {
      continue;
    }
    auto& item = *reports.add_items();
    item.set_region(region.value());
    item.set_term(found->second.term());
    item.set_index(found->second.configuration().index());
    *item.mutable_replicas() = found->second.configuration().replicas();
  }
  if (reports.items().empty()) return;
  in_flight_ = true;
  std::vector<RegionId> sent;
  for (const auto& item : reports.items()) sent.emplace_back(item.region());
  access_.ProposeInEpoch(std::move(command), epoch_,
                         [self = self_, epoch = epoch_, sent](const StatusOr<ipb::CatalogResult>& result) {
                           if (*self == nullptr || (*self)->epoch_ != epoch) return;
                           RegionReports& reports = **self;
                           reports.in_flight_ = false;
                           if (result.ok()) return reports.Look();
                           reports.logger_.Info("reports of {} regions were not taken: {}", sent.size(),
                                                MessageOf(result.status()));
                           reports.behind_.insert(sent.begin(), sent.end());
                           reports.retry_ = reports.executor_.After(kRetry, [&reports] { reports.Look(); });
                         });
}

}  // namespace tenure::controller
