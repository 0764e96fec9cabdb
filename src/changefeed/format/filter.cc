#include "changefeed/format/filter.h"

#include <algorithm>

namespace tenure::changefeed {

namespace {

constexpr std::string_view kTable = "table:";
constexpr std::string_view kPrefix = "prefix:";

// Without backtracking beyond the last star: linear in the product of the lengths at most.
bool Matches(std::string_view pattern, std::string_view name) {
  size_t p = 0;
  size_t n = 0;
  size_t star = std::string_view::npos;
  size_t resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || (pattern[p] == name[n] && pattern[p] != '*'))) {
      ++p;
      ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
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

bool IsPatternCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '*' || c == '?';
}

StatusOr<std::string> Unescape(std::string_view text, size_t position) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const std::string_view code = text.substr(i, 3);
    if (code == "%2C" || code == "%2c") {
      out += ',';
    } else if (code == "%25") {
      out += '%';
    } else {
      return Error(
          StatusCode::kInvalidArgument,
          "filter, at character {}: \"{}\" is no escape; there are %2C (a comma) and %25 (a percent sign)",
          position + i + 1, code);
    }
    i += 2;
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
      const auto bad = std::find_if_not(parsed.pattern.begin(), parsed.pattern.end(), IsPatternCharacter);
      if (bad != parsed.pattern.end()) {
        return Error(StatusCode::kInvalidArgument,
                     "filter, at character {}: '{}' is in no table's name; patterns have letters, digits, _, "
                     "-, * and ?",
                     begin + kTable.size() + static_cast<size_t>(bad - parsed.pattern.begin()) + 1, *bad);
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

}  // namespace tenure::changefeed
