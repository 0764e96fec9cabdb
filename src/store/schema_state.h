// What a region has been told of the schemas of tables, through its own log: the version below which writes
// to a table are refused, or that the table is dropped.
//
// A write to a row carries the schema version it was checked against. Whoever checked it may have been cut
// off since; its write lies in the log, and lands after the change it missed. What stands in the same log
// before it decides: that is the same on every replica, whatever they know of the catalog.
//
// A table that nothing was told of takes any version: a region that is new since the change is led by nodes
// that know of it. The mark of a dropped table stays, since ids of tables are never given again.
//
// Threading:  pure functions over a state.
// Invariants: S5 a mark's version never goes down, and a dropped table stays dropped.
//             S6 of a dropped table there are no rows.
// Reference:  docs/schema-changes.md, docs/store-format.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kv/kv.h"
#include "store/reply.h"

namespace tenure::store {

// Goes through the log. Repeating it changes nothing.
struct SchemaCommand {
  uint64_t table = 0;
  uint64_t version = 0;  // from here on writes of an older one are refused
  bool drop = false;     // instead: the rows go, and no write is taken any more
  friend bool operator==(const SchemaCommand&, const SchemaCommand&) = default;
};

struct SchemaMark {
  uint64_t version = 0;
  bool dropped = false;
  friend bool operator==(const SchemaMark&, const SchemaMark&) = default;
};

SchemaMark FindSchemaMark(uint64_t table, const kv::Reader& state);
// What the error begins with that says: checking it again helps.
inline constexpr std::string_view kOlderSchema = "TRYAGAIN The table was changed";
// An error if a write to the table that was checked against `version` must not be done: TRYAGAIN if checking
// it again helps, ERR if the table is dropped.
std::optional<Reply> CheckSchema(uint64_t table, uint64_t version, const kv::Reader& state);
Reply ApplySchemaCommand(const SchemaCommand& command, kv::View& state);

}  // namespace tenure::store
