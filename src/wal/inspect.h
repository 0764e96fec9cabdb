// A read-only walk over a log, for `tenure inspect`: opens files for reading only, takes no lock, changes
// nothing, and goes as far as the log makes sense.
//
// Threading: one owner; blocks on the disk.
// Errors:    an error means there is nothing to show (directory unreadable, newer format). Torn tails and
//            damage are notes; what is shown then is what a start would find before it cut or refused.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "raft/types.h"
#include "runtime/disk.h"

namespace tenure::wal {

struct InspectedGroup {
  raft::PersistedState state;  // term, vote, commit bound, mark, last index, configurations
  bool tombstone = false;      // no replica is here
  ReplicaId gone;              // the highest replica id that is gone; none: none, or the group is for ever
  ReplicaId replica;           // whose log it is, if the log says so
  // The configuration in force.
  const raft::Configuration& configuration() const;
};

struct InspectedSegment {
  std::string path;
  uint64_t number = 0;
  uint64_t bytes = 0;
  uint64_t used = 0;
  uint64_t commits = 0;
};

struct InspectNote {
  bool damage = false;  // a start would refuse; else it is a torn tail or a leftover that a start cleans up
  std::string path;
  uint64_t offset = 0;
  std::string text;
};

struct Inspection {
  std::map<GroupId, InspectedGroup> groups;
  std::vector<InspectedSegment> segments;
  std::vector<InspectNote> notes;
  uint64_t next_commit = 0;
  bool stopped_cleanly = false;
};

// An entry where it stands. An index may come again: after a truncation the later one counts; copied forward
// it is the same entry. Entries outside (mark.index, last_index] of their group are not live any more.
struct InspectedEntry {
  GroupId group;
  raft::Entry entry;
  std::string path;
  uint64_t offset = 0;  // of the record it stands in
  bool copied = false;
};

// `on_entry` may be empty; it is called in the order of the log, before the result is known.
StatusOr<Inspection> Inspect(runtime::Disk& disk, const std::string& directory,
                             const std::function<void(const InspectedEntry&)>& on_entry);

}  // namespace tenure::wal
