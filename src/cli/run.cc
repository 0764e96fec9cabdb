#include "cli/run.h"

#include <cstdlib>
#include <iostream>
#include <string_view>

#include "cli/invocation.h"
#include "cli/output.h"
#include "cli/session.h"

namespace tenure::cli {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

void AddGlobalOptions(CLI::App& app, Invocation& invocation) {
  const std::map<std::string, OutputFormat> formats = {{"table", OutputFormat::kTable},
                                                       {"json", OutputFormat::kJson}};
  app.add_option("--output", invocation.format, "table or json")
      ->transform(CLI::CheckedTransformer(formats).description(""))
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
         "Seconds a command may take (default 10; up 120, db create and drop 60)")
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

int WrongUsage(const CLI::ParseError& error, int argc, char** argv) {
  Failure failure;
  failure.reason = "INVALID_ARGUMENT";
  failure.message = std::string(error.what()) + "; see tenure --help";
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return WrongUsage(error, argc, argv);
  }
  const Status status = invocation.action();
  if (status.ok()) return kDone;
  PrintFailure(DescribeFailure(status), invocation.format);
  return kFailed;
}

}  // namespace tenure::cli
