#include "changefeed/format/filter.h"

#include <algorithm>

#include "base/utf8.h"

namespace tenure::changefeed {

namespace {

constexpr std::string_view kTable = "table:";
constexpr std::string_view kPrefix = "prefix:";

// What stands in front of a text, and how much of the text that is.
struct Token {
  char c = 0;
  bool escaped = false;  // "%2C": no wildcard
  size_t length = 0;     // 0: a percent sign that is no escape
};

Token FrontOf(std::string_view text) {
  if (text.front() != '%') return {.c = text.front(), .length = 1};
  const std::string_view code = text.substr(0, 3);
  if (code == "%2C" || code == "%2c") return {.c = ',', .escaped = true, .length = 3};
  if (code == "%25") return {.c = '%', .escaped = true, .length = 3};
  if (code == "%2A" || code == "%2a") return {.c = '*', .escaped = true, .length = 3};
  if (code == "%3F" || code == "%3f") return {.c = '?', .escaped = true, .length = 3};
  return {};
}

bool IsWildcard(const Token& token) {
  return !token.escaped && (token.c == '*' || token.c == '?');
}

// Without backtracking beyond the last star: linear in the product of the lengths at most.
bool Matches(std::string_view pattern, std::string_view name) {
  size_t p = 0;
  size_t n = 0;
  size_t star = std::string_view::npos;
  size_t resume = 0;
  while (n < name.size()) {
    const Token token = p < pattern.size() ? FrontOf(pattern.substr(p)) : Token{};
    const bool wild = token.length > 0 && IsWildcard(token);
    size_t taken = 0;  // of the name
    if (wild && token.c == '?') {
      taken = FrontCodePoint(name.substr(n)).length;
    } else if (token.length > 0 && !wild && token.c == name[n]) {
      taken = 1;
    }
    if (taken > 0) {
      p += token.length;
      n += taken;
    } else if (wild && token.c == '*') {
      star = p++;
      resume = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

StatusOr<std::string> Unescape(std::string_view text, size_t position) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const Token token = FrontOf(text.substr(i));
    if (token.length == 0) {
      return Error(
          StatusCode::kInvalidArgument,
          "filter, at character {}: \"{}\" is no escape; there are %2C (a comma), %25 (a percent sign), "
          "%2A (a star) and %3F (a question mark)",
          position + i + 1, text.substr(i, 3));
    }
    out += token.c;
    i += token.length;
  }
  return out;
}

}  // namespace

StatusOr<Filter> Filter::Parse(std::string_view text) {
  Filter filter;
  filter.text_ = std::string(text);
  if (text.empty()) {
    return Error(StatusCode::kInvalidArgument, "filter: is empty; everything is \"table:*,prefix:\"");
  }
  size_t position = 0;
  while (position <= text.size()) {
    const size_t comma = std::min(text.find(',', position), text.size());
    std::string_view rule = text.substr(position, comma - position);
    Rule parsed;
    size_t begin = position;
    if (rule.starts_with('!')) {
      parsed.follow = false;
      rule.remove_prefix(1);
      ++begin;
    }
    if (rule.starts_with(kTable)) {
      parsed.pattern = std::string(rule.substr(kTable.size()));
      if (parsed.pattern.empty()) {
        return Error(StatusCode::kInvalidArgument,
                     "filter, at character {}: \"table:\" needs a name or pattern", begin + 1);
      }
      const size_t at = begin + kTable.size();
      TENURE_RETURN_IF_ERROR(Unescape(parsed.pattern, at).status());
      if (const size_t bad = parsed.pattern.find(':'); bad != std::string::npos) {
        return Error(StatusCode::kInvalidArgument, "filter, at character {}: ':' is in no table's name",
                     at + bad + 1);
      }
    } else if (rule.starts_with(kPrefix)) {
      parsed.table = false;
      TENURE_ASSIGN_OR_RETURN(parsed.pattern, Unescape(rule.substr(kPrefix.size()), begin + kPrefix.size()));
    } else {
      return Error(StatusCode::kInvalidArgument,
                   "filter, at character {}: \"{}\" begins with neither table: nor prefix:", begin + 1, rule);
    }
    filter.rules_.push_back(std::move(parsed));
    if (filter.rules_.size() > kMaxRules) {
      return Error(StatusCode::kInvalidArgument, "filter: more than {} rules", kMaxRules);
    }
    position = comma + 1;
  }
  const bool none =
      std::none_of(filter.rules_.begin(), filter.rules_.end(), [](const Rule& r) { return r.follow; });
  if (none) {
    filter.rules_.insert(filter.rules_.begin(),
                         {{.follow = true, .table = true, .pattern = "*"}, {.follow = true, .table = false}});
  }
  return filter;
}

bool Filter::FollowsTable(std::string_view name) const {
  bool follow = false;
  for (const Rule& rule : rules_) {
    if (rule.table && Matches(rule.pattern, name)) follow = rule.follow;
  }
  return follow;
}

bool Filter::FollowsKey(std::string_view key) const {
  bool follow = false;
  for (const Rule& rule : rules_) {
    if (!rule.table && key.starts_with(rule.pattern)) follow = rule.follow;
  }
  return follow;
}

bool Filter::FollowsPlainKeys() const {
  return std::any_of(rules_.begin(), rules_.end(),
                     [](const Rule& rule) { return !rule.table && rule.follow; });
}

std::vector<std::string> Filter::NamedTables() const {
  std::vector<std::string> names;
  for (const Rule& rule : rules_) {
    if (!rule.table || !rule.follow || rule.pattern.find_first_of("*?") != std::string::npos) continue;
    if (auto name = Unescape(rule.pattern, 0); name.ok()) names.push_back(*std::move(name));
  }
  return names;
}

}  // namespace tenure::changefeed
