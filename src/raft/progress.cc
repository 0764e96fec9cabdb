#include "raft/progress.h"

#include <algorithm>

namespace tenure::raft {

void Peer::BecomeProbe(LogIndex from, bool empty) {
  state = State::kProbe;
  next = std::max(from, match.Next());
  probe_out = false;
  probe_empty = empty;
  inflight.clear();
  inflight_bytes = 0;
  fetching.reset();
  offered.reset();
}

void Peer::BecomeReplicate() {
  BecomeProbe(match.Next(), false);
  state = State::kReplicate;
}

void Peer::BecomeSnapshot() {
  BecomeProbe(next, false);
  state = State::kSnapshot;
  offers = 0;
}

void Peer::OnSent(Instant now, LogIndex last, size_t bytes) {
  if (state == State::kProbe) {
    probe_out = true;
    probe_empty = true;  // should it get lost
    sent_at = now;
    return;
  }
  if (inflight.empty()) sent_at = now;
  inflight.push_back({last, bytes});
  inflight_bytes += bytes;
  next = last.Next();
}

void Peer::OnAccepted(Instant now, LogIndex index) {
  if (index > match) sent_at = now;
  match = std::max(match, index);
  next = std::max(next, match.Next());
  while (!inflight.empty() && inflight.front().last <= index) {
    inflight_bytes -= inflight.front().bytes;
    inflight.pop_front();
  }
}

bool Peer::OnRejected(LogIndex refused, LogIndex possible) {
  if (state == State::kSnapshot || refused <= match) return false;
  if (state == State::kProbe && (!probe_out || refused != next.Previous())) return false;
  BecomeProbe(std::min(refused, possible.Next()), false);
  return true;
}

}  // namespace tenure::raft
