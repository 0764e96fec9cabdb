#include "changefeed/views/catalog_schemas.h"

#include <utility>

namespace tenure::changefeed {

namespace pb = ::tenure::v1;

namespace {

ColumnType TypeOf(pb::ColumnType type) {
  switch (type) {
    case pb::COLUMN_INT64:
      return ColumnType::kInt64;
    case pb::COLUMN_FLOAT64:
      return ColumnType::kFloat64;
    case pb::COLUMN_BOOL:
      return ColumnType::kBool;
    case pb::COLUMN_TEXT:
      return ColumnType::kText;
    case pb::COLUMN_TIMESTAMP:
      return ColumnType::kTimestamp;
    default:
      return ColumnType::kBytes;
  }
}

std::shared_ptr<const TableSchema> SchemaOf(const pb::TableShape& shape) {
  auto schema = std::make_shared<TableSchema>();
  schema->name = shape.name();
  schema->version = shape.version();
  for (const pb::ColumnRecord& record : shape.columns()) {
    auto& column = schema->columns.emplace_back();
    column.id = record.id();
    column.name = record.name();
    column.type = TypeOf(record.type());
    if (record.has_default_value()) column.fallback = record.default_value();
  }
  return schema;
}

}  // namespace

CatalogSchemas::Table CatalogSchemas::TableOf(const pb::TableRecord& record) {
  Table table;
  for (const pb::TableVersion& version : record.history()) {
    // The first that is known has no change, or none that matters any more.
    const bool first = table.versions.empty();
    table.versions[version.shape().version()] = {.schema = SchemaOf(version.shape()),
                                                 .since = CommitTs(version.since_ts()),
                                                 .settled = first || version.since_ts() != 0};
  }
  const bool first = table.versions.empty();
  table.versions.try_emplace(record.shape().version(),
                             Version{.schema = SchemaOf(record.shape()), .settled = first});
  if (record.has_next())
    table.versions.try_emplace(record.next().version(),
                               Version{.schema = SchemaOf(record.next()), .settled = false});
  return table;
}

CatalogSchemas::Table CatalogSchemas::TableOf(const pb::DroppedTable& dropped) {
  Table table;
  for (const pb::TableVersion& version : dropped.history()) {
    table.versions[version.shape().version()] = {.schema = SchemaOf(version.shape()),
                                                 .since = CommitTs(version.since_ts())};
  }
  table.dropped = CommitTs(dropped.dropped_ts());
  return table;
}

void CatalogSchemas::Update(const node::CatalogView& view) {
  if (std::exchange(seen_, view.schema_changes()) == view.schema_changes()) return;
  auto tables = std::make_shared<Tables>();
  for (const auto& [id, database] : view.databases()) {
    for (const pb::DroppedTable& dropped : database.dropped_tables())
      (*tables)[dropped.id()] = TableOf(dropped);
  }
  for (const auto& [id, record] : view.tables()) (*tables)[id] = TableOf(record);
  home_.Post([state = state_, tables] { state->tables = std::move(*tables); });
}

const CatalogSchemas::Table* CatalogSchemas::FindTable(uint64_t table) const {
  const auto found = state_->tables.find(table);
  return found == state_->tables.end() ? nullptr : &found->second;
}

std::shared_ptr<const TableSchema> CatalogSchemas::Find(uint64_t table, uint64_t version) const {
  const Table* found = FindTable(table);
  if (found == nullptr) return nullptr;
  const auto it = found->versions.find(version);
  return it == found->versions.end() ? nullptr : it->second.schema;
}

std::shared_ptr<const TableSchema> CatalogSchemas::FindAt(uint64_t table, CommitTs at) const {
  const Table* found = FindTable(table);
  if (found == nullptr || found->versions.empty()) return nullptr;
  auto schema = found->versions.begin()->second.schema;
  for (const auto& [version, known] : found->versions) {
    if (known.settled && known.since <= at) schema = known.schema;
  }
  return schema;
}

std::optional<CommitTs> CatalogSchemas::ChangeAt(uint64_t table, uint64_t version) const {
  const Table* found = FindTable(table);
  if (found == nullptr) return std::nullopt;
  if (version == 0) return found->dropped;
  if (found->versions.empty() || version < found->versions.begin()->first) return CommitTs();
  const auto it = found->versions.find(version);
  if (it == found->versions.end() || !it->second.settled) return std::nullopt;
  return it->second.since;
}

}  // namespace tenure::changefeed
