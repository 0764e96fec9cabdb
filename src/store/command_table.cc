#include "store/command_table.h"

#include <array>

#include "store/command_list.h"
#include "store/errors.h"

namespace tenure::store {
namespace {

constexpr size_t kLongestName =
    std::ranges::max(kCommandSpecs, {}, [](const CommandSpec& spec) { return spec.name.size(); }).name.size();
constexpr size_t kQuotedBytes = 128;  // of an unknown command and of its arguments

}  // namespace

const CommandSpec* FindCommand(std::string_view name) {
  if (name.empty() || name.size() > kLongestName) return nullptr;
  std::array<char, kLongestName> lower{};
  for (size_t i = 0; i < name.size(); ++i) {
    lower[i] = name[i] >= 'A' && name[i] <= 'Z' ? static_cast<char>(name[i] + ('a' - 'A')) : name[i];
  }
  const std::string_view wanted(lower.data(), name.size());
  const auto* const found = std::ranges::lower_bound(kCommandSpecs, wanted, {}, &CommandSpec::name);
  return found != kCommandSpecs.end() && found->name == wanted ? found : nullptr;
}

std::span<const CommandSpec> AllCommands() {
  return kCommandSpecs;
}

Status UnknownCommand(const Arguments& arguments) {
  std::string quoted;
  for (size_t at = 1; at < arguments.size() && quoted.size() < kQuotedBytes; ++at) {
    const std::string_view argument(arguments[at].c_str());  // Redis stops at a NUL
    quoted += fmt::format("'{}' ", argument.substr(0, kQuotedBytes - quoted.size()));
  }
  const std::string_view name(arguments.empty() ? "" : arguments[0].c_str());
  return Error(StatusCode::kInvalidArgument, "{}",
               PrintableInError(fmt::format("unknown command '{}', with args beginning with: {}",
                                            name.substr(0, kQuotedBytes), quoted)));
}

Status CheckArity(const CommandSpec& spec, const Arguments& arguments) {
  const int count = static_cast<int>(arguments.size());
  if (spec.arity > 0 ? count == spec.arity : count >= -spec.arity) return OkStatus();
  return Error(StatusCode::kInvalidArgument, "wrong number of arguments for '{}' command", spec.name);
}

std::vector<std::string_view> KeysOf(const CommandSpec& spec, const Arguments& arguments) {
  std::vector<std::string_view> keys;
  VisitKeys(spec, arguments, [&keys](std::string_view key) {
    keys.push_back(key);
    return true;
  });
  return keys;
}

FieldPositions FieldPositionsOf(std::string_view command) {
  if (command.empty() || command[0] != 'h') return {};
  if (command == "hset" || command == "hmset") return {2, 2, false};
  if (command == "hdel" || command == "hmget") return {2, 1, false};
  if (command == "hget" || command == "hexists" || command == "hstrlen" || command == "hsetnx" ||
      command == "hincrby" || command == "hincrbyfloat") {
    return {2, 1, true};
  }
  return {};
}

}  // namespace tenure::store
