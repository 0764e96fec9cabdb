#include "store/glob.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <tuple>

#include "base/prng.h"

namespace tenure::store {
namespace {

using std::string_view_literals::operator""sv;

TEST(Glob, Table) {
  const std::tuple<std::string_view, std::string_view, bool> cases[] = {
      {"", "", true},
      {"", "a", false},
      {"a", "", false},
      {"*", "", false},  // Redis' quirk; ScanMatches has the other answer
      {"*", "abc", true},
      {"**", "abc", true},
      {"a*", "a", true},
      {"a*c", "abbbc", true},
      {"a*c", "abbb", false},
      {"*a*b*", "xxaxxbxx", true},
      {"*a*b*", "xxbxxaxx", false},
      {"*ab", "aab", true},
      {"a*ab", "aab", true},
      {"a*ab", "ab", false},
      {"h?llo", "hello", true},
      {"h?llo", "hllo", false},
      {"?", "\xff", true},
      {"h[ae]llo", "hallo", true},
      {"h[ae]llo", "hillo", false},
      {"h[^e]llo", "hallo", true},
      {"h[^e]llo", "hello", false},
      {"[a-c]x", "bx", true},
      {"[c-a]x", "bx", true},
      {"[a-c]x", "dx", false},
      {"[a-]", "a", true},  // a range up to ']', the class is not closed
      {"[a-]", "-", false},
      {"[abc", "c", true},  // not closed
      {"[abc", "d", false},
      {"[", "a", false},
      {"[^", "a", true},
      {"[]a]", "a", false},  // closed at once
      {"[\\]]", "]", true},
      {"[\\^a]", "^", true},
      {"\\*", "*", true},
      {"\\*", "a", false},
      {"a\\", "a\\", true},  // at the end a backslash is itself
      {"\\", "\\", true},
      {"a\0b"sv, "a\0b"sv, true},
      {"a\0b"sv, "a\0c"sv, false},
      {"[a-\xff]", "0", true},  // bytes count as signed: the range is turned around, -1 to 'a'
      {"[a-\xff]", "b", false},
      {"ab*", "abc*", true},
      {"a*[x]", "abcx", true},
      {"a*[x]?", "axxy", true},
  };
  for (const auto& [pattern, text, expected] : cases) {
    EXPECT_EQ(GlobMatches(pattern, text), expected) << pattern << " on " << text;
  }
  EXPECT_TRUE(ScanMatches("*", ""));
  EXPECT_FALSE(ScanMatches("**", ""));
}

// stringmatchlen, as plainly as it can be said: recursion at each star.
bool Plain(std::string_view pattern, std::string_view text) {
  if (text.empty()) return pattern.find_first_not_of('*') == pattern.npos;
  if (pattern.empty()) return false;
  if (pattern[0] == '*') {
    for (size_t skipped = 0; skipped <= text.size(); ++skipped) {
      if (Plain(pattern.substr(1), text.substr(skipped))) return true;
    }
    return false;
  }
  if (pattern[0] == '?') return Plain(pattern.substr(1), text.substr(1));
  if (pattern[0] == '\\' && pattern.size() > 1) pattern.remove_prefix(1);
  return pattern[0] == text[0] && Plain(pattern.substr(1), text.substr(1));
}

RC_GTEST_PROP(Glob, BacktrackingEqualsRecursion, (uint64_t seed)) {
  Prng prng(seed);
  for (int i = 0; i < 100; ++i) {
    std::string pattern;
    std::string text;
    for (uint64_t n = prng.Below(8); n > 0; --n) pattern.push_back("ab*?*\\"[prng.Below(6)]);
    for (uint64_t n = 1 + prng.Below(9); n > 0; --n) text.push_back("ab*\\"[prng.Below(4)]);
    RC_ASSERT(GlobMatches(pattern, text) == Plain(pattern, text));
  }
}

TEST(Glob, HostilePatternsAreNeitherDeepNorExponential) {
  std::string pattern;
  for (int i = 0; i < 2'000; ++i) pattern += "*a";
  pattern += "b";
  EXPECT_FALSE(GlobMatches(pattern, std::string(4'000, 'a')));
}

}  // namespace
}  // namespace tenure::store
