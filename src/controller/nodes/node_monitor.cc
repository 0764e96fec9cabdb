#include "controller/nodes/node_monitor.h"

#include <utility>

#include "base/format.h"
#include "catalog/state_moves.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr Duration kMonitorTick = std::chrono::milliseconds(500);
// A tick this late means that this process stood still, and heard nobody because of itself.
constexpr Duration kLateTick = 3 * kMonitorTick;
// A silent node is probed by this many others, this often; an answer counts for this long.
constexpr size_t kProbers = 3;
constexpr Duration kProbeGap = std::chrono::seconds(2);
constexpr Duration kProbeCounts = 3 * kProbeGap;

}  // namespace

NodeMonitor::NodeMonitor(runtime::Executor& executor, CatalogAccess& access, AgentService& agents,
                         planner::NodeHealthOptions options, Logger logger)
    : executor_(executor),
      access_(access),
      agents_(agents),
      options_(options),
      logger_(std::move(logger)),
      self_(std::make_shared<NodeMonitor*>(this)) {
  agents_.AddObserver([self = self_] {
    if (*self != nullptr) (*self)->OnNews();
  });
}

NodeMonitor::~NodeMonitor() {
  *self_ = nullptr;
}

runtime::Task<Status> NodeMonitor::Start(Term epoch, runtime::StopToken) {
  epoch_ = epoch;
  last_tick_ = executor_.Now();
  in_flight_.clear();
  probed_at_.clear();
  OnTick();
  co_return OkStatus();
}

void NodeMonitor::Stop() {
  epoch_ = Term();
  tick_.Cancel();
  in_flight_.clear();
}

void NodeMonitor::OnNews() {
  if (epoch_.IsNone() || std::exchange(look_posted_, true)) return;
  executor_.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->look_posted_ = false;
    (*self)->Look();
  });
}

void NodeMonitor::OnTick() {
  const Instant now = executor_.Now();
  if (now - last_tick_ > kLateTick) agents_.load().ForgiveSilence(now);
  last_tick_ = now;
  tick_ = executor_.After(kMonitorTick, [this] { OnTick(); });
  Look();
}

void NodeMonitor::Look() {
  if (epoch_.IsNone()) return;
  std::vector<std::pair<NodeId, pb::NodeRecord>>
      nodes;  // a refusal inside the call must not disturb the walk
  for (const auto& [id, record] : access_.catalog().nodes()) {
    if (!in_flight_.contains(NodeId(id))) nodes.emplace_back(NodeId(id), record.node());
  }
  for (const auto& [id, record] : nodes) LookAt(id, record);
}

// Others are asked about a node that this controller does not hear: those with the next higher ids, so that
// the questions about several silent nodes are spread.
void NodeMonitor::Probe(NodeId silent, Instant now) {
  const auto [last, first] = probed_at_.try_emplace(silent, now);
  if (!first && now - last->second < kProbeGap) return;
  last->second = now;
  const auto& all = agents_.load().all();
  auto next = all.upper_bound(silent);
  size_t asked = 0;
  for (size_t looked = 0; looked < all.size() && asked < kProbers; ++looked) {
    if (next == all.end()) next = all.begin();
    const auto& [node, load] = *next++;
    if (node == silent || !load.connected) continue;
    agents_.RequestProbe(node, silent);
    ++asked;
  }
}

void NodeMonitor::LookAt(NodeId node, const pb::NodeRecord& record) {
  planner::NodeEvidence evidence;
  evidence.state = record.state();
  const Instant now = executor_.Now();
  evidence.silence = agents_.load().SilenceOf(node, now);
  evidence.suspicious = agents_.load().IsSuspicious(node, evidence.silence);
  const auto reached = agents_.load().ReachedAt(node);
  evidence.reached = reached && now - *reached <= kProbeCounts;
  if (evidence.suspicious && (record.state() == pb::NODE_UP || record.state() == pb::NODE_SUSPECT)) {
    Probe(node, now);
  }
  const NodeLoad* load = agents_.load().Find(node);
  if (load != nullptr && load->registration_epoch == record.registration_epoch()) {
    evidence.heard = true;
    evidence.connected = load->connected;
    evidence.stopping = load->stopping;
  }
  const auto move = planner::ComputeNodeMove(evidence, options_);
  if (!move) return;
  logger_.Info("node {} ({}): {} -> {} ({}, silent for {} ms)", node, record.name(),
               catalog::NameOf(record.state()), catalog::NameOf(*move),
               evidence.connected ? "connected" : "not connected", ToMillis(evidence.silence));
  ipb::CatalogCommand command;
  ipb::SetNodeState& set = *command.mutable_set_node_state();
  set.set_node(node.value());
  set.set_state(*move);
  set.set_if_registration_epoch(record.registration_epoch());
  in_flight_.insert(node);
  access_.ProposeInEpoch(std::move(command), epoch_,
                         [self = self_, node, epoch = epoch_](StatusOr<ipb::CatalogResult> result) {
                           if (*self == nullptr || (*self)->epoch_ != epoch) return;
                           (*self)->in_flight_.erase(node);
                           if (result.ok()) (*self)->OnNews();  // else the next tick looks again
                         });
}

}  // namespace tenure::controller
