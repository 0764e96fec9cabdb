// What a RaftCore wants done after an input, and in which order. This is the one place that says what must be
// durable before what leaves.
//
// For one Effects value the driver
//   1. sends `messages` at any time from now on;
//   2. persists, as one unit and in the order of the Effects values: `truncate_from`, `entries`,
//   `hard_state`;
//      when all of it is durable it calls OnPersisted(persist_token) and only then
//   3. sends `messages_after_persist` (they belong to this value's persistence or an earlier one's: order
//      rules 1, 2 and 3 of docs/consensus.md).
//   4. applies up to `commit` in log order, never beyond what is durable locally (rule 5; the core already
//      caps `commit` at the persisted index), and reports OnApplied;
//   5. answers `reads` when applied >= the read's index.
// If nothing is to be persisted (`NeedsPersist()` is false) there is no token and messages_after_persist is
// empty.
//
// Threading: values, moved to the driver.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "raft/messages.h"
#include "raft/types.h"

namespace tenure::raft {

struct Outgoing {
  ReplicaId to;
  Message message;
};

enum class Role : uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };

struct RoleChange {
  Role role;
  Term term;
  ReplicaId leader;  // none if unknown
  friend bool operator==(const RoleChange&, const RoleChange&) = default;
};

// A peer needs entries that are no longer in the core's cache: the driver reads up to `max_bytes` (at least
// one entry) from the log and calls OnFetched. One is outstanding per peer.
struct FetchRequest {
  ReplicaId peer;
  LogIndex from;
  size_t max_bytes;
};

struct ReadReady {
  uint64_t context;
  LogIndex index;  // the read may be answered once this is applied
};

struct Effects {
  std::optional<HardState> hard_state;
  std::optional<LogIndex> truncate_from;  // remove this entry and all after it, before appending
  std::vector<Entry> entries;
  uint64_t persist_token = 0;  // rises by one with every value that needs persistence

  std::vector<Outgoing> messages;
  std::vector<Outgoing> messages_after_persist;

  std::optional<LogIndex> commit;  // advanced to here
  std::vector<ReadReady> reads;
  std::vector<uint64_t> failed_reads;  // contexts: leadership was lost before they were confirmed
  std::optional<RoleChange> role_change;
  std::optional<Configuration> configuration;  // now in force (appended or rolled back), for the address book
  std::vector<FetchRequest> fetches;
  std::vector<ReplicaId> snapshots_needed;  // the peer is behind the log's start; once until reported back
  std::optional<SnapshotMark>
      install_snapshot;  // replace state and log by this one, then OnSnapshotInstalled

  bool NeedsPersist() const { return hard_state || truncate_from || !entries.empty(); }
};

}  // namespace tenure::raft
