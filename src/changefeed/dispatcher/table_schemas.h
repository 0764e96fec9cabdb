// Which columns a table had in a version of its schema, and when changefeeds deliver the change to it: what a
// dispatcher decodes rows with and where it stops.
//
// Threading:  as ChangeSource.
// Errors:     what is not known (yet) is null or none; the dispatcher asks again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "changefeed/format/change.h"

namespace tenure::changefeed {

struct TableSchema {
  struct Column {
    uint32_t id = 0;
    std::string name;
    ColumnType type = ColumnType::kText;
    std::optional<std::string> fallback;  // of rows that have no value; in the canonical text of the type
  };
  std::string name;
  uint64_t version = 0;
  std::vector<Column> columns;
};

class TableSchemas {
 public:
  virtual ~TableSchemas() = default;
  virtual std::shared_ptr<const TableSchema> Find(uint64_t table, uint64_t version) const = 0;
  // The one in force at that time; the oldest that is known for what is older.
  virtual std::shared_ptr<const TableSchema> FindAt(uint64_t table, CommitTs at) const = 0;
  // The commit timestamp of the change to this version (0: of the table's drop). None (0): there is no such
  // change, the table was made with it or it is long past. No value: it is not known yet.
  virtual std::optional<CommitTs> ChangeAt(uint64_t table, uint64_t version) const = 0;
};

}  // namespace tenure::changefeed
