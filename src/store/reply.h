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

// Compact form in which a reply travels from apply to the requester.
void EncodeReply(const Reply& reply, std::string& out);
StatusOr<Reply> DecodeReply(std::string_view bytes);

}  // namespace tenure::store
