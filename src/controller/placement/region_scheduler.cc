#include "controller/placement/region_scheduler.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/procedures.h"
#include "controller/placement/cluster_view.h"
#include "controller/procedure/types/change_replica.h"
#include "controller/procedure/types/drain_node.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr Duration kSchedulerBeat = std::chrono::seconds(1);
constexpr Duration kBarrenPause = std::chrono::seconds(10);

}  // namespace

RegionScheduler::RegionScheduler(runtime::Executor& executor, CatalogAccess& access, AgentService& agents,
                                 SchedulerOptions options, Prng prng, Logger logger)
    : executor_(executor),
      access_(access),
      agents_(agents),
      options_(options),
      prng_(prng),
      logger_(std::move(logger)),
      self_(std::make_shared<RegionScheduler*>(this)) {}

RegionScheduler::~RegionScheduler() {
  *self_ = nullptr;
}

runtime::Task<Status> RegionScheduler::Start(Term epoch, runtime::StopToken) {
  epoch_ = epoch;
  resting_.clear();
  submitting_.clear();
  stuck_.clear();
  queued_ = 0;
  plans_ = 0;
  barren_.reset();
  // A new leader looks at what moves before it moves anything itself.
  next_balance_ = executor_.Now() + options_.balance_every;
  beat_ = executor_.After(kSchedulerBeat, [this] { OnBeat(); });
  co_return OkStatus();
}

void RegionScheduler::Stop() {
  epoch_ = Term();
  beat_.Cancel();
  stuck_.clear();
  queued_ = 0;
}

void RegionScheduler::OnBeat() {
  beat_ = executor_.After(kSchedulerBeat, [this] { OnBeat(); });
  if (access_.leadership().load_ready() && access_.catalog().format_version() >= catalog::kFormatOfProcedures)
    Look();
}

void RegionScheduler::Look() {
  std::erase_if(resting_, [now = executor_.Now()](const auto& entry) { return entry.second <= now; });
  const UnderWay under_way = FindUnderWay();
  const std::vector<Repair> repairs = FindRepairs(under_way);
  StartRepairs(repairs, under_way);
  if (!options_.balance || !repairs.empty() || executor_.Now() < next_balance_) return;
  next_balance_ = executor_.Now() + options_.balance_every;
  Balance();
}

// ---- repair ----

bool RegionScheduler::IsLost(const pb::RegionRecord& region, const pb::ReplicaRecord& replica) const {
  const auto node = access_.catalog().nodes().find(replica.node());
  if (node == access_.catalog().nodes().end()) return true;
  const NodeLoad* load = agents_.load().Find(NodeId(replica.node()));
  switch (node->second.node().state()) {
    case pb::NODE_REMOVING:
    case pb::NODE_REMOVED:
      return true;
    case pb::NODE_DOWN:
      return agents_.load().SilenceOf(NodeId(replica.node()), executor_.Now()) >= options_.repair_after;
    default:
      return load != nullptr && load->connected && load->lost.contains(region.id());
  }
}

RegionScheduler::UnderWay RegionScheduler::FindUnderWay() const {
  UnderWay under_way;
  std::set<RegionId> held;
  std::vector<const pb::ProcedureRecord*> changes;
  for (const auto& [id, record] : access_.catalog().procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (catalog::IsEnded(procedure.state())) {
      if (ChangeReplica::IsOne(procedure.type()) &&
          ChangeReplica::FailedLately(procedure, executor_.WallNow(), options_.rest))
        under_way.failed.insert(RegionId(procedure.object()));
      continue;
    }
    for (const pb::ProcedureLock& lock : procedure.locks()) {
      if (lock.object() != pb::LOCKED_REGION) continue;
      under_way.locked.insert(RegionId(lock.id()));
      if (catalog::HoldsLocks(procedure.state())) held.insert(RegionId(lock.id()));
    }
    if (ChangeReplica::IsOne(procedure.type())) changes.push_back(&procedure);
  }
  for (const pb::ProcedureRecord* procedure : changes) {
    const RegionId region(procedure->object());
    under_way.changing.insert(region);
    // One that waits for somebody else's lock works on nothing: others need not wait for it.
    if (procedure->state() == pb::PROCEDURE_PENDING && held.contains(region)) continue;
    if (procedure->type() != ChangeReplica::kMove) ++under_way.repairs;
    const NodeId target = ChangeReplica::TargetOf(*procedure);
    if (!target.IsNone()) ++under_way.incoming[target];
  }
  return under_way;
}

std::vector<RegionScheduler::Repair> RegionScheduler::FindRepairs(const UnderWay& under_way) const {
  std::vector<Repair> repairs;
  for (const auto& [id, record] : access_.catalog().regions()) {
    const pb::RegionRecord& region = record.region();
    if (region.state() == pb::REGION_REMOVING || region.state() == pb::REGION_CREATING) continue;
    const pb::ReplicaRecord* lost = nullptr;
    const pb::ReplicaRecord* learner = nullptr;
    uint32_t voters = 0;
    for (const pb::ReplicaRecord& replica : region.replicas()) {
      if (replica.role() == pb::REPLICA_VOTER) {
        ++voters;
        if (lost == nullptr && IsLost(region, replica)) lost = &replica;
      } else {
        learner = &replica;
      }
    }
    if (learner != nullptr && !under_way.locked.contains(RegionId(id))) {
      repairs.push_back({RegionId(id), ReplicaId(learner->id()), NodeId(learner->node()), /*surplus=*/true});
      continue;
    }
    const auto database = access_.catalog().databases().find(region.database());
    const uint32_t wanted =
        database == access_.catalog().databases().end() ? 0 : database->second.database().replicas();
    if (lost != nullptr) {
      repairs.push_back({RegionId(id), ReplicaId(lost->id()), NodeId(lost->node())});
    } else if (voters < wanted) {
      repairs.push_back({RegionId(id), ReplicaId(), NodeId()});
    }
  }
  return repairs;
}

void RegionScheduler::StartRepairs(const std::vector<Repair>& repairs, const UnderWay& under_way) {
  const std::map<uint64_t, std::string> stuck_before = std::exchange(stuck_, {});
  queued_ = 0;
  size_t room = options_.max_repairs - std::min(options_.max_repairs, under_way.repairs);
  std::map<RegionId, Repair> wanted;
  for (const Repair& repair : repairs) {
    if (under_way.changing.contains(repair.region) || submitting_.contains(repair.region) ||
        under_way.failed.contains(repair.region)) {
      continue;
    }
    // Without a majority nothing can be changed: that is for `region recover`.
    if (!agents_.region_leaders().HasLeader(repair.region)) {
      stuck_[repair.region.value()] = "it has no leader";
    } else if (under_way.locked.contains(repair.region) || (repair.surplus && room == 0)) {
      ++queued_;
    } else if (repair.surplus) {
      --room;
      const pb::RegionRecord& region = access_.catalog().regions().at(repair.region.value()).region();
      Submit(ChangeReplica::New(ChangeReplica::kRemove, region, NodeId(), repair.lost, ChangeReplica::kLoss),
             repair.region);
    } else {
      wanted.emplace(repair.region, repair);
    }
  }
  if (!wanted.empty()) PlanAndSubmit(wanted, room, under_way, stuck_before);
}

// A plan takes in all regions of the cluster: it is not made where it can only say what the one before said.
void RegionScheduler::PlanAndSubmit(const std::map<RegionId, Repair>& wanted, size_t room,
                                    const UnderWay& under_way,
                                    const std::map<uint64_t, std::string>& stuck_before) {
  Situation situation{.wanted = wanted.size(), .room = room, .incoming = under_way.incoming};
  for (const auto& [id, record] : access_.catalog().nodes()) situation.nodes[id] = record.node().state();
  if (room == 0 || (barren_ == situation && executor_.Now() < next_plan_)) {
    for (const auto& [region, repair] : wanted) {
      const auto known = stuck_before.find(region.value());
      if (known == stuck_before.end()) {
        ++queued_;
      } else {
        stuck_.insert(*known);
      }
    }
    return;
  }
  planner::RepairRequest request{.max_repairs = room,
                                 .max_incoming = static_cast<uint32_t>(options_.max_repairs_per_node),
                                 .incoming = under_way.incoming,
                                 .seed = prng_.Next64()};
  for (const auto& [region, repair] : wanted) request.wanted.push_back({region, repair.node});
  const planner::RepairPlan plan = planner::PlanRepairs(ClusterView(access_.catalog(), agents_), request);
  ++plans_;
  for (const planner::PlannedReplica& planned : plan.repairs) {
    const pb::RegionRecord& region = access_.catalog().regions().at(planned.region.value()).region();
    const ReplicaId lost = wanted.at(planned.region).lost;
    Submit(ChangeReplica::New(lost.IsNone() ? ChangeReplica::kAdd : ChangeReplica::kRepair, region,
                              planned.node, lost, ChangeReplica::kLoss),
           planned.region);
  }
  for (const planner::StuckRegion& stuck : plan.stuck) stuck_[stuck.region.value()] = stuck.why;
  queued_ += plan.queued.size();
  barren_.reset();
  if (!plan.repairs.empty()) return;
  barren_ = std::move(situation);
  next_plan_ = executor_.Now() + kBarrenPause;
}

size_t RegionScheduler::RunningRepairs() const {
  const auto& procedures = access_.catalog().procedures();
  return static_cast<size_t>(std::count_if(procedures.begin(), procedures.end(), [](const auto& entry) {
    const pb::ProcedureRecord& procedure = entry.second.procedure();
    return !catalog::IsEnded(procedure.state()) &&
           (procedure.type() == ChangeReplica::kRepair || procedure.type() == ChangeReplica::kAdd);
  }));
}

// ---- balance ----

void RegionScheduler::Balance() {
  planner::RebalanceRequest request{.max_moves = options_.max_moves, .seed = prng_.Next64()};
  for (const auto& [id, record] : access_.catalog().procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (catalog::IsEnded(procedure.state())) continue;
    if (procedure.type() == DrainNode::kName) return;  // has the limits for itself
    if (!ChangeReplica::IsOne(procedure.type())) continue;
    const RegionId region(procedure.object());
    if (procedure.type() != ChangeReplica::kMove) {
      request.under_repair.push_back(region);
    } else {
      request.running.push_back(
          {region, ChangeReplica::SourceOf(procedure), ChangeReplica::TargetOf(procedure)});
    }
  }
  if (request.running.size() >= options_.max_moves) return;
  for (const auto& [region, until] : resting_) request.cooling.push_back(region);
  const auto plan = planner::PlanRebalance(ClusterView(access_.catalog(), agents_), request);
  if (!plan.ok()) return logger_.Warn("no balance: {}", MessageOf(plan.status()));
  for (const planner::LeaderTransfer& transfer : plan->transfers) {
    const pb::RegionRecord& region = access_.catalog().regions().at(transfer.region.value()).region();
    for (const pb::ReplicaRecord& replica : region.replicas()) {
      if (NodeId(replica.node()) != transfer.to) continue;
      logger_.Info("region {}: leadership goes from node {} to node {}: {}", transfer.region, transfer.from,
                   transfer.to, transfer.why);
      agents_.RequestTransfer(transfer.from, transfer.region, ReplicaId(replica.id()));
    }
    resting_[transfer.region] = executor_.Now() + options_.rest;
  }
  for (const planner::ReplicaMove& move : plan->moves) {
    const pb::RegionRecord& region = access_.catalog().regions().at(move.region.value()).region();
    for (const pb::ReplicaRecord& replica : region.replicas()) {
      if (NodeId(replica.node()) != move.from) continue;
      pb::ProcedureRecord procedure = ChangeReplica::New(ChangeReplica::kMove, region, move.to,
                                                         ReplicaId(replica.id()), ChangeReplica::kBalance);
      procedure.set_description(procedure.description() + ": " + move.why);
      Submit(std::move(procedure), move.region);
    }
  }
}

void RegionScheduler::Submit(pb::ProcedureRecord procedure, RegionId region) {
  ipb::CatalogCommand command;
  *command.mutable_submit_procedure()->mutable_procedure() = std::move(procedure);
  submitting_.insert(region);
  resting_[region] = executor_.Now() + options_.rest;
  access_.ProposeInEpoch(std::move(command), epoch_,
                         [self = self_, region, epoch = epoch_](const StatusOr<ipb::CatalogResult>& result) {
                           if (*self == nullptr || (*self)->epoch_ != epoch) return;
                           (*self)->submitting_.erase(region);
                           if (!result.ok()) {
                             (*self)->logger_.Info("region {}: a procedure was not taken: {}", region,
                                                   MessageOf(result.status()));
                           }
                         });
}

}  // namespace tenure::controller
