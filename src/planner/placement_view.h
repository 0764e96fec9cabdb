// What the placement planner looks at: nodes, databases and regions as plain values, without protobuf and
// without anything that is not needed to decide where replicas go.
//
// Filled by the caller: ViewOf() takes it from the catalog and from what nodes have reported. A view is a
// snapshot; order of the vectors does not matter.
// Threading:  values and a pure function.
// Units:      bytes.
// Reference:  docs/placement.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "catalog/catalog.h"

namespace tenure::planner {

struct PlacementLabel {
  std::string key;
  std::string value;
  friend bool operator==(const PlacementLabel&, const PlacementLabel&) = default;
};

struct PlacementNode {
  NodeId id;
  ::tenure::v1::NodeState state = ::tenure::v1::NODE_STATE_UNSPECIFIED;  // only UP is given replicas
  // Empty: not known. A node without a host is a host of its own; nodes without a rack (of the same zone) or
  // without a zone count as being in one and the same, as soon as any node of the view has such a label.
  std::string host;
  std::string rack;
  std::string zone;
  std::vector<PlacementLabel> labels;
  std::string held_back;  // why the caller wants no replica there although it is UP; empty: it may
  std::optional<uint64_t> free_bytes;  // none: not known, and not looked at
  uint64_t capacity_bytes = 0;         // 0: not known
  uint32_t max_replicas = 0;           // 0: no limit
};

struct PlacementReplica {
  NodeId node;
  bool learner = false;
};

struct PlacementRegion {
  RegionId id;
  DatabaseId database;
  std::vector<PlacementReplica> replicas;
  NodeId leader;  // none: not known
  uint64_t bytes = 0;
  bool changing = false;  // created, removed or reconfigured right now: the rebalancer leaves it alone
};

struct DatabaseConstraints {
  std::vector<PlacementLabel> required_labels;  // replicas go only to nodes that carry all of them
  std::string preferred_leader_zone;            // empty: none. Leaders are there where a voter is
};

struct PlacementDatabase {
  DatabaseId id;
  std::string name;
  uint32_t replicas = 0;  // that a region should have; 0: not known
  DatabaseConstraints constraints;
};

// A node with less free space than the larger of the two is full.
struct SpaceLimits {
  uint64_t min_free_bytes = uint64_t{512} << 20;
  uint32_t min_free_percent = 5;  // of the capacity, where that is known
};

struct PlacementView {
  std::vector<PlacementNode> nodes;
  std::vector<PlacementDatabase> databases;
  std::vector<PlacementRegion> regions;
  SpaceLimits space;
};

struct NodeSpace {
  std::optional<uint64_t> free_bytes;
  uint64_t capacity_bytes = 0;
  uint32_t max_replicas = 0;
  std::string held_back;
};

struct RegionObservation {
  uint64_t bytes = 0;
  NodeId leader;  // none: not known; the catalog's preferred leader stands in
};

// What the catalog does not know.
struct PlacementLoads {
  std::map<NodeId, NodeSpace> nodes;
  std::map<RegionId, RegionObservation> regions;
  std::map<DatabaseId, DatabaseConstraints> constraints;
  SpaceLimits space;
};

// The host is the label "host", else that of the address; the rack is the label "rack". Regions that are
// being removed are left out; CREATING ones and those with a learner are marked as changing.
PlacementView ViewOf(const catalog::Catalog& catalog, const PlacementLoads& loads);

}  // namespace tenure::planner
