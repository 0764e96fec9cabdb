// The replicated state of the control plane: records in an ordered key space, changed only by applying
// commands.
//
// Driven by controller/ (the adapter to group::StateMachine). It does not know Raft, clocks or clients:
// times, ids of requests and the leadership epoch come in the command.
// Threading:   one owner.
// Revision:    the log index of the command; every record carries its create and modify revision.
// Errors:      a refusal is a CatalogResult with a reason and changes nothing; nothing is ever half applied.
// Determinism: state and command alone; protobuf messages stored here hold no maps. CatalogLimits are part of
//              the format: every member must run with the same values.
//
// Keys below the catalog's prefix (docs/catalog.md, "format"):
//   c  cluster record        i  next ids               C <id:8>  controller     N <id:8>  node
//   D <id:8> database        R <id:8> region           P <id:8>  procedure      E <key>    entry
//   T <id:8> table           V <id:8> view         F <id:8> changefeed     d <client id:8> deduplication
//
// Records other than entries are few and are kept in memory as well; entries are read from the engine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "base/time.h"
#include "catalog/events.h"
#include "catalog/format.h"
#include "kv/kv.h"
#include "tenure/internal/v1/command.pb.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::catalog {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

struct CatalogLimits {
  size_t max_entry_key_bytes = 1 << 10;
  size_t max_entry_value_bytes = 1 << 20;
  size_t max_name_bytes = 128;
  uint32_t max_regions_per_database = 16384;  // one per slot
  uint32_t max_replicas = 9;
  size_t max_labels = 64;                              // of a node
  size_t max_clients = 10000;                          // deduplication: least recently used go first
  size_t max_results_per_client = 4096;                // oldest sequences go first
  Duration client_session = std::chrono::minutes(10);  // idle clients are forgotten after this
};

class Catalog {
 public:
  explicit Catalog(CatalogLimits limits);
  ~Catalog();

  // Loads the memory-resident part. The state must be of a format that this program reads (CheckFormat).
  void Reset(const kv::Reader& state, Revision applied);
  // Applies one command (decoded). `term` is the entry's term: commands with another epoch are refused.
  ipb::CatalogResult Apply(const ipb::CatalogCommand& command, Revision revision, Term term, kv::View& state);
  // The same without copies: moves what it can out of the command.
  ipb::CatalogResult Apply(ipb::CatalogCommand&& command, Revision revision, Term term, kv::View& state);
  // Writes the deduplication records touched since the last call.
  void FinishBatch(kv::View& state);

  // FAILED_PRECONDITION if `state` was written by a program too new for this one: its format or a section.
  static Status CheckFormat(const kv::Reader& state);
  // What was found in state or log that this program passes over, since the last call: for the log file.
  std::vector<std::string> TakeNotes();
  // Of the cluster; the newest before it has a record.
  uint32_t format_version() const;

  // Changes made by Apply since the last call, in order; the watch hub distributes them.
  Events TakeEvents();

  // Refusals that need no state (sizes, names, ranges): made before a command reaches the log.
  // INVALID_ARGUMENT naming the field and the limit.
  static Status Validate(const ipb::CatalogCommand& command, const CatalogLimits& limits);

  // What the request was answered, if it is remembered (or too old to be: DUPLICATE_EXPIRED); for answering a
  // repeated request before the work that its command would need. A request without a client id is never
  // known.
  std::optional<ipb::CatalogResult> FindAnswer(const pb::RequestId& id) const;

  Revision applied() const;
  const pb::ClusterRecord* cluster() const;  // null before InitializeCluster
  const pb::Record* cluster_record() const;
  // By id, ordered. Each pb::Record holds the body of its kind.
  const std::map<uint64_t, pb::Record>& controllers() const;
  const std::map<uint64_t, pb::Record>& nodes() const;
  const std::map<uint64_t, pb::Record>& databases() const;
  const std::map<uint64_t, pb::Record>& regions() const;
  const std::map<uint64_t, pb::Record>& procedures() const;
  const std::map<uint64_t, pb::Record>& tables() const;
  const std::map<uint64_t, pb::Record>& views() const;
  const std::map<uint64_t, pb::Record>& changefeeds() const;
  // Of either kind: they share ids and, in a database, names. A name counts until its record goes, and from
  // the moment on that it is asked for.
  const pb::Record* FindTableOrView(uint64_t database, std::string_view name) const;
  const pb::Record* FindTableOrView(uint64_t id) const;
  // Not one that is being dropped: its name is free again.
  const pb::Record* FindDatabase(std::string_view name) const;
  const pb::Record* FindChangefeed(std::string_view name) const;
  const pb::Record* FindNode(std::string_view uuid) const;
  size_t client_count() const;

  // Entries live in the engine.
  // The engine's key of the entry that the command reads, if it reads one.
  static std::optional<std::string> EntryKeyOf(const ipb::CatalogCommand& command);
  static std::optional<pb::Record> GetEntry(std::string_view key, const kv::Reader& state);
  struct EntryPage {
    std::vector<pb::Record> records;
    std::string next_after;  // empty: complete
  };
  // At most `limit` records and about 4 MiB, or what stands beside 16 MiB of values that are not asked for; keys
  // with `prefix` after `after`, in order.
  static EntryPage ListEntries(std::string_view prefix, std::string_view after, size_t limit, bool keys_only,
                               const kv::Reader& state);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenure::catalog
