#include "sim/atlas.h"

#include <fmt/format.h>

#include <algorithm>

namespace tenure::sim {
namespace {

using Target = FaultSpec::Target;
using enum FaultKind;

constexpr std::array<FaultSpec, kFaultKinds> kAtlas = {{
    {kCrash, "crash", Target::kMachine, true, 4, "", 0, 0, "a process dies; the page cache survives",
     "any number, all at once too"},
    {kPowerLoss, "power_loss", Target::kMachine, true, 4, "", 0, 0,
     "a machine loses power: of what was not synced any subset is left, torn and reordered",
     "any number: what was synced is there"},
    {kTotalLoss, "total_loss", Target::kNone, true, 1, "", 0, 0, "all machines lose power at once",
     "any number of times"},
    {kCrashAtWrite, "crash_at_write", Target::kMachine, true, 3, "operations", 1, 60,
     "a process dies after one of its next operations on the disk, at its start too", "like crash"},
    {kPowerLossAtWrite, "power_loss_at_write", Target::kMachine, true, 3, "operations", 1, 60,
     "power is lost after one of the next operations on the disk", "like power_loss"},
    {kPause, "pause", Target::kMachine, true, 4, "", 0, 0,
     "a process stands still while its clock goes on (SIGSTOP, a swapping or migrating machine)",
     "any number, any length"},
    {kPauseExecutor, "pause_executor", Target::kMachine, true, 4, "executor", 0, 3,
     "one executor of a process stands still: 0 control, 1 regions, 2 log, 3 background",
     "any number, any length"},
    {kIsolate, "isolate", Target::kMachine, true, 3, "", 0, 0, "a machine is cut off from all other machines",
     "any number; nothing is promised while no majority is connected"},
    {kSplit, "split", Target::kNone, true, 2, "machines", 0, (1 << 20) - 1,
     "the machines are cut in two, clients on either side", "like isolate"},
    {kOneWay, "one_way", Target::kLink, true, 4, "", 0, 0, "one direction of a link is cut", "like isolate"},
    {kPartial, "partial", Target::kMachine, true, 3, "machines", 0, (1 << 20) - 1,
     "nothing passes from a machine to some of the others, which it hears", "like isolate"},
    {kFlap, "flap", Target::kLink, true, 4, "period_ms", 20, 3000, "a link goes up and down", "like isolate"},
    {kSlowLink, "slow_link", Target::kLink, true, 3, "delay_ms", 5, 900,
     "messages over a link take up to this long", "any delay"},
    {kReset, "reset", Target::kLink, false, 2, "", 0, 0, "the connections between two machines break",
     "any number"},
    {kHangDisk, "hang_disk", Target::kMachine, true, 4, "", 0, 0, "syncs do not end",
     "any number, any length"},
    {kSlowDisk, "slow_disk", Target::kMachine, true, 4, "sync_ms", 1, 500, "every sync takes up to this long",
     "any time"},
    {kFailSync, "fail_sync", Target::kMachine, true, 2, "files", 0, 2,
     "the next sync fails and its pages are forgotten: 0 of the log, 1 of snapshots, 2 of any file",
     "any number: nothing that was acknowledged depends on it"},
    {kFailWrite, "fail_write", Target::kMachine, true, 2, "files", 0, 2,
     "the next write fails: 0 of the log, 1 of snapshots, 2 of any file", "like fail_sync"},
    {kFullDisk, "full_disk", Target::kMachine, true, 2, "free_kb", 0, 200,
     "so much is free, then nothing; later there is space again", "any number, any length"},
    {kRot, "rot", Target::kMachine, false, 2, "", 0, 0,
     "a bit of a stopped machine's log flips; its log is repaired without the replicas concerned",
     "once a run, and no disk is lost besides: less than a majority of every group loses its disk"},
    {kDrift, "drift", Target::kMachine, true, 4, "ppm", -kMaxDriftPpm, kMaxDriftPpm,
     "a clock runs too fast or too slow", "4500 ppm each: two clocks differ by less than the lease's 1 %"},
    {kWallJump, "wall_jump", Target::kMachine, false, 4, "by_ms", -kMaxWallOffsetMs, kMaxWallOffsetMs,
     "a wall clock is set, so far from the true time",
     "four minutes: two clocks differ by less than the ten minutes for which the catalog knows a request "
     "again"},
    {kTransfer, "transfer", Target::kMachine, false, 2, "", 0, 0,
     "an operator moves the catalog's leadership to this controller", "any number"},
}};

consteval bool InOrder() {
  for (size_t i = 0; i < kAtlas.size(); ++i) {
    if (static_cast<size_t>(kAtlas[i].kind) != i) return false;
  }
  return true;
}
static_assert(InOrder(), "a kind is the index of its row");

}  // namespace

std::span<const FaultSpec> Atlas() {
  return kAtlas;
}

const FaultSpec& SpecOf(FaultKind kind) {
  return kAtlas[static_cast<size_t>(kind)];
}

const FaultSpec* FindSpec(std::string_view name) {
  const auto found =
      std::find_if(kAtlas.begin(), kAtlas.end(), [name](const FaultSpec& spec) { return spec.name == name; });
  return found == kAtlas.end() ? nullptr : &*found;
}

std::string Describe(const Fault& fault) {
  const FaultSpec& spec = SpecOf(fault.kind);
  std::string text(spec.name);
  const std::string machine =
      fault.machine == kLeaderMachine ? "the leader" : fmt::format("s{}", fault.machine + 1);
  if (spec.target != Target::kNone) text += " " + machine;
  if (spec.target == Target::kLink) text += fmt::format(" s{}", fault.other + 1);
  if (spec.value == "machines") {
    text += " machines";
    for (uint32_t i = 0; i < 20; ++i) {
      if ((fault.value >> i) & 1) text += fmt::format(" {}", i + 1);
    }
  } else if (!spec.value.empty()) {
    text += fmt::format(" {}={}", spec.value, fault.value);
  }
  if (spec.lasts) text += fmt::format(" for {} ms", ToMillis(fault.length));
  return text;
}

std::vector<Fault> DrawPlan(Prng prng, const FaultWeights& weights, const PlanSettings& settings) {
  std::vector<Fault> plan;
  uint64_t total = 0;
  for (const uint32_t weight : weights) total += weight;
  if (total == 0) return plan;
  uint32_t rots = 0;
  for (Duration at{};;) {
    // Whole milliseconds, as scenarios have them.
    at += std::chrono::milliseconds(prng.Between(0, 2 * ToMillis(settings.mean_gap)));
    if (at >= settings.phase) return plan;
    uint64_t draw = prng.Below(total);
    size_t kind = 0;
    while (draw >= weights[kind]) draw -= weights[kind++];
    const FaultSpec& spec = kAtlas[kind];
    Fault fault{.kind = spec.kind, .at = at};
    fault.machine = static_cast<uint32_t>(prng.Below(settings.machines));
    // Another one.
    fault.other =
        (fault.machine + 1 + static_cast<uint32_t>(prng.Below(settings.machines - 1))) % settings.machines;
    // Short ones are common: many bugs live at the edge of a timeout, not far beyond it.
    const int64_t most = ToMillis(settings.max_length);
    const int64_t length = prng.Between(0, prng.Chance(1, 2) ? most / 4 : most);
    if (spec.lasts) fault.length = std::chrono::milliseconds(length);
    // Small values are common too.
    const int64_t value = prng.Between(spec.min_value, spec.max_value);
    const bool small = prng.Chance(1, 2) && spec.min_value >= 0 && spec.max_value > 10;
    if (!spec.value.empty()) {
      fault.value = small && spec.value != "machines" ? std::max(spec.min_value, value / 8) : value;
    }
    if (spec.kind == kRot && rots++ >= kMaxRots) continue;
    plan.push_back(fault);
  }
}

}  // namespace tenure::sim
