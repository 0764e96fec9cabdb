#include "catalog/names.h"

#include <cstdint>

#include "catalog/refusal.h"

namespace tenure::catalog {
namespace {

using ::tenure::v1::REASON_INVALID_ARGUMENT;

// The code point at the front of `text` and its length; length 0 if the bytes are not UTF-8 (overlong forms,
// surrogates and values above U+10FFFF are not).
struct CodePoint {
  uint32_t value;
  size_t length;
};

CodePoint DecodeFront(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  size_t length = 0;
  uint32_t value = 0;
  uint32_t least = 0;
  if ((first & 0xe0) == 0xc0) {
    length = 2, value = first & 0x1fu, least = 0x80;
  } else if ((first & 0xf0) == 0xe0) {
    length = 3, value = first & 0x0fu, least = 0x800;
  } else if ((first & 0xf8) == 0xf0) {
    length = 4, value = first & 0x07u, least = 0x10000;
  } else {
    return {0, 0};
  }
  if (text.size() < length) return {0, 0};
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {0, 0};
    value = (value << 6) | (byte(i) & 0x3fu);
  }
  if (value < least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return {0, 0};
  return {value, length};
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const CodePoint point = DecodeFront(text);
    if (point.length == 0) return false;
    text.remove_prefix(point.length);
  }
  return true;
}

Status CheckName(std::string_view field, std::string_view name, size_t max_bytes) {
  if (name.empty()) return Refuse(REASON_INVALID_ARGUMENT, "{}: must not be empty", field);
  if (name.size() > max_bytes) {
    return Refuse(REASON_INVALID_ARGUMENT, "{}: has {} bytes, the limit is {}", field, name.size(),
                  max_bytes);
  }
  for (std::string_view rest = name; !rest.empty();) {
    const CodePoint point = DecodeFront(rest);
    if (point.length == 0) return Refuse(REASON_INVALID_ARGUMENT, "{}: is not valid UTF-8", field);
    if (point.value < 0x20 || (point.value >= 0x7f && point.value < 0xa0)) {
      return Refuse(REASON_INVALID_ARGUMENT, "{}: must not contain control characters (U+{:04X})", field,
                    point.value);
    }
    rest.remove_prefix(point.length);
  }
  return OkStatus();
}

Status CheckAddress(std::string_view field, std::string_view address) {
  const auto bad = [&] {
    return Refuse(REASON_INVALID_ARGUMENT, "{}: '{}' is not HOST:PORT", field, address);
  };
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || address.size() > 300 || !IsValidUtf8(address))
    return bad();
  uint32_t port = 0;
  const std::string_view digits = address.substr(colon + 1);
  if (digits.empty() || digits.size() > 5) return bad();
  for (const char c : digits) {
    if (c < '0' || c > '9') return bad();
    port = port * 10 + static_cast<uint32_t>(c - '0');
  }
  if (port == 0 || port > 65535) return bad();
  return OkStatus();
}

}  // namespace tenure::catalog
