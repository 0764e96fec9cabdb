#include "sim/phases.h"

#include <fmt/format.h>

#include <utility>

#include "sim/server.h"

namespace tenure::sim {
namespace {

constexpr Duration kFormationLimit = std::chrono::seconds(60);
constexpr Duration kCheckInterval = std::chrono::milliseconds(100);
constexpr uint64_t kMaxJudgeSteps = 2'000'000;

}  // namespace

Phases::Phases(const SimOptions& options, LogSink* trace, Scheduler::Trace on_event)
    : options_(options), world_(options_, trace) {
  if (on_event) world_.scheduler().set_trace(std::move(on_event));
}

void Phases::Enter(std::string phase) {
  world_.Note("phase: " + phase);
  result_.phase = std::move(phase);
}

void Phases::Pass() {
  world_.scheduler().RunFor(kCheckInterval);
  world_.leadership().Check();
  world_.leases().Check();
  world_.databases().Look();
}

bool Phases::Until(Duration limit, const std::function<bool()>& done,
                   const std::function<std::string()>& waiting, const std::string& invariant) {
  const Instant deadline = world_.scheduler().now() + limit;
  while (!done()) {
    if (world_.failed()) return false;
    if (world_.scheduler().now() >= deadline) {
      world_.Fail(invariant, fmt::format("not within {} ms; waiting for: {}", ToMillis(limit), waiting()));
      return false;
    }
    Pass();
  }
  return !world_.failed();
}

bool Phases::Form() {
  Enter("form");
  for (size_t i = 0; i < world_.machines().size(); ++i) world_.Boot(i);
  bool created = false;
  world_.CreateDatabase("default", options_.regions, [&created] { created = true; });
  return Until(
      kFormationLimit, [&created] { return created; }, [] { return std::string("the first database"); });
}

bool Phases::Settle() {
  Enter("settle");
  world_.StopClients();
  if (!Until(
          options_.convergence_limit,
          [this] {
            return world_.Unsettled(/*replicas=*/true).empty() && world_.databases().Unsettled().empty();
          },
          [this] { return world_.Unsettled(true) + " " + world_.databases().Unsettled(); })) {
    return false;
  }
  world_.CheckReplicas();
  world_.databases().CheckAtRest();
  return !world_.failed();
}

void Phases::Judge() {
  Enter("judge");
  const History::Judgement judgement = world_.history().Judge(kMaxJudgeSteps);
  result_.undecided = judgement.undecided;
  for (const std::string& violation : judgement.violations)
    world_.Fail("registers are linearizable", violation);
}

RunResult& Phases::Sum() {
  result_.seed = options_.seed;
  result_.failures = world_.failures();
  result_.event_hash = world_.scheduler().event_hash();
  result_.events = world_.scheduler().events_run();
  result_.simulated = world_.scheduler().now() - Instant();
  result_.elections = world_.groups().elections();
  result_.entries = world_.groups().entries();
  result_.comparisons = world_.groups().comparisons();
  result_.acknowledged = world_.history().acknowledged();
  result_.acknowledged_writes = world_.history().acknowledged_writes();
  result_.unknown = world_.history().unknown();
  return result_;
}

}  // namespace tenure::sim
