#include "cli/invocation.h"

namespace tenure::cli {

CLI::App* AddFamily(CLI::App& app, const std::string& name, const std::string& description) {
  CLI::App* family = app.add_subcommand(name, description);
  family->require_subcommand(1);
  return family;
}

void AddWaitFlag(CLI::App* command, bool& wait) {
  command->add_flag("--wait,!--no-wait", wait, "Return when it is done (default), or once it is accepted");
}

}  // namespace tenure::cli
