// One run of `tenure`: the flags that every command has, and the command that was chosen.
//
// A command family (kv_commands.cc, ...) adds its sub-commands to the parser; the parser's callback of the
// one that was typed sets `action`, which main runs after parsing. So wrong usage (exit 2) and a refusal
// (exit 1) never mix.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "base/time.h"
#include "cli/output.h"

namespace tenure::cli {

// The three controllers of a default `tenure up`.
inline constexpr std::string_view kDefaultControllers = "127.0.0.1:7110,127.0.0.1:7120,127.0.0.1:7130";

struct Invocation {
  OutputFormat format = OutputFormat::kTable;
  std::string controllers;  // comma-separated host:port; empty: kDefaultControllers
  double timeout_seconds = 10;
  bool timeout_given = false;
  std::function<Status()> action;

  Duration timeout() const {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(timeout_seconds));
  }
  // Of what a leader does only when its load is ready: longer than it waits for samples (15 s).
  Duration load_timeout() const { return timeout_given ? timeout() : std::chrono::seconds(30); }
};

// Makes `command` run `run` (Status(const Invocation&, const Options&)) with the options it was parsed into.
template <class Options, class Run>
void OnCommand(CLI::App* command, Invocation& invocation, std::shared_ptr<Options> options, Run run) {
  command->callback([&invocation, options, run] {
    invocation.action = [&invocation, options, run] { return run(invocation, *options); };
  });
}

// A command that groups others: `tenure kv ...`.
CLI::App* AddFamily(CLI::App& app, const std::string& name, const std::string& description);
// user@host of whoever runs this, for records of what was decided.
std::string Operator();
// A number that is positive and at most a thousand million, said in few words.
CLI::Validator Positive();
// Of all options of all commands, once they are there: leading zeros mean nothing, and nothing but digits is a number.
void ReadWholeNumbersAsDecimals(CLI::App& app);
// The option --wait/--no-wait; `wait` holds the default.
void AddWaitFlag(CLI::App* command, bool& wait);

void AddLocalClusterCommands(CLI::App& app, Invocation& invocation);  // up, down
void AddStatusCommand(CLI::App& app, Invocation& invocation);
void AddControllerCommands(CLI::App& app, Invocation& invocation);
void AddUpgradeCommands(CLI::App& app, Invocation& invocation);
void AddNodeCommands(CLI::App& app, Invocation& invocation);
void AddDatabaseCommands(CLI::App& app, Invocation& invocation);
void AddSchemaCommands(CLI::App& app, Invocation& invocation);  // table, view
void AddChangefeedCommands(CLI::App& app, Invocation& invocation);
void AddRegionCommands(CLI::App& app, Invocation& invocation);
void AddEntryCommands(CLI::App& app, Invocation& invocation);
void AddRecordCommands(CLI::App& app, Invocation& invocation);
void AddProcedureCommands(CLI::App& app, Invocation& invocation);
void AddFencingCommands(CLI::App& app, Invocation& invocation);  // fencing, barrier
void AddInspectCommand(CLI::App& app, Invocation& invocation);
void AddRepairCommand(CLI::App& app, Invocation& invocation);
void AddRecoverCommand(CLI::App& app, Invocation& invocation);
// Into the family `region`.
void AddRegionRecoverCommand(CLI::App& family, Invocation& invocation);
void AddReplicaCommands(CLI::App& family, Invocation& invocation);
void AddRangeCommands(CLI::App& family, Invocation& invocation);
// Into the family `node`.
void AddNodeChangeCommands(CLI::App& family, Invocation& invocation);

}  // namespace tenure::cli
