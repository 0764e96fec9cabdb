// Numbers as Redis reads and writes them in strings.
//
// Threading: pure functions.
// Determinism: the float functions use the machine's `long double` and the C library's conversions: all
//              replicas of a region must run on the same architecture (docs/store-format.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tenure::store {

// Decimal without leading zeros, plus sign or blanks; "-0" is none. Redis' string2ll.
std::optional<int64_t> ParseInteger(std::string_view text);
// What strtold takes as a whole, except NaN, leading blanks and what under- or overflows. Redis' string2ld.
std::optional<long double> ParseFloat(std::string_view text);

std::string FormatInteger(int64_t value);
// Up to 17 decimals, never an exponent, trailing zeros cut off. Requires a finite value. Redis' ld2string.
std::string FormatFloat(long double value);

// Empty on overflow.
std::optional<int64_t> AddIntegers(int64_t a, int64_t b);

}  // namespace tenure::store
