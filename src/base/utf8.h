// UTF-8 as the Unicode standard has it: overlong forms, surrogates and values above U+10FFFF are not.
//
// Threading: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tenure {

struct Utf8CodePoint {
  uint32_t value;
  size_t length;  // bytes; 0: what stands there is not UTF-8
};

// Of the front of `text`, which is not empty.
Utf8CodePoint FrontCodePoint(std::string_view text);
bool IsValidUtf8(std::string_view text);

}  // namespace tenure
