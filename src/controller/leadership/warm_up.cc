#include "controller/leadership/warm_up.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/format.h"
#include "catalog/controllers.h"
#include "catalog/refusal.h"
#include "runtime/connect_failure.h"
#include "tenure/internal/v1/agent.pb.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

// Whether a leader waits for a sample of a node in this state.
bool IsExpected(pb::NodeState state) {
  return state == pb::NODE_JOINING || state == pb::NODE_UP || state == pb::NODE_SUSPECT;
}

}  // namespace

WarmUp::WarmUp(runtime::Executor& executor, runtime::Network& network, CatalogAccess& access,
               AgentService& agents, StandbyView& standby, Leadership& leadership, WarmUpOptions options,
               Logger logger)
    : executor_(executor),
      network_(network),
      access_(access),
      agents_(agents),
      standby_(standby),
      leadership_(leadership),
      options_(options),
      logger_(std::move(logger)),
      self_(std::make_shared<WarmUp*>(this)) {
  const auto look = [self = self_] {
    if (*self != nullptr) (*self)->ScheduleLook();
  };
  agents_.AddObserver(look);
  standby_.SetOnSample(look);
  leadership_.SetLoadReadiness(*this);
}

WarmUp::~WarmUp() {
  *self_ = nullptr;
}

runtime::Task<Status> WarmUp::Start(Term epoch, runtime::StopToken) {
  epoch_ = epoch;
  began_ = executor_.Now();
  const auto age = standby_.Age();
  warm_ = age && *age <= options_.view_age;
  ready_ = false;
  refused_.clear();
  under_way_.clear();
  unsampled_ = {};
  tick_ = executor_.After(options_.probe_after, [this] { OnTick(); });
  ScheduleLook();
  co_return OkStatus();
}

void WarmUp::Stop() {
  epoch_ = Term();
  ready_ = false;
  tick_.Cancel();
  limit_.Cancel();
  unsampled_ = {};
}

bool WarmUp::HasSample(NodeId node, const pb::NodeRecord& record) const {
  const NodeLoad* load = agents_.load().Find(node);
  if (load != nullptr && load->full && load->registration_epoch >= record.registration_epoch()) return true;
  return refused_.contains(node);
}

WarmUp::Missing WarmUp::FindMissing() const {
  Missing missing;
  for (const auto& [id, record] : access_.catalog().controllers()) {
    const ReplicaId controller(id);
    if (controller == leadership_.self() || catalog::IsRemoved(record.controller())) continue;
    if (!standby_.HasSample(controller)) missing.controllers.push_back(controller);
  }
  for (const auto& [id, record] : access_.catalog().nodes()) {
    const NodeId node(id);
    if (!IsExpected(record.node().state()) || HasSample(node, record.node())) continue;
    if (warm_) {
      const auto seen = standby_.Find(node);
      if (seen && !seen->connected && seen->silence > options_.view_age) continue;
    }
    missing.nodes.push_back(node);
  }
  return missing;
}

void WarmUp::ScheduleLook() {
  if (!waiting() || std::exchange(look_posted_, true)) return;
  executor_.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->look_posted_ = false;
    (*self)->Look();
  });
}

void WarmUp::Look() {
  if (!waiting()) return;
  const Missing missing = FindMissing();
  const Duration since = executor_.Now() - began_;
  if (missing.empty()) return Ready("every member was heard");
  if (warm_ && since >= options_.warm_round) {
    // The view stands for who is in it. Controllers are not: Raft knows of them what matters.
    const auto known = [this](NodeId node) { return standby_.Find(node).has_value(); };
    if (std::all_of(missing.nodes.begin(), missing.nodes.end(), known)) {
      GoOnWithout(missing);
      return Ready("standby view");
    }
  }
  if (since >= options_.tolerance) {
    const auto names = GoOnWithout(missing);
    return Ready(fmt::format("the tolerance has passed without {}", fmt::join(names, ", ")));
  }
  const Duration next = warm_ && since < options_.warm_round ? options_.warm_round : options_.tolerance;
  limit_ = executor_.After(next - since, [this] { Look(); });
}

void WarmUp::Ready(std::string how) {
  ready_ = true;
  tick_.Cancel();
  limit_.Cancel();
  logger_.Info("load ready {} ms after the beginning of epoch {}: {}", ToMillis(executor_.Now() - began_),
               epoch_, how);
  leadership_.OnLoadReady(epoch_, std::move(how));
}

void WarmUp::OnTick() {
  tick_ = executor_.After(options_.probe_interval, [this] { OnTick(); });
  const auto& records = access_.catalog().nodes();
  for (const NodeId node : FindMissing().nodes) Probe(node, records.at(node.value()).node().address());
}

// Who answers lives and will report; who refuses does not.
void WarmUp::Probe(NodeId node, const std::string& address) {
  if (!under_way_.insert(node).second) return;
  ipb::PingRequest request;
  network_.Call(address, "tenure.internal.v1.Probe/Ping", request.SerializeAsString(), options_.probe_timeout,
                [self = self_, node, epoch = epoch_](const StatusOr<std::string>& answer) {
                  if (*self == nullptr || (*self)->epoch_ != epoch) return;
                  (*self)->under_way_.erase(node);
#ifdef TENURE_MUTANT_silence_is_a_sample
                  (void)answer;
#else
                  if (!runtime::WasRefused(answer.status())) return;
#endif
                  (*self)->refused_.insert(node);
                  (*self)->ScheduleLook();
                });
}

std::vector<std::string> WarmUp::GoOnWithout(Missing missing) {
  unsampled_ = std::move(missing);
  return NamesOf(unsampled_);
}

// Who has been heard since is not named any more, nor who is not expected any more.
std::vector<std::string> WarmUp::unsampled() const {
  if (unsampled_.empty()) return {};
  const Missing still = FindMissing();
  Missing both;
  std::set_intersection(unsampled_.controllers.begin(), unsampled_.controllers.end(),
                        still.controllers.begin(), still.controllers.end(),
                        std::back_inserter(both.controllers));
  std::set_intersection(unsampled_.nodes.begin(), unsampled_.nodes.end(), still.nodes.begin(),
                        still.nodes.end(), std::back_inserter(both.nodes));
  return NamesOf(both);
}

std::vector<std::string> WarmUp::NamesOf(const Missing& missing) {
  std::vector<std::string> names;
  for (const ReplicaId id : missing.controllers) names.push_back(fmt::format("controller {}", id));
  for (const NodeId id : missing.nodes) names.push_back(fmt::format("node {}", id));
  return names;
}

std::vector<std::string> WarmUp::missing() const {
  return waiting() ? NamesOf(FindMissing()) : std::vector<std::string>();
}

Duration WarmUp::remaining() const {
  if (!waiting()) return Duration::zero();
  return std::max(Duration::zero(), options_.tolerance - (executor_.Now() - began_));
}

}  // namespace tenure::controller
