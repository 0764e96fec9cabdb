// Rules for the columns of tables and views, and what an alteration makes of them.
//
// Threading: pure functions; deterministic, so that they may run where a log is applied.
// Errors:    INVALID_ARGUMENT, NOT_FOUND (no such column), ALREADY_EXISTS (the name is taken), each naming
//            the field, the column and the limit. Nothing is changed by a refusal.
// Reference: docs/schema-changes.md.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "schema/values.h"
#include "tenure/v1/catalog.pb.h"
#include "tenure/v1/tables.pb.h"

namespace tenure::schema {

using ::tenure::v1::ColumnRecord;
using ::tenure::v1::TableAlteration;
using ::tenure::v1::TableShape;
using ::tenure::v1::ViewColumn;
using ::tenure::v1::ViewColumnRequest;

// Part of the format: the same on every member.
inline constexpr int kMaxColumns = 1000;                               // of a table, of a view
inline constexpr size_t kMaxNameBytes = 128;                           // of a table, a view, a column
inline constexpr size_t kMaxDefaultBytes = 1024;                       // of a column's default
inline constexpr int64_t kMaxTtlMs = int64_t{100} * 366 * 86'400'000;  // about 100 years

inline constexpr size_t kMaxTablesPerDatabase = 10'000;  // tables and views

using Columns = google::protobuf::RepeatedPtrField<ColumnRecord>;
using ViewColumnRequests = google::protobuf::RepeatedPtrField<ViewColumnRequest>;

// Name of a table, a view or a column: UTF-8, 1..kMaxNameBytes bytes, no control characters, no ':', which
// ends a table's name in a key.
Status CheckName(std::string_view field, std::string_view name);
// 0 (never) or 1..kMaxTtlMs.
Status CheckTtl(int64_t ttl_ms);
// A column as it may be asked for: name, type, a default that is a value of the type.
Status CheckColumn(std::string_view field, const ColumnRecord& column);
// The columns of a new table: at least one, names distinct.
Status CheckColumns(const Columns& columns);
// What is wrong with an alteration whatever the table is.
Status CheckAlteration(const TableAlteration& alteration);
// The same of what a view is to show.
Status CheckViewColumns(const ViewColumnRequests& columns);

// Gives ids from `next_column` on, and defaults their canonical text. Requires CheckColumns.
Columns WithIds(const Columns& columns, uint32_t& next_column);
// The columns and ttl of `shape` after the alteration; name and version stay. Requires CheckAlteration.
StatusOr<TableShape> Altered(const TableShape& shape, const TableAlteration& alteration,
                             uint32_t& next_column);
// The columns of `table` that a view shows.
StatusOr<google::protobuf::RepeatedPtrField<ViewColumn>> Resolve(const ViewColumnRequests& columns,
                                                                 const TableShape& table);

// Null: there is none.
const ColumnRecord* FindColumn(const TableShape& shape, std::string_view name);
const ColumnRecord* FindColumn(const TableShape& shape, uint32_t id);

}  // namespace tenure::schema
