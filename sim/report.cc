#include "sim/report.h"

#include <fmt/format.h>

namespace tenure::sim {

void Totals::Add(const RunResult& result) {
  (result.failures.empty() ? passed : failed) += 1;
  sum.faults += result.faults;
  for (const auto& [type, ended] : result.procedures) sum.procedures[type] += ended;
  sum.tasks += result.tasks;
  sum.elections += result.elections;
  sum.changes += result.changes;
  sum.entries += result.entries;
  sum.comparisons += result.comparisons;
  sum.acknowledged += result.acknowledged;
  sum.unknown += result.unknown;
  sum.acknowledged_writes += result.acknowledged_writes;
  sum.power_losses += result.power_losses;
  sum.torn_files += result.torn_files;
  sum.undecided += result.undecided;
  sum.schema_changes += result.schema_changes;
  sum.schema_undone += result.schema_undone;
  sum.rows_answered += result.rows_answered;
  sum.rows_refused += result.rows_refused;
  sum.databases_created += result.databases_created;
  sum.databases_dropped += result.databases_dropped;
  sum.barriers += result.barriers;
  sum.feeds_created += result.feeds_created;
  sum.feed_messages += result.feed_messages;
  sum.feed_duplicates += result.feed_duplicates;
  sum.feed_rows += result.feed_rows;
  sum.feed_schema_changes += result.feed_schema_changes;
  sum.mail_repeated += result.mail_repeated;
  sum.mail_forged += result.mail_forged;
}

std::string FormatTotals(const Totals& totals, double wall_s, double core_s) {
  const RunResult& sum = totals.sum;
  std::string losses;
  if (sum.power_losses > 0) {
    losses = fmt::format(
        "{} power losses of all machines at once, {} files with unsynced writes torn, {} writes "
        "acknowledged\n",
        sum.power_losses, sum.torn_files, sum.acknowledged_writes);
  }
  if (!sum.procedures.empty()) {
    losses += fmt::format("{} tasks at nodes, procedures ended:", sum.tasks);
    for (const auto& [type, ended] : sum.procedures) losses += fmt::format(" {} {}", ended, type);
    losses += "\n";
  }
  if (sum.feeds_created > 0) {
    losses += fmt::format(
        "{} changefeeds created, {} messages arrived, {} of them changes of rows and {} of schemas, {} "
        "changes "
        "came again; {} messages of the protocol were repeated and {} forged\n",
        sum.feeds_created, sum.feed_messages, sum.feed_rows, sum.feed_schema_changes, sum.feed_duplicates,
        sum.mail_repeated, sum.mail_forged);
  }
  const double minutes = static_cast<double>(ToMillis(totals.simulated)) / 60000;
  return losses + fmt::format(
                      "{} faults, {} elections, {} changes of voters, {} databases created and {} dropped, "
                      "{} barriers, "
                      "{} schema changes made and {} undone, {} operations on rows answered and {} refused, "
                      "{} entries, {} state hashes compared, {} operations "
                      "acknowledged, {} unknown, {} registers undecided\n"
                      "totals: seeds={} runs={} simulated_min={:.2f} events={} wall_s={:.2f} core_s={:.2f} "
                      "undecided={} databases={}\n"
                      "{:.2f} simulated hours, {} events, {:.1f} s: {:.1f} cluster-minutes per core second\n"
                      "{} passed, {} failed\n",
                      sum.faults, sum.elections, sum.changes, sum.databases_created, sum.databases_dropped,
                      sum.barriers, sum.schema_changes, sum.schema_undone, sum.rows_answered,
                      sum.rows_refused, sum.entries, sum.comparisons, sum.acknowledged, sum.unknown,
                      sum.undecided, totals.passed + totals.failed, totals.runs, minutes, totals.events,
                      wall_s, core_s, sum.undecided, sum.databases_created, minutes / 60, totals.events,
                      wall_s, core_s > 0 ? minutes / core_s : 0, totals.passed, totals.failed);
}

std::string FormatResult(const SimOptions& options, const RunResult& result,
                         const std::deque<std::string>& last_lines, const std::string& replay) {
  std::string text = fmt::format(
      "seed {} {} in phase {}: {} events, hash {:016x}, {} ms simulated, {} faults, {} elections, {} "
      "operations\n",
      options.seed, result.failures.empty() ? "passed" : "FAILED", result.phase, result.events,
      result.event_hash, ToMillis(result.simulated), result.faults, result.elections, result.acknowledged);
  if (result.failures.empty()) return text;
  text += fmt::format("  options: {}\n", Describe(options));
  for (const std::string& failure : result.failures) text += fmt::format("  violated: {}\n", failure);
  if (!last_lines.empty()) text += "  last events:\n";
  for (const std::string& line : last_lines) text += fmt::format("    {}\n", line);
  return text + fmt::format("  replay: {}\n", replay);
}

}  // namespace tenure::sim
