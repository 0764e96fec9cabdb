#include "cli/invocation.h"

namespace tenure::cli {

CLI::App* AddFamily(CLI::App& app, const std::string& name, const std::string& description) {
  CLI::App* family = app.add_subcommand(name, description);
  family->require_subcommand(1);
  return family;
}

CLI::Validator Positive() {
  return CLI::Validator(
      [](std::string& text) {
        double number = 0;
        const bool positive = CLI::detail::lexical_cast(text, number) && number > 0;
        return positive ? std::string() : fmt::format("'{}' is no number above 0", text);
      },
      "");
}

void AddWaitFlag(CLI::App* command, bool& wait) {
  command->add_flag("--wait,!--no-wait", wait,
                    wait ? "Return when it is done (default), or once it is accepted"
                         : "Return when it is done, or once it is accepted (default)");
}

}  // namespace tenure::cli
