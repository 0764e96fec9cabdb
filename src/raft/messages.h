// What replicas of one group say to each other. Sender and receiver travel beside the message (group/ wraps
// it).
//
// Threading: values.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "raft/types.h"

namespace tenure::raft {

// Pre-vote (thesis 9.6) changes no state at the receiver; `term` is then the term the sender would stand in.
struct VoteRequest {
  Term term;
  LogIndex last_index;
  Term last_term;
  bool pre = false;
  bool transfer = false;  // the leader asked for this election: stickiness does not apply
};
struct VoteResponse {
  Term term;  // of the receiver; of the request when a pre-vote is granted
  bool pre = false;
  bool granted = false;
};
struct AppendRequest {
  Term term;
  LogIndex prev_index;
  Term prev_term;
  LogIndex commit;
  std::vector<Entry> entries;  // may be empty: a probe
};
// Answers the very append it names (order rule 2).
struct AppendResponse {
  Term term;
  bool accepted = false;
  LogIndex index;  // accepted: verified and durable up to here; rejected: the prev_index that did not match
  LogIndex hint_index;  // rejected: last index that may match ...
  Term hint_term;       // ... and the receiver's term there
};
// The state of a replica's state machine at an index (group/state_hash.h).
struct StateDigest {
  LogIndex index;
  uint64_t hash = 0;
  friend bool operator==(const StateDigest&, const StateDigest&) = default;
};
// `round` rises; the leader knows when it sent each round, which dates leases and confirms reads.
struct HeartbeatRequest {
  Term term;
  uint64_t round = 0;
  LogIndex commit;       // the leader's, if the receiver is known to hold all of that; else none
  bool quiesce = false;  // the last one for a while: everybody holds everything, see RaftCore::Wake
};
struct HeartbeatResponse {
  Term term;
  uint64_t round = 0;  // acknowledged in `term`; 0 if the heartbeat was not accepted
  std::vector<StateDigest>
      digests;  // of the driver, for the leader's driver; the core neither sets nor reads them
};
// Thesis 3.10; leaves only after the leader's lease is void.
struct TimeoutNow {
  Term term;
};
// The snapshot's content went ahead, outside the core (group/); this offers it for installation.
// Answered by an AppendResponse with index = mark.index once it is durable.
struct InstallSnapshot {
  Term term;
  SnapshotMark mark;
};

using Message = std::variant<VoteRequest, VoteResponse, AppendRequest, AppendResponse, HeartbeatRequest,
                             HeartbeatResponse, TimeoutNow, InstallSnapshot>;

// One line for traces and golden scripts, e.g. "Append term=3 prev=7/2 commit=6 entries=[8/3 9/3]".
std::string ToString(const Message& message);

}  // namespace tenure::raft
