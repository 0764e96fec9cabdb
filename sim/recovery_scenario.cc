#include "sim/recovery_scenario.h"

#include <utility>
#include <vector>

#include "base/format.h"
#include "sim/server.h"
#include "sim/world.h"

namespace tenure::sim {
namespace {

namespace pb = ::tenure::v1;

constexpr Duration kRegionsLimit = std::chrono::seconds(120);
// Clients that rest try machines that are gone, too.
constexpr Duration kReviveLimit = std::chrono::seconds(90);
constexpr Duration kAttemptLimit = std::chrono::seconds(10);
constexpr int kMaxCrashes = 4;

}  // namespace

RecoveryScenario::RecoveryScenario(World& world, Prng prng, Until until)
    : world_(world), prng_(prng), until_(std::move(until)) {}

bool RecoveryScenario::Go() {
  LoseMajority();
  return RecoverCatalog() && RecoverRegions() && Revive();
}

void RecoveryScenario::LoseMajority() {
  survivor_ = prng_.Below(world_.machines().size());
  const CrashKind kind = prng_.Chance(1, 2) ? CrashKind::kPower : CrashKind::kProcess;
  for (size_t i = 0; i < world_.machines().size(); ++i) {
    if (kind == CrashKind::kPower) world_.network().PowerOff(world_.machines()[i]->address);
    world_.Kill(i, kind);
    world_.machines()[i]->lost = i != survivor_;
  }
}

bool RecoveryScenario::RecoverCatalog() {
  const int crashes = static_cast<int>(prng_.Below(kMaxCrashes));
  for (int i = 0; i < crashes; ++i) {
    if (Attempt(i, prng_.Below(40))) break;
    if (world_.failed()) return false;
  }
  if (!Attempt(crashes, std::nullopt)) {
    world_.Fail("a recovery can be repeated", "it was not done");
    return false;
  }
  world_.Boot(survivor_);
  return !world_.failed();
}

// The first survey tells what there was before anything was changed.
void RecoveryScenario::Plan(recovery::Survivors& survivors, std::optional<Status>& outcome) {
  const recovery::DirectorySurvey& survey = survivors.survey().front();
  if (!std::exchange(surveyed_, true)) {
    for (const auto& [id, group] : survey.groups) {
      world_.groups().ForgetBeyond(id, group.last_index);
      if (id == kCatalogGroup) world_.schemas().ForgetBeyond(group.last_index);
      if (id == kCatalogGroup) world_.feed_checker().ForgetBeyond(group.last_index);
    }
    world_.leases().Forget();
  }
  recovery::Survivors::Request request;
  request.by = "sim";
  request.log = LogOptions(world_.options().small_log);
  const auto history = recovery::HistoryOf(survey.identity);
  if (!history.ok()) {
    outcome = history.status();
    return;
  }
  if (!history->empty()) {
    request.digest = history->back().digest;
  } else {
    const auto plan = recovery::MakePlan(survivors.survey(), {});
    if (!plan.ok()) {
      outcome = plan.status();
      return;
    }
    request.digest = plan->digest;
  }
  survivors.Execute(std::move(request),
                    [&outcome](const StatusOr<recovery::Intent>& done) { outcome = done.status(); });
}

bool RecoveryScenario::Attempt(int number, std::optional<uint64_t> boundaries) {
  Machine& machine = *world_.machines()[survivor_];
  const std::string name = fmt::format("{} recovery {}", machine.name, number);
  world_.Note(name);
  SimProcess process(world_.scheduler(), machine.clock, name, prng_.Fork(name));
  SimExecutor& executor = process.AddExecutor("recovery");
  const auto disk = machine.disk.MakeView(process, executor);
  if (boundaries) {
    machine.disk.set_boundary([&process, left = *boundaries](std::string_view, const std::string&) mutable {
      if (left-- == 0) process.Kill();
    });
  }
  std::unique_ptr<recovery::Survivors> survivors;
  std::optional<Status> outcome;
  executor.Post([&] {
    auto opened = recovery::Survivors::Open(*disk, executor, {Server::kData}, Logger());
    if (!opened.ok()) {
      outcome = opened.status();
      return;
    }
    survivors = *std::move(opened);
    Plan(*survivors, outcome);
  });
  const Instant deadline = world_.scheduler().now() + kAttemptLimit;
  while (!outcome && process.alive() && world_.scheduler().now() < deadline) {
    world_.scheduler().RunFor(std::chrono::milliseconds(10));
  }
  const bool crashed = !process.alive();
  process.Kill();
  survivors.reset();
  machine.disk.set_boundary(nullptr);
  if (crashed) machine.disk.Crash(prng_.Chance(1, 2) ? CrashKind::kPower : CrashKind::kProcess);
  if (!crashed && (!outcome || !outcome->ok())) {
    world_.Fail("a recovery of what a crash left succeeds",
                outcome ? std::string(MessageOf(*outcome)) : "it does not end");
  }
  return !crashed && outcome && outcome->ok();
}

// Plans and executes until nothing is left to recover and the survivor leads everything.
bool RecoveryScenario::RecoverRegions() {
  bool asked = false;
  std::string digest;
  return until_(kRegionsLimit, [&]() -> std::string {
    std::string missing = world_.Unsettled(/*replicas=*/false);
    if (missing.empty() || asked) return missing;
    asked = true;
    world_.RecoverRegions(digest, [&asked, &digest](const StatusOr<pb::RecoverRegionsResponse>& answer) {
      asked = false;
      digest = answer.ok() && !answer->executed() ? answer->digest() : "";
    });
    return missing;
  });
}

bool RecoveryScenario::Revive() {
  std::vector<size_t> old;
  for (size_t i = 0; i < world_.machines().size(); ++i) {
    if (world_.machines()[i]->lost) old.push_back(i);
  }
  world_.StartClients();
  const Instant begin = world_.scheduler().now();
  if (prng_.Chance(1, 2)) {
    // One of them alone, and cut off at first: it learns of the recovery only later.
    const size_t first = old[prng_.Below(old.size())];
    const std::vector<Endpoint> alone = {world_.machines()[first]->address};
    world_.network().Partition(alone, {world_.machines()[survivor_]->address});
    world_.Boot(first);
    world_.scheduler().RunFor(std::chrono::milliseconds(prng_.Between(500, 8000)));
    world_.network().HealAll();
  }
  for (const size_t i : old) {
    if (!world_.Up(i)) world_.Boot(i);
  }
  return until_(kReviveLimit, [this, &old, begin]() -> std::string {
    for (const size_t i : old) {
      if (world_.Up(i) && world_.machines()[i]->server->process().alive()) {
        return world_.machines()[i]->name + ", of the old incarnation, to end";
      }
    }
    const std::string unserved = world_.UnservedSince(begin);
    return unserved.empty() ? world_.Unsettled(false) : unserved;
  });
}

}  // namespace tenure::sim
