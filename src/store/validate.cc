#include <fmt/format.h>

#include "store/command_list.h"
#include "store/dispatch.h"
#include "store/region_store.h"

namespace tenure::store {
namespace {

Status Refusal(std::string_view text) {
  return Error(StatusCode::kInvalidArgument, "{}", text);
}

Status WithCode(const Status& status) {
  return Refusal(fmt::format("ERR {}", MessageOf(status)));
}

Status CheckSizes(const CommandSpec& spec, const Arguments& arguments, const Limits& limits) {
  bool fits =
      VisitKeys(spec, arguments, [&](std::string_view key) { return key.size() <= limits.max_key_bytes; });
  if (!fits)
    return Refusal(fmt::format("ERR key exceeds maximum allowed size ({} bytes)", limits.max_key_bytes));
  const FieldPositions fields = FieldPositionsOf(spec.name);
  for (size_t at = fields.first; at != 0 && at < arguments.size(); at += fields.step) {
    if (arguments[at].size() > limits.max_key_bytes) {
      return Refusal(
          fmt::format("ERR hash field name exceeds maximum allowed size ({} bytes)", limits.max_key_bytes));
    }
    if (fields.single) break;
  }
  for (const std::string& argument : arguments) {
    if (argument.size() <= limits.max_value_bytes) continue;
    return Refusal(fmt::format("ERR value exceeds maximum allowed size ({} bytes)", limits.max_value_bytes));
  }
  return OkStatus();
}

}  // namespace

Status ValidateQueued(const Arguments& arguments, const Limits& limits) {
  const CommandSpec* const spec = arguments.empty() ? nullptr : FindCommand(arguments[0]);
  if (spec == nullptr) return WithCode(UnknownCommand(arguments));
  if (const Status arity = CheckArity(*spec, arguments); !arity.ok()) return WithCode(arity);
  return CheckSizes(*spec, arguments, limits);
}

Status Validate(const Arguments& arguments, const Limits& limits) {
  TENURE_RETURN_IF_ERROR(ValidateQueued(arguments, limits));
  const auto check = ImplementationOf(*FindCommand(arguments[0])).check;
  if (check == nullptr) return OkStatus();
  const auto error = check(arguments);
  return error ? Refusal(error->text) : OkStatus();
}

}  // namespace tenure::store
