#include <algorithm>

#include "store/commands.h"
#include "store/errors.h"
#include "store/expiry_option.h"
#include "store/number.h"

namespace tenure::store::commands {
namespace {

bool IsOtherType(const Entry& entry) {
  return entry.exists && !entry.IsString();
}

Reply ContentOrNull(Entry& entry) {
  return entry.exists ? Reply::Bulk(entry.TakeContent()) : Reply::Null();
}

// Stores a value under an opened key. An expiry that has passed (EXAT) leaves no key behind, so nobody has to
// sweep it up; nobody could have read it either.
void Store(Writer& keys, Entry& entry, std::string_view value, int64_t expiry_ms) {
  if (expiry_ms == 0 || expiry_ms >= keys.NowMillis()) {
    keys.SetString(entry, value, expiry_ms);
  } else if (entry.exists) {
    keys.Remove(entry);
  }
}

// SETEX and PSETEX: key, number, value.
constexpr ExpiryOption ExpiryOfSetEx(bool seconds) {
  return {ExpiryOption::Kind::kIn, seconds, 2};
}

Reply SetExGeneric(Writer& keys, const Arguments& arguments, bool seconds) {
  int64_t expiry_ms = 0;
  if (auto error = ResolveExpiry(keys, arguments, ExpiryOfSetEx(seconds), expiry_ms)) return *error;
  Entry entry = keys.Open(arguments[1]);
  Store(keys, entry, arguments[3], expiry_ms);
  return Reply::Ok();
}

std::optional<Reply> CheckIntegers(const Arguments& arguments, size_t first, size_t last) {
  for (size_t at = first; at <= last; ++at) {
    if (!ParseInteger(arguments[at])) return NotAnInteger();
  }
  return std::nullopt;
}

}  // namespace

Reply Get(Keyspace& keys, const Arguments& arguments) {
  Entry entry = keys.Find(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  return ContentOrNull(entry);
}

Reply MGet(Keyspace& keys, const Arguments& arguments) {
  BoundedReplies values;
  values.Reserve(arguments.size() - 1);
  for (size_t at = 1; at < arguments.size(); ++at) {
    Entry entry = keys.Find(arguments[at]);
    if (!values.Add(IsOtherType(entry) ? Reply::Null() : ContentOrNull(entry))) break;
  }
  return values.Take(Reply::Kind::kArray);
}

Reply StrLen(Keyspace& keys, const Arguments& arguments) {
  const Entry entry = keys.Find(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  return Reply::Integer(entry.exists ? static_cast<int64_t>(entry.content().size()) : 0);
}

std::optional<Reply> CheckGetRange(const Arguments& arguments) {
  return CheckIntegers(arguments, 2, 3);
}

Reply GetRange(Keyspace& keys, const Arguments& arguments) {
  if (auto error = CheckGetRange(arguments)) return *error;
  int64_t start = *ParseInteger(arguments[2]);
  int64_t end = *ParseInteger(arguments[3]);
  const Entry entry = keys.Find(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  if (!entry.exists || entry.content().empty()) return Reply::Bulk({});
  if (start < 0 && end < 0 && start > end) return Reply::Bulk({});
  const std::string_view content = entry.content();
  const auto size = static_cast<int64_t>(content.size());
  if (start < 0) start = std::max<int64_t>(start + size, 0);
  if (end < 0) end = std::max<int64_t>(end + size, 0);
  end = std::min(end, size - 1);
  if (start > end) return Reply::Bulk({});
  return Reply::Bulk(
      std::string(content.substr(static_cast<size_t>(start), static_cast<size_t>(end - start + 1))));
}

std::optional<Reply> CheckSet(const Arguments& arguments) {
  SetOptions options;
  if (auto error = ParseStringOptions(arguments, 3, OptionSet::kSet, options)) return error;
  int64_t amount = 0;
  return options.expiry.HasTime() ? ParseExpiryAmount(arguments, options.expiry, amount) : std::nullopt;
}

Reply Set(Writer& keys, const Arguments& arguments) {
  SetOptions options;
  if (auto error = ParseStringOptions(arguments, 3, OptionSet::kSet, options)) return *error;
  int64_t expiry_ms = 0;
  if (options.expiry.HasTime()) {
    if (auto error = ResolveExpiry(keys, arguments, options.expiry, expiry_ms)) return *error;
  }
  Entry entry = keys.Open(arguments[1]);
  if (options.get && IsOtherType(entry)) return WrongType();
  if (options.expiry.kind == ExpiryOption::Kind::kKeep && entry.exists) expiry_ms = entry.header.expiry_ms;
  const bool refused = (options.nx && entry.exists) || (options.xx && !entry.exists);
  Reply old = options.get ? ContentOrNull(entry) : Reply::Null();
  if (!refused) Store(keys, entry, arguments[2], expiry_ms);
  return options.get || refused ? std::move(old) : Reply::Ok();
}

std::optional<Reply> CheckSetEx(const Arguments& arguments) {
  int64_t amount = 0;
  return ParseExpiryAmount(arguments, ExpiryOfSetEx(true), amount);
}

std::optional<Reply> CheckPSetEx(const Arguments& arguments) {
  int64_t amount = 0;
  return ParseExpiryAmount(arguments, ExpiryOfSetEx(false), amount);
}

Reply SetEx(Writer& keys, const Arguments& arguments) {
  return SetExGeneric(keys, arguments, true);
}

Reply PSetEx(Writer& keys, const Arguments& arguments) {
  return SetExGeneric(keys, arguments, false);
}

Reply SetNx(Writer& keys, const Arguments& arguments) {
  Entry entry = keys.Open(arguments[1]);
  if (entry.exists) return Reply::Integer(0);
  keys.SetString(entry, arguments[2], 0);
  return Reply::Integer(1);
}

Reply GetSet(Writer& keys, const Arguments& arguments) {
  Entry entry = keys.Open(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  Reply old = ContentOrNull(entry);
  keys.SetString(entry, arguments[2], 0);
  return old;
}

Reply GetDel(Writer& keys, const Arguments& arguments) {
  Entry entry = keys.Open(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  Reply old = ContentOrNull(entry);
  if (entry.exists) keys.Remove(entry);
  return old;
}

// Numbers are looked at only if the key exists, so Validate must not.
std::optional<Reply> CheckGetEx(const Arguments& arguments) {
  SetOptions options;
  return ParseStringOptions(arguments, 2, OptionSet::kGetEx, options);
}

Reply GetEx(Writer& keys, const Arguments& arguments) {
  SetOptions options;
  if (auto error = ParseStringOptions(arguments, 2, OptionSet::kGetEx, options)) return *error;
  Entry entry = keys.Open(arguments[1]);
  if (!entry.exists) return Reply::Null();
  if (IsOtherType(entry)) return WrongType();
  int64_t expiry_ms = 0;
  if (options.expiry.HasTime()) {
    if (auto error = ResolveExpiry(keys, arguments, options.expiry, expiry_ms)) return *error;
  }
  Reply value = Reply::Bulk(std::string(entry.content()));
  if (options.expiry.kind == ExpiryOption::Kind::kPersist) {
    if (entry.header.expiry_ms != 0) keys.SetExpiry(entry, 0);
  } else if (options.expiry.HasTime() && expiry_ms <= keys.NowMillis()) {
    keys.Remove(entry);
  } else if (options.expiry.HasTime()) {
    keys.SetExpiry(entry, expiry_ms);
  }
  return value;
}

std::optional<Reply> CheckMSet(const Arguments& arguments) {
  if (arguments.size() % 2 == 0) return WrongArity(Lowercase(arguments[0]));
  return std::nullopt;
}

Reply MSet(Writer& keys, const Arguments& arguments) {
  if (auto error = CheckMSet(arguments)) return *error;
  for (size_t at = 1; at < arguments.size(); at += 2) {
    Entry entry = keys.Open(arguments[at]);
    keys.SetString(entry, arguments[at + 1], 0);
  }
  return Reply::Ok();
}

Reply MSetNx(Writer& keys, const Arguments& arguments) {
  if (auto error = CheckMSet(arguments)) return *error;
  for (size_t at = 1; at < arguments.size(); at += 2) {
    if (keys.Find(arguments[at]).exists) return Reply::Integer(0);
  }
  MSet(keys, arguments);
  return Reply::Integer(1);
}

Reply Append(Writer& keys, const Arguments& arguments) {
  Entry entry = keys.Open(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  const size_t old_size = entry.exists ? entry.content().size() : 0;
  const size_t size = old_size + arguments[2].size();
  if (size > keys.max_value_bytes()) return StringTooLong();
  const int64_t expiry_ms = entry.header.expiry_ms;
  if (old_size == 0) {
    keys.SetString(entry, arguments[2], expiry_ms);
  } else {
    keys.SetString(entry, entry.TakeContent() + arguments[2], expiry_ms);
  }
  return Reply::Integer(static_cast<int64_t>(size));
}

std::optional<Reply> CheckSetRange(const Arguments& arguments) {
  const auto offset = ParseInteger(arguments[2]);
  if (!offset) return NotAnInteger();
  if (*offset < 0) return Reply::Error("ERR offset is out of range");
  return std::nullopt;
}

Reply SetRange(Writer& keys, const Arguments& arguments) {
  if (auto error = CheckSetRange(arguments)) return *error;
  const auto offset = static_cast<uint64_t>(*ParseInteger(arguments[2]));
  const std::string& patch = arguments[3];
  Entry entry = keys.Open(arguments[1]);
  if (IsOtherType(entry)) return WrongType();
  if (patch.empty()) return Reply::Integer(entry.exists ? static_cast<int64_t>(entry.content().size()) : 0);
  if (offset > keys.max_value_bytes() || offset + patch.size() > keys.max_value_bytes())
    return StringTooLong();
  const int64_t expiry_ms = entry.header.expiry_ms;
  std::string content = entry.exists ? entry.TakeContent() : std::string();
  if (content.size() < offset + patch.size()) content.resize(offset + patch.size());
  content.replace(offset, patch.size(), patch);
  keys.SetString(entry, content, expiry_ms);
  return Reply::Integer(static_cast<int64_t>(content.size()));
}

}  // namespace tenure::store::commands
