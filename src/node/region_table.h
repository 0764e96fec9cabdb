// Where commands go: the regions of every database by slot, which of them have a replica here, and who leads
// them.
//
// Three sources come together: the catalog's records (Update), the groups that run here (GroupObserver,
// SetRange), and what the leading controller knows about leaders elsewhere (ReportLeader, SetUnhealthy). It
// answers; it starts nothing. Where slots are moving, the log of a replica here knows more than a record, and
// of two that claim a slot the one is right that got it by the later procedure.
//
// Threading:  one executor. Region objects stay at their address until the record is gone.
// Invariants: N1 a slot of a database is routed to at most one region.
//             N2 this node is never named as another leader to ask (no redirect to oneself).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "group/group_host.h"
#include "node/catalog_view.h"
#include "node/pending_operations.h"
#include "store/region_store.h"

namespace tenure::node {

// What RegionService keeps per region (region_service.h says how it is used).
struct RegionTraffic {
  struct Waiting {
    PendingOperations::Handle operation;
    bool read = false;
    store::Step step;     // of a read
    std::string encoded;  // a write command
    size_t bytes = 0;
  };
  std::deque<Waiting> waiting;  // reads to be confirmed, and writes that came after them
  size_t confirming = 0;        // that many at the front are covered by the confirmation under way
  bool confirmation_scheduled = false;
};

struct Region {
  struct Replica {
    ReplicaId id;
    NodeId node;
    bool voter = true;  // else it may lack anything, and clients are not sent there
  };
  RegionId id;
  DatabaseId database;
  store::SlotRange slots;  // by the catalog's record
  pb::RegionState state = pb::REGION_STATE_UNSPECIFIED;
  bool hidden = false;            // is being split off another region, which its record does not show yet
  uint64_t range_procedure = 0;   // by the record: what moved slots last
  std::vector<Replica> replicas;  // by id: the members, and those that join

  ReplicaId self;        // the replica on this node; none if there is none
  bool votes = false;    // that replica is a voter by the catalog's record
  bool running = false;  // its group runs here
  raft::RoleChange role{raft::Role::kFollower, Term(), ReplicaId()};  // of the local replica
  Term serving_term;  // in which it serves; none if it does not

  NodeId reported_leader;  // by the leading controller
  Term reported_term;

  std::unique_ptr<store::RegionStore> store;  // its range is that of the local replica's log, if one runs
  store::ChangeLogState change_log;           // of the local replica, as its readers find it
  RegionTraffic traffic;

  GroupId group() const { return GroupId(id.value()); }
  bool leads() const { return running && role.role == raft::Role::kLeader; }
  // What it serves: by the log of the replica here, without one by the record.
  std::optional<store::SlotRange> Held() const {
    if (running) return store->range().slots;
    return hidden ? std::nullopt : std::optional(slots);
  }
  bool Serves(uint16_t slot) const { return running && store->range().Serves(slot); }
  const Replica* FindReplica(ReplicaId replica) const;
};

struct Database {
  DatabaseId id;
  std::string name;
  pb::DatabaseState state = pb::DATABASE_STATE_UNSPECIFIED;
  std::vector<Region*> by_slot;  // kSlotCount, null where no region is
  std::vector<Region*> regions;  // by first slot
  std::vector<uint32_t>
      proposed_by_slot;  // RegionService: what this node has proposed and is not answered yet
};

// Told about what changed; called inside the change, must not call back.
class RegionTableListener {
 public:
  virtual ~RegionTableListener() = default;
  virtual void OnTableChanged() = 0;                          // records, leaders, health: views are stale
  virtual void OnLocalRoleChanged(const Region& region) = 0;  // role, term or serving of a replica here
  virtual void OnChangeLog(const Region& /*region*/) {}       // there is more in it, or it is kept or not
};

class RegionTable final : public group::GroupObserver {
 public:
  RegionTable() = default;
  RegionTable(const RegionTable&) = delete;
  RegionTable& operator=(const RegionTable&) = delete;
  void SetListener(RegionTableListener* listener) { listener_ = listener; }

  // --- what is known ---
  void SetSelf(NodeId self);
  NodeId self() const { return self_; }
  void Update(const CatalogView& view);
  void SetRunning(RegionId region, bool running);
  // The range in the state of the replica here, as its readers find it.
  void SetRange(RegionId region, const store::RegionRange& range);
  void SetChangeLog(RegionId region, const store::ChangeLogState& log);
  // None: the region has no leader as far as the controller knows. It says so once, at catalog revision
  // `as_of`, which may be ahead of the view: what it says of a region that is not there yet is kept until the
  // view has got there.
  void ReportLeader(RegionId region, NodeId leader, Term term, Revision as_of);
  void SetUnhealthy(std::set<NodeId> nodes);

  void OnRoleChange(GroupId group, const raft::RoleChange& change) override;
  void OnServing(GroupId group, Term term) override;
  void OnConfiguration(GroupId group, const raft::Configuration& configuration) override;

  // --- answers ---
  Region* Find(RegionId region);
  Database* Find(DatabaseId database);
  const std::map<uint64_t, Database>& databases() const { return databases_; }
  std::map<uint64_t, Region>& regions() { return regions_; }
  const std::map<uint64_t, Region>& regions() const { return regions_; }
  bool IsHealthy(NodeId node) const { return !unhealthy_.contains(node); }
  // The node that leads the region: the local group's word, or the controller's if it is of a later term.
  NodeId LeaderOf(const Region& region) const;
  // Another node to send a client to: the leader; where no replica runs here, any healthy replica. None:
  // nobody.
  NodeId RedirectTarget(const Region& region) const;
  // "region 5 (slots 0-2047) has no leader; ...", for clients.
  std::string DescribeLeaderless(const Region& region) const;
  // Rises with every change of what a cluster view shows.
  uint64_t version() const { return version_; }

 private:
  void UpdateRegion(const pb::RegionRecord& record);
  void TakeEarlyReports(Revision seen);
  void FindSelf(Region& region) const;
  void UpdateDatabases(const CatalogView& view);
  void RouteSlots(Database& database) const;
  // The slots of the region's database, again.
  void Route(const Region& region);
  void Changed();

  RegionTableListener* listener_ = nullptr;
  NodeId self_;
  std::map<uint64_t, Region> regions_;
  std::map<uint64_t, Database> databases_;
  struct EarlyReport {
    NodeId leader;
    Term term;
    Revision as_of;
  };
  std::map<uint64_t, EarlyReport> early_reports_;  // by region
  std::set<NodeId> unhealthy_;
  uint64_t version_ = 1;
};

}  // namespace tenure::node
