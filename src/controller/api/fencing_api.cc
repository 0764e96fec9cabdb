#include "controller/api/fencing_api.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/fencing.h"
#include "catalog/refusal.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;

namespace {

constexpr Duration kMaxBudget = std::chrono::hours(1);
constexpr Duration kAnswerMargin = std::chrono::milliseconds(100);  // before the caller's deadline
constexpr size_t kMaxWaiting = 1000;                                // asked for by callers, at the same time

pb::BarrierResponse ToProto(const BarrierOutcome& outcome, const catalog::Catalog& catalog) {
  pb::BarrierResponse response;
  response.set_proceeded(outcome.proceeded);
  response.set_revision(outcome.revision.value());
  response.set_waited_ms(ToMillis(outcome.waited));
  for (const BarrierOutcome::Node& node : outcome.nodes) {
    pb::BarrierNode& said = *response.add_nodes();
    said.set_node(node.evidence.node.value());
    if (const auto found = catalog.nodes().find(node.evidence.node.value()); found != catalog.nodes().end())
      said.set_name(found->second.node().name());
    said.set_disposition(std::string(planner::NameOf(node.disposition)));
    said.set_acknowledged(node.evidence.acknowledged.value());
    said.set_silence_ms(ToMillis(node.evidence.silence));
  }
  return response;
}

}  // namespace

FencingApi::FencingApi(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
                       AgentService& agents, BarrierService& barriers)
    : executor_(executor),
      access_(access),
      leadership_(leadership),
      agents_(agents),
      barriers_(barriers),
      scope_(executor) {}

void FencingApi::Barrier(Instant deadline, const pb::BarrierRequest& request,
                         Answer<pb::BarrierResponse> done) {
  if (const Status serving = leadership_.CheckServing(); !serving.ok()) return done(serving);
  if (request.budget_ms() < 0 || request.budget_ms() > ToMillis(kMaxBudget)) {
    return done(Refuse(pb::REASON_INVALID_ARGUMENT, "budget_ms: {} is not in 0..{}", request.budget_ms(),
                       ToMillis(kMaxBudget)));
  }
  if (scope_.running() >= kMaxWaiting) {
    return done(Refuse(pb::REASON_OVERLOADED, "{} barriers are waited for already", kMaxWaiting));
  }
  Duration budget = std::chrono::milliseconds(request.budget_ms());
  if (budget == Duration::zero()) budget = barriers_.DefaultBudget();
  // The caller wants to hear who held it up.
  if (deadline != kFarFuture)
    budget = std::max(Duration(kAnswerMargin), std::min(budget, deadline - executor_.Now() - kAnswerMargin));
  const Revision revision = request.revision() == 0 ? access_.applied() : Revision(request.revision());
  scope_.Spawn(Wait(revision, budget, std::move(done)));
}

runtime::Task<void> FencingApi::Wait(Revision revision, Duration budget, Answer<pb::BarrierResponse> done) {
  const StatusOr<BarrierOutcome> outcome = co_await barriers_.Pass(revision, budget, scope_.token());
  if (!outcome.ok()) {
    done(outcome.status());
    co_return;
  }
  done(ToProto(*outcome, access_.catalog()));
}

pb::FencingResponse FencingApi::Settings() const {
  pb::FencingResponse response;
  const catalog::Fencing fencing = catalog::FencingOf(access_.catalog().cluster());
  pb::FencingSettings& settings = *response.mutable_settings();
  settings.set_mode(fencing.mode);
  settings.set_fence_ms(ToMillis(fencing.fence_time));
  settings.set_version(fencing.version.value());
  settings.set_bound_ms(ToMillis(fencing.bound));
  settings.set_bound_available(fencing.bound_available);
  const auto proceed_after = catalog::ProceedAfter(fencing);
  response.set_proceed_ms(proceed_after ? ToMillis(*proceed_after) : 0);
  if (catalog::IsBoundLowered(fencing)) return response;
  const catalog::Catalog& catalog = access_.catalog();
  for (const NodeId node :
       agents_.contacts().Unconfirmed(catalog.nodes(), catalog.format_version(), fencing, executor_.Now())) {
    response.add_unconfirmed(node.value());
  }
  return response;
}

void FencingApi::Fencing(const pb::FencingRequest& request, Answer<pb::FencingResponse> done) {
  if (const Status serving = leadership_.CheckServing(); !serving.ok()) return done(serving);
  if (!request.set()) return done(Settings());
  const catalog::Fencing before = catalog::FencingOf(access_.catalog().cluster());
  ipb::CatalogCommand command;
  if (request.has_id()) *command.mutable_id() = request.id();
  ipb::SetFencing& set = *command.mutable_set_fencing();
  set.set_mode(request.mode());
  set.set_fence_ms(request.fence_ms() == 0 ? ToMillis(before.fence_time) : request.fence_ms());
  access_.Propose(std::move(command),
                  [this, done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
                    if (!result.ok()) return done(result.status());
                    pb::FencingResponse response = Settings();
                    response.set_changed(result->changed());
                    done(std::move(response));
                  });
}

}  // namespace tenure::controller
