// Which tables and plain keys of a database a changefeed follows.
//
//   filter := rule (',' rule)*      rule := ['!'] ('table:' PATTERN | 'prefix:' PREFIX)
//   PATTERN: a table's name, in which * stands for any characters and ? for one; "%2A" and "%3F" for themselves.
//   PREFIX: how plain keys begin. In both "%2C" for a comma, "%25" for a percent sign.
//
// The last rule that matches decides; what no rule matches is not followed. A filter of '!' rules only
// follows everything else: it begins with "table:*,prefix:".
// Threading:  a value, immutable.
// Errors:     INVALID_ARGUMENT with the rule and its position in the text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tenure::changefeed {

class Filter {
 public:
  static constexpr size_t kMaxRules = 256;
  static StatusOr<Filter> Parse(std::string_view text);

  bool FollowsTable(std::string_view name) const;
  bool FollowsKey(std::string_view key) const;
  // Prefixes that are followed or left out, for a plan of dispatchers: one dispatcher for plain keys reads
  // them all.
  bool FollowsPlainKeys() const;
  // Tables that are to be followed and named in full, without * and ?.
  std::vector<std::string> NamedTables() const;
  const std::string& text() const { return text_; }

 private:
  struct Rule {
    bool follow = true;
    bool table = true;
    std::string pattern;  // of a table: as it is written
  };
  std::string text_;
  std::vector<Rule> rules_;
};

}  // namespace tenure::changefeed
