// From what a client sent to a command on rows: names of columns become ids, values canonical texts, and what
// the schema forbids becomes an error, before anything reaches a log.
//
// A schema is that of a table or of a view. While it is being altered the shape in force is shown, and names
// that only the next shape has are understood too: other nodes may be using them already.
//
// Threading: pure functions; a RowSchema does not change.
// Errors:    replies that name table and column ("ERR table 'orders' has no column 'x'"); WRONGTYPE for
//            commands that are not for rows; TRYAGAIN while the table is being created.
// Reference: docs/data-nodes.md "Rows", docs/schema-changes.md.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "store/command_table.h"
#include "store/row_command.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::store {

struct RowSchema {
  struct Column {
    RowColumn column;
    ::tenure::v1::ColumnType type = ::tenure::v1::COLUMN_TYPE_UNSPECIFIED;
    bool nullable = true;
  };
  uint64_t table = 0;
  uint64_t version = 0;
  std::string table_name;
  std::string slot_name;
  ::tenure::v1::ColumnType key_type = ::tenure::v1::COLUMN_TYPE_UNSPECIFIED;
  int64_t ttl_ms = 0;
  bool is_view = false;
  std::shared_ptr<const RowColumns> shown;  // in order
  std::map<std::string, Column, std::less<>> columns;
  std::vector<RowColumn> required;   // of a new row
  std::optional<Reply> unavailable;  // why nothing of it is served
};

RowSchema SchemaOf(const ::tenure::v1::TableRecord& table);
RowSchema SchemaOf(const ::tenure::v1::ViewRecord& view, const ::tenure::v1::TableRecord& table);

// What the tables of a database are called.
class RowSchemas {
 public:
  virtual ~RowSchemas() = default;
  // Of the table or view that the key names in front of its first ':'; null: it is a plain key. Valid until
  // the next change of the schemas.
  virtual const RowSchema* OfKey(std::string_view key) const = 0;
  // The name under which rows of a table are shown in scans; empty: they are not.
  virtual std::string_view NameOf(uint64_t table) const = 0;
};

// What stands in front of the first ':'; empty: nothing does.
std::string_view TableNameOfKey(std::string_view key);

// Where the row of a key lies, or why there is none.
std::variant<RowKey, Reply> PlaceOf(const RowSchema& schema, std::string_view key);

// Requires a command whose arity was checked, and one of whose keys is a row's.
std::variant<RowCommand, Reply> PlanRowCommand(const CommandSpec& spec, const Arguments& arguments,
                                               const RowSchemas& schemas);

}  // namespace tenure::store
