#include "catalog/names.h"

#include <cstdint>

#include "base/utf8.h"
#include "catalog/refusal.h"

namespace tenure::catalog {

using ::tenure::v1::REASON_INVALID_ARGUMENT;

Status CheckName(std::string_view field, std::string_view name, size_t max_bytes) {
  if (name.empty()) return Refuse(REASON_INVALID_ARGUMENT, "{}: must not be empty", field);
  if (name.size() > max_bytes) {
    return Refuse(REASON_INVALID_ARGUMENT, "{}: has {} bytes, the limit is {}", field, name.size(),
                  max_bytes);
  }
  for (std::string_view rest = name; !rest.empty();) {
    const Utf8CodePoint point = FrontCodePoint(rest);
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
