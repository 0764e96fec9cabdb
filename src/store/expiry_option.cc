#include "store/expiry_option.h"

#include <fmt/format.h>

#include <limits>

#include "store/errors.h"
#include "store/number.h"

namespace tenure::store {
namespace {

using Kind = ExpiryOption::Kind;

constexpr int64_t kMaxExpiryMillis = std::numeric_limits<int64_t>::max();

struct TimeOption {
  std::string_view name;
  Kind kind;
  bool seconds;
};
constexpr TimeOption kTimeOptions[] = {
    {"ex", Kind::kIn, true}, {"px", Kind::kIn, false}, {"exat", Kind::kAt, true}, {"pxat", Kind::kAt, false}};

// EX, PX, EXAT, PXAT followed by a number; true if taken. The same one may be repeated, the last counts.
bool TakeTimeOption(const Arguments& arguments, size_t& at, ExpiryOption& expiry) {
  if (at + 1 >= arguments.size()) return false;
  for (const TimeOption& option : kTimeOptions) {
    if (!EqualsIgnoringCase(arguments[at], option.name)) continue;
    const bool same = expiry.kind == option.kind && expiry.seconds == option.seconds;
    if (expiry.kind != Kind::kNone && !same) return false;
    expiry = {option.kind, option.seconds, ++at};
    return true;
  }
  return false;
}

// An option without a number; true if taken.
bool TakeFlag(std::string_view word, OptionSet allowed, SetOptions& options) {
  const auto set_kind = [&options](Kind kind) {
    if (options.expiry.kind != Kind::kNone && options.expiry.kind != kind) return false;
    options.expiry.kind = kind;
    return true;
  };
  if (allowed == OptionSet::kGetEx) return EqualsIgnoringCase(word, "persist") && set_kind(Kind::kPersist);
  if (EqualsIgnoringCase(word, "nx") && !options.xx) return options.nx = true;
  if (EqualsIgnoringCase(word, "xx") && !options.nx) return options.xx = true;
  if (EqualsIgnoringCase(word, "get")) return options.get = true;
  return EqualsIgnoringCase(word, "keepttl") && set_kind(Kind::kKeep);
}

}  // namespace

std::optional<Reply> ParseStringOptions(const Arguments& arguments, size_t first, OptionSet allowed,
                                        SetOptions& options) {
  for (size_t at = first; at < arguments.size(); ++at) {
    if (TakeFlag(arguments[at], allowed, options)) continue;
    if (TakeTimeOption(arguments, at, options.expiry)) continue;
    return SyntaxError();
  }
  return std::nullopt;
}

std::optional<Reply> ParseExpiryAmount(const Arguments& arguments, const ExpiryOption& option, int64_t& ms) {
  const auto number = ParseInteger(arguments[option.argument]);
  if (!number) return NotAnInteger();
  if (*number <= 0 || (option.seconds && *number > kMaxExpiryMillis / 1000))
    return InvalidExpireTime(arguments);
  ms = option.seconds ? *number * 1000 : *number;
  return std::nullopt;
}

std::optional<Reply> ResolveExpiry(Keyspace& keys, const Arguments& arguments, const ExpiryOption& option,
                                   int64_t& at_ms) {
  if (auto error = ParseExpiryAmount(arguments, option, at_ms)) return error;
  if (option.kind == Kind::kAt) return std::nullopt;
  const auto sum = AddIntegers(at_ms, keys.NowMillis());
  if (!sum) return InvalidExpireTime(arguments);
  at_ms = *sum;
  return std::nullopt;
}

std::optional<Reply> ParseExpireConditions(const Arguments& arguments, ExpireConditions& conditions) {
  for (size_t at = 3; at < arguments.size(); ++at) {
    const std::string& word = arguments[at];
    if (EqualsIgnoringCase(word, "nx")) {
      conditions.nx = true;
    } else if (EqualsIgnoringCase(word, "xx")) {
      conditions.xx = true;
    } else if (EqualsIgnoringCase(word, "gt")) {
      conditions.gt = true;
    } else if (EqualsIgnoringCase(word, "lt")) {
      conditions.lt = true;
    } else {
      return Reply::Error(fmt::format("ERR Unsupported option {}", PrintableInError(word)));
    }
  }
  if (conditions.nx && (conditions.xx || conditions.gt || conditions.lt)) {
    return Reply::Error("ERR NX and XX, GT or LT options at the same time are not compatible");
  }
  if (conditions.gt && conditions.lt) {
    return Reply::Error("ERR GT and LT options at the same time are not compatible");
  }
  return std::nullopt;
}

}  // namespace tenure::store
