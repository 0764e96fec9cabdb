// What the protocol front end (resp/) asks of a node: execute data commands on a region it leads, and tell
// what the cluster looks like. Implemented by node::Node; a fake stands in for tests.
//
// Threading: the node's executor, for calls and callbacks. A callback may run inside the call.
// Ordering:  commands of one slot execute in the order of the calls. A read overtakes writes of other slots
//            that are still under way, also of the same region: it does not wait for their consensus.
// Durability: a write is answered after a majority holds it durably and it is applied here.
// Fencing:   whatever is answered from the catalog as this node has cached it - which is all but identity and
//            counters - stands between Enter and Leave (node/lease/request_fence.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/function.h"
#include "base/ids.h"
#include "base/time.h"
#include "node/lease/request_fence.h"
#include "store/command_table.h"
#include "store/region_store.h"
#include "store/reply.h"

namespace tenure::node {

// Why a command was not executed here. Nothing happened, except for kUnknown.
struct Moved {
  uint16_t slot;
  std::string resp_address;  // host:port of the leader, or of a replica that should know better
};
struct Refused {
  enum class Kind { kClusterDown, kTryAgain, kOverloaded, kOutOfSpace, kNoSuchDatabase };
  Kind kind;
  std::string message;  // without a code
};
// The outcome of a write is not known: leadership was lost or the time ran out while it was under way.
struct Unknown {
  std::string message;
};

using Outcome = std::variant<store::Reply, Moved, Refused, Unknown>;

enum class ReadMode {
  kLinearizable,  // on the leader, confirmed by lease or ReadIndex
  kReplica,       // after READONLY: any replica that is at most max-staleness behind
};

struct ShardView {
  RegionId region;
  store::SlotRange slots;
  struct Replica {
    NodeId node;
    bool leader = false;
    bool healthy = true;
  };
  std::vector<Replica> replicas;  // leader first where known
};

struct NodeView {
  NodeId id;
  std::string name;
  std::string redis_id;      // 40 hex digits, derived from the node's uuid
  std::string rpc_address;   // host:port
  std::string resp_address;  // host:port
  bool alive = true;
};

// One database's slots as this node sees them. `revision` rises with every change.
struct ClusterView {
  DatabaseId database;
  uint64_t revision = 0;
  NodeId self;
  std::vector<NodeView> nodes;
  std::vector<ShardView> shards;  // by first slot
};

class DataService {
 public:
  virtual ~DataService() = default;

  // None: this node is fenced, and FencedText says why.
  virtual std::optional<ViewTicket> Enter() = 0;
  virtual std::string FencedText() const = 0;
  // At the moment at which the result is handed over.
  virtual bool MayLeave(ViewTicket ticket, Instant now) const = 0;
  // Once per ticket; `left`: the result was handed over.
  virtual void Leave(ViewTicket ticket, bool left) = 0;
  // What may leave now may do so until then.
  virtual Instant ServesUntil() const = 0;

  // All keys of the command are in `slot`. Write commands go through the region's log, reads do not.
  virtual void Execute(DatabaseId database, uint16_t slot, store::Arguments arguments, ReadMode mode,
                       Callback<Outcome> done) = 0;
  // MULTI/EXEC: all in one slot; the reply is an array, or null if a watched key changed.
  virtual void ExecuteTransaction(DatabaseId database, uint16_t slot, std::vector<store::Arguments> commands,
                                  std::vector<store::WatchedKey> watches, Callback<Outcome> done) = 0;
  // For WATCH: the reply is the key's version as an integer.
  virtual void VersionOf(DatabaseId database, uint16_t slot, std::string key, Callback<Outcome> done) = 0;
  // If Execute would answer Moved now, that; for a command that is only queued. `slot` is what the client
  // knows for its keys: they lie elsewhere if they are rows of a table that was renamed, or of a view.
  virtual std::optional<Moved> MovedElsewhere(DatabaseId database, uint16_t slot,
                                              const store::Arguments& arguments) = 0;
  // SCAN over the regions this node leads. `cursor` 0 begins; the reply is [next cursor, [keys]] as in Redis.
  virtual void Scan(DatabaseId database, uint64_t cursor, size_t count, std::optional<std::string> match,
                    std::optional<std::string> type, Callback<Outcome> done) = 0;
  virtual uint64_t KeyCount(DatabaseId database) = 0;  // of the regions led here
  // Slots not led here: Moved.
  virtual Outcome CountKeysInSlot(DatabaseId database, uint16_t slot) = 0;
  virtual Outcome KeysInSlot(DatabaseId database, uint16_t slot, size_t limit) = 0;

  // "0" is the database `default`. None if there is no such database.
  virtual std::optional<DatabaseId> FindDatabase(const std::string& name) = 0;
  // False: it was dropped. Another one may have its name.
  virtual bool HasDatabase(DatabaseId database) = 0;
  // Null if the database is unknown. Valid until the next turn of the executor.
  virtual const ClusterView* View(DatabaseId database) = 0;
  // Why this node serves nothing at all, if so ("no database exists yet: tenure db create default").
  virtual std::optional<std::string> DownReason(DatabaseId database) = 0;
  // CLUSTER FAILOVER: takes the leaderships of the regions this node holds.
  virtual void TakeLeaderships(DatabaseId database, Callback<Outcome> done) = 0;

  virtual WallTime Now() const = 0;
  // Lines for INFO beyond what the front end knows: "name:value".
  virtual std::vector<std::pair<std::string, std::string>> InfoLines() = 0;
};

}  // namespace tenure::node
