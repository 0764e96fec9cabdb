// tenure-sim: runs seeds of the simulation. See docs/testing.md.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <string>
#include <vector>

#include "base/check.h"
#include "sim/run.h"

namespace tenure::sim {
namespace {

uint64_t current_seed = 0;

void ReportSeed(const std::string&) {
  std::fprintf(stderr, "seed %llu failed; replay: ./dev sim --seed %llu --trace\n",
               static_cast<unsigned long long>(current_seed), static_cast<unsigned long long>(current_seed));
}

// Keeps the last lines, or prints them all.
class Trace final : public LogSink {
 public:
  Trace(bool print, size_t kept) : print_(print), kept_(kept) {}
  bool Enabled(LogLevel level) const override { return level != LogLevel::kDebug; }
  void Write(LogLevel, std::string_view source, std::string_view message) override {
    std::string line = fmt::format("{:<28} {}", source, message);
    if (print_) fmt::print("{}\n", line);
    lines_.push_back(std::move(line));
    if (lines_.size() > kept_) lines_.pop_front();
  }
  const std::deque<std::string>& lines() const { return lines_; }

 private:
  const bool print_;
  const size_t kept_;
  std::deque<std::string> lines_;
};

struct Totals {
  uint64_t passed = 0;
  uint64_t failed = 0;
  uint64_t events = 0;
  uint64_t faults = 0;
  uint64_t elections = 0;
  uint64_t changes = 0;
  uint64_t entries = 0;
  uint64_t comparisons = 0;
  uint64_t acknowledged = 0;
  uint64_t unknown = 0;
  uint64_t undecided = 0;
  uint64_t acknowledged_writes = 0;
  uint64_t power_losses = 0;
  uint64_t torn_files = 0;
  Duration simulated{};
};

// Where two runs of one seed part: the first event that differs, and those before it.
std::string FirstDifference(const SimOptions& options) {
  Trace silent(false, 1);
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

bool RunOne(uint64_t seed, uint32_t power_losses, bool print, Totals& totals) {
  current_seed = seed;
  SimOptions options = DrawOptions(seed);
  options.power_losses = power_losses;
  Trace trace(print, 60);
  const RunResult result = RunSeed(options, &trace);
  std::vector<std::string> failures = result.failures;
  if (failures.empty()) {
    Trace silent(false, 1);
    const RunResult again = RunSeed(options, &silent);
    if (again.event_hash != result.event_hash || again.events != result.events) {
      failures.push_back(fmt::format(
          "a run is a function of its seed: {} events, hash {:016x}, then {} events, hash {:016x}{}",
          result.events, result.event_hash, again.events, again.event_hash, FirstDifference(options)));
    }
  }
  totals.events += result.events;
  totals.faults += result.faults;
  totals.elections += result.elections;
  totals.changes += result.changes;
  totals.entries += result.entries;
  totals.comparisons += result.comparisons;
  totals.acknowledged += result.acknowledged;
  totals.unknown += result.unknown;
  totals.acknowledged_writes += result.acknowledged_writes;
  totals.power_losses += result.power_losses;
  totals.torn_files += result.torn_files;
  totals.undecided += result.undecided;
  totals.simulated += result.simulated;
  (failures.empty() ? totals.passed : totals.failed) += 1;
  if (print || !failures.empty()) {
    fmt::print(
        "seed {} {} in phase {}: {} events, hash {:016x}, {} ms simulated, {} faults, {} elections, {} "
        "operations\n",
        seed, failures.empty() ? "passed" : "FAILED", result.phase, result.events, result.event_hash,
        ToMillis(result.simulated), result.faults, result.elections, result.acknowledged);
  }
  if (!failures.empty()) {
    fmt::print("  options: {}\n", Describe(options));
    for (const std::string& failure : failures) fmt::print("  violated: {}\n", failure);
    if (!print) {
      fmt::print("  last events:\n");
      for (const std::string& line : trace.lines()) fmt::print("    {}\n", line);
    }
    fmt::print("  replay: ./dev sim --seed {} {}--trace\n", seed,
               power_losses == 0 ? "" : fmt::format("--power-losses {} ", power_losses));
  }
  std::fflush(stdout);
  return failures.empty();
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Deterministic simulation of whole clusters. Every seed is run twice and must give the same events.");
  uint64_t seed = 0;
  uint64_t first = 1;
  uint64_t seeds = 0;
  bool trace = false;
  auto* one = app.add_option("--seed", seed, "run this seed");
  auto* many = app.add_option("--seeds", seeds, "run this many seeds")->excludes(one);
  app.add_option("--first", first, "beginning with this one")->needs(many);
  uint32_t power_losses = 0;
  app.add_option("--power-losses", power_losses,
                 "nothing but power losses of all machines at once, so many in each seed")
      ->check(CLI::Range(1, 1000));
  app.add_flag("--trace", trace, "print what happens");
  try {
    app.parse(argc, argv);
    if (!*one && !*many) throw CLI::RequiredError("--seed or --seeds");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  SetCheckHook(ReportSeed);
  const auto began = std::chrono::steady_clock::now();
  Totals totals;
  if (*one) {
    first = seed;
    seeds = 1;
  }
  for (uint64_t i = 0; i < seeds; ++i) RunOne(first + i, power_losses, trace, totals);
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  fmt::print(
      "{} seeds twice: {:.1f} simulated minutes, {} events, {} faults, {} elections, {} changes of voters, "
      "{} entries, {} state hashes compared, {} operations acknowledged, {} unknown, {} registers undecided, "
      "{:.1f} s\n",
      seeds, 2 * static_cast<double>(ToMillis(totals.simulated)) / 60000, 2 * totals.events, totals.faults,
      totals.elections, totals.changes, totals.entries, totals.comparisons, totals.acknowledged,
      totals.unknown, totals.undecided, wall);
  if (power_losses > 0) {
    fmt::print(
        "{} power losses of all machines at once, {} files with unsynced writes torn, {} writes "
        "acknowledged\n",
        totals.power_losses, totals.torn_files, totals.acknowledged_writes);
  }
  fmt::print("{} passed, {} failed\n", totals.passed, totals.failed);
  return totals.failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace tenure::sim

int main(int argc, char** argv) {
  return tenure::sim::Main(argc, argv);
}
