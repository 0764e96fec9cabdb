#include "cli/schema_arguments.h"

#include <array>
#include <charconv>
#include <string_view>

namespace tenure::cli {

namespace pb = ::tenure::v1;

namespace {

struct Unit {
  std::string_view name;
  int64_t millis;
};
constexpr std::array kUnits = {Unit{"d", 86'400'000}, Unit{"h", 3'600'000}, Unit{"m", 60'000},
                               Unit{"s", 1000}, Unit{"ms", 1}};

template <class... Args>
Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return Error(StatusCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

// Two parts that are not empty.
StatusOr<std::pair<std::string, std::string>> SplitAt(const std::string& text, char separator,
                                                      std::string_view expected) {
  const size_t at = text.find(separator);
  if (at == std::string::npos || at == 0 || at + 1 == text.size())
    return Invalid("'{}' is not {}", text, expected);
  return std::pair(text.substr(0, at), text.substr(at + 1));
}

}  // namespace

StatusOr<std::pair<std::string, std::string>> ParseQualifiedName(const std::string& text) {
  return SplitAt(text, '.', "DATABASE.NAME");
}

StatusOr<pb::ColumnRecord> ParseColumn(const std::string& text) {
  pb::ColumnRecord column;
  std::string rest = text;
  if (const size_t at = rest.find('='); at != std::string::npos) {
    column.set_default_value(rest.substr(at + 1));
    rest.resize(at);
  }
  TENURE_ASSIGN_OR_RETURN(auto parts, SplitAt(rest, ':', "NAME:TYPE[:null][=DEFAULT]"));
  column.set_name(parts.first);
  std::string type = std::move(parts.second);
  if (const size_t at = type.find(':'); at != std::string::npos) {
    if (type.substr(at + 1) != "null") return Invalid("'{}' is not NAME:TYPE[:null][=DEFAULT]", text);
    column.set_nullable(true);
    type.resize(at);
  }
  const auto known = schema::ParseType(type);
  if (!known) return Invalid("column '{}': '{}' is none of {}", column.name(), type, schema::TypeNames());
  column.set_type(*known);
  return column;
}

StatusOr<pb::TableAlteration::Rename> ParseRename(const std::string& text) {
  TENURE_ASSIGN_OR_RETURN(auto parts, SplitAt(text, '=', "FROM=TO"));
  pb::TableAlteration::Rename rename;
  rename.set_from(std::move(parts.first));
  rename.set_to(std::move(parts.second));
  return rename;
}

StatusOr<schema::ViewColumnRequests> ParseViewColumns(const std::string& text) {
  schema::ViewColumnRequests columns;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    if (part.empty()) return Invalid("'{}' is not COLUMN[=NAME],...", text);
    pb::ViewColumnRequest& column = *columns.Add();
    column.set_column(part);
    if (part.find('=') != std::string::npos) {
      TENURE_ASSIGN_OR_RETURN(auto renamed, SplitAt(part, '=', "COLUMN=NAME"));
      column.set_column(std::move(renamed.first));
      column.set_name(std::move(renamed.second));
    }
    begin = end + 1;
  }
  return columns;
}

StatusOr<int64_t> ParseTtl(const std::string& text) {
  if (text == "0") return 0;
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  for (const Unit& known : kUnits) {
    if (error != std::errc() || unit != known.name || count <= 0) continue;
    if (count > schema::kMaxTtlMs / known.millis)
      return Invalid("'{}' is more than the longest ttl, {}", text, TtlText(schema::kMaxTtlMs));
    return count * known.millis;
  }
  return Invalid("'{}' is no ttl such as 7d, 12h, 30m, 10s or 250ms; 0: rows do not expire", text);
}

std::string TtlText(int64_t ttl_ms) {
  if (ttl_ms == 0) return "-";
  for (const Unit& unit : kUnits) {
    if (ttl_ms % unit.millis == 0) return fmt::format("{}{}", ttl_ms / unit.millis, unit.name);
  }
  return fmt::format("{}ms", ttl_ms);
}

}  // namespace tenure::cli
