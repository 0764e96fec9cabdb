#include "sim/procedure_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <utility>

#include "base/format.h"
#include "catalog/procedures.h"
#include "sim/phases.h"
#include "sim/report.h"
#include "sim/schema_stories.h"
#include "sim/server.h"
#include "sim/slow_destruction.h"
#include "sim/trace.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

constexpr Duration kLimit = std::chrono::seconds(120);
constexpr Duration kAway = std::chrono::seconds(2);
constexpr size_t kLastLines = 40;

class ProcedureRun : private Phases {
 public:
  ProcedureRun(const Story& story, std::optional<ProcedureCrash> crash, LogSink* trace)
      : Phases(OptionsOf(story), trace, nullptr),
        story_(story),
        crash_(crash),
        stage_(world_, [this](const std::function<std::string()>& waiting) {
          return Until(kLimit, [&] { return waiting().empty(); }, waiting, "a procedure ends as specified");
        }) {
    // Stories cut, pause and slow down by themselves: what was sent is heard late.
    world_.groups().ExcuseUntil(Instant::max());
  }

  ProcedureOutcome Go() {
    if (Play() && Settle()) Judge();
    if (!world_.failed() && crash_ && !outcome_.crashed)
      world_.Fail("a run is a function of its seed", "the change for the crash did not come");
    outcome_.ended = ended_;
    outcome_.announced = announced_;
    outcome_.result = Sum();
    return std::move(outcome_);
  }

 private:
  bool Play() {
    if (!Form()) return false;
    world_.StartClients();
    Enter("prepare");
    if (!AtRest() || (story_.prepare != nullptr && !story_.prepare(stage_))) return NotPlayed();
    Enter("story");
    Watch();
    if (!story_.act(stage_)) return NotPlayed();
    if (!stage_.Until([this] { return ended_ ? std::string() : fmt::format("a {} to end", story_.type); }) ||
        !CheckEnd()) {
      return false;
    }
    watching_ = false;
    if (story_.tidy != nullptr && !story_.tidy(stage_)) return NotPlayed();
    Enter("rest");
    return AtRest();
  }

  bool AtRest() {
    return stage_.Until([this] { return world_.Unsettled(/*replicas=*/true); });
  }

  bool NotPlayed() {
    if (!world_.failed()) world_.Fail("a story is played", "there was no machine for it");
    return false;
  }

  void Watch() {
    watching_ = true;
    world_.procedures().SetOnChange(
        [this](const pb::ProcedureRecord* before, const pb::ProcedureRecord& after, LogIndex index) {
          if (watching_) OnChange(before, after, index);
        });
    world_.procedures().SetOnApplied([this](ReplicaId controller, LogIndex index) {
      if (controller == world_.procedures().leader() && index == crash_at_) Crash();
    });
  }

  // Several records may change with one entry: that is one moment.
  void OnChange(const pb::ProcedureRecord* before, const pb::ProcedureRecord& after, LogIndex index) {
    if (after.type() == story_.type && before == nullptr) id_ = after.id();
    if (after.id() == id_ && catalog::IsEnded(after.state())) {
      ended_ = after.state();
      made_ = std::chrono::milliseconds(after.ended_at_ms() - after.created_at_ms());
      announced_ = Duration();
      for (const pb::ProcedureStep& step : after.steps()) {
        if (step.name() == "announce") announced_ += std::chrono::milliseconds(step.duration_ms());
      }
    }
    if (index != last_) {
      last_ = index;
      const size_t number = outcome_.changes.size();
      outcome_.changes.push_back({.what = "", .type = after.type(), .involved = Involved()});
      if (crash_ && crash_->change == number) crash_at_ = index;
    }
    ProcedureOutcome::Change& change = outcome_.changes.back();
    change.what += fmt::format("{}{} {} {}{}", change.what.empty() ? "" : ", ", after.type(), after.step(),
                               catalog::NameOf(after.state()), after.tasks().empty() ? "" : " with tasks");
    if (story_.on_change != nullptr) {
      world_.scheduler().After(Duration(0), "story", [this, after] { story_.on_change(stage_, after); });
    }
  }

  std::set<size_t> Involved() {
    std::set<size_t> involved;
    const uint64_t leader = world_.procedures().leader().value();
    for (size_t i = 0; i < world_.machines().size(); ++i) {
      const Machine& machine = *world_.machines()[i];
      if (!machine.server || !machine.server->process().alive() || stage_.IsAway(i)) continue;
      const bool holds = machine.server->started() && machine.server->node() != nullptr &&
                         !machine.server->node()->groups().groups().empty();
      if (holds || machine.controller_id == leader) involved.insert(i);
    }
    return involved;
  }

  void Crash() {
    if (std::exchange(outcome_.crashed, true)) return;
    const size_t victim = crash_->machine;
    // Every second time what was not synced is lost as well.
    const CrashKind kind = crash_->change % 2 == 0 ? CrashKind::kProcess : CrashKind::kPower;
    world_.Note(fmt::format("fault: {} dies as change {} is applied: {}", world_.machines()[victim]->name,
                            crash_->change, outcome_.changes.back().what));
    world_.CrashNow(victim, kind);
    world_.scheduler().After(kAway, "back", [this, victim] {
      if (!world_.Up(victim) && !stage_.IsAway(victim)) world_.Boot(victim);
    });
  }

  bool CheckEnd() {
    if (!crash_ && story_.announced_within && announced_ > *story_.announced_within) {
      world_.Fail("a barrier waits no longer than it has to",
                  fmt::format("{} {} was announced after {} ms, {} ms are enough", story_.type, id_,
                              ToMillis(announced_), ToMillis(*story_.announced_within)));
      return false;
    }
    if (!crash_ && story_.made_within && made_ > *story_.made_within) {
      world_.Fail("what a node without a lease leads is handed over",
                  fmt::format("{} {} took {} ms, {} ms are enough", story_.type, id_, ToMillis(made_),
                              ToMillis(*story_.made_within)));
      return false;
    }
    if (std::find(story_.ends.begin(), story_.ends.end(), *ended_) != story_.ends.end()) return true;
    world_.Fail("a procedure ends as specified",
                fmt::format("{} {} ended as {}", story_.type, id_, catalog::NameOf(*ended_)));
    return false;
  }

  const Story& story_;
  const std::optional<ProcedureCrash> crash_;
  Stage stage_;
  ProcedureOutcome outcome_;
  bool watching_ = false;
  uint64_t id_ = 0;  // of the newest procedure of the story's type
  std::optional<pb::ProcedureState> ended_;
  Duration announced_{};
  Duration made_{};
  LogIndex last_;
  LogIndex crash_at_;
};

std::string NameOf(const Story& story, const ProcedureCrash& crash) {
  return fmt::format("{}:{}:{}", story.name, crash.change, crash.machine + 1);
}

void PrintFailure(const std::string& name, const ProcedureOutcome& outcome, const Trace& trace) {
  fmt::print("{} FAILED in phase {}\n", name, outcome.result.phase);
  for (const std::string& failure : outcome.result.failures) fmt::print("  violated: {}\n", failure);
  fmt::print("  last events:\n");
  for (const std::string& line : trace.lines()) fmt::print("    {}\n", line);
  fmt::print("  replay: tenure-sim --procedures --only {} --trace\n", name);
  std::fflush(stdout);
}

struct Count {
  uint64_t cases = 0;
  uint64_t passed = 0;
  uint64_t steps = 0;
  std::map<std::string, uint64_t> ends;  // how the story's procedure ended, how often
};

void RunOne(const Story& story, std::optional<ProcedureCrash> crash, bool print, Count& count,
            ProcedureOutcome* outcome) {
  Trace trace(print, print ? 0 : kLastLines);
  ProcedureOutcome one = RunProcedure(story, crash, &trace);
  ++count.cases;
  if (one.ended) ++count.ends[std::string(catalog::NameOf(*one.ended))];
  if (one.result.failures.empty()) {
    ++count.passed;
  } else {
    PrintFailure(crash ? NameOf(story, *crash) : std::string(story.name), one, trace);
  }
  if (outcome != nullptr) *outcome = std::move(one);
}

// One that takes ten minutes, and one that fails (slow_destruction.h).
void RunDestruction(const std::string& name, RunResult (*run)(LogSink*), Count& count) {
  Trace trace(false, kLastLines);
  const RunResult result = run(&trace);
  ++count.cases;
  const bool passed = result.failures.empty();
  if (passed) ++count.passed;
  if (!passed) PrintFailure(name, {.result = result, .changes = {}}, trace);
  fmt::print("{:<22} {} minutes simulated, {}\n", name, ToMillis(result.simulated) / 60000,
             passed ? "passed" : "FAILED");
}

// "move-replica:3:2", or a story's name.
bool ParseCase(const std::string& text, const Story*& story, std::optional<ProcedureCrash>& crash) {
  const size_t colon = text.find(':');
  story = FindStory(text.substr(0, colon));
  if (story == nullptr) return false;
  if (colon == std::string::npos) return true;
  const char* const end = text.data() + text.size();
  ProcedureCrash parsed;
  const auto change = std::from_chars(text.data() + colon + 1, end, parsed.change);
  if (change.ec != std::errc() || change.ptr == end || *change.ptr != ':') return false;
  const auto machine = std::from_chars(change.ptr + 1, end, parsed.machine);
  const SimOptions options = OptionsOf(*story);
  if (machine.ec != std::errc() || machine.ptr != end || parsed.machine == 0 ||
      parsed.machine > options.processes + options.data_nodes)
    return false;
  --parsed.machine;
  crash = parsed;
  return true;
}

}  // namespace

ProcedureOutcome RunProcedure(const Story& story, std::optional<ProcedureCrash> crash, LogSink* trace) {
  return ProcedureRun(story, crash, trace).Go();
}

int RunProcedureCases(uint64_t stride, const std::string& only, bool trace) {
  const Story* chosen = nullptr;
  std::optional<ProcedureCrash> chosen_crash;
  if (!only.empty() && !ParseCase(only, chosen, chosen_crash)) {
    std::string names;
    for (const Story& story : Stories()) names += fmt::format(" {}", story.name);
    std::fputs(fmt::format("error: --only: '{}' is no case: STORY or STORY:CHANGE:MACHINE, stories:{}\n",
                           only, names)
                   .c_str(),
               stderr);
    return 2;
  }
  Count total;
  std::set<std::string_view> types;
  uint64_t number = 0;
  SchemaOutcomes schema_outcomes;
  for (const Story& story : Stories()) {
    if (chosen != nullptr && chosen != &story) continue;
    Count count;
    if (chosen_crash) {
      RunOne(story, chosen_crash, trace, total, nullptr);
      continue;
    }
    ProcedureOutcome learned;
    RunOne(story, std::nullopt, trace && chosen != nullptr, count, &learned);
    count.steps = learned.changes.size();
    types.insert(story.type);
    for (size_t change = 0; change < learned.changes.size() && learned.result.failures.empty(); ++change) {
      for (const size_t machine : learned.changes[change].involved) {
        if (number++ % stride != 0) continue;
        RunOne(story, ProcedureCrash{change, machine}, false, count, nullptr);
      }
    }
    std::string ends;
    for (const auto& [state, times] : count.ends)
      ends += fmt::format("{}{} {}", ends.empty() ? "" : ", ", times, state);
    fmt::print("{:<22} {:>3} changes, {:>3} cases, {:>3} passed: {}\n", story.name, count.steps, count.cases,
               count.passed, ends);
    std::fflush(stdout);
    schema_outcomes[story.name] = {.succeeded = count.ends["SUCCEEDED"],
                                   .rolled_back = count.ends["ROLLED_BACK"],
                                   .announced = learned.announced};
    total.cases += count.cases;
    total.passed += count.passed;
    total.steps += count.steps;
  }
  if (only.empty()) {
    fmt::print("\n{}\n", TableOf(schema_outcomes));
    RunDestruction("slow-destruction", RunSlowDestruction, total);
    RunDestruction("failing-destruction", RunFailingDestruction, total);
  }
  fmt::print("procedures: {} cases ({} types, {} stories, {} steps), {} passed, {} failed\n", total.cases,
             types.size(), Stories().size(), total.steps, total.passed, total.cases - total.passed);
  return total.cases == total.passed ? 0 : 1;
}

}  // namespace tenure::sim
