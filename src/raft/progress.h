// What a leader knows about one peer, and what it may send it next (thesis 10.2).
//
//             accepted                       rejected, or no answer for a while
//   kProbe ------------> kReplicate            kReplicate ------------> kProbe
//   one append is out    a window of appends is out
//     | the peer needs what the log no longer holds
//     v
//   kSnapshot: nothing is sent until the snapshot's transfer ended; then it is offered until it is accepted
//
// Invariants: match < next; match never falls in a term; kProbe has at most one append out.
// Threading: one owner.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "base/time.h"
#include "raft/types.h"

namespace tenure::raft {

struct Peer {
  enum class State : uint8_t { kProbe, kReplicate, kSnapshot };

  ReplicaId id;
  LogIndex match;  // durable there and equal to our log up to here
  LogIndex next;   // the next append begins here
  State state = State::kProbe;

  Instant heard_at;       // received its last answer, or began to lead, or it joined
  bool answered = false;  // in this term
  uint64_t acknowledged_round = 0;
  LogIndex told_commit;     // by every heartbeat to it ...
  uint64_t told_round = 0;  // ... since this round

  // kProbe
  bool probe_out = false;
  bool probe_empty = false;  // the next probe carries no entries: it only asks where the peer is
  // kProbe, kReplicate
  Instant sent_at;                   // the last append, or progress of the window
  std::optional<LogIndex> fetching;  // entries from here were asked of the driver
  // kReplicate
  struct Inflight {
    LogIndex last;
    size_t bytes;
  };
  std::deque<Inflight> inflight;
  size_t inflight_bytes = 0;
  // kSnapshot
  bool snapshot_running = false;        // the driver was asked for one and has not reported back
  std::optional<SnapshotMark> offered;  // its content is there, installation was asked for
  Instant offered_at;
  uint32_t offers = 0;

  // Sends one append beginning at `from` and waits for its answer.
  void BecomeProbe(LogIndex from, bool empty);
  void BecomeReplicate();
  void BecomeSnapshot();

  bool WindowIsFull(size_t max_appends, size_t max_bytes) const {
    return inflight.size() >= max_appends || inflight_bytes >= max_bytes;
  }
  // An append ending in `last` (next - 1 if it is empty) leaves.
  void OnSent(Instant now, LogIndex last, size_t bytes);
  // It acknowledged `index`.
  void OnAccepted(Instant now, LogIndex index);
  // It refused an append after `refused`, and may agree at `possible` at most. False if that is old news.
  bool OnRejected(LogIndex refused, LogIndex possible);
};

}  // namespace tenure::raft
