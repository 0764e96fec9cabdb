#include "sim/barrier_operator.h"

#include <fmt/format.h>

#include <utility>

#include "base/format.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

constexpr char kBarrierHost[] = "barriers";
constexpr size_t kLanes = 2;
constexpr Duration kCallTimeout = std::chrono::seconds(30);

}  // namespace

BarrierOperator::BarrierOperator(World& world, Prng prng)
    : world_(world),
      prng_(prng),
      clock_(world.scheduler(), Instant(std::chrono::seconds(1000)), WallFromMillis(1'700'000'000'000)),
      process_(world.scheduler(), clock_, kBarrierHost, prng.Fork("process")),
      executor_(process_.AddExecutor("operator")),
      ids_(prng.Fork("ids")),
      lanes_(kLanes) {
  world_.network().AddHost(process_, kBarrierHost);
  network_ = world_.network().MakeView(process_, executor_);
  controllers_ = std::make_unique<client::ControllerClient>(executor_, *network_, world_.ServerAddresses(),
                                                            prng.Fork("client"));
}

BarrierOperator::~BarrierOperator() {
  process_.Kill();
}

void BarrierOperator::Start() {
  for (size_t lane = 0; lane < kLanes; ++lane) {
    executor_.Post([this, lane] { Pause(lane); });
  }
}

void BarrierOperator::Pause(size_t lane) {
  if (finishing_) return;
  const Duration pause = std::chrono::milliseconds(prng_.Between(50, prng_.Chance(1, 3) ? 3000 : 600));
  lanes_[lane] = executor_.After(pause, [this, lane] { Next(lane); });
}

void BarrierOperator::Next(size_t lane) {
  if (finishing_) return;
  if (world_.options().change_fencing && prng_.Chance(1, 12)) return ChangeSettings(lane);
  pb::BarrierRequest request;
  if (prng_.Chance(1, 4)) request.set_budget_ms(prng_.Between(1, 3000));
  Send(request, [this, lane](const StatusOr<pb::BarrierResponse>& answer) {
    if (answer.ok()) ++(answer->proceeded() ? proceeded_ : failed_);
    Pause(lane);
  });
}

void BarrierOperator::ChangeSettings(size_t lane) {
  pb::FencingRequest request;
  *request.mutable_id() = ids_.Next();
  request.set_set(true);
  request.set_mode(prng_.Chance(1, 5) ? pb::FENCING_AVAILABLE : pb::FENCING_STRICT);
  request.set_fence_ms(prng_.Between(3000, 10000));
  client::CallOptions options;
  options.timeout = std::chrono::seconds(4);
  options.changes = true;
  const uint64_t sequence = request.id().sequence();
  controllers_->Call<pb::FencingResponse>(
      "tenure.v1.Cluster/Fencing", request, options,
      [this, lane, sequence, request](const StatusOr<pb::FencingResponse>& answer) {
        ids_.Done(sequence);
        if (answer.ok()) {
          ++settings_;
          world_.Note(fmt::format("leases of {} ms, {}", request.fence_ms(),
                                  request.mode() == pb::FENCING_AVAILABLE ? "available" : "strict"));
        }
        Pause(lane);
      });
}

void BarrierOperator::Send(const pb::BarrierRequest& request,
                           std::function<void(const StatusOr<pb::BarrierResponse>&)> done) {
  client::CallOptions options;
  options.timeout = kCallTimeout;
  options.attempt_timeout = kCallTimeout;
  controllers_->Call<pb::BarrierResponse>("tenure.v1.Cluster/Barrier", request, options, std::move(done));
}

void BarrierOperator::Ask(std::function<void(std::optional<pb::BarrierResponse>)> done) {
  executor_.Post([this, done = std::move(done)]() mutable {
    Send(pb::BarrierRequest(), [done = std::move(done)](const StatusOr<pb::BarrierResponse>& answer) {
      done(answer.ok() ? std::optional(*answer) : std::nullopt);
    });
  });
}

}  // namespace tenure::sim
