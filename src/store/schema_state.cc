#include "store/schema_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/check.h"
#include "base/codec.h"
#include "store/layout.h"

namespace tenure::store {
namespace {

constexpr uint8_t kVersionTag = 1;
constexpr uint8_t kDroppedTag = 2;

std::string Encode(const SchemaMark& mark) {
  std::string out(1, static_cast<char>(mark.dropped ? kDroppedTag : kVersionTag));
  if (!mark.dropped) PutVarint(out, mark.version);
  return out;
}

}  // namespace

SchemaMark FindSchemaMark(uint64_t table, const kv::Reader& state) {
  const auto stored = state.Get(SchemaKey(table));
  if (!stored) return {};
  ByteReader reader(*stored);
  const uint8_t tag = reader.Byte();
  SchemaMark mark;
  mark.dropped = tag == kDroppedTag;
  if (tag == kVersionTag) mark.version = reader.Varint();
  TENURE_CHECK(reader.AtEnd() && (tag == kVersionTag || tag == kDroppedTag),
               "what is stored of table {} cannot be read", table);
  return mark;
}

std::optional<Reply> CheckSchema(uint64_t table, uint64_t version, const kv::Reader& state) {
#ifdef TENURE_MUTANT_stale_schema_applied
  return std::nullopt;
#endif
  const SchemaMark mark = FindSchemaMark(table, state);
  if (mark.dropped) return Reply::Error("ERR The table has been dropped");
  if (version >= mark.version) return std::nullopt;
  return Reply::Error(fmt::format("{}: the write was checked against version {} of its schema, it has {}",
                                  kOlderSchema, version, mark.version));
}

Reply ApplySchemaCommand(const SchemaCommand& command, kv::View& state) {
  const SchemaMark before = FindSchemaMark(command.table, state);
  SchemaMark after = before;
  after.dropped = before.dropped || command.drop;
  after.version = after.dropped ? 0 : std::max(before.version, command.version);
  if (command.drop) {
    for (const std::string& prefix : {RowsPrefix(command.table), RowExpiriesPrefix(command.table)})
      state.DeleteRange(prefix, kv::PrefixEnd(prefix));
    state.Delete(RowCountKey(command.table));
  }
  if (after != before) state.Put(SchemaKey(command.table), Encode(after));
  return Reply::Simple("OK");
}

}  // namespace tenure::store
