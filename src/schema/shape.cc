#include "schema/shape.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "base/utf8.h"

namespace tenure::schema {
namespace {

template <class... Args>
Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return Error(StatusCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

Status CheckCount(std::string_view field, int count) {
  if (count == 0) return Invalid("{}: there is none; at least one is needed", field);
  if (count > kMaxColumns) return Invalid("{}: there are {}, the limit is {}", field, count, kMaxColumns);
  return OkStatus();
}

// Each column of an alteration may be named once: otherwise its parts would depend on their order.
class Once {
 public:
  Status Add(const std::string& name) {
    if (names_.insert(name).second) return OkStatus();
    return Invalid("alteration: column '{}' is named twice", name);
  }

 private:
  std::set<std::string, std::less<>> names_;
};

bool Remove(Columns& columns, const std::string& name) {
  const auto it = std::find_if(columns.begin(), columns.end(),
                               [&](const ColumnRecord& column) { return column.name() == name; });
  if (it == columns.end()) return false;
  columns.erase(it);
  return true;
}

Status NoColumn(const TableShape& shape, const std::string& name) {
  return Error(StatusCode::kNotFound, "table '{}' has no column '{}'", shape.name(), name);
}
Status Taken(const TableShape& shape, const std::string& name) {
  return Error(StatusCode::kAlreadyExists, "table '{}' has a column '{}' already", shape.name(), name);
}

}  // namespace

Status CheckName(std::string_view field, std::string_view name) {
  if (name.empty()) return Invalid("{}: must not be empty", field);
  if (name.size() > kMaxNameBytes)
    return Invalid("{}: has {} bytes, the limit is {}", field, name.size(), kMaxNameBytes);
  for (std::string_view rest = name; !rest.empty();) {
    const Utf8CodePoint point = FrontCodePoint(rest);
    if (point.length == 0) return Invalid("{}: is not valid UTF-8", field);
    if (point.value < 0x20 || (point.value >= 0x7f && point.value < 0xa0)) {
      return Invalid("{}: must not contain control characters (U+{:04X})", field, point.value);
    }
    if (point.value == ':') return Invalid("{}: '{}' must not contain ':'", field, name);
    rest.remove_prefix(point.length);
  }
  return OkStatus();
}

Status CheckTtl(int64_t ttl_ms) {
  if (ttl_ms >= 0 && ttl_ms <= kMaxTtlMs) return OkStatus();
  return Invalid("ttl_ms: {} is not in 0..{} (0: rows do not expire)", ttl_ms, kMaxTtlMs);
}

Status CheckColumn(std::string_view field, const ColumnRecord& column) {
  TENURE_RETURN_IF_ERROR(CheckName(fmt::format("{}.name", field), column.name()));
  if (NameOf(column.type()) == "unknown") {
    return Invalid("{}: column '{}' has no type that is known; there are {}", field, column.name(),
                   TypeNames());
  }
  if (!column.has_default_value()) return OkStatus();
  if (column.default_value().size() > kMaxDefaultBytes) {
    return Invalid("{}: the default of column '{}' has {} bytes, the limit is {}", field, column.name(),
                   column.default_value().size(), kMaxDefaultBytes);
  }
  const auto value = Canonical(column.type(), column.default_value());
  if (value.ok()) return OkStatus();
  return Invalid("{}: the default of column '{}': {}", field, column.name(), MessageOf(value.status()));
}

Status CheckColumns(const Columns& columns) {
  TENURE_RETURN_IF_ERROR(CheckCount("columns", columns.size()));
  std::set<std::string_view> names;
  for (const ColumnRecord& column : columns) {
    TENURE_RETURN_IF_ERROR(CheckColumn("columns", column));
    if (!names.insert(column.name()).second) return Invalid("columns: '{}' is given twice", column.name());
  }
  return OkStatus();
}

Status CheckAlteration(const TableAlteration& alteration) {
  if (alteration.drop_columns().empty() && alteration.rename_columns().empty() &&
      alteration.add_columns().empty() && !alteration.has_ttl_ms()) {
    return Invalid("alteration: changes nothing");
  }
  Once old_names;
  Once new_names;
  for (const std::string& name : alteration.drop_columns()) TENURE_RETURN_IF_ERROR(old_names.Add(name));
  for (const auto& rename : alteration.rename_columns()) {
    TENURE_RETURN_IF_ERROR(CheckName("rename_columns.to", rename.to()));
    TENURE_RETURN_IF_ERROR(old_names.Add(rename.from()));
    TENURE_RETURN_IF_ERROR(new_names.Add(rename.to()));
  }
  for (const ColumnRecord& column : alteration.add_columns()) {
    TENURE_RETURN_IF_ERROR(CheckColumn("add_columns", column));
    TENURE_RETURN_IF_ERROR(new_names.Add(column.name()));
    if (column.nullable() || column.has_default_value()) continue;
    return Invalid(
        "add_columns: column '{}' has to be nullable or to have a default, since rows may exist without it",
        column.name());
  }
  return alteration.has_ttl_ms() ? CheckTtl(alteration.ttl_ms()) : OkStatus();
}

Status CheckViewColumns(const ViewColumnRequests& columns) {
  TENURE_RETURN_IF_ERROR(CheckCount("columns", columns.size()));
  std::set<std::string_view> names;
  for (const ViewColumnRequest& column : columns) {
    const std::string& name = column.name().empty() ? column.column() : column.name();
    TENURE_RETURN_IF_ERROR(CheckName("columns.name", name));
    if (!names.insert(name).second) return Invalid("columns: the view would have two columns '{}'", name);
  }
  return OkStatus();
}

Columns WithIds(const Columns& columns, uint32_t& next_column) {
  Columns result = columns;
  for (ColumnRecord& column : result) {
    column.set_id(next_column++);
    if (!column.has_default_value()) continue;
    if (auto value = Canonical(column.type(), column.default_value()); value.ok())
      column.set_default_value(*std::move(value));
  }
  return result;
}

StatusOr<TableShape> Altered(const TableShape& shape, const TableAlteration& alteration,
                             uint32_t& next_column) {
  TableShape next = shape;
  Columns& columns = *next.mutable_columns();
  for (const std::string& name : alteration.drop_columns()) {
    if (!Remove(columns, name)) return NoColumn(shape, name);
  }
  std::set<std::string_view> renamed;
  for (const auto& rename : alteration.rename_columns()) renamed.insert(rename.from());
  std::set<std::string> names;
  for (const ColumnRecord& column : columns) {
    if (!renamed.contains(column.name())) names.insert(column.name());
  }
  for (const auto& rename : alteration.rename_columns()) {
    // Looked up in the old shape, so that two columns may swap their names.
    const ColumnRecord* old = FindColumn(shape, rename.from());
    if (old == nullptr) return NoColumn(shape, rename.from());
    if (!names.insert(rename.to()).second) return Taken(shape, rename.to());
    for (ColumnRecord& column : columns) {
      if (column.id() == old->id()) column.set_name(rename.to());
    }
  }
  Columns added = WithIds(alteration.add_columns(), next_column);
  for (ColumnRecord& column : added) {
    if (!names.insert(column.name()).second) return Taken(shape, column.name());
    *columns.Add() = std::move(column);
  }
  TENURE_RETURN_IF_ERROR(CheckCount(fmt::format("columns of table '{}'", shape.name()), columns.size()));
  if (alteration.has_ttl_ms()) next.set_ttl_ms(alteration.ttl_ms());
  return next;
}

StatusOr<google::protobuf::RepeatedPtrField<ViewColumn>> Resolve(const ViewColumnRequests& columns,
                                                                 const TableShape& table) {
  google::protobuf::RepeatedPtrField<ViewColumn> resolved;
  for (const ViewColumnRequest& column : columns) {
    const ColumnRecord* found = FindColumn(table, column.column());
    if (found == nullptr) return NoColumn(table, column.column());
    ViewColumn& shown = *resolved.Add();
    shown.set_column(found->id());
    shown.set_name(column.name().empty() ? column.column() : column.name());
  }
  return resolved;
}

const ColumnRecord* FindColumn(const TableShape& shape, std::string_view name) {
  for (const ColumnRecord& column : shape.columns()) {
    if (column.name() == name) return &column;
  }
  return nullptr;
}

const ColumnRecord* FindColumn(const TableShape& shape, uint32_t id) {
  for (const ColumnRecord& column : shape.columns()) {
    if (column.id() == id) return &column;
  }
  return nullptr;
}

}  // namespace tenure::schema
