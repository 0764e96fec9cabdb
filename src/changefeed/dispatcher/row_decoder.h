// Changes of the log as changes to be encoded: rows become columns with values, by the schema of their
// version.
//
// Threading: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "changefeed/dispatcher/change_source.h"
#include "changefeed/dispatcher/table_schemas.h"

namespace tenure::changefeed {

// A value in the canonical text of its type (src/schema/values.h).
Value ValueOf(ColumnType type, const std::string& text);
// `encoded` is what store::EncodeRow made. Columns without a value have their default, or are null.
Row DecodeColumns(const TableSchema& schema, std::string_view encoded);
// `schema`: of change.schema_version, or the one in force if that is 0; null: a plain key.
Change ToChange(LoggedChange change, RegionId region, const std::string& database, const TableSchema* schema,
                bool snapshot);

}  // namespace tenure::changefeed
