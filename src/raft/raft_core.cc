// RaftCore's face: every input between Enter and Leave.
#include "raft/raft_core.h"

#include <algorithm>

#include "base/check.h"
#include "base/format.h"
#include "raft/core.h"

namespace tenure::raft {

RaftCore::RaftCore(const RaftConfig& config, PersistedState state, Prng prng, Instant now)
    : impl_(std::make_unique<Impl>(config, std::move(state), prng, now)) {}
RaftCore::~RaftCore() = default;

void RaftCore::Tick(Instant now) {
  impl_->Enter(now);
  impl_->Tick();
  impl_->Leave();
}

Instant RaftCore::NextTick() const {
  return impl_->NextTick();
}

void RaftCore::Step(Instant now, ReplicaId from, Message message) {
  impl_->Enter(now);
  impl_->Step(from, std::move(message));
  impl_->Leave();
}

ProposeResult RaftCore::Propose(Instant now, std::vector<Bytes> payloads, LogIndex* first, Term* term) {
  impl_->Enter(now);
  const ProposeResult result = impl_->Propose(std::move(payloads), first, term);
  impl_->Leave();
  return result;
}

ProposeResult RaftCore::ProposeConfiguration(Instant now, const Configuration& target, LogIndex* index,
                                             Term* term) {
  impl_->Enter(now);
  const ProposeResult result = impl_->ProposeConfiguration(target, index, term);
  impl_->Leave();
  return result;
}

bool RaftCore::ReadIndex(Instant now, uint64_t context) {
  impl_->Enter(now);
  const bool accepted = impl_->ReadIndex(context);
  impl_->Leave();
  return accepted;
}

ProposeResult RaftCore::TransferLeadership(Instant now, ReplicaId to) {
  impl_->Enter(now);
  const ProposeResult result = impl_->TransferLeadership(to);
  impl_->Leave();
  return result;
}

void RaftCore::Campaign(Instant now) {
  impl_->Enter(now);
  impl_->Campaign();
  impl_->Leave();
}

void RaftCore::Wake(Instant now, std::optional<Duration> delay) {
  impl_->Enter(now);
  impl_->Wake(delay);
  impl_->Leave();
}

void RaftCore::OnLeaderUnreachable(Instant now, Duration delay) {
  impl_->Enter(now);
  impl_->OnLeaderUnreachable(delay);
  impl_->Leave();
}

void RaftCore::SetSilentPeers(std::optional<std::vector<ReplicaId>> silent) {
  impl_->silent_ = std::move(silent);
}

void RaftCore::NoteUse(Instant now) {
  impl_->Enter(now);
  impl_->NoteUse();
  impl_->Leave();
}

void RaftCore::SetDiskStalled(Instant now, bool stalled) {
  impl_->Enter(now);
  impl_->SetDiskStalled(stalled);
  impl_->Leave();
}

void RaftCore::OnPersisted(Instant now, uint64_t persist_token) {
  impl_->Enter(now);
  impl_->OnPersisted(persist_token);
  impl_->Leave();
}

void RaftCore::OnApplied(LogIndex index) {
  impl_->OnApplied(index);
}

void RaftCore::OnFetched(Instant now, ReplicaId peer, LogIndex from, std::vector<Entry> entries) {
  impl_->Enter(now);
  impl_->OnFetched(peer, from, std::move(entries));
  impl_->Leave();
}

void RaftCore::OnSnapshotSent(Instant now, ReplicaId peer, LogIndex mark_index, bool ok) {
  impl_->Enter(now);
  impl_->OnSnapshotSent(peer, mark_index, ok);
  impl_->Leave();
}

void RaftCore::OnSnapshotInstalled(Instant now, const SnapshotMark& mark) {
  impl_->Enter(now);
  impl_->OnSnapshotInstalled(mark);
  impl_->Leave();
}

void RaftCore::OnSnapshotRejected() {
  impl_->OnSnapshotRejected();
}

void RaftCore::OnCompacted(const SnapshotMark& mark) {
  TENURE_CHECK(mark.index <= impl_->handed_commit_, "compaction to {} beyond commit {}", mark.index,
               impl_->handed_commit_);
  impl_->log_.Compact(mark);
}

void RaftCore::EvictCache(LogIndex index) {
  impl_->log_.Evict(std::min(index, impl_->outbox_.persisted()));
}

bool RaftCore::HasEffects() const {
  return impl_->outbox_.HasEffects();
}
Effects RaftCore::TakeEffects() {
  return impl_->TakeEffects();
}

Role RaftCore::role() const {
  return impl_->role();
}
Term RaftCore::term() const {
  return impl_->term_;
}
ReplicaId RaftCore::leader() const {
  return impl_->leader_;
}
ReplicaId RaftCore::voted_for() const {
  return impl_->vote_;
}
LogIndex RaftCore::commit_index() const {
  return impl_->commit_;
}
LogIndex RaftCore::last_index() const {
  return impl_->log_.last_index();
}
LogIndex RaftCore::persisted_index() const {
  return impl_->outbox_.persisted();
}
LogIndex RaftCore::mark_index() const {
  return impl_->log_.mark_index();
}
Term RaftCore::TermAt(LogIndex index) const {
  return impl_->log_.TermAt(index);
}
const Configuration& RaftCore::configuration() const {
  return impl_->active();
}
LogIndex RaftCore::configuration_index() const {
  return impl_->log_.configuration_index();
}
PersistedState RaftCore::Persistent() const {
  PersistedState state;
  state.hard_state = {impl_->term_, impl_->vote_, impl_->commit_};
  impl_->log_.CopyTo(state);
  return state;
}
Configuration RaftCore::ConfigurationAt(LogIndex index) const {
  return impl_->log_.ConfigurationAt(index);
}
std::vector<Entry> RaftCore::CachedEntries(LogIndex from, LogIndex to, size_t max_bytes) const {
  return impl_->log_.Cached(from, to, max_bytes);
}
size_t RaftCore::cached_bytes() const {
  return impl_->log_.cached_bytes();
}
bool RaftCore::HasLease(Instant now) const {
  return impl_->HasLease(now);
}
bool RaftCore::quiescent() const {
  return impl_->quiescent_;
}

std::vector<RaftCore::PeerStatus> RaftCore::Peers(Instant now) const {
  std::vector<PeerStatus> status;
  const Leader* leader = impl_->AsLeader();
  if (leader == nullptr) return status;
  for (const Peer& peer : leader->peers) {
    status.push_back({.id = peer.id,
                      .match = peer.match,
                      .active = now < peer.heard_at + impl_->config_.election_timeout_min,
                      .in_snapshot = peer.state == Peer::State::kSnapshot,
                      .offered = peer.offered ? peer.offered->index : LogIndex()});
  }
  return status;
}

}  // namespace tenure::raft
