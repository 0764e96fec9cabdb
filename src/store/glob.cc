#include "store/glob.h"

#include <utility>

namespace tenure::store {
namespace {

struct Element {
  bool matches;
  size_t next;  // position in the pattern after the element
};

// "[...]", `at` just behind the bracket. A class that is not closed ends with the pattern. Redis compares
// bytes as signed characters, which shows in ranges that cross 0x80.
Element MatchClass(std::string_view pattern, size_t at, signed char c) {
  const bool negated = at < pattern.size() && pattern[at] == '^';
  if (negated) ++at;
  bool found = false;
  while (at < pattern.size() && pattern[at] != ']') {
    if (pattern[at] == '\\' && at + 1 < pattern.size()) {
      found |= static_cast<signed char>(pattern[at + 1]) == c;
      at += 2;
    } else if (at + 2 < pattern.size() && pattern[at + 1] == '-') {
      auto low = static_cast<signed char>(pattern[at]);
      auto high = static_cast<signed char>(pattern[at + 2]);
      if (low > high) std::swap(low, high);
      found |= c >= low && c <= high;
      at += 3;
    } else {
      found |= static_cast<signed char>(pattern[at]) == c;
      ++at;
    }
  }
  return {found != negated, at < pattern.size() ? at + 1 : at};
}

// The element of the pattern at `at`, which is not a star, against one byte.
Element MatchElement(std::string_view pattern, size_t at, char c) {
  switch (pattern[at]) {
    case '?':
      return {true, at + 1};
    case '[':
      return MatchClass(pattern, at + 1, static_cast<signed char>(c));
    case '\\':
      if (at + 1 < pattern.size()) ++at;
      [[fallthrough]];
    default:
      return {pattern[at] == c, at + 1};
  }
}

size_t SkipStars(std::string_view pattern, size_t at) {
  while (at < pattern.size() && pattern[at] == '*') ++at;
  return at;
}

}  // namespace

bool GlobMatches(std::string_view pattern, std::string_view text) {
  if (text.empty()) return pattern.empty();
  constexpr size_t kNone = std::string_view::npos;
  size_t at = 0;              // in the pattern
  size_t position = 0;        // in the text
  size_t after_star = kNone;  // where to resume after a mismatch: behind the last star,
  size_t star_position = 0;   // with the star taking the text up to here
  while (position < text.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      after_star = at = SkipStars(pattern, at);
      if (at == pattern.size()) return true;
      star_position = position;
      continue;
    }
    if (at < pattern.size()) {
      const Element element = MatchElement(pattern, at, text[position]);
      if (element.matches) {
        at = element.next;
        ++position;
        continue;
      }
    }
    // Giving an earlier star more cannot help where giving the last one more does not.
    if (after_star == kNone) return false;
    at = after_star;
    position = ++star_position;
  }
  return SkipStars(pattern, at) == pattern.size();
}

bool ScanMatches(std::string_view pattern, std::string_view name) {
  return pattern == "*" || GlobMatches(pattern, name);
}

}  // namespace tenure::store
