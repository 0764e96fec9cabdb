// Types of columns, and their values as text.
//
// A value is kept and shown in one canonical text per type, so equal values have equal bytes:
//   int64      decimal, -9223372036854775808..9223372036854775807; read as it is written
//   float64    the shortest decimal that reads back as the same number; read: any decimal, finite
//   bool       "true" or "false"; read also: 1, 0
//   text       UTF-8, as it is
//   bytes      as they are
//   timestamp  "2024-05-06T07:08:09.123456Z", UTC, without trailing zeros of the fraction; read also: with an
//              offset ("+02:00"), with a blank for T, or as an integer: milliseconds since 1970
//
// Threading:  pure functions.
// Errors:     INVALID_ARGUMENT saying what the value is not and what is allowed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::schema {

using ::tenure::v1::ColumnType;

// "int64"; "unknown" for what is no type.
std::string_view NameOf(ColumnType type);
std::optional<ColumnType> ParseType(std::string_view name);
// "int64, float64, ...": for messages.
std::string TypeNames();

// The canonical text of the value that `text` says.
StatusOr<std::string> Canonical(ColumnType type, std::string_view text);

// Timestamps as microseconds since 1970, UTC; years 1 to 9999.
std::optional<int64_t> ParseTimestamp(std::string_view text);
std::string FormatTimestamp(int64_t micros);

}  // namespace tenure::schema
