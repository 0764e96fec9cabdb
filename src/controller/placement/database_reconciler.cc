#include "controller/placement/database_reconciler.h"

#include <algorithm>

#include "base/format.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr Duration kBeat = std::chrono::seconds(1);
constexpr size_t kMaxInFlight = 256;

// What this leadership has heard.
class Heard : public planner::RegionObservations {
 public:
  Heard(const catalog::Catalog& catalog, const AgentService& agents) : catalog_(catalog), agents_(agents) {}
  bool HasLeader(RegionId region) const override { return agents_.region_leaders().HasLeader(region); }
  bool ReplicaGone(NodeId node, RegionId region, Revision since) const override {
    const auto record = catalog_.nodes().find(node.value());
    if (record == catalog_.nodes().end()) return true;
    return agents_.load().IsGone(node, record->second.node().registration_epoch(), region, since);
  }

 private:
  const catalog::Catalog& catalog_;
  const AgentService& agents_;
};

}  // namespace

DatabaseReconciler::DatabaseReconciler(runtime::Executor& executor, CatalogAccess& access,
                                       AgentService& agents, Logger logger)
    : executor_(executor),
      access_(access),
      agents_(agents),
      logger_(std::move(logger)),
      self_(std::make_shared<DatabaseReconciler*>(this)) {
  agents_.AddObserver([self = self_] {
    if (*self != nullptr) (*self)->ScheduleLook();
  });
}

DatabaseReconciler::~DatabaseReconciler() {
  *self_ = nullptr;
}

runtime::Task<Status> DatabaseReconciler::Start(Term epoch, runtime::StopToken) {
  epoch_ = epoch;
  settled_ = false;
  in_flight_.clear();
  OnBeat();
  co_return OkStatus();
}

void DatabaseReconciler::Stop() {
  epoch_ = Term();
  beat_.Cancel();
  in_flight_.clear();
}

void DatabaseReconciler::OnCatalogChanged(const std::vector<pb::Event>& events, Revision) {
  const bool concerns = std::any_of(events.begin(), events.end(), [](const pb::Event& event) {
    const pb::Record& record = event.has_new_record() ? event.new_record() : event.old_record();
    return record.has_database() || record.has_region() || record.has_node();
  });
  if (!concerns) return;
  settled_ = false;
  ScheduleLook();
}

void DatabaseReconciler::OnBeat() {
  beat_ = executor_.After(kBeat, [this] { OnBeat(); });
  Look();
}

void DatabaseReconciler::ScheduleLook() {
  if (epoch_.IsNone() || std::exchange(look_posted_, true)) return;
  executor_.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->look_posted_ = false;
    (*self)->Look();
  });
}

void DatabaseReconciler::Look() {
  // Heartbeats of nodes with many regions call for a look several times a second: usually there is nothing.
  if (epoch_.IsNone() || settled_ || in_flight_.size() >= kMaxInFlight) return;
  if (!access_.leadership().load_ready()) return;  // the beat looks again
  const Heard heard(access_.catalog(), agents_);
  // What is under way is planned again until it is applied: ask for that many more.
  auto steps = planner::PlanDatabaseSteps(access_.catalog(), heard, kMaxInFlight);
  if (steps.empty()) settled_ = planner::IsSettled(access_.catalog());
  for (planner::DatabaseStep& step : steps) {
    if (!in_flight_.contains({step.object, step.id})) Propose(std::move(step));
  }
}

void DatabaseReconciler::Propose(planner::DatabaseStep step) {
  const Key key{step.object, step.id};
  in_flight_.insert(key);
  access_.ProposeInEpoch(std::move(step.command), epoch_,
                         [self = self_, key, epoch = epoch_](StatusOr<ipb::CatalogResult> result) {
                           if (*self == nullptr || (*self)->epoch_ != epoch) return;
                           DatabaseReconciler& reconciler = **self;
                           reconciler.in_flight_.erase(key);
                           if (result.ok()) {
                             reconciler.ScheduleLook();
                           } else {  // the next beat looks again
                             reconciler.logger_.Info(
                                 "a step of {} {} was not taken: {}",
                                 key.first == planner::DatabaseStep::Object::kRegion ? "region" : "database",
                                 key.second, MessageOf(result.status()));
                           }
                         });
}

}  // namespace tenure::controller
