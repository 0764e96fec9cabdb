// What this node knows of the catalog: the records of nodes, databases, regions, tables, views and
// changefeeds, up to a revision.
//
// Fed by CatalogFeed (lists, then events of a watch) or read from CatalogFile at start. It decides nothing.
// Threading:  values; one owner.
// Revision:   each kind of record is complete up to a revision of its own, because it was listed on its own;
//             `revision()` is the lowest of them. No kind's revision ever goes back.
// Invariants: V1 a record is never replaced by an older state of it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::node {

namespace pb = ::tenure::v1;

class CatalogView {
 public:
  // Everything up to here is in the view.
  Revision revision() const;
  // The highest revision anything in the view stems from.
  Revision newest() const;

  const std::map<uint64_t, pb::NodeRecord>& nodes() const { return nodes_; }
  const std::map<uint64_t, pb::DatabaseRecord>& databases() const { return databases_; }
  const std::map<uint64_t, pb::RegionRecord>& regions() const { return regions_; }
  const std::map<uint64_t, pb::TableRecord>& tables() const { return tables_; }
  const std::map<uint64_t, pb::ViewRecord>& views() const { return views_; }
  const std::map<uint64_t, pb::ChangefeedRecord>& changefeeds() const { return changefeeds_; }
  // As of the last complete list in this run, empty before. What is asked of it changes only while no
  // controller runs: the incarnation and the recoveries.
  const pb::ClusterRecord& cluster() const { return cluster_; }
  // Rises with every change of a database, a table or a view.
  uint64_t schema_changes() const { return schema_changes_; }
  // Of a table or a view of the database that has this name, or is being given it (`next`); 0: there is none.
  // A name in force goes before one that is being given.
  uint64_t FindSchemaName(uint64_t database, std::string_view name) const;
  const pb::TableRecord* FindTable(uint64_t id) const;
  const pb::ViewRecord* FindView(uint64_t id) const;
  const pb::NodeRecord* FindNode(NodeId id) const;
  const pb::NodeRecord* FindNode(std::string_view uuid) const;
  const pb::RegionRecord* FindRegion(RegionId id) const;

  // A complete list of one kind as of `revision`. OUT_OF_RANGE if that is older than what the view holds.
  Status Replace(pb::RecordKind kind, const std::vector<pb::Record>& records, Revision revision);
  // One event of a watch; those of kinds that are not kept, and those the view has already, change nothing.
  // True if something changed.
  bool Apply(const pb::Event& event);
  void SetCluster(pb::ClusterRecord cluster) { cluster_ = std::move(cluster); }
  // The catalog goes on from an older revision (a new incarnation of the cluster): what is known stays until
  // it is replaced, by a list of any revision.
  void ForgetRevisions();
  // Every event up to `revision` was applied.
  void AdvanceTo(Revision revision);

  std::string Encode() const;
  static StatusOr<CatalogView> Decode(std::string_view bytes);

 private:
  Revision& RevisionOf(pb::RecordKind kind);
  void Put(const pb::Record& record);
  void Clear(pb::RecordKind kind);
  void NoteChange(pb::RecordKind kind);
  // `record` enters the names, or leaves them.
  template <class Object>
  void Index(const Object& object);
  template <class Object>
  void Unindex(const Object& object);

  pb::ClusterRecord cluster_;
  std::map<uint64_t, pb::NodeRecord> nodes_;
  std::map<uint64_t, pb::DatabaseRecord> databases_;
  std::map<uint64_t, pb::RegionRecord> regions_;
  std::map<uint64_t, pb::TableRecord> tables_;
  std::map<uint64_t, pb::ViewRecord> views_;
  std::map<uint64_t, pb::ChangefeedRecord> changefeeds_;
  std::map<std::pair<uint64_t, std::string>, uint64_t> names_;  // of tables and views, by database
  Revision node_revision_;
  Revision database_revision_;
  Revision region_revision_;
  Revision table_revision_;
  Revision view_revision_;
  Revision changefeed_revision_;
  Revision newest_;
  uint64_t schema_changes_ = 0;
};

// The kinds a node keeps.
inline constexpr pb::RecordKind kKeptKinds[] = {pb::RECORD_NODE,  pb::RECORD_DATABASE, pb::RECORD_REGION,
                                                pb::RECORD_TABLE, pb::RECORD_VIEW,     pb::RECORD_CHANGEFEED};

}  // namespace tenure::node
