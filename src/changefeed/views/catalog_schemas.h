// TableSchemas out of the node's view of the catalog.
//
// Threading:  made and read on `home`, the dispatchers' executor; Update is called on the node's, with its
//             view.
// Lifetime:   destroyed on `home` (or when that has stopped); an Update that is under way then does nothing.
// Cost:       an Update without a schema change looks at one number.
#pragma once

#include <map>
#include <memory>

#include "changefeed/dispatcher/table_schemas.h"
#include "node/catalog_view.h"
#include "runtime/executor.h"

namespace tenure::changefeed {

class CatalogSchemas final : public TableSchemas {
 public:
  explicit CatalogSchemas(runtime::Executor& home) : home_(home), state_(std::make_shared<State>()) {}

  void Update(const node::CatalogView& view);

  std::shared_ptr<const TableSchema> Find(uint64_t table, uint64_t version) const override;
  std::shared_ptr<const TableSchema> FindAt(uint64_t table, CommitTs at) const override;
  std::optional<CommitTs> ChangeAt(uint64_t table, uint64_t version) const override;

 private:
  struct Version {
    std::shared_ptr<const TableSchema> schema;
    CommitTs since;
    bool settled = true;  // all regions are told of it
  };
  struct Table {
    std::map<uint64_t, Version> versions;
    std::optional<CommitTs> dropped;
  };
  using Tables = std::map<uint64_t, Table>;
  struct State {
    Tables tables;
  };
  static Table TableOf(const ::tenure::v1::TableRecord& record);
  static Table TableOf(const ::tenure::v1::DroppedTable& dropped);
  const Table* FindTable(uint64_t table) const;

  runtime::Executor& home_;
  std::shared_ptr<State> state_;  // of home
  uint64_t seen_ = ~uint64_t{0};  // of the node's executor: CatalogView::schema_changes
};

}  // namespace tenure::changefeed
