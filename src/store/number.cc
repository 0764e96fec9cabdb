#include "store/number.h"

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/check.h"

namespace tenure::store {
namespace {

constexpr size_t kMaxFloatText =
    5 * 1024;  // Redis' MAX_LONG_DOUBLE_CHARS: the longest long double is 4950 characters

bool IsBlank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

}  // namespace

std::optional<int64_t> ParseInteger(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const std::string_view digits = text[0] == '-' ? text.substr(1) : text;
  // from_chars alone would take "007" and "-0".
  if (digits.empty() || digits[0] < '0' || digits[0] > '9') return std::nullopt;
  if (digits[0] == '0' && text.size() > 1) return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<long double> ParseFloat(std::string_view text) {
  if (text.empty() || text.size() >= kMaxFloatText || IsBlank(text[0])) return std::nullopt;
  const std::string terminated(text);
  char* end = nullptr;
  errno = 0;
  const long double value = std::strtold(terminated.c_str(), &end);
  if (end != terminated.c_str() + terminated.size() || std::isnan(value)) return std::nullopt;
  if (errno == ERANGE && (std::isinf(value) || value == 0)) return std::nullopt;
  if (errno == EINVAL) return std::nullopt;
  return value;
}

std::string FormatInteger(int64_t value) {
  char buffer[24];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return std::string(buffer, result.ptr);
}

std::string FormatFloat(long double value) {
  TENURE_CHECK(std::isfinite(value), "a number to be stored is not finite");
  char buffer[kMaxFloatText];
  const int length = std::snprintf(buffer, sizeof buffer, "%.17Lf", value);
  TENURE_CHECK(length > 0 && length < static_cast<int>(sizeof buffer), "snprintf wrote {} characters",
               length);
  std::string text(buffer, static_cast<size_t>(length));
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  if (text == "-0") text = "0";
  return text;
}

std::optional<int64_t> AddIntegers(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

}  // namespace tenure::store
