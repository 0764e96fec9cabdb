// What the names in front of a key's ':' stand for in each database: tables and views, as they are to be used
// according to the catalog that the node has taken over.
//
// Threading: one executor. What is returned is valid until the next Update.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "node/catalog_view.h"
#include "store/row_plan.h"

namespace tenure::node {

class DatabaseSchemas final : public store::RowSchemas {
 public:
  const store::RowSchema* OfKey(std::string_view key) const override;
  std::string_view NameOf(uint64_t table) const override;
  // Version of the table's schema; 0: there is no such table.
  uint64_t VersionOf(uint64_t table) const;
  // Rows of tables only, no plain keys.
  bool strict() const { return strict_; }

 private:
  friend class RowSchemaTable;
  struct Table {
    std::string name;  // empty: its rows are not shown
    uint64_t version = 0;
  };
  std::string name_;
  bool strict_ = false;
  std::map<std::string, std::shared_ptr<const store::RowSchema>, std::less<>> by_name_;
  std::map<uint64_t, Table> tables_;
};

class RowSchemaTable {
 public:
  void Update(const CatalogView& view);
  // Null: the database has neither tables nor views and is not strict, so every key is a plain one.
  const DatabaseSchemas* Of(DatabaseId database) const {
    if (databases_.empty()) return nullptr;
    const auto it = databases_.find(database.value());
    return it == databases_.end() ? nullptr : &it->second;
  }

 private:
  void Add(const pb::TableRecord& table);
  void Add(const pb::ViewRecord& view, const pb::TableRecord& table);

  std::map<uint64_t, DatabaseSchemas> databases_;
  uint64_t seen_changes_ = 0;
};

}  // namespace tenure::node
