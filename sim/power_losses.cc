#include "sim/power_losses.h"

#include <fmt/format.h>

#include <functional>
#include <string>
#include <utility>

#include "sim/phases.h"
#include "sim/server.h"

namespace tenure::sim {
namespace {

constexpr int64_t kMaxOffMs = 2000;
constexpr int64_t kMaxBootSpreadMs = 400;
constexpr int64_t kMaxLoadMs = 2000;
// Operations on any disk until the power goes: while the machines start, and under load.
constexpr int64_t kOperationsOfStart = 150;
constexpr int64_t kOperationsUnderLoad = 600;
constexpr Duration kOperationsLimit = std::chrono::seconds(20);

// Only power losses: the rest of what the seed draws stays - shape, load, links, slow syncs, small logs.
SimOptions WithoutOtherFaults(SimOptions options) {
  options.faults = {};
  options.spares = 0;
  options.max_rest = Duration::zero();
  // In half of the seeds syncs take so long that most power losses come in the middle of several.
  Prng draws = Prng(options.seed).Fork("slow syncs");
  if (draws.Chance(1, 2)) options.disks.max_sync = std::chrono::milliseconds(draws.Between(2, 40));
  return options;
}

class PowerLosses : private Phases {
 public:
  PowerLosses(const SimOptions& options, LogSink* trace, Scheduler::Trace on_event)
      : Phases(WithoutOtherFaults(options), trace, std::move(on_event)),
        prng_(Prng(options.seed).Fork("power losses")) {
    for (auto& machine : world_.machines()) {
      machine->disk.set_boundary([this](std::string_view, const std::string&) { OnDiskOperation(); });
    }
  }

  RunResult Go() {
    if (Form() && LosePower() && Settle()) Judge();
    Sum().faults = result_.power_losses;
    for (const auto& machine : world_.machines()) result_.torn_files += machine->disk.torn_files();
    return result_;
  }

 private:
  bool LosePower() {
    Enter("power losses");
    world_.StartClients();
    served_since_ = world_.scheduler().now();
    for (uint32_t round = 0; round < options_.power_losses; ++round) {
      // Half made databases are as good a state to lose power in as any.
      if (round == options_.power_losses / 3) world_.CreateDatabase("second", 2, [] {});
      const bool while_starting = round > 0 && prng_.Chance(1, 4);
      if (!while_starting && !Served()) return false;
      if (!while_starting) world_.scheduler().RunFor(DrawMillis(kMaxLoadMs));
      if (!CutPower(while_starting ? kOperationsOfStart : kOperationsUnderLoad)) return false;
      ++result_.power_losses;
      world_.scheduler().RunFor(DrawMillis(kMaxOffMs));
      BootAll();
    }
    return Served();
  }

  Duration DrawMillis(int64_t most) { return std::chrono::milliseconds(prng_.Between(0, most)); }

  bool Served() {
    return Until(
        options_.convergence_limit, [this] { return world_.UnservedSince(served_since_).empty(); },
        [this] { return world_.Unsettled(/*replicas=*/false) + " " + world_.UnservedSince(served_since_); });
  }

  // Goes on until one of the next operations, drawn from `most`, on any disk.
  bool CutPower(int64_t most) {
    operations_left_ = static_cast<uint64_t>(prng_.Between(1, most));
    const Instant deadline = world_.scheduler().now() + kOperationsLimit;
    while (power_ && !world_.failed() && world_.scheduler().now() < deadline)
      world_.scheduler().RunFor(std::chrono::milliseconds(1));
    if (power_ && !world_.failed()) {
      world_.Fail("a loaded cluster uses its disks",
                  fmt::format("{} operations were still to come after {} ms", operations_left_,
                              ToMillis(kOperationsLimit)));
    }
    if (world_.failed()) return false;
    for (size_t i = 0; i < world_.machines().size(); ++i) world_.Kill(i, CrashKind::kPower);
    return true;
  }

  // All hands are dead from this operation on; the rest, which destroys who called this, follows outside.
  void OnDiskOperation() {
    if (operations_left_ == 0 || --operations_left_ > 0) return;
    world_.Note("fault: all machines lose power");
    power_ = false;
    for (const auto& machine : world_.machines()) {
      world_.network().PowerOff(machine->address);
      if (machine->server) machine->server->process().Kill();
    }
  }

  void BootAll() {
    power_ = true;
    served_since_ = world_.scheduler().now();
    const uint64_t round = result_.power_losses;
    for (size_t i = 0; i < world_.machines().size(); ++i) {
      world_.scheduler().After(DrawMillis(kMaxBootSpreadMs), "power is back", [this, i, round] {
        // Not if it went again before this one was started.
        if (round == result_.power_losses && power_) world_.Boot(i);
      });
    }
  }

  Prng prng_;
  Instant served_since_;
  uint64_t operations_left_ = 0;  // until the power goes; 0: it does not go
  bool power_ = true;
};

}  // namespace

RunResult RunPowerLosses(const SimOptions& options, LogSink* trace, Scheduler::Trace on_event) {
  return PowerLosses(options, trace, std::move(on_event)).Go();
}

}  // namespace tenure::sim
