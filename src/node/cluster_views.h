// What clients are shown of a database's slots and nodes, built from the table and the catalog when somebody
// asks and something changed since.
//
// Threading: one executor. A view is valid until the next change of the table or the catalog.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "node/catalog_view.h"
#include "node/data_service.h"
#include "node/region_table.h"

namespace tenure::node {

// 40 hex digits, a function of the node's uuid: what CLUSTER NODES calls it.
std::string RedisIdOf(std::string_view uuid);

class ClusterViews {
 public:
  ClusterViews(const RegionTable& table, const CatalogView& catalog) : table_(table), catalog_(catalog) {}

  // Null if there is no such database.
  const ClusterView* View(DatabaseId database);
  // Redis protocol address of a node; empty if unknown.
  std::string RespAddressOf(NodeId node) const;
  // A node for people: "name (id 3)".
  std::string NameOf(NodeId node) const;

 private:
  struct Cached {
    uint64_t table_version = 0;
    ClusterView view;
  };
  ClusterView Build(const Database& database) const;

  const RegionTable& table_;
  const CatalogView& catalog_;
  std::map<DatabaseId, Cached> cached_;
};

}  // namespace tenure::node
