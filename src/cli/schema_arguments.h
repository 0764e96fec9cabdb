// What commands about tables and views are told on the command line, as messages.
//
// Threading:  pure functions.
// Errors:     INVALID_ARGUMENT naming the option and what was expected.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "schema/shape.h"
#include "tenure/v1/tables.pb.h"

namespace tenure::cli {

// "DB.NAME", split at the first dot.
StatusOr<std::pair<std::string, std::string>> ParseQualifiedName(const std::string& text);
// "NAME:TYPE", "NAME:TYPE:null", either with "=DEFAULT".
StatusOr<tenure::v1::ColumnRecord> ParseColumn(const std::string& text);
// "FROM=TO".
StatusOr<tenure::v1::TableAlteration::Rename> ParseRename(const std::string& text);
// "a,b=c": column a as it is, column b as c.
StatusOr<schema::ViewColumnRequests> ParseViewColumns(const std::string& text);
// "7d", "12h", "30m", "10s", "250ms"; "0": rows do not expire. In milliseconds.
StatusOr<int64_t> ParseTtl(const std::string& text);
std::string TtlText(int64_t ttl_ms);

}  // namespace tenure::cli
