#include "changefeed/dispatcher/row_decoder.h"

#include <charconv>
#include <utility>

#include "schema/values.h"
#include "store/row_state.h"

namespace tenure::changefeed {

namespace {

template <class Number>
Value NumberOf(const std::string& text) {
  Number number{};
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec == std::errc() && read.ptr == text.data() + text.size()) return number;
  return text;  // what is no number is given as it lies there
}

}  // namespace

Value ValueOf(ColumnType type, const std::string& text) {
  switch (type) {
    case ColumnType::kInt64:
      return NumberOf<int64_t>(text);
    case ColumnType::kFloat64:
      return NumberOf<double>(text);
    case ColumnType::kBool:
      return text == "true";
    case ColumnType::kText:
      return text;
    case ColumnType::kBytes:
      return BytesValue{text};
    case ColumnType::kTimestamp:
      if (const auto micros = schema::ParseTimestamp(text)) return TimestampValue{*micros};
      return text;
  }
  return text;
}

Row DecodeColumns(const TableSchema& schema, std::string_view encoded) {
  const store::Row stored = store::DecodeRow(encoded);
  Row row;
  row.reserve(schema.columns.size());
  for (const TableSchema::Column& column : schema.columns) {
    Column& out = row.emplace_back(Column{.name = column.name, .type = column.type});
    const std::string* text = stored.Find(column.id);
    if (text != nullptr) {
      out.value = ValueOf(column.type, *text);
    } else if (column.fallback) {
      out.value = ValueOf(column.type, *column.fallback);
    }
  }
  return row;
}

Change ToChange(LoggedChange change, RegionId region, const std::string& database, const TableSchema* schema,
                bool snapshot) {
  Change out{.region = region,
             .index = change.index,
             .ordinal = change.ordinal,
             .commit_ts = change.commit_ts,
             .database = database,
             .key = std::move(change.key),
             .kind = change.kind == LoggedChange::Kind::kDelete ? Change::Kind::kDelete : Change::Kind::kPut,
             .snapshot = snapshot};
  if (schema == nullptr) {
    out.value = std::move(change.new_value);
    out.fields = std::move(change.fields);
    return out;
  }
  out.table = schema->name;
  out.schema_version = schema->version;
  if (change.old_value) out.old_row = DecodeColumns(*schema, *change.old_value);
  if (change.new_value) out.new_row = DecodeColumns(*schema, *change.new_value);
  return out;
}

}  // namespace tenure::changefeed
