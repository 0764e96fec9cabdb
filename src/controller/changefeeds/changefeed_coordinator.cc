#include "controller/changefeeds/changefeed_coordinator.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"
#include "controller/api/call.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using changefeed::ChangefeedId;
using changefeed::CommitTs;
using changefeed::OwnerEpoch;
using changefeed::Process;

namespace {

constexpr Duration kCoordinatorBeat = std::chrono::milliseconds(250);

}  // namespace

ChangefeedCoordinator::ChangefeedCoordinator(runtime::Executor& executor, CatalogAccess& access,
                                             BarrierService& barriers, NodeCalls& nodes,
                                             ChangeHistory& history, FeedOptions options, Prng prng,
                                             Logger logger)
    : executor_(executor),
      access_(access),
      barriers_(barriers),
      nodes_(nodes),
      history_(history),
      options_(options),
      prng_(prng),
      logger_(std::move(logger)),
      self_(std::make_shared<ChangefeedCoordinator*>(this)),
      scope_(executor) {}

ChangefeedCoordinator::~ChangefeedCoordinator() {
  *self_ = nullptr;
}

runtime::Task<Status> ChangefeedCoordinator::Start(Term epoch, runtime::StopToken stop) {
  epoch_ = epoch;
  stop_ = stop;
  evidence_ = {};
  refusals_.clear();
  next_balance_ = executor_.Now() + options_.balance_every;
  for (const Process& process : nodes_.Processes()) scope_.Spawn(Collect(process, epoch, stop));
  beat_ = executor_.After(kCoordinatorBeat, [this] { OnBeat(); });
  LookLater();
  co_return OkStatus();
}

void ChangefeedCoordinator::Stop() {
  epoch_ = Term();
  beat_.Cancel();
  for (auto& [id, driver] : drivers_) driver->End();
  drivers_.clear();
}

runtime::Task<void> ChangefeedCoordinator::Collect(Process process, Term epoch, runtime::StopToken stop) {
  while (!stop.stop_requested() && epoch_ == epoch) {
    if (nodes_.ProcessOf(process.node) != process) co_return;  // that one has ended
    ipb::ChangefeedMessage message;
    auto& collect = *message.mutable_collect_maintainers();
    *collect.mutable_sender() = nodes_.Sender(epoch);
    for (const auto& [id, record] : access_.catalog().changefeeds()) {
      auto& known = *collect.add_known();
      known.set_changefeed(id);
      known.set_owner_epoch(record.changefeed().owner_epoch());
    }
    const auto answer = co_await nodes_.Deliver(process.node, std::move(message), stop);
    if (stop.stop_requested() || epoch_ != epoch) co_return;
    const bool heard = answer.ok() && answer->has_maintainers_collected() &&
                       answer->maintainers_collected().leadership_epoch() == epoch.value() &&
                       answer->maintainers_collected().sender().incarnation() == process.incarnation.value();
    if (heard) {
      for (const auto& running : answer->maintainers_collected().running()) {
        if (running.closed()) continue;
        evidence_.reports.push_back(
            {.changefeed = ChangefeedId(running.changefeed()),
             .running = {.process = process, .epoch = OwnerEpoch(running.owner_epoch())},
             .checkpoint = CommitTs(running.checkpoint_ts())});
      }
      evidence_.heard.push_back(process);
      LookLater();
      co_return;
    }
    if (!co_await runtime::SleepFor(executor_, options_.retry_after, stop)) co_return;
  }
}

void ChangefeedCoordinator::OnBeat() {
  beat_ = executor_.After(kCoordinatorBeat, [this] { OnBeat(); });
  LookAll();
}

void ChangefeedCoordinator::OnCatalogChanged(const std::vector<pb::Event>& events, Revision) {
  if (epoch_.IsNone()) return;
  const bool matters = std::any_of(events.begin(), events.end(), [](const pb::Event& event) {
    const pb::Record& record = event.has_new_record() ? event.new_record() : event.old_record();
    return record.has_changefeed() || record.has_node();
  });
  if (matters) LookLater();
}

void ChangefeedCoordinator::LookLater() {
  if (std::exchange(look_posted_, true)) return;
  executor_.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->look_posted_ = false;
    if (!(*self)->epoch_.IsNone()) (*self)->LookAll();
  });
}

void ChangefeedCoordinator::LookAll() {
  const auto& records = access_.catalog().changefeeds();
  std::erase_if(drivers_, [&records](const auto& entry) {
    if (records.contains(entry.first)) return false;
    entry.second->End();
    return true;
  });
  for (const auto& [id, record] : records) {
    auto& driver = drivers_[id];
    if (driver == nullptr) {
      driver = std::make_shared<FeedDriver>(
          FeedSurroundings{executor_, access_, barriers_, nodes_, history_, scope_, options_},
          ChangefeedId(id), epoch_, stop_, Prng(prng_.Next64()), logger_);
    }
    driver->Look(evidence_);
  }
  Balance();
}

// Maintainers leave nodes that are drained at once; else one at a time goes from the node that has most to
// the one that has fewest, when it makes a difference.
void ChangefeedCoordinator::Balance() {
  std::map<NodeId, size_t> load;
  std::map<NodeId, Process> candidates;
  for (const Process& process : nodes_.Candidates()) {
    load[process.node] = 0;
    candidates[process.node] = process;
  }
  if (candidates.empty()) return;
  for (const auto& [id, driver] : drivers_) {
    if (const auto place = load.find(driver->place()); place != load.end()) ++place->second;
  }
  const auto fewest = [&load] {
    return std::min_element(load.begin(), load.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; });
  };
  bool settled = true;
  for (const auto& [id, driver] : drivers_) {
    settled = settled && driver->settled();
    const auto running = driver->running();
    if (!running || driver->busy()) continue;
    const auto node = access_.catalog().nodes().find(running->process.node.value());
    if (node == access_.catalog().nodes().end() || node->second.node().state() != pb::NODE_DRAINING) continue;
    const auto target = fewest();
    if (driver->Move(candidates.at(target->first)).ok()) ++target->second;
  }
  if (!settled || executor_.Now() < next_balance_) return;
  next_balance_ = executor_.Now() + options_.balance_every;
  const auto target = fewest();
  const auto most = std::max_element(load.begin(), load.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most->second < target->second + 2) return;
  for (const auto& [id, driver] : drivers_) {
    const auto running = driver->running();
    if (!running || running->process.node != most->first) continue;
    if (driver->Move(candidates.at(target->first)).ok()) return;
  }
}

FeedDriver* ChangefeedCoordinator::Find(uint64_t id) {
  const auto found = drivers_.find(id);
  return found == drivers_.end() ? nullptr : found->second.get();
}

Status ChangefeedCoordinator::Move(uint64_t id, NodeId node) {
  FeedDriver* driver = Find(id);
  if (driver == nullptr)
    return catalog::Refuse(pb::REASON_UNAVAILABLE, "changefeed {}: its coordinator is starting", id);
  const std::vector<Process> candidates = nodes_.Candidates();
  if (!node.IsNone()) {
    const auto found = std::find_if(candidates.begin(), candidates.end(),
                                    [node](const Process& process) { return process.node == node; });
    if (found != candidates.end()) return driver->Move(*found);
    if (!access_.catalog().nodes().contains(node.value()))
      return catalog::Refuse(pb::REASON_NOT_FOUND, "node: there is no node {}", node);
    return catalog::Refuse(pb::REASON_CONDITION_FAILED, "node: node {} is not up, connected and not draining",
                           node);
  }
  std::map<NodeId, size_t> load;
  for (const auto& [other, at] : drivers_) ++load[at->place()];
  Process best;
  for (const Process& process : candidates) {
    if (process.node == driver->place()) continue;
    if (best.node.IsNone() || load[process.node] < load[best.node]) best = process;
  }
  if (best.node.IsNone())
    return catalog::Refuse(pb::REASON_NOT_ENOUGH_NODES, "no other node is up, connected and not draining");
  return driver->Move(best);
}

ChangefeedCoordinator::Numbers ChangefeedCoordinator::GetNumbers() const {
  Numbers numbers;
  if (epoch_.IsNone()) return numbers;
  const int64_t now = ToMillis(executor_.WallNow());
  for (const auto& [id, driver] : drivers_) {
    const auto record = access_.catalog().changefeeds().find(id);
    if (record == access_.catalog().changefeeds().end()) continue;
    const pb::ChangefeedRecord& feed = record->second.changefeed();
    const CommitTs checkpoint = driver->checkpoint();
    numbers.feeds.push_back(
        {.name = feed.name(),
         .state = std::string(catalog::NameOf(feed.state())),
         .epoch = feed.owner_epoch(),
         .lag_ms =
             checkpoint.IsNone() ? 0 : std::max<int64_t>(0, now - changefeed::PhysicalMillis(checkpoint)),
         .rows_per_second = driver->rows_per_second(),
         .lag_rows = driver->rows_behind()});
  }
  numbers.refusals = refusals_;
  return numbers;
}

void ChangefeedCoordinator::OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) {
  if (info.method != "Deliver")
    return reply(Error(StatusCode::kUnimplemented, "there is no method {}", info.method));
  Serve<ipb::ChangefeedEnvelope, ipb::ChangefeedMessage>(
      request, std::move(reply), [this](ipb::ChangefeedEnvelope envelope, auto done) {
        if (const Status leading = access_.leadership().CheckLeading(); !leading.ok()) return done(leading);
        if (envelope.cluster_id() != nodes_.ClusterId()) {
          return done(catalog::Refuse(pb::REASON_WRONG_CLUSTER,
                                      "cluster_id {}: this controller is of cluster {}",
                                      envelope.cluster_id(), nodes_.ClusterId()));
        }
        if (!envelope.message().has_maintainer_progress()) {
          return done(catalog::Refuse(pb::REASON_INVALID_ARGUMENT,
                                      "message: a coordinator takes maintainer_progress only"));
        }
        if (epoch_.IsNone())
          return done(catalog::Refuse(pb::REASON_WARMING_UP, "the coordinator of changefeeds is starting"));
        const ipb::MaintainerProgress& progress = envelope.message().maintainer_progress();
        ipb::ChangefeedMessage answer;
        if (FeedDriver* driver = Find(progress.changefeed())) {
          *answer.mutable_answer() = driver->OnProgress(progress);
        } else {
          *answer.mutable_answer()->mutable_sender() = nodes_.Sender(epoch_);
          answer.mutable_answer()->set_changefeed(progress.changefeed());
          const bool recorded = access_.catalog().changefeeds().contains(progress.changefeed());
          answer.mutable_answer()->set_acceptance(recorded ? ipb::CHANGEFEED_NOT_IN_VIEW
                                                           : ipb::CHANGEFEED_CLOSED);
        }
        const auto acceptance = static_cast<changefeed::Acceptance>(answer.answer().acceptance());
        if (!changefeed::IsAccepted(acceptance)) ++refusals_[std::string(NameOf(acceptance))];
        done(std::move(answer));
      });
}

}  // namespace tenure::controller
