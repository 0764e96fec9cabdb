#include <cmath>

#include "store/commands.h"
#include "store/errors.h"
#include "store/number.h"

namespace tenure::store::commands {
namespace {

Reply AddToInteger(Writer& keys, std::string_view key, int64_t increment) {
  Entry entry = keys.Open(key);
  if (entry.exists && !entry.IsString()) return WrongType();
  const auto value = entry.exists ? ParseInteger(entry.content()) : 0;
  if (!value) return NotAnInteger();
  const auto sum = AddIntegers(*value, increment);
  if (!sum) return IncrementOverflow();
  keys.SetString(entry, FormatInteger(*sum), entry.header.expiry_ms);
  return Reply::Integer(*sum);
}

}  // namespace

std::optional<Reply> CheckIncrBy(const Arguments& arguments) {
  if (!ParseInteger(arguments[2])) return NotAnInteger();
  return std::nullopt;
}

std::optional<Reply> CheckDecrBy(const Arguments& arguments) {
  const auto decrement = ParseInteger(arguments[2]);
  if (!decrement) return NotAnInteger();
  if (*decrement == INT64_MIN) return Reply::Error("ERR decrement would overflow");
  return std::nullopt;
}

Reply Incr(Writer& keys, const Arguments& arguments) {
  return AddToInteger(keys, arguments[1], 1);
}

Reply Decr(Writer& keys, const Arguments& arguments) {
  return AddToInteger(keys, arguments[1], -1);
}

Reply IncrBy(Writer& keys, const Arguments& arguments) {
  if (auto error = CheckIncrBy(arguments)) return *error;
  return AddToInteger(keys, arguments[1], *ParseInteger(arguments[2]));
}

Reply DecrBy(Writer& keys, const Arguments& arguments) {
  if (auto error = CheckDecrBy(arguments)) return *error;
  return AddToInteger(keys, arguments[1], -*ParseInteger(arguments[2]));
}

Reply IncrByFloat(Writer& keys, const Arguments& arguments) {
  Entry entry = keys.Open(arguments[1]);
  if (entry.exists && !entry.IsString()) return WrongType();
  const auto value = entry.exists ? ParseFloat(entry.content()) : 0.0L;
  const auto increment = ParseFloat(arguments[2]);
  if (!value || !increment) return NotAFloat();
  const long double sum = *value + *increment;
  if (!std::isfinite(sum)) return Reply::Error("ERR increment would produce NaN or Infinity");
  std::string text = FormatFloat(sum);
  keys.SetString(entry, text, entry.header.expiry_ms);
  return Reply::Bulk(std::move(text));
}

}  // namespace tenure::store::commands
