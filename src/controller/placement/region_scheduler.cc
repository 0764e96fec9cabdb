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
  // A new leader looks at what moves before it moves anything itself.
  next_balance_ = executor_.Now() + options_.balance_every;
  beat_ = executor_.After(kSchedulerBeat, [this] { OnBeat(); });
  co_return OkStatus();
}

void RegionScheduler::Stop() {
  epoch_ = Term();
  beat_.Cancel();
  stuck_.clear();
}

void RegionScheduler::OnBeat() {
  beat_ = executor_.After(kSchedulerBeat, [this] { OnBeat(); });
  if (access_.leadership().load_ready() && access_.catalog().format_version() >= catalog::kFormatOfProcedures)
    Look();
}

void RegionScheduler::Look() {
  std::erase_if(resting_, [now = executor_.Now()](const auto& entry) { return entry.second <= now; });
  const std::vector<Repair> repairs = FindRepairs();
  StartRepairs(repairs);
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

std::vector<RegionScheduler::Repair> RegionScheduler::FindRepairs() const {
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
    if (learner != nullptr && ChangeUnderWay(access_.catalog(), RegionId(id)) == 0) {
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

void RegionScheduler::StartRepairs(const std::vector<Repair>& repairs) {
  stuck_.clear();
  if (repairs.empty()) return;
  size_t running = 0;
  std::map<NodeId, size_t> incoming;
  std::set<RegionId> changing;
  std::set<RegionId> failed;  // lately: not again at once
  for (const auto& [id, record] : access_.catalog().procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (!ChangeReplica::IsOne(procedure.type())) continue;
    if (catalog::IsEnded(procedure.state())) {
      if (ChangeReplica::FailedLately(procedure, executor_.WallNow(), options_.rest))
        failed.insert(RegionId(procedure.object()));
      continue;
    }
    changing.insert(RegionId(procedure.object()));
    if (procedure.type() != ChangeReplica::kMove) ++running;
    ++incoming[ChangeReplica::TargetOf(procedure)];
  }
  std::optional<planner::PlacementView> view;
  for (const Repair& repair : repairs) {
    if (running >= options_.max_repairs) return;
    if (changing.contains(repair.region) || submitting_.contains(repair.region) ||
        failed.contains(repair.region)) {
      continue;
    }
    // Without a majority nothing can be changed: that is for `region recover`.
    if (!agents_.region_leaders().HasLeader(repair.region)) {
      stuck_[repair.region.value()] = "it has no leader";
      continue;
    }
    const pb::RegionRecord& region = access_.catalog().regions().at(repair.region.value()).region();
    if (repair.surplus) {
      ++running;
      Submit(ChangeReplica::New(ChangeReplica::kRemove, region, NodeId(), repair.lost, ChangeReplica::kLoss),
             repair.region);
      continue;
    }
    if (!view) view = ClusterView(access_.catalog(), agents_);
    planner::AddReplicaRequest request{
        .region = repair.region, .replaces = repair.node, .seed = prng_.Next64()};
    for (const auto& [node, count] : incoming) {
      if (count >= options_.max_repairs_per_node && !node.IsNone()) request.excluded.push_back(node);
    }
    const auto plan = planner::PlanAddReplica(*view, request);
    if (!plan.ok()) {
      stuck_[repair.region.value()] = std::string(MessageOf(plan.status()));
      continue;
    }
    ++running;
    ++incoming[plan->node];
    Submit(ChangeReplica::New(repair.lost.IsNone() ? ChangeReplica::kAdd : ChangeReplica::kRepair, region,
                              plan->node, repair.lost, ChangeReplica::kLoss),
           repair.region);
  }
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
  request.max_moves -= request.running.size();
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
