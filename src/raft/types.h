// The vocabulary of one Raft group: members, entries, what is persistent.
//
// Threading:  values.
// Reference:  Ongaro, "Consensus: Bridging Theory and Practice" (thesis), chapters 3, 4, 6.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/time.h"

namespace tenure::raft {

// A joint configuration is one in which some member is kIncoming, kOutgoing or kDemoting: decisions then need
// a majority of the old voters (kVoter, kOutgoing, kDemoting) and one of the new (kVoter, kIncoming).
enum class MemberRole : uint8_t {
  kVoter = 1,     // votes, in both halves of a joint configuration
  kLearner = 2,   // receives the log, votes in neither
  kIncoming = 3,  // voter of the new half only
  kOutgoing = 4,  // voter of the old half only, gone when the joint configuration is left
  kDemoting = 5,  // voter of the old half only, a learner when the joint configuration is left
};

struct Member {
  ReplicaId id;
  uint64_t host = 0;  // who hosts it (a controller id or a node id); opaque to the core
  MemberRole role = MemberRole::kVoter;
  friend auto operator<=>(const Member&, const Member&) = default;
};

// Sorted by replica id, no duplicates.
struct Configuration {
  std::vector<Member> members;

  bool IsJoint() const;
  bool IsVoter(ReplicaId id) const;  // in either half
  bool Contains(ReplicaId id) const { return Find(id) != nullptr; }
  const Member* Find(ReplicaId id) const;
  // The configuration after leaving the joint one; itself if not joint.
  Configuration Left() const;
  friend bool operator==(const Configuration&, const Configuration&) = default;
};

std::string EncodeConfiguration(const Configuration& configuration);
StatusOr<Configuration> DecodeConfiguration(std::string_view bytes);
// "1:voter@3 2:learner@5", for messages and inspection.
std::string ToString(const Configuration& configuration);

enum class EntryType : uint8_t {
  kCommand = 1,        // payload belongs to the state machine
  kNoOp = 2,           // first entry of a term
  kConfiguration = 3,  // payload is an encoded Configuration, effective on append
};

struct Entry {
  LogIndex index;
  Term term;
  EntryType type = EntryType::kCommand;
  Bytes payload;
  friend bool operator==(const Entry&, const Entry&) = default;
};

struct HardState {
  Term term;
  ReplicaId vote;   // in `term`; none if none was given
  LogIndex commit;  // a lower bound, persisted lazily: for a quick restart, not for safety
  friend bool operator==(const HardState&, const HardState&) = default;
};

// What a snapshot stands for: everything up to and including `index`.
struct SnapshotMark {
  LogIndex index;
  Term term;
  Configuration configuration;
  friend bool operator==(const SnapshotMark&, const SnapshotMark&) = default;
};

// Terms of a stretch of the log, run-length encoded: entry `first` and those after it have `term`, until the
// next run begins.
struct TermRun {
  LogIndex first;
  Term term;
  friend bool operator==(const TermRun&, const TermRun&) = default;
};

// What a replica knows when it starts, read from the log. For a group that has never run: a mark at index 0,
// term 0, with the initial configuration, and nothing else.
struct PersistedState {
  HardState hard_state;
  SnapshotMark mark;           // the log begins after mark.index
  LogIndex last_index;         // last durable entry; mark.index if there is none
  std::vector<TermRun> terms;  // covering (mark.index, last_index]
  // Configuration entries in (mark.index, last_index], in order; the last one is in force.
  std::vector<std::pair<LogIndex, Configuration>> configurations;
};

}  // namespace tenure::raft
