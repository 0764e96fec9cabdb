// What may be a name or a key: checked before anything reaches the log.
//
// Threading:  pure functions.
// Errors:     INVALID_ARGUMENT naming the field, what is wrong with it, and the limit.
#pragma once

#include <string_view>

#include "base/status.h"
#include "base/utf8.h"

namespace tenure::catalog {

// UTF-8, 1..max_bytes bytes, no control characters.
Status CheckName(std::string_view field, std::string_view name, size_t max_bytes);
// "host:port", port 1..65535.
Status CheckAddress(std::string_view field, std::string_view address);

}  // namespace tenure::catalog
