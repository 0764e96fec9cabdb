// The clocks of one simulated machine: a monotonic one that runs a little too fast or too slow and starts
// anywhere, and a wall clock that can be set.
//
// Threading: one thread. Invariant: C1 monotonic time never goes back, whatever the drift is changed to.
#pragma once

#include "base/time.h"
#include "runtime/clock.h"
#include "sim/scheduler.h"

namespace tenure::sim {

class SimClock final : public runtime::Clock {
 public:
  // Shows `start` at world time zero.
  SimClock(const Scheduler& world, Instant start, WallTime wall_start)
      : world_(world), local_base_(start), wall_base_(wall_start), wall_local_base_(start) {}

  Instant Now() const override {
    return local_base_ + Scale(world_.now() - world_base_, 1'000'000'000 + drift_ppb_);
  }
  WallTime WallNow() const override {
    return wall_base_ + std::chrono::duration_cast<std::chrono::milliseconds>(Now() - wall_local_base_);
  }

  // Parts per billion that this clock is faster (slower if negative) than the world; between -500'000'000 and
  // 500'000'000. From now on.
  void SetDrift(int64_t ppb) {
    local_base_ = Now();
    world_base_ = world_.now();
    drift_ppb_ = ppb;
  }
  void JumpWall(std::chrono::milliseconds by) { wall_base_ += by; }
  // How long the world takes until this clock has moved by `local`; rounded up.
  Duration ToWorld(Duration local) const { return ScaleInverse(local, 1'000'000'000 + drift_ppb_); }

 private:
  static Duration Scale(Duration d, int64_t rate) {
    return Duration(static_cast<int64_t>(static_cast<__int128>(d.count()) * rate / 1'000'000'000));
  }
  static Duration ScaleInverse(Duration d, int64_t rate) {
    const __int128 scaled = static_cast<__int128>(d.count()) * 1'000'000'000;
    return Duration(static_cast<int64_t>((scaled + rate - 1) / rate));
  }

  const Scheduler& world_;
  Instant world_base_{};
  Instant local_base_;
  int64_t drift_ppb_ = 0;
  WallTime wall_base_;
  Instant wall_local_base_;
};

}  // namespace tenure::sim
