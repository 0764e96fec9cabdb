// The atlas: every way in which the world is broken, by name, and for each the bound within which a cluster
// must survive it. Plans of faults are drawn from it, scenarios are checked against it, docs/testing.md shows
// it.
//
// Threading: values and pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/prng.h"
#include "base/time.h"

namespace tenure::sim {

enum class FaultKind : uint8_t {
  kCrash,
  kPowerLoss,
  kTotalLoss,
  kCrashAtWrite,
  kPowerLossAtWrite,
  kPause,
  kPauseExecutor,
  kIsolate,
  kSplit,
  kOneWay,
  kPartial,
  kFlap,
  kSlowLink,
  kReset,
  kHangDisk,
  kSlowDisk,
  kFailSync,
  kFailWrite,
  kFullDisk,
  kRot,
  kDrift,
  kWallJump,
  kTransfer,
};
inline constexpr size_t kFaultKinds = static_cast<size_t>(FaultKind::kTransfer) + 1;

// Bounds that hold for every run, whatever is drawn.
inline constexpr int64_t kMaxDriftPpm = 4'500;  // of each clock: the lease allows 1 % between any two
// Of each wall clock from the true time. Commands carry the leader's wall time, and the catalog ends sessions
// by it (ten minutes): two clocks must differ by less than that and the time for which clients send a request
// again.
inline constexpr int64_t kMaxWallOffsetMs = 240'000;
inline constexpr uint32_t kMaxRots = 1;  // replicas lost for good: a region of three bears one

struct FaultSpec {
  enum class Target : uint8_t { kNone, kMachine, kLink };
  FaultKind kind{};
  std::string_view name;
  Target target{};
  bool lasts = true;    // has a length, after which it is mended
  uint32_t weight = 0;  // in a seed where it is common
  // What its value says; empty if it has none. `machines` is a set, as bits from machine 1 on.
  std::string_view value;
  int64_t min_value = 0;
  int64_t max_value = 0;
  std::string_view what;
  std::string_view bound;
};

std::span<const FaultSpec> Atlas();
const FaultSpec& SpecOf(FaultKind kind);
// Null if there is none of that name.
const FaultSpec* FindSpec(std::string_view name);

using FaultWeights = std::array<uint32_t, kFaultKinds>;

// The machine that leads the catalog when the fault strikes.
inline constexpr uint32_t kLeaderMachine = UINT32_MAX;

struct Fault {
  FaultKind kind{};
  Duration at{};         // since faults began
  Duration length{};     // zero if it has none
  uint32_t machine = 0;  // index, or kLeaderMachine
  uint32_t other = 0;    // index of the link's other end
  int64_t value = 0;
};
// "isolate of s1 for 800 ms"
std::string Describe(const Fault& fault);

struct PlanSettings {
  uint32_t machines = 3;
  Duration phase{};
  Duration mean_gap{};
  Duration max_length{};
};
// Within the bounds above.
std::vector<Fault> DrawPlan(Prng prng, const FaultWeights& weights, const PlanSettings& settings);

}  // namespace tenure::sim
