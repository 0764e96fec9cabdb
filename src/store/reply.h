// The answer of a data command, independent of the protocol version: resp/ writes it as RESP2 or RESP3.
//
// Threading: values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace tenure::store {

struct Reply {
  enum class Kind : uint8_t {
    kSimple,  // +OK
    kError,   // -ERR ...; text holds the code too
    kInteger,
    kBulk,
    kNull,
    kArray,
    kMap,  // elements: key, value, key, value ...; RESP2 writes it as a flat array
    kSet,
    kDouble,   // text holds the number as Redis prints it; RESP2 writes a bulk string
    kBoolean,  // integer 0 or 1; RESP2 writes an integer
  };
  Kind kind = Kind::kNull;
  int64_t integer = 0;
  std::string text;
  std::vector<Reply> elements;

  static Reply Simple(std::string text) { return {Kind::kSimple, 0, std::move(text), {}}; }
  static Reply Ok() { return Simple("OK"); }
  static Reply Error(std::string text) { return {Kind::kError, 0, std::move(text), {}}; }
  static Reply Integer(int64_t value) { return {Kind::kInteger, value, {}, {}}; }
  static Reply Bulk(std::string text) { return {Kind::kBulk, 0, std::move(text), {}}; }
  static Reply Null() { return {}; }
  static Reply Array(std::vector<Reply> elements) { return {Kind::kArray, 0, {}, std::move(elements)}; }
  static Reply Map(std::vector<Reply> elements) { return {Kind::kMap, 0, {}, std::move(elements)}; }
  bool IsError() const { return kind == Kind::kError; }
  friend bool operator==(const Reply&, const Reply&) = default;
};

// What one request may be answered with, counted as ReplyBytes does. A reply is built by every replica that
// applies the command: one that does not fit their memory would end them all, and again at every start.
inline constexpr size_t kMaxReplyBytes = 128 << 20;
size_t ReplyBytes(const Reply& reply);

// Gathers elements; beyond the limit they are dropped, and what was gathered with them.
class BoundedReplies {
 public:
  void Reserve(size_t count) { replies_.reserve(count); }
  // False if it did not fit.
  bool Add(Reply reply);
  // Reply::Array or another of the kinds that have elements, or an error that names the limit.
  Reply Take(Reply::Kind kind);

 private:
  std::vector<Reply> replies_;
  size_t bytes_ = 0;
};

// Compact form in which a reply travels from apply to the requester.
void EncodeReply(const Reply& reply, std::string& out);
StatusOr<Reply> DecodeReply(std::string_view bytes);

}  // namespace tenure::store
