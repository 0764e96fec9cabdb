#include "sim/run.h"

#include <fmt/format.h>

#include <utility>

#include "sim/nemesis.h"
#include "sim/recovery_scenario.h"
#include "sim/world.h"

namespace tenure::sim {
namespace {

constexpr Duration kFormationLimit = std::chrono::seconds(60);
constexpr Duration kCheckInterval = std::chrono::milliseconds(100);
constexpr uint64_t kMaxJudgeSteps = 2'000'000;

class Run {
 public:
  Run(const SimOptions& options, LogSink* trace, Scheduler::Trace on_event)
      : options_(options), world_(options, trace), nemesis_(world_, Prng(options.seed).Fork("nemesis")) {
    if (on_event) world_.scheduler().set_trace(std::move(on_event));
  }

  RunResult Go() {
    result_.seed = options_.seed;
    if (Form() && Break() && Converge() && Settle() && (!options_.recovery || Recover())) Judge();
    result_.failures = world_.failures();
    result_.event_hash = world_.scheduler().event_hash();
    result_.events = world_.scheduler().events_run();
    result_.simulated = world_.scheduler().now() - Instant();
    result_.faults = nemesis_.faults();
    result_.elections = world_.groups().elections();
    result_.entries = world_.groups().entries();
    result_.acknowledged = world_.history().acknowledged();
    result_.unknown = world_.history().unknown();
    return result_;
  }

 private:
  void Enter(std::string phase) {
    world_.Note("phase: " + phase);
    result_.phase = std::move(phase);
  }

  // Runs until `done`, looking now and then; a violation ends it at once. `waiting` says what is missing at
  // the limit.
  bool Until(Duration limit, const std::function<bool()>& done, const std::function<std::string()>& waiting) {
    const Instant deadline = world_.scheduler().now() + limit;
    while (!done()) {
      if (world_.failed()) return false;
      if (world_.scheduler().now() >= deadline) {
        world_.Fail("everything serves again after the last fault",
                    fmt::format("not within {} ms; waiting for: {}", ToMillis(limit), waiting()));
        return false;
      }
      world_.scheduler().RunFor(kCheckInterval);
    }
    return !world_.failed();
  }

  bool Form() {
    Enter("form");
    for (size_t i = 0; i < world_.machines().size(); ++i) world_.Boot(i);
    bool created = false;
    world_.CreateDatabase("default", options_.regions, [&created] { created = true; });
    return Until(
        kFormationLimit, [&created] { return created; }, [] { return std::string("the first database"); });
  }

  bool Break() {
    Enter("faults");
    world_.StartClients();
    nemesis_.Start();
    const Instant end = world_.scheduler().now() + options_.fault_phase;
    // In the middle of it all an operator wants another database: it exists whole or not at all.
    world_.scheduler().After(options_.fault_phase / 3, "operator",
                             [this] { world_.CreateDatabase("second", 2, [] {}); });
    while (world_.scheduler().now() < end && !world_.failed()) world_.scheduler().RunFor(kCheckInterval);
    return !world_.failed();
  }

  bool Converge() {
    Enter("converge");
    nemesis_.Heal();
    const Instant healed = world_.scheduler().now();
    return Until(
        options_.convergence_limit,
        [this, healed] {
          return world_.ClientsServedSince(healed) && world_.Unsettled(/*replicas=*/false).empty();
        },
        [this, healed] {
          return world_.Unsettled(false) +
                 (world_.ClientsServedSince(healed) ? "" : " an acknowledged write of every client");
        });
  }

  bool Settle() {
    Enter("settle");
    world_.StopClients();
    if (!Until(
            options_.convergence_limit, [this] { return world_.Unsettled(/*replicas=*/true).empty(); },
            [this] { return world_.Unsettled(true); })) {
      return false;
    }
    world_.CheckReplicas();
    return !world_.failed();
  }

  bool Recover() {
    Enter("recover");
    RecoveryScenario scenario(world_, Prng(options_.seed).Fork("recovery"),
                              [this](Duration limit, const std::function<std::string()>& waiting) {
                                return Until(limit, [&waiting] { return waiting().empty(); }, waiting);
                              });
    return scenario.Go() && Settle();
  }

  void Judge() {
    Enter("judge");
    const History::Judgement judgement = world_.history().Judge(kMaxJudgeSteps);
    result_.undecided = judgement.undecided;
    for (const std::string& violation : judgement.violations)
      world_.Fail("registers are linearizable", violation);
  }

  const SimOptions options_;
  World world_;
  Nemesis nemesis_;
  RunResult result_;
};

}  // namespace

RunResult RunSeed(const SimOptions& options, LogSink* trace, Scheduler::Trace on_event) {
  return Run(options, trace, std::move(on_event)).Go();
}

}  // namespace tenure::sim
