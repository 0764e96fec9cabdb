// What the log says about every group, without the entries' content: hard state, mark, terms, and where in
// the files each entry stands. The same object is built by the scan at start-up and kept up to date by the
// writer.
//
// Threading:  one owner.
// Cost:       8 bytes an entry.
// Invariants: S1 entries of a group are consecutive from mark.index + 1;
//             S2 live(s) is the number of entries whose position is in segment s: a segment with none is
//             needed by nobody, because the checkpoint at the start of the segment after it repeats
//             everything else.
//             S3 a group with a tombstone that names a replica is here only as a replica with a higher id.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "raft/types.h"
#include "wal/format.h"

namespace tenure::wal {

// Which acknowledged data is gone, as far as intact data around the damage tells.
struct DamagedGroup {
  LogIndex first;  // of the lost entries; none if no entry is known to be lost
  LogIndex last;
  bool state_lost = false;  // term, vote, mark, truncation or tombstone may be lost
};
struct Damage {
  std::map<GroupId, DamagedGroup> groups;
  // Part of what is gone cannot be read at all: any group may have lost state (a vote, say) in it. Only then
  // is `groups` not everything.
  bool incomplete = false;
  void AddEntries(GroupId group, LogIndex first, LogIndex last);
  void AddState(GroupId group) { groups[group].state_lost = true; }
  // "group 5: entries 12-17; group 9: term, vote or mark", at most `limit` groups; ends with "; perhaps
  // others" if incomplete.
  std::string Describe(size_t limit = 16) const;
};

class LogState {
 public:
  // Of a record of entries. Segment 0: not found (yet).
  struct Position {
    uint32_t segment = 0;
    uint32_t offset = 0;
  };
  struct Group {
    GroupId id;
    ReplicaId replica;  // whose log it is; none if the log does not say
    raft::HardState hard_state;
    LogIndex mark_index;
    Term mark_term;
    std::string mark_configuration;                                // encoded
    std::deque<Position> positions;                                // of entry mark_index + 1 and so on
    std::vector<raft::TermRun> terms;                              // covering them
    std::vector<std::pair<LogIndex, std::string>> configurations;  // entries of that type, encoded

    LogIndex last_index() const { return mark_index.Plus(positions.size()); }
    bool Holds(LogIndex index) const { return index > mark_index && index <= last_index(); }
    Position& at(LogIndex index) { return positions[index.value() - mark_index.value() - 1]; }
  };

  Group* Find(GroupId id);
  Group& Obtain(GroupId id);  // made if it is not there; must not be buried
  // It has a tombstone and nothing of it is here.
  bool IsBuried(GroupId id) const { return tombstones_.contains(id) && !lookup_.contains(id); }
  // No tombstone speaks against a log of this replica.
  bool MayBegin(GroupId id, ReplicaId replica) const;
  std::map<GroupId, Group>& groups() { return groups_; }
  const std::map<GroupId, Group>& groups() const { return groups_; }
  // Of each, the highest replica id that is gone; none: the group is gone for ever.
  const std::map<GroupId, ReplicaId>& tombstones() const { return tombstones_; }

  // The entry after the last.
  void AppendEntry(Group& group, const EntryView& entry, Position position);
  void MoveEntry(Group& group, LogIndex index, Position position);
  void TruncateFrom(Group& group, LogIndex from);
  void Reset(Group& group, LogIndex index, Term term, std::string_view configuration);
  void Compact(Group& group, LogIndex index, Term term, std::string_view configuration);
  // The log is this replica's; S3. Made if it is not there.
  Group& SetReplica(GroupId id, ReplicaId replica);
  // Replicas up to `gone` are gone; none: the group is, for ever.
  void Bury(GroupId id, ReplicaId gone);

  struct Use {
    uint64_t live = 0;
    uint64_t total = 0;  // entries ever written into it
  };
  uint64_t live(uint32_t segment) const;
  const std::map<uint32_t, Use>& use() const { return use_; }
  void ForgetSegment(uint32_t segment);

  GroupCheckpoint CheckpointOf(const Group& group) const;
  StatusOr<raft::PersistedState> PersistedStateOf(const Group& group) const;

  // Takes a record found on disk. `base`: it stands in the oldest segment, whose checkpoint is where
  // everything begins. If the record does not continue what is known: an error, or, with `damage`, goes on
  // from what the record says and adds what must have been lost in between.
  Status Replay(const Record& record, uint32_t segment, bool base, Damage* damage);
  // Adds entries that no segment holds.
  void FindMissing(Damage* damage) const;

 private:
  Status ReplayEntries(const Record& record, uint32_t segment, Damage* damage);
  Status ReplayCopied(const Record& record, uint32_t segment, Damage* damage);
  Status ReplayMark(const Record& record, Damage* damage);
  Status ReplayCheckpoint(const Record& record, bool base, Damage* damage);
  Status ReplayReplica(const Record& record, Damage* damage);
  Status ReplayTombstone(const Record& record, Damage* damage);
  Status ReplayTombstones(const Record& record, bool base, Damage* damage);
  Group& Make(GroupId id);
  void Adopt(GroupId id, const GroupCheckpoint& checkpoint);
  void Take(Position position);
  void Release(Position position);
  void DropFront(Group& group, size_t count);
  void DropBack(Group& group, size_t count);

  std::map<GroupId, Group> groups_;
  std::unordered_map<GroupId, Group*> lookup_;  // never iterated
  std::map<GroupId, ReplicaId> tombstones_;
  std::map<uint32_t, Use> use_;
  std::pair<uint32_t, Use*> recent_use_{0, nullptr};
};

}  // namespace tenure::wal
