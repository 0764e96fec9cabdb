#include "schema/statement.h"

#include <fmt/format.h>

#include "schema/shape.h"
#include "schema/values.h"

namespace tenure::schema {

namespace {

// "note text NULL", "state text DEFAULT 'new'". What is no text in a default is a consumer's to look up.
std::string ColumnText(const ColumnRecord& column) {
  std::string text = fmt::format("{} {}", column.name(), NameOf(column.type()));
  if (column.nullable()) text += " NULL";
  if (column.has_default_value() && column.type() != ::tenure::v1::COLUMN_BYTES) {
    text += " DEFAULT '";
    for (const char c : column.default_value()) text += c == '\'' ? std::string("''") : std::string(1, c);
    text += '\'';
  }
  return text;
}

void Add(std::string& list, const std::string& item) {
  if (!list.empty()) list += ", ";
  list += item;
}

}  // namespace

std::string AlterStatement(const TableShape& before, const TableShape& after) {
  std::string changes;
  for (const ColumnRecord& column : after.columns()) {
    const ColumnRecord* old = FindColumn(before, column.id());
    if (old == nullptr) {
      Add(changes, "ADD COLUMN " + ColumnText(column));
    } else if (old->name() != column.name()) {
      Add(changes, fmt::format("RENAME COLUMN {} TO {}", old->name(), column.name()));
    }
  }
  for (const ColumnRecord& column : before.columns()) {
    if (FindColumn(after, column.id()) == nullptr) Add(changes, "DROP COLUMN " + column.name());
  }
  if (before.ttl_ms() != after.ttl_ms()) Add(changes, fmt::format("SET TTL {}", after.ttl_ms()));
  if (before.name() != after.name()) Add(changes, "RENAME TO " + after.name());
  return fmt::format("ALTER TABLE {}{}{}", before.name(), changes.empty() ? "" : " ", changes);
}

std::string CreateStatement(const TableShape& shape) {
  std::string columns;
  for (const ColumnRecord& column : shape.columns()) Add(columns, ColumnText(column));
  return fmt::format("CREATE TABLE {} ({})", shape.name(), columns);
}

std::string DropStatement(const TableShape& shape) {
  return "DROP TABLE " + shape.name();
}

}  // namespace tenure::schema
