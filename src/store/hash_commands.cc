#include <cmath>

#include "store/commands.h"
#include "store/errors.h"
#include "store/number.h"

namespace tenure::store::commands {
namespace {

bool IsOtherType(const Entry& entry) {
  return entry.exists && !entry.IsHash();
}

Reply FieldOrNull(const Keyspace& keys, const Entry& entry, std::string_view field) {
  if (!entry.exists) return Reply::Null();
  auto value = keys.Field(entry, field);
  return value ? Reply::Bulk(std::move(*value)) : Reply::Null();
}

// HGETALL, HKEYS, HVALS.
Reply CollectFields(Keyspace& keys, std::string_view key, Reply::Kind kind, bool names, bool values) {
  const Entry entry = keys.Find(key);
  if (IsOtherType(entry)) return WrongType();
  BoundedReplies collected;
  if (!entry.exists) return collected.Take(kind);
  collected.Reserve(entry.header.fields * (names && values ? 2 : 1));
  keys.VisitFields(entry, 0, [&](uint32_t, std::string_view field, std::string_view value) {
    return (!names || collected.Add(Reply::Bulk(std::string(field)))) &&
           (!values || collected.Add(Reply::Bulk(std::string(value))));
  });
  return collected.Take(kind);
}

// HSET and HMSET: the number of new fields, or an error.
Reply PutFields(Writer& keys, const Arguments& arguments) {
  if (auto error = CheckHSet(arguments)) return *error;
  Entry entry = keys.Open(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  int64_t created = 0;
  for (size_t at = 2; at < arguments.size(); at += 2) {
    if (keys.PutField(entry, arguments[at], arguments[at + 1])) ++created;
  }
  keys.SaveHash(entry);
  return Reply::Integer(created);
}

}  // namespace

Reply HGet(Keyspace& keys, const Arguments& arguments) {
  const Entry entry = keys.Find(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  return FieldOrNull(keys, entry, arguments[2]);
}

Reply HMGet(Keyspace& keys, const Arguments& arguments) {
  const Entry entry = keys.Find(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  BoundedReplies values;
  values.Reserve(arguments.size() - 2);
  for (size_t at = 2; at < arguments.size(); ++at) {
    if (!values.Add(FieldOrNull(keys, entry, arguments[at]))) break;
  }
  return values.Take(Reply::Kind::kArray);
}

Reply HGetAll(Keyspace& keys, const Arguments& arguments) {
  return CollectFields(keys, arguments[1], Reply::Kind::kMap, true, true);
}

Reply HKeys(Keyspace& keys, const Arguments& arguments) {
  return CollectFields(keys, arguments[1], Reply::Kind::kArray, true, false);
}

Reply HVals(Keyspace& keys, const Arguments& arguments) {
  return CollectFields(keys, arguments[1], Reply::Kind::kArray, false, true);
}

Reply HLen(Keyspace& keys, const Arguments& arguments) {
  const Entry entry = keys.Find(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  return Reply::Integer(entry.exists ? static_cast<int64_t>(entry.header.fields) : 0);
}

Reply HStrLen(Keyspace& keys, const Arguments& arguments) {
  const Entry entry = keys.Find(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  const auto value = entry.exists ? keys.Field(entry, arguments[2]) : std::nullopt;
  return Reply::Integer(value ? static_cast<int64_t>(value->size()) : 0);
}

Reply HExists(Keyspace& keys, const Arguments& arguments) {
  const Entry entry = keys.Find(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  return Reply::Integer(entry.exists && keys.Field(entry, arguments[2]) ? 1 : 0);
}

std::optional<Reply> CheckHSet(const Arguments& arguments) {
  if (arguments.size() % 2 != 0) return WrongArity(Lowercase(arguments[0]));
  return std::nullopt;
}

Reply HSet(Writer& keys, const Arguments& arguments) {
  return PutFields(keys, arguments);
}

Reply HMSet(Writer& keys, const Arguments& arguments) {
  Reply reply = PutFields(keys, arguments);
  return reply.IsError() ? std::move(reply) : Reply::Ok();
}

Reply HSetNx(Writer& keys, const Arguments& arguments) {
  Entry entry = keys.Open(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  if (entry.exists && keys.Field(entry, arguments[2])) return Reply::Integer(0);
  keys.PutField(entry, arguments[2], arguments[3]);
  keys.SaveHash(entry);
  return Reply::Integer(1);
}

Reply HDel(Writer& keys, const Arguments& arguments) {
  Entry entry = keys.Open(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  if (!entry.exists) return Reply::Integer(0);
  int64_t deleted = 0;
  for (size_t at = 2; at < arguments.size(); ++at) {
    if (keys.DeleteField(entry, arguments[at])) ++deleted;
  }
  if (deleted > 0) keys.SaveHash(entry);
  return Reply::Integer(deleted);
}

std::optional<Reply> CheckHIncrBy(const Arguments& arguments) {
  if (!ParseInteger(arguments[3])) return NotAnInteger();
  return std::nullopt;
}

Reply HIncrBy(Writer& keys, const Arguments& arguments) {
  if (auto error = CheckHIncrBy(arguments)) return *error;
  Entry entry = keys.Open(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  const auto stored = entry.exists ? keys.Field(entry, arguments[2]) : std::nullopt;
  const auto value = stored ? ParseInteger(*stored) : 0;
  if (!value) return Reply::Error("ERR hash value is not an integer");
  const auto sum = AddIntegers(*value, *ParseInteger(arguments[3]));
  if (!sum) return IncrementOverflow();
  keys.PutField(entry, arguments[2], FormatInteger(*sum));
  keys.SaveHash(entry);
  return Reply::Integer(*sum);
}

std::optional<Reply> CheckHIncrByFloat(const Arguments& arguments) {
  const auto increment = ParseFloat(arguments[3]);
  if (!increment) return NotAFloat();
  if (!std::isfinite(*increment)) return Reply::Error("ERR value is NaN or Infinity");
  return std::nullopt;
}

Reply HIncrByFloat(Writer& keys, const Arguments& arguments) {
  if (auto error = CheckHIncrByFloat(arguments)) return *error;
  Entry entry = keys.Open(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  const auto stored = entry.exists ? keys.Field(entry, arguments[2]) : std::nullopt;
  const auto value = stored ? ParseFloat(*stored) : 0.0L;
  if (!value) return Reply::Error("ERR hash value is not a float");
  const long double sum = *value + *ParseFloat(arguments[3]);
  if (!std::isfinite(sum)) return Reply::Error("ERR increment would produce NaN or Infinity");
  std::string text = FormatFloat(sum);
  keys.PutField(entry, arguments[2], text);
  keys.SaveHash(entry);
  return Reply::Bulk(std::move(text));
}

}  // namespace tenure::store::commands
