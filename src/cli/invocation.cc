#include "cli/invocation.h"

#include <charconv>

namespace tenure::cli {
namespace {

constexpr int64_t kMaxPositive = 1'000'000'000;  // as seconds it still is a Duration

bool IsWhole(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.starts_with("UINT") || type.starts_with("INT");
}

// The parser would take 010 for 8, 0x10 for 16 and what is too large for the largest.
std::string ToDecimal(std::string& text) {
  const bool negative = text.starts_with('-');
  std::string digits = text.substr(negative ? 1 : 0);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos)
    return fmt::format("'{}' is no whole number", text);
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  uint64_t value = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc())
    return fmt::format("'{}' is too large", text);
  text = (negative ? "-" : "") + digits;
  return {};
}

}  // namespace

void ReadWholeNumbersAsDecimals(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (IsWhole(*option)) option->transform(CLI::Validator(ToDecimal, ""));
  }
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    ReadWholeNumbersAsDecimals(*command);
}

CLI::App* AddFamily(CLI::App& app, const std::string& name, const std::string& description) {
  CLI::App* family = app.add_subcommand(name, description);
  family->require_subcommand(1);
  return family;
}

CLI::Validator Positive() {
  return CLI::Validator(
      [](std::string& text) {
        double number = 0;
        const bool is_number = CLI::detail::lexical_cast(text, number);
        if (is_number && number > kMaxPositive) return fmt::format("'{}' is above {}", text, kMaxPositive);
        return is_number && number > 0 ? std::string() : fmt::format("'{}' is no number above 0", text);
      },
      "");
}

void AddWaitFlag(CLI::App* command, bool& wait) {
  command->add_flag("--wait,!--no-wait", wait,
                    wait ? "Return when it is done (default), or once it is accepted"
                         : "Return when it is done, or once it is accepted (default)");
}

}  // namespace tenure::cli
