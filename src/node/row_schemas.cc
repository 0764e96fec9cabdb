#include "node/row_schemas.h"

namespace tenure::node {

const store::RowSchema* DatabaseSchemas::OfKey(std::string_view key) const {
  const std::string_view name = store::TableNameOfKey(key);
  if (name.empty()) return nullptr;
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second.get();
}

std::string_view DatabaseSchemas::NameOf(uint64_t table) const {
  const auto it = tables_.find(table);
  return it == tables_.end() ? std::string_view() : std::string_view(it->second.name);
}

uint64_t DatabaseSchemas::VersionOf(uint64_t table) const {
  const auto it = tables_.find(table);
  return it == tables_.end() ? 0 : it->second.version;
}

void RowSchemaTable::Update(const CatalogView& view) {
  if (view.schema_changes() == seen_changes_) return;
  seen_changes_ = view.schema_changes();
  databases_.clear();
  for (const auto& [id, database] : view.databases()) {
    if (database.strict()) databases_[id].strict_ = true;
  }
  for (const auto& [id, table] : view.tables()) Add(table);
  for (const auto& [id, record] : view.views()) {
    if (const pb::TableRecord* table = view.FindTable(record.table())) Add(record, *table);
  }
}

void RowSchemaTable::Add(const pb::TableRecord& table) {
  DatabaseSchemas& schemas = databases_[table.database()];
  const auto schema = std::make_shared<const store::RowSchema>(store::SchemaOf(table));
  schemas.tables_[table.id()] = {schema->unavailable ? std::string() : table.shape().name(),
                                 table.shape().version()};
  // A name in force goes before one that is being given.
  schemas.by_name_[table.shape().name()] = schema;
  if (table.has_next()) schemas.by_name_.try_emplace(table.next().name(), schema);
}

void RowSchemaTable::Add(const pb::ViewRecord& view, const pb::TableRecord& table) {
  DatabaseSchemas& schemas = databases_[view.database()];
  const auto schema = std::make_shared<const store::RowSchema>(store::SchemaOf(view, table));
  schemas.by_name_[view.shape().name()] = schema;
  if (view.has_next()) schemas.by_name_.try_emplace(view.next().name(), schema);
}

}  // namespace tenure::node
