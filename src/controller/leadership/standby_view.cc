#include "controller/leadership/standby_view.h"

#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "runtime/connect_failure.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

// No answer in time, or no connection, without the machine having said that nobody listens.
bool IsSilence(const Status& answer) {
  if (answer.code() == StatusCode::kDeadlineExceeded) return true;
  return answer.code() == StatusCode::kUnavailable && !runtime::WasRefused(answer) &&
         !catalog::RefusalOf(answer);
}

}  // namespace

StandbyView::StandbyView(runtime::Executor& executor, runtime::Network& network, Leadership& leadership,
                         OwnCluster own, const ControllerDirectory& directory, const LoadTable& load,
                         StandbyOptions options)
    : executor_(executor),
      network_(network),
      leadership_(leadership),
      own_(std::move(own)),
      directory_(directory),
      load_(load),
      options_(options) {}

runtime::Task<Status> StandbyView::Start(Term epoch, runtime::StopToken) {
  epoch_ = epoch;
  sampled_.clear();
  OnBeat();
  co_return OkStatus();
}

void StandbyView::Stop() {
  epoch_ = Term();
  beat_.Cancel();
  sampled_.clear();
}

ipb::LoadView StandbyView::Current() const {
  ipb::LoadView view;
  view.set_cluster_id(own_.id);
  view.set_incarnation(own_.incarnation);
  view.set_epoch(epoch_.value());
  view.set_from(leadership_.self().value());
  view.set_phase(std::string(leadership_.phase()));
  *view.mutable_warm_up() = leadership_.warm_up();
  const Instant now = executor_.Now();
  for (const auto& [node, load] : load_.all()) {
    ipb::NodeView& seen = *view.add_nodes();
    seen.set_node(node.value());
    seen.set_registration_epoch(load.registration_epoch);
    seen.set_silent_ms(ToMillis(now - load.last_heard));
    seen.set_connected(load.connected);
  }
  return view;
}

void StandbyView::OnBeat() {
  const bool serving = leadership_.load_ready();
  beat_ =
      executor_.After(serving ? options_.interval : options_.interval_until_serving, [this] { OnBeat(); });
  const std::string view = Current().SerializeAsString();
  for (const pb::ControllerRecord& controller : directory_.All()) {
    const ReplicaId id(controller.id());
    if (id == leadership_.self() || controller.address().empty()) continue;
    network_.Call(controller.address(), std::string(kName) + "/TakeLoadView", view, options_.timeout,
                  [this, alive = alive_, epoch = epoch_, id](const StatusOr<std::string>& answer) {
                    if (*alive) OnAnswer(epoch, id, answer.status());
                  });
  }
}

void StandbyView::OnAnswer(Term epoch, ReplicaId controller, const Status& answer) {
  if (epoch != epoch_) return;
#ifdef TENURE_MUTANT_silence_is_a_sample
  (void)IsSilence(answer);
#else
  if (IsSilence(answer)) return;
#endif
  if (sampled_.insert(controller).second) on_sample_();
}

void StandbyView::OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) {
  ipb::LoadView view;
  if (info.method != "TakeLoadView") {
    return reply(Error(StatusCode::kUnimplemented, "{} has no method {}", kName, info.method));
  }
  if (!view.ParseFromString(request)) {
    return reply(catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "the message is not a valid LoadView"));
  }
  if (const Status taken = Take(view); !taken.ok()) return reply(taken);
  reply(ipb::LoadViewAnswer().SerializeAsString());
}

Status StandbyView::Take(const ipb::LoadView& view) {
  if (!own_.id.empty() && !view.cluster_id().empty() && view.cluster_id() != own_.id) {
    return catalog::Refuse(pb::REASON_WRONG_CLUSTER, "the view is of cluster {}, this is {}",
                           view.cluster_id(), own_.id);
  }
  if (view.incarnation() != own_.incarnation) {
    return catalog::Refuse(pb::REASON_STALE_INCARNATION, "the view is of incarnation {}, this is {}",
                           view.incarnation(), own_.incarnation);
  }
  const Term epoch(view.epoch());
  if (epoch < view_epoch_ || epoch <= epoch_) {
    return catalog::Refuse(pb::REASON_STALE_EPOCH, "the view is of epoch {}, this controller knows {}", epoch,
                           std::max(view_epoch_, epoch_));
  }
  leadership_.OnLeaderSays(epoch, view.phase(), view.warm_up());
  view_epoch_ = epoch;
  received_at_ = executor_.Now();
  view_.clear();
  for (const ipb::NodeView& seen : view.nodes()) {
    view_[NodeId(seen.node())] = {.registration_epoch = seen.registration_epoch(),
                                  .silence = std::chrono::milliseconds(seen.silent_ms()),
                                  .connected = seen.connected()};
  }
  return OkStatus();
}

std::optional<Duration> StandbyView::Age() const {
  if (view_epoch_.IsNone()) return std::nullopt;
  return executor_.Now() - received_at_;
}

std::optional<StandbyView::Seen> StandbyView::Find(NodeId node) const {
  const auto found = view_.find(node);
  if (found == view_.end()) return std::nullopt;
  Seen seen = found->second;
  seen.silence += executor_.Now() - received_at_;
  return seen;
}

}  // namespace tenure::controller
