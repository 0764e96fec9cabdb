// The leader's side of replication and commitment (thesis 3.5, 3.6, 10.2; order rules 2 and 4).
#include <algorithm>

#include "base/check.h"
#include "base/format.h"
#include "base/rare_path.h"
#include "raft/core.h"
#include "raft/quorum.h"

namespace tenure::raft {
namespace {

// Offers of one snapshot before its transfer is begun anew: its receiver seems to have lost it.
constexpr uint32_t kMaxOffers = 10;

}  // namespace

const Peer* Leader::Find(ReplicaId id) const {
  const auto found = std::lower_bound(peers.begin(), peers.end(), id,
                                      [](const Peer& peer, ReplicaId wanted) { return peer.id < wanted; });
  return found != peers.end() && found->id == id ? &*found : nullptr;
}

void RaftCore::Impl::BecomeLeader() {
  role_ = Leader{};
  Leader& leader = *AsLeader();
  leader_ = config_.self;
  leader.term_start = log_.last_index().Next();
  RefreshPeers();
  AppendOwn(EntryType::kNoOp, Bytes());
  SendAppendsToAll();
  StartRound(false);
  leader.next_heartbeat = now_ + config_.heartbeat_interval;
}

// Peers are the other members of the configuration in force; what is known about those that stay is kept.
void RaftCore::Impl::RefreshPeers() {
  Leader& leader = *AsLeader();
  std::vector<Peer> peers;
  for (const Member& member : active().members) {
    if (member.id == config_.self) continue;
    if (Peer* known = leader.Find(member.id)) {
      peers.push_back(std::move(*known));
      continue;
    }
    Peer joined;
    joined.id = member.id;
    joined.heard_at = now_;
    joined.BecomeProbe(log_.last_index().Next(), false);
    peers.push_back(std::move(joined));
  }
  leader.peers = std::move(peers);
  const auto& handover = leader.handover;
  if (handover && !handover->timeout_now_sent && !active().IsVoter(handover->to)) leader.handover.reset();
}

void RaftCore::Impl::AppendOwn(EntryType type, Bytes payload) {
  AsLeader()->busy_at = now_;
  AppendToLog({log_.last_index().Next(), term_, type, std::move(payload)});
}

ProposeResult RaftCore::Impl::Propose(std::vector<Bytes> payloads, LogIndex* first, Term* term) {
  Leader* leader = AsLeader();
  if (leader == nullptr) return ProposeResult::kNotLeader;
  if (leader->handover) {
    TENURE_RARE_PATH("raft: a proposal is refused during a transfer");
    return ProposeResult::kTransferring;
  }
  size_t bytes = 0;
  for (const Bytes& payload : payloads) bytes += payload.size();
  if (leader->uncommitted_bytes > 0 && leader->uncommitted_bytes + bytes > config_.max_uncommitted_bytes) {
    return ProposeResult::kOverloaded;
  }
  if (quiescent_) Unquiesce();
  *first = log_.last_index().Next();
  *term = term_;
  for (Bytes& payload : payloads) AppendOwn(EntryType::kCommand, std::move(payload));
  leader->uncommitted.push_back({log_.last_index(), bytes});
  leader->uncommitted_bytes += bytes;
  SendAppendsToAll();
  return ProposeResult::kAccepted;
}

void RaftCore::Impl::SendAppendsToAll() {
  for (Peer& peer : AsLeader()->peers) SendAppends(peer);
}

// Sends what the peer lacks as far as its state allows.
void RaftCore::Impl::SendAppends(Peer& peer) {
  while (peer.state != Peer::State::kSnapshot && !peer.fetching) {
    if (peer.next.Previous() < log_.mark_index()) {
      TENURE_RARE_PATH("raft: a follower is so far behind that it needs a snapshot");
      peer.BecomeSnapshot();
      if (!peer.snapshot_running) outbox_.effects().snapshots_needed.push_back(peer.id);
      peer.snapshot_running = true;
      return;
    }
    if (peer.state == Peer::State::kProbe) {
      if (peer.probe_out) return;
      SendAppend(peer, peer.probe_empty
                           ? std::vector<Entry>()
                           : log_.Cached(peer.next, log_.last_index(), config_.max_append_bytes));
      return;
    }
    if (peer.next > log_.last_index()) return;
    if (peer.WindowIsFull(config_.max_inflight_appends, config_.max_inflight_bytes)) return;
    if (peer.next < log_.cache_first()) {
      TENURE_RARE_PATH("raft: entries for a follower are read from the log on disk");
      peer.fetching = peer.next;
      outbox_.effects().fetches.push_back({peer.id, peer.next, config_.max_append_bytes});
      return;
    }
    SendAppend(peer, log_.Cached(peer.next, log_.last_index(), config_.max_append_bytes));
  }
}

void RaftCore::Impl::SendAppend(Peer& peer, std::vector<Entry> entries) {
  const LogIndex previous = peer.next.Previous();
  size_t bytes = 0;
  for (const Entry& entry : entries) bytes += CostOf(entry);
  const LogIndex last = entries.empty() ? previous : entries.back().index;
  peer.OnSent(now_, last, bytes);
  outbox_.Send(peer.id, AppendRequest{.term = term_,
                                      .prev_index = previous,
                                      .prev_term = log_.TermAt(previous),
                                      .commit = commit_,
                                      .entries = std::move(entries)});
}

// The peer is alive: if an answer is overdue, ask where it is. A window is not sent anew before the peer has
// said that it is lost, since a slow disk looks the same.
void RaftCore::Impl::ResendIfStalled(Peer& peer) {
  switch (peer.state) {
    case Peer::State::kProbe:
      if (peer.probe_out && now_ >= peer.sent_at + config_.heartbeat_interval) peer.probe_out = false;
      break;
    case Peer::State::kReplicate:
      if (!peer.inflight.empty() && now_ >= peer.sent_at + 2 * config_.heartbeat_interval) {
        peer.BecomeProbe(peer.next, true);
      }
      break;
    case Peer::State::kSnapshot:
      if (peer.offered && now_ >= peer.offered_at + config_.election_timeout_min) OfferSnapshot(peer);
      break;
  }
  SendAppends(peer);
}

void RaftCore::Impl::OfferSnapshot(Peer& peer) {
  if (++peer.offers > kMaxOffers) return peer.BecomeProbe(peer.match.Next(), true);
  peer.offered_at = now_;
  outbox_.Send(peer.id, InstallSnapshot{.term = term_, .mark = *peer.offered});
}

void RaftCore::Impl::OnSnapshotSent(ReplicaId id, LogIndex mark_index, bool ok) {
  Leader* leader = AsLeader();
  Peer* peer = leader == nullptr ? nullptr : leader->Find(id);
  if (peer == nullptr) return;
  peer->snapshot_running = false;
  if (peer->state != Peer::State::kSnapshot) return;
  if (!ok || mark_index < log_.mark_index() || mark_index > log_.last_index()) {
    // Tried again after the peer's next sign of life, not at once.
    peer->BecomeProbe(peer->match.Next(), true);
    peer->probe_out = true;
    peer->sent_at = now_;
    return;
  }
  peer->offered = {mark_index, log_.TermAt(mark_index), log_.ConfigurationAt(mark_index)};
  OfferSnapshot(*peer);
}

void RaftCore::Impl::OnFetched(ReplicaId id, LogIndex from, std::vector<Entry> entries) {
  Leader* leader = AsLeader();
  Peer* peer = leader == nullptr ? nullptr : leader->Find(id);
  if (peer == nullptr || peer->fetching != from) return;
  peer->fetching.reset();
  LogIndex expected = from;
  for (const Entry& entry : entries) {
    if (entry.index != expected || !log_.Matches(entry.index, entry.term)) break;
    expected = expected.Next();
  }
  entries.resize(expected.value() - from.value());
  // Nothing there, or no longer wanted: looked at again after the peer's next sign of life.
  if (entries.empty() || peer->state != Peer::State::kReplicate || peer->next != from) return;
  SendAppend(*peer, std::move(entries));
  SendAppends(*peer);
}

void RaftCore::Impl::MaybeCommit() {
  Leader& leader = *AsLeader();
#ifdef TENURE_MUTANT_count_unsynced_leader
  const LogIndex own = log_.last_index();
#else
  const LogIndex own = outbox_.persisted();
#endif
  const LogIndex held = MajorityValue(active(), LogIndex(), [&](ReplicaId id) {
    if (id == config_.self) return own;
    const Peer* peer = leader.Find(id);
    return peer == nullptr ? LogIndex() : peer->match;
  });
  if (held <= commit_) return;
#ifndef TENURE_MUTANT_commit_old_term
  if (log_.TermAt(held) != term_) return;
#endif
  AdvanceCommit(held);
  OnCommitAdvanced();
}

void RaftCore::Impl::OnCommitAdvanced() {
  Leader& leader = *AsLeader();
  while (!leader.uncommitted.empty() && leader.uncommitted.front().last <= commit_) {
    leader.uncommitted_bytes -= leader.uncommitted.front().bytes;
    leader.uncommitted.pop_front();
  }
  LeaveJointOrOffice();
}

void RaftCore::Impl::Handle(ReplicaId from, const AppendResponse& response) {
  if (HasHigherTermOfMember(from, response.term)) return;
  Leader* leader = AsLeader();
  Peer* peer = leader == nullptr ? nullptr : leader->Find(from);
  if (peer == nullptr || response.term != term_) return;
  peer->heard_at = now_;
  peer->answered = true;
  if (!response.accepted) {
    // Below our log's beginning there is nothing to look for: a snapshot will be needed.
    const LogIndex possible =
        std::min(response.hint_index, log_.LastPossibleMatch(response.hint_index, response.hint_term));
    if (peer->OnRejected(response.index, possible)) SendAppends(*peer);
    return;
  }
  TENURE_CHECK(response.index <= log_.last_index(), "R2: {} acknowledges {}, the leader's log ends at {}",
               from, response.index, log_.last_index());
  const bool answers_probe = peer->state == Peer::State::kProbe && response.index >= peer->next.Previous();
  peer->OnAccepted(now_, response.index);
  const bool in_snapshot = peer->state == Peer::State::kSnapshot;
  if (answers_probe || (in_snapshot && peer->match >= log_.mark_index())) {
    peer->BecomeReplicate();
  } else if (in_snapshot && peer->offered && peer->match >= peer->offered->index) {
    // It has installed the snapshot, but the log begins later by now: another one is needed.
    peer->BecomeProbe(peer->match.Next(), true);
  }
  MaybeCommit();
  // Committing may have changed the peers, or ended the leadership.
  leader = AsLeader();
  if (leader == nullptr) return;
  peer = leader->Find(from);
  if (peer != nullptr) SendAppends(*peer);
  AdvanceHandover();
}

void RaftCore::Impl::Handle(ReplicaId from, const HeartbeatResponse& response) {
  if (HasHigherTermOfMember(from, response.term)) return;
  Leader* leader = AsLeader();
  Peer* peer = leader == nullptr ? nullptr : leader->Find(from);
  if (peer == nullptr) return;
  if (response.term < term_) {
    // To the peer we are a stranger. An append that names the end of our log introduces us (rule 6), or a
    // snapshot.
    if (peer->answered) return;
    if (peer->state != Peer::State::kSnapshot) peer->BecomeProbe(log_.last_index().Next(), true);
    return ResendIfStalled(*peer);
  }
  peer->heard_at = now_;
  peer->answered = true;
  peer->acknowledged_round = std::max(peer->acknowledged_round, std::min(response.round, leader->round));
  OnRoundAcknowledged();
  ResendIfStalled(*peer);
}

}  // namespace tenure::raft
