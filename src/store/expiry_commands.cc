#include <algorithm>
#include <limits>

#include "store/commands.h"
#include "store/errors.h"
#include "store/expiry_option.h"
#include "store/number.h"

namespace tenure::store::commands {
namespace {

constexpr int64_t kNoKey = -2;
constexpr int64_t kNoExpiry = -1;

enum class Unit : uint8_t { kSeconds, kMillis };
enum class From : uint8_t { kNow, kEpoch };

int64_t InUnit(int64_t ms, Unit unit) {
  // As Redis rounds; written so that the largest time does not overflow.
  return unit == Unit::kMillis ? ms : ms / 1000 + (ms % 1000 >= 500 ? 1 : 0);
}

Reply TtlGeneric(Keyspace& keys, const Arguments& arguments, Unit unit, From from) {
  const Entry entry = keys.Find(arguments[1]);
  if (!entry.exists) return Reply::Integer(kNoKey);
  const int64_t expiry_ms = entry.header.expiry_ms;
  if (expiry_ms == 0) return Reply::Integer(kNoExpiry);
  const int64_t ms = from == From::kEpoch ? expiry_ms : std::max<int64_t>(expiry_ms - keys.NowMillis(), 0);
  return Reply::Integer(InUnit(ms, unit));
}

// The number of arguments[2] as milliseconds.
std::optional<Reply> ParseExpireNumber(const Arguments& arguments, Unit unit, int64_t& ms) {
  const auto number = ParseInteger(arguments[2]);
  if (!number) return NotAnInteger();
  if (unit == Unit::kMillis) {
    ms = *number;
    return std::nullopt;
  }
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max() / 1000;
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min() / 1000;
  if (*number > kMax || *number < kMin) return InvalidExpireTime(arguments);
  ms = *number * 1000;
  return std::nullopt;
}

// A key without an expiry lives longer than any: GT never sets one, LT always does.
bool ConditionsHold(const ExpireConditions& conditions, int64_t current_ms, int64_t wanted_ms) {
  const bool has_expiry = current_ms != 0;
  if (conditions.nx && has_expiry) return false;
  if (conditions.xx && !has_expiry) return false;
  if (conditions.gt && (!has_expiry || wanted_ms <= current_ms)) return false;
  if (conditions.lt && has_expiry && wanted_ms >= current_ms) return false;
  return true;
}

Reply ExpireGeneric(Writer& keys, const Arguments& arguments, Unit unit, From from) {
  ExpireConditions conditions;
  if (auto error = ParseExpireConditions(arguments, conditions)) return *error;
  int64_t when_ms = 0;
  if (auto error = ParseExpireNumber(arguments, unit, when_ms)) return *error;
  if (from == From::kNow) {
    const auto sum = AddIntegers(when_ms, keys.NowMillis());
    if (!sum) return InvalidExpireTime(arguments);
    when_ms = *sum;
  }
  Entry entry = keys.Open(arguments[1]);
  if (!entry.exists || !ConditionsHold(conditions, entry.header.expiry_ms, when_ms)) return Reply::Integer(0);
  if (when_ms <= keys.NowMillis()) {
    keys.Remove(entry);
  } else {
    keys.SetExpiry(entry, when_ms);
  }
  return Reply::Integer(1);
}

}  // namespace

Reply Ttl(Keyspace& keys, const Arguments& arguments) {
  return TtlGeneric(keys, arguments, Unit::kSeconds, From::kNow);
}
Reply PTtl(Keyspace& keys, const Arguments& arguments) {
  return TtlGeneric(keys, arguments, Unit::kMillis, From::kNow);
}
Reply ExpireTime(Keyspace& keys, const Arguments& arguments) {
  return TtlGeneric(keys, arguments, Unit::kSeconds, From::kEpoch);
}
Reply PExpireTime(Keyspace& keys, const Arguments& arguments) {
  return TtlGeneric(keys, arguments, Unit::kMillis, From::kEpoch);
}

Reply Expire(Writer& keys, const Arguments& arguments) {
  return ExpireGeneric(keys, arguments, Unit::kSeconds, From::kNow);
}
Reply PExpire(Writer& keys, const Arguments& arguments) {
  return ExpireGeneric(keys, arguments, Unit::kMillis, From::kNow);
}
Reply ExpireAt(Writer& keys, const Arguments& arguments) {
  return ExpireGeneric(keys, arguments, Unit::kSeconds, From::kEpoch);
}
Reply PExpireAt(Writer& keys, const Arguments& arguments) {
  return ExpireGeneric(keys, arguments, Unit::kMillis, From::kEpoch);
}

std::optional<Reply> CheckExpire(const Arguments& arguments) {
  ExpireConditions conditions;
  if (auto error = ParseExpireConditions(arguments, conditions)) return error;
  if (!ParseInteger(arguments[2])) return NotAnInteger();
  return std::nullopt;
}

Reply Persist(Writer& keys, const Arguments& arguments) {
  Entry entry = keys.Open(arguments[1]);
  if (!entry.exists || entry.header.expiry_ms == 0) return Reply::Integer(0);
  keys.SetExpiry(entry, 0);
  return Reply::Integer(1);
}

}  // namespace tenure::store::commands
