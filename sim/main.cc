// tenure-sim: runs seeds of the simulation, or a scenario. See docs/simulator.md.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/format.h"
#include "base/rare_path.h"
#include "sim/procedure_cases.h"
#include "sim/report.h"
#include "sim/run.h"
#include "sim/scenario.h"
#include "sim/trace.h"

namespace tenure::sim {
namespace {

constexpr size_t kLastLines = 60;

// What runs now, for the report of a check that fails.
const SimOptions* current = nullptr;
std::string current_replay;

void ReportSeed(const std::string&) {
  std::fflush(stdout);  // the trace up to here
  if (current == nullptr) return;
  std::fputs(fmt::format("seed {} FAILED by a check\n  options: {}\n  replay: {}\n", current->seed,
                         Describe(*current), current_replay)
                 .c_str(),
             stderr);
}

// Where two runs of one seed part: the first event that differs, and those before it.
std::string FirstDifference(const SimOptions& options) {
  Trace silent(false, 0);
  std::vector<std::string> first;
  const auto show = [](Instant time, std::string_view label) {
    return fmt::format("{} ns {}", time.time_since_epoch().count(), label);
  };
  RunSeed(options, &silent,
          [&](Instant time, std::string_view label) { first.push_back(show(time, label)); });
  size_t at = 0;
  std::string difference;
  RunSeed(options, &silent, [&](Instant time, std::string_view label) {
    if (!difference.empty()) return;
    const std::string event = show(time, label);
    if (at >= first.size() || first[at] != event) {
      for (size_t i = at < 5 ? 0 : at - 5; i < std::min(at, first.size()); ++i)
        difference += "\n    both    " + first[i];
      difference += "\n    first   " + (at < first.size() ? first[at] : "(ended)") + "\n    second  " + event;
    }
    ++at;
  });
  return difference;
}

// Runs it twice, which must give the same. Lines are only made for whoever wants to see them: the second run
// of a seed that failed keeps its last ones.
RunResult RunTwice(const SimOptions& options, bool print, const std::string& replay, Totals& totals) {
  current = &options;
  current_replay = replay;
  Trace trace(print, 0);
  RunResult result = RunSeed(options, &trace);
  Trace last(false, result.failures.empty() || print ? 0 : kLastLines);
  const RunResult again = RunSeed(options, &last);
  if (again.event_hash != result.event_hash || again.events != result.events) {
    result.failures.push_back(fmt::format(
        "a run is a function of its seed: {} events, hash {:016x}, then {} events, hash {:016x}{}",
        result.events, result.event_hash, again.events, again.event_hash, FirstDifference(options)));
  }
  totals.runs += 2;
  totals.simulated += result.simulated + again.simulated;
  totals.events += result.events + again.events;
  totals.Add(result);
  if (print || !result.failures.empty())
    fmt::print("{}", FormatResult(options, result, last.lines(), replay));
  std::fflush(stdout);
  return result;
}

// What users saw of a rehearsed failure.
void PrintOutage(const RunResult& result) {
  const auto seconds = [](Duration time) { return static_cast<double>(ToMillis(time)) / 1000; };
  const auto silence = [&](const char* what, const History::Silence& longest) {
    fmt::print("{} longest time without an acknowledged write {:.3f} s, from {:.3f}\n", what,
               seconds(longest.length), seconds(longest.began - Instant()));
  };
  fmt::print("faults began at {:.3f}, everything served again at {:.3f}\n",
             seconds(result.broken - Instant()), seconds(result.healed - Instant()));
  silence("keys:   ", result.key_silence);
  silence("catalog:", result.entry_silence);
}

StatusOr<SimOptions> ReadScenario(const std::string& path) {
  std::ifstream file(path);  // lint: allow(file) the scenario that the user names
  std::stringstream text;
  if (!file || !(text << file.rdbuf()))
    return Error(StatusCode::kNotFound, "scenario {} cannot be read or is empty", path);
  return ParseScenario(text.str(), path);
}

struct Arguments {
  uint64_t seed = 0;
  uint64_t first = 1;
  uint64_t seeds = 0;
  std::string scenario;
  bool trace = false;
  bool print_scenario = false;
  bool rare_paths = false;
  uint32_t power_losses = 0;
  std::optional<uint32_t> changefeeds;
  bool procedures = false;
  uint64_t procedures_stride = 1;
  std::string only;
};

int Run(const Arguments& arguments) {
  SetCheckHook(ReportSeed);
  const auto began = std::chrono::steady_clock::now();
  Totals totals;
  if (!arguments.scenario.empty()) {
    const StatusOr<SimOptions> options = ReadScenario(arguments.scenario);
    if (!options.ok()) {
      std::fputs(fmt::format("error: {}\n", MessageOf(options.status())).c_str(), stderr);
      return 2;
    }
    PrintOutage(RunTwice(*options, arguments.trace,
                         fmt::format("tenure-sim --scenario {} --trace", arguments.scenario), totals));
  }
  for (uint64_t i = 0; i < arguments.seeds; ++i) {
    const uint64_t seed = arguments.first + i;
    SimOptions options = DrawOptions(seed);
    options.power_losses = arguments.power_losses;
    std::string rounds =
        arguments.power_losses == 0 ? "" : fmt::format("--power-losses {} ", arguments.power_losses);
    if (arguments.changefeeds) {
      options.changefeeds = *arguments.changefeeds;
      rounds += fmt::format("--changefeeds {} ", options.changefeeds);
    }
    RunTwice(options, arguments.trace, fmt::format("./dev sim --seed {} {}--trace", seed, rounds), totals);
  }
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  fmt::print("{}", FormatTotals(totals, wall, static_cast<double>(std::clock()) / CLOCKS_PER_SEC));
  if (arguments.rare_paths) {
    for (const auto& [name, hits] : RarePath::Hits()) fmt::print("rare: {:>9} {}\n", hits, name);
  }
  return totals.failed == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Deterministic simulation of whole clusters. Every run is made twice and must give the same events.");
  Arguments arguments;
  auto* one = app.add_option("--seed", arguments.seed, "run this seed");
  auto* many = app.add_option("--seeds", arguments.seeds, "run this many seeds")->excludes(one);
  app.add_option("--first", arguments.first, "beginning with this one")->needs(many);
  auto* scenario = app.add_option("--scenario", arguments.scenario, "run this scenario, a TOML file")
                       ->excludes(one)
                       ->excludes(many);
  app.add_flag("--trace", arguments.trace, "print what happens");
  app.add_flag("--print-scenario", arguments.print_scenario,
               "print --seed as a scenario instead of running it")
      ->needs(one);
  app.add_option("--power-losses", arguments.power_losses,
                 "nothing but power losses of all machines at once, so many in each seed")
      ->excludes(scenario);
  app.add_option("--changefeeds", arguments.changefeeds,
                 "so many in each seed, instead of as many as it draws")
      ->excludes(scenario)
      ->check(CLI::Range(uint32_t{0}, uint32_t{4}));
  auto* procedures =
      app.add_flag("--procedures", arguments.procedures,
                   "a crash of every machine concerned at every change of every kind of procedure")
          ->excludes(one)
          ->excludes(many)
          ->excludes(scenario);
  app.add_option("--stride", arguments.procedures_stride, "of these only every so manyth")
      ->needs(procedures)
      ->check(CLI::Range(uint64_t{1}, uint64_t{1000}));
  app.add_option("--only", arguments.only, "of these only one story, or one case: STORY:CHANGE:MACHINE")
      ->needs(procedures);
  app.add_flag("--rare-paths", arguments.rare_paths, "print how often each rare path was taken");
  try {
    app.parse(argc, argv);
    if (!*one && !*many && !*scenario && !*procedures)
      throw CLI::RequiredError("--seed, --seeds, --scenario or --procedures");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (arguments.print_scenario) {
    SimOptions options = DrawOptions(arguments.seed);
    options.changefeeds = arguments.changefeeds.value_or(options.changefeeds);
    fmt::print("{}", FormatScenario(options));
    return 0;
  }
  if (arguments.procedures)
    return RunProcedureCases(arguments.procedures_stride, arguments.only, arguments.trace);
  if (*one) {
    arguments.first = arguments.seed;
    arguments.seeds = 1;
  }
  return Run(arguments);
}

}  // namespace
}  // namespace tenure::sim

int main(int argc, char** argv) {
  return tenure::sim::Main(argc, argv);
}
