#include "sim/erratic_service.h"

#include <utility>

#include "base/format.h"
#include "runtime/task.h"
#include "sim/world.h"

namespace tenure::sim {
namespace {

constexpr Duration kStep = std::chrono::milliseconds(500);  // of a start that hangs
constexpr int64_t kMaxStartMs = 2000;
constexpr int64_t kMaxLingerMs = 3000;

}  // namespace

ErraticService::ErraticService(World& world, std::string machine, runtime::Executor& executor, Prng prng)
    : world_(world), machine_(std::move(machine)), executor_(executor), prng_(prng) {}

void ErraticService::Fail(std::string_view invariant, std::string_view what, Term epoch) {
  world_.Fail(std::string(invariant), fmt::format("{}: a service of epoch {} {}; epoch {} is led", machine_,
                                                  epoch, what, leadership_->epoch()));
}

void ErraticService::Check(Term epoch, const runtime::StopToken& stop, std::string_view when) {
  const bool current = leadership_->epoch() == epoch;
  if (stop.stop_requested() && current) Fail("L2 an epoch has ended when its token is stopped", when, epoch);
  if (!stop.stop_requested() && !current) Fail("L1 a service works in the current epoch only", when, epoch);
}

runtime::Task<Status> ErraticService::Start(Term epoch, runtime::StopToken stop) {
  if (starting_ || (!epoch_.IsNone() && epoch_ != epoch))
    Fail("L3 services of one epoch at a time", "is started before that of another is stopped", epoch);
  epoch_ = epoch;
  starting_ = true;
  Check(epoch, stop, "is started");
  const uint64_t mood = world_.calm() ? 0 : prng_.Below(8);
  const bool hangs = mood == 7;
  const bool fails = mood == 5 || mood == 6;
  Duration left = Duration::zero();
  if (mood == 3 || mood == 4 || mood == 6) left = std::chrono::milliseconds(prng_.Between(1, kMaxStartMs));
  while ((hangs || left > Duration::zero()) && !stop.stop_requested()) {
    const Duration step = hangs ? kStep : std::exchange(left, Duration::zero());
    (void)co_await runtime::SleepFor(executor_, step, stop);
    Check(epoch, stop, "goes on");
  }
  if (stop.stop_requested() && !world_.calm()) {
    const Duration linger = std::chrono::milliseconds(prng_.Between(0, kMaxLingerMs));
    (void)co_await runtime::SleepFor(executor_, linger, runtime::StopToken());
  }
  starting_ = false;
  if (fails) co_return Error(StatusCode::kUnavailable, "not in the mood");
  co_return OkStatus();
}

void ErraticService::Stop() {
  if (starting_) Fail("L3 services of one epoch at a time", "is stopped while it starts", epoch_);
  epoch_ = Term();
}

}  // namespace tenure::sim
