#include "cli/run.h"

#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/format.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "cli/session.h"

namespace tenure::cli {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

void AddGlobalOptions(CLI::App& app, Invocation& invocation) {
  app.add_option_function<std::string>(
         "--output",
         [&invocation](const std::string& format) {
           invocation.format = format == "json" ? OutputFormat::kJson : OutputFormat::kTable;
         },
         "table or json")
      ->check(CLI::Validator(
          [](std::string& format) {
            return format == "table" || format == "json"
                       ? ""
                       : fmt::format("'{}' is neither table nor json", format);
          },
          ""))
      ->type_name("FORMAT");
  app.add_option("--controllers", invocation.controllers,
                 "Where the cluster is: HOST:PORT,... (default " + std::string(kDefaultControllers) + ")")
      ->envname("TENURE_CONTROLLERS")
      ->check(CLI::Validator(
          [](std::string& list) { return std::string(MessageOf(ParseEndpoints(list).status())); }, ""))
      ->type_name("LIST");
  app.add_option_function<double>(
         "--timeout",
         [&invocation](const double& seconds) {
           invocation.timeout_seconds = seconds;
           invocation.timeout_given = true;
         },
         "Seconds to wait; without it 10 for most commands, more for long ones (docs/cli.md)")
      ->check(Positive())
      ->type_name("SECONDS");
}

// The flag may stand before or behind what could not be parsed.
OutputFormat FormatAskedFor(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--output=json") return OutputFormat::kJson;
    if (word == "--output" && i + 1 < argc && std::string_view(argv[i + 1]) == "json")
      return OutputFormat::kJson;
  }
  return OutputFormat::kTable;
}

// A word where a command should be, and none of that name is there.
std::optional<std::string> UnknownCommand(const CLI::App& app) {
  const CLI::App* family = &app;
  while (!family->get_subcommands().empty()) family = family->get_subcommands().front();
  const std::vector<const CLI::App*> commands = family->get_subcommands([](const CLI::App*) { return true; });
  if (commands.empty()) return std::nullopt;
  for (const std::string& word : app.remaining(/*recurse=*/true)) {
    if (word.starts_with("-")) continue;
    std::vector<std::string> names;
    for (const CLI::App* command : commands) names.push_back(command->get_name());
    return fmt::format("{}: '{}' is not a command; there are: {}", family->get_name(), word,
                       fmt::join(names, " "));
  }
  return std::nullopt;
}

int WrongUsage(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  Failure failure;
  failure.reason = "INVALID_ARGUMENT";
  failure.message = UnknownCommand(app).value_or(error.what()) + "; see tenure --help";
  PrintFailure(failure, FormatAskedFor(argc, argv));
  return kWrongUsage;
}

}  // namespace

int Run(int argc, char** argv) {
  Invocation invocation;
  CLI::App app("tenure: client of a Tenure cluster", "tenure");
  app.fallthrough();  // --output and the like may stand anywhere
  app.require_subcommand(1);
  AddGlobalOptions(app, invocation);
  AddLocalClusterCommands(app, invocation);
  AddStatusCommand(app, invocation);
  AddControllerCommands(app, invocation);
  AddUpgradeCommands(app, invocation);
  AddNodeCommands(app, invocation);
  AddDatabaseCommands(app, invocation);
  AddSchemaCommands(app, invocation);
  AddChangefeedCommands(app, invocation);
  AddRegionCommands(app, invocation);
  AddEntryCommands(app, invocation);
  AddRecordCommands(app, invocation);
  AddProcedureCommands(app, invocation);
  AddFencingCommands(app, invocation);
  AddInspectCommand(app, invocation);
  AddRepairCommand(app, invocation);
  AddRecoverCommand(app, invocation);
  ReadWholeNumbersAsDecimals(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return WrongUsage(app, error, argc, argv);
  }
  Status status;
  try {
    status = invocation.action();
    if (status.ok()) status = Printed();
  } catch (const std::exception& thrown) {
    status = Error(StatusCode::kInternal, "{}", thrown.what());
  }
  if (status.ok()) return kDone;
  PrintFailure(DescribeFailure(status), invocation.format);
  return kFailed;
}

}  // namespace tenure::cli
