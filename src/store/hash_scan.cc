#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>

#include "store/commands.h"
#include "store/errors.h"
#include "store/glob.h"
#include "store/number.h"

namespace tenure::store::commands {
namespace {

// A hash up to this size comes in one step, whatever COUNT says: Redis does so for hashes in its compact
// form, and clients exist that rely on it.
constexpr uint64_t kSmallHashFields = 512;
constexpr size_t kSmallHashBytes = 64 << 10;
constexpr int64_t kDefaultCount = 10;

struct ScanOptions {
  int64_t count = kDefaultCount;
  std::optional<std::string_view> match;
};

std::optional<Reply> ParseScanOptions(const Arguments& arguments, ScanOptions& options) {
  for (size_t at = 3; at < arguments.size(); at += 2) {
    if (at + 1 >= arguments.size()) return SyntaxError();
    if (EqualsIgnoringCase(arguments[at], "count")) {
      const auto count = ParseInteger(arguments[at + 1]);
      if (!count) return NotAnInteger();
      if (*count < 1) return SyntaxError();
      options.count = *count;
    } else if (EqualsIgnoringCase(arguments[at], "match")) {
      options.match = arguments[at + 1];
    } else {
      return SyntaxError();
    }
  }
  return std::nullopt;
}

// What strtoul takes as a whole, as in Redis.
std::optional<uint64_t> ParseCursor(const std::string& text) {
  if (!text.empty() && (text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r'))) return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const unsigned long cursor = std::strtoul(text.c_str(), &end, 10);
  if (*end != '\0' || errno == ERANGE) return std::nullopt;
  return cursor;
}

Reply ScanReply(uint64_t cursor, BoundedReplies pairs) {
  Reply found = pairs.Take(Reply::Kind::kArray);
  if (found.IsError()) return found;
  std::vector<Reply> parts;
  parts.push_back(Reply::Bulk(std::to_string(cursor)));
  parts.push_back(std::move(found));
  return Reply::Array(std::move(parts));
}

}  // namespace

// The cursor is the hash of the next field to look at: fields that are there throughout the scan are seen
// exactly once, whatever is added and removed meanwhile. Fields of equal hash come in one step.
Reply HScan(Keyspace& keys, const Arguments& arguments) {
  const auto cursor = ParseCursor(arguments[2]);
  if (!cursor) return Reply::Error("ERR invalid cursor");
  const Entry entry = keys.Find(arguments[1]);
  if (entry.exists && !entry.IsHash()) return WrongType();
  if (!entry.exists) return ScanReply(0, {});
  ScanOptions options;
  if (auto error = ParseScanOptions(arguments, options)) return *error;
  if (*cursor > std::numeric_limits<uint32_t>::max()) return ScanReply(0, {});

  BoundedReplies pairs;
  uint64_t next = 0;
  int64_t seen = 0;
  size_t bytes = 0;
  uint32_t last_hash = 0;
  keys.VisitFields(entry, static_cast<uint32_t>(*cursor),
                   [&](uint32_t hash, std::string_view field, std::string_view value) {
                     const bool small = entry.header.fields <= kSmallHashFields && bytes < kSmallHashBytes;
                     if (seen >= options.count && !small && hash != last_hash) {
                       next = hash;
                       return false;
                     }
                     last_hash = hash;
                     bytes += field.size() + value.size();
                     ++seen;
                     if (options.match && !ScanMatches(*options.match, field)) return true;
                     return pairs.Add(Reply::Bulk(std::string(field))) &&
                            pairs.Add(Reply::Bulk(std::string(value)));
                   });
  return ScanReply(next, std::move(pairs));
}

}  // namespace tenure::store::commands
