#include "group/group.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/codec.h"
#include "base/format.h"

namespace tenure::group {
namespace {

constexpr size_t kActiveMembersShare = 4;  // of member_budget_bytes

raft::RaftConfig ConfigFor(const raft::RaftConfig& base, GroupId id, ReplicaId self) {
  raft::RaftConfig config = base;
  config.group = id;
  config.self = self;
  return config;
}

// What was applied was committed, whatever the lazily written commit index says.
raft::PersistedState WithCommit(raft::PersistedState state, LogIndex applied) {
  state.hard_state.commit = std::max(state.hard_state.commit, applied);
  return state;
}

ProposeOutcome Refusal(ProposeOutcome::Kind kind, ReplicaId leader) {
  return {kind, {}, {}, leader};
}

ProposeOutcome::Kind KindOf(raft::ProposeResult result) {
  switch (result) {
    case raft::ProposeResult::kAccepted:
      break;
    case raft::ProposeResult::kNotLeader:
      return ProposeOutcome::Kind::kNotLeader;
    case raft::ProposeResult::kTransferring:
    case raft::ProposeResult::kChangePending:
    case raft::ProposeResult::kInvalid:
      return ProposeOutcome::Kind::kTransferring;
    case raft::ProposeResult::kOverloaded:
      return ProposeOutcome::Kind::kOverloaded;
  }
  return ProposeOutcome::Kind::kUnknown;
}

}  // namespace

Group::Group(GroupShared& shared, GroupId id, ReplicaId self, raft::PersistedState state,
             std::unique_ptr<StateMachine> machine)
    : shared_(shared),
      id_(id),
      self_(self),
      logger_(shared.dependencies.logger.Named(fmt::format("group {}", id))),
      machine_(std::move(machine)),
      host_prefix_(GroupHost::HostPrefix(id)),
      state_prefix_(GroupHost::StatePrefix(id)),
      state_(shared.dependencies.engine, state_prefix_),
      core_(ConfigFor(shared.options.raft, id, self), WithCommit(state, StoredApplied()),
            shared.dependencies.prng.Fork(fmt::format("group {} replica {}", id, self)),
            shared.dependencies.executor.Now()),
      compacted_(state.mark.index) {}

Group::~Group() {
  *alive_ = false;
}

void Group::Start() {
  WatchMembers(core_.configuration());
  // What it found on its disk is in force as well: a crash may have been faster than the turn that would have
  // told of it.
  if (shared_.dependencies.trace != nullptr)
    shared_.dependencies.trace->OnConfiguration(id_, self_, /*leads=*/false, core_.configuration());
  applied_ = StoredApplied();
  commit_ = std::max(applied_, core_.commit_index());
  if (applied_ < compacted_) {
    // kv is not durable by itself: what is missing before the log's begin is in a snapshot kept for this.
    return Install(MarkAt(compacted_), /*report=*/false);
  }
  LoadStateHash();
  core_.OnApplied(applied_);
  machine_->Reset(state_, applied_);
}

// ---- inputs ----

void Group::Propose(std::string command, Callback<ProposeOutcome> done) {
  if (core_.role() != raft::Role::kLeader) {
    return done(Refusal(ProposeOutcome::Kind::kNotLeader, core_.leader()));
  }
  if (shared_.dependencies.wal.LowOnSpace()) {
    return done(Refusal(ProposeOutcome::Kind::kOutOfSpace, self_));
  }
  if (shared_.pending_bytes + command.size() > shared_.options.max_pending_bytes) {
    return done(Refusal(ProposeOutcome::Kind::kOverloaded, self_));
  }
  shared_.pending_bytes += command.size();
  queued_.push_back({std::move(command), std::move(done)});
  shared_.wake(id_);
}

void Group::ProposeConfiguration(const raft::Configuration& target, Callback<ProposeOutcome> done) {
  LogIndex index;
  Term term;
  const auto result = core_.ProposeConfiguration(shared_.dependencies.executor.Now(), target, &index, &term);
  if (result != raft::ProposeResult::kAccepted) return done(Refusal(KindOf(result), core_.leader()));
  if (index > applied_) {
    // Earlier proposals of this turn are still queued: they get higher indexes. What is in force already may
    // have come before others that wait.
    const auto behind = std::find_if(pending_.begin(), pending_.end(),
                                     [&](const PendingProposal& other) { return other.index > index; });
    pending_.insert(behind, {index, term, 0, std::move(done)});
  } else {
    done({ProposeOutcome::Kind::kApplied, index, {}, self_});  // already the configuration in force
  }
  shared_.wake(id_);
}

void Group::Read(Callback<Status> done) {
  if (ServingWithLease()) {
    NoteUse();
    return done(OkStatus());
  }
  if (core_.role() != raft::Role::kLeader) {
    return done(Error(StatusCode::kUnavailable, "group {}: this replica does not lead", id_));
  }
  queued_reads_.push_back(std::move(done));
  shared_.wake(id_);
}

raft::ProposeResult Group::TransferLeadership(ReplicaId to) {
  shared_.wake(id_);
  return core_.TransferLeadership(shared_.dependencies.executor.Now(), to);
}

bool Group::HandOver() {
  if (core_.role() != raft::Role::kLeader) return false;
  const GroupStatus status = Describe();
  const raft::RaftCore::PeerStatus* best = nullptr;
  for (const auto& peer : status.peers) {
    const raft::Member* member = status.configuration.Find(peer.id);
    if (member == nullptr || member->role != raft::MemberRole::kVoter) continue;
    // In a group that sleeps nobody has been heard of late.
    if (!peer.active && !status.quiescent) continue;
    if (best == nullptr || peer.match > best->match) best = &peer;
  }
  if (best == nullptr) return false;
  TransferLeadership(best->id);
  return true;
}

void Group::Campaign() {
  core_.Campaign(shared_.dependencies.executor.Now());
  shared_.wake(id_);
}

namespace {

// What a leader says is committed; none if it says nothing of that to this replica.
LogIndex CommittedBy(const raft::Message& message) {
  if (const auto* append = std::get_if<raft::AppendRequest>(&message)) return append->commit;
  if (const auto* heartbeat = std::get_if<raft::HeartbeatRequest>(&message)) return heartbeat->commit;
  return {};
}

}  // namespace

void Group::Step(ReplicaId from, uint64_t from_host, raft::Message message) {
  seen_hosts_[from] = from_host;
  const Instant now = shared_.dependencies.executor.Now();
  const bool from_leader = std::holds_alternative<raft::AppendRequest>(message) ||
                           std::holds_alternative<raft::HeartbeatRequest>(message);
  if (const auto* answer = std::get_if<raft::HeartbeatResponse>(&message)) OnDigests(from, answer->digests);
  const LogIndex committed = CommittedBy(message);
  core_.Step(now, from, std::move(message));
  const bool complete = core_.leader() == from && IsAllThatIsCommitted(committed);
  if (complete) {
    complete_at_ = now;
    if (shared_.dependencies.trace != nullptr) {
      shared_.dependencies.trace->OnComplete(id_, self_, core_.commit_index());
    }
  }
  // Of a process that counts as silent already, nobody would hear that it is.
  if (from_leader && core_.quiescent() && shared_.health(from_host) == HostHealth::kSilent) core_.Wake(now);
  shared_.wake(id_);
}

// A leader knows what is committed once an entry of its own term is; it names it if this replica holds it.
bool Group::IsAllThatIsCommitted(LogIndex named) const {
#ifdef TENURE_MUTANT_lagging_is_fresh
  return true;
#endif
#ifdef TENURE_MUTANT_young_leader_is_fresh
  return !named.IsNone() && named == core_.commit_index();
#endif
  return !named.IsNone() && named == core_.commit_index() && core_.TermAt(named) == core_.term();
}

void Group::Tick() {
  const Instant now = shared_.dependencies.executor.Now();
  if (core_.role() == raft::Role::kLeader && shared_.options.raft.quiesce_after > Duration::zero()) {
    if (std::exchange(used_, false)) core_.NoteUse(now);
    core_.SetSilentPeers(SilentPeers());
  }
  core_.Tick(now);
  shared_.wake(id_);
}

void Group::OnPersisted(uint64_t token, std::vector<raft::Outgoing> messages) {
  SendAll(std::move(messages));
  core_.OnPersisted(shared_.dependencies.executor.Now(), token);
  shared_.wake(id_);
}

void Group::OnSnapshotSent(ReplicaId peer, LogIndex mark_index, bool ok) {
  core_.OnSnapshotSent(shared_.dependencies.executor.Now(), peer, mark_index, ok);
  shared_.wake(id_);
}

void Group::Compact(LogIndex flushed, LogIndex pinned) {
  if (installing_) return;
  flushed = std::min(flushed, applied_);
  // Without a reason to hurry it is done in large steps.
  LogIndex upto = compacted_;
  const uint64_t keep = shared_.options.keep_entries;
  if (flushed.value() > compacted_.value() + keep + keep / 4) upto = LogIndex(flushed.value() - keep);
  for (const auto& [index, bytes] : byte_samples_) {
    if (index > flushed || applied_bytes_ - bytes < shared_.options.keep_bytes) break;
    upto = std::max(upto, index);
  }
  upto = std::min(std::max(upto, std::min(pinned, flushed)), KeptFloor());
  if (upto <= compacted_) return;
  const raft::SnapshotMark mark = MarkAt(upto);
  shared_.dependencies.wal.Compact(id_, mark);
  core_.OnCompacted(mark);
  compacted_ = upto;
  while (!byte_samples_.empty() && byte_samples_.front().first <= upto) byte_samples_.pop_front();
}

// Entries after this index are kept whatever else is known: a member that a leader knows to lack them, or will
// once it has the snapshot that is on its way, and they are not too many. A member that answers is getting
// nearer and may be given more: to be sent a snapshot again would cost it more.
LogIndex Group::KeptFloor() const {
  LogIndex kept = applied_;
  const GroupHostOptions& options = shared_.options;
  uint64_t share = std::numeric_limits<uint64_t>::max();
  if (shared_.dependencies.wal.bytes_on_disk() > options.max_kept_bytes) {
    share = options.max_kept_bytes / std::max<size_t>(shared_.groups, 1);
  }
  for (const raft::RaftCore::PeerStatus& peer : core_.Peers(shared_.dependencies.executor.Now())) {
    std::optional<LogIndex> needed = peer.match;
    if (peer.in_snapshot) {
      needed = shared_.snapshot_on_its_way(id_);
      if (!peer.offered.IsNone()) needed = std::min(peer.offered, needed.value_or(peer.offered));
    }
    const uint64_t budget = options.member_budget_bytes * (peer.active ? kActiveMembersShare : 1);
    if (needed && BytesAfter(*needed) <= std::min(budget, share)) kept = std::min(kept, *needed);
  }
  return kept;
}

void Group::NoteBytes(std::span<const raft::Entry> entries) {
  constexpr uint64_t kSampleBytes = 16 << 10;
  for (const raft::Entry& entry : entries) {
    applied_bytes_ += entry.payload.size();
    if (applied_bytes_ - (byte_samples_.empty() ? 0 : byte_samples_.back().second) >= kSampleBytes)
      byte_samples_.emplace_back(entry.index, applied_bytes_);
  }
}

// Of applied entries, too many by at most one sample; what was applied before this run is not counted.
uint64_t Group::BytesAfter(LogIndex index) const {
  const auto after = std::upper_bound(byte_samples_.begin(), byte_samples_.end(), index,
                                      [](LogIndex at, const auto& sample) { return at < sample.first; });
  if (after != byte_samples_.begin()) return applied_bytes_ - std::prev(after)->second;
  return byte_samples_.empty() ? 0 : applied_bytes_ - byte_samples_.front().second;
}

void Group::Abandon(Turn& turn) {
  FailPending(LogIndex(), turn);
  if (!watched_.empty()) shared_.watch(std::exchange(watched_, {}), {});
  *alive_ = false;
}

// ---- the turn ----

void Group::Submit(Turn& turn) {
  SubmitProposals(turn);
  SubmitReads(turn);
  while (core_.HasEffects()) CollectEffects(turn);
}

void Group::ApplyCommitted(Turn& turn) {
  if (ApplyBatch(turn)) {
    while (core_.HasEffects()) CollectEffects(turn);
    if (applied_ < commit_) shared_.wake(id_);
  }
  CheckServing(turn);
  CompleteReads(turn);
}

void Group::SubmitProposals(Turn& turn) {
  if (queued_.empty()) return;
  std::vector<Bytes> payloads;
  payloads.reserve(queued_.size());
  for (QueuedProposal& queued : queued_) payloads.emplace_back(std::move(queued.command));
  std::vector<size_t> sizes;
  sizes.reserve(payloads.size());
  for (const Bytes& payload : payloads) sizes.push_back(payload.size());

  LogIndex first;
  Term term;
  const auto result = core_.Propose(shared_.dependencies.executor.Now(), std::move(payloads), &first, &term);
  for (size_t i = 0; i < queued_.size(); ++i) {
    if (result == raft::ProposeResult::kAccepted) {
      pending_.push_back({first.Plus(i), term, sizes[i], std::move(queued_[i].done)});
      continue;
    }
    shared_.pending_bytes -= sizes[i];
    turn.answers.push_back([done = std::move(queued_[i].done), result, leader = core_.leader()]() mutable {
      done(Refusal(KindOf(result), leader));
    });
  }
  queued_.clear();
}

void Group::SubmitReads(Turn& turn) {
  if (queued_reads_.empty()) return;
  const uint64_t context = next_read_context_++;
  std::vector<Callback<Status>> done = std::exchange(queued_reads_, {});
  // One confirmation serves every read of this turn.
  if (core_.ReadIndex(shared_.dependencies.executor.Now(), context)) {
    reads_[context].done = std::move(done);
    return;
  }
  for (auto& callback : done) {
    turn.answers.push_back([callback = std::move(callback), id = id_]() mutable {
      callback(Error(StatusCode::kUnavailable, "group {}: this replica does not lead", id));
    });
  }
}

void Group::CollectEffects(Turn& turn) {
  raft::Effects effects = core_.TakeEffects();
  if (effects.configuration) {
    WatchMembers(*effects.configuration);
    if (shared_.dependencies.trace != nullptr) {
      shared_.dependencies.trace->OnConfiguration(id_, self_, core_.role() == raft::Role::kLeader,
                                                  *effects.configuration);
    }
    turn.answers.push_back(
        [&observer = shared_.dependencies.observer, id = id_,
         configuration = std::move(*effects.configuration)] { observer.OnConfiguration(id, configuration); });
  }
  if (effects.NeedsPersist()) {
    wal::Write write;
    write.group = id_;
    write.truncate_from = effects.truncate_from;
    write.entries = std::move(effects.entries);
    write.hard_state = effects.hard_state;
    turn.writes.push_back(std::move(write));
    turn.after_persist.push_back({id_, effects.persist_token, std::move(effects.messages_after_persist)});
  } else {
    TENURE_CHECK(effects.messages_after_persist.empty(), "group {}: messages wait for nothing", id_);
  }
  SendAll(std::move(effects.messages));
  if (effects.commit) {
    TENURE_CHECK(*effects.commit <= core_.persisted_index(), "G1: group {} commit {} beyond durable {}", id_,
                 *effects.commit, core_.persisted_index());
    commit_ = std::max(commit_, *effects.commit);
  }
  if (effects.role_change) OnRoleChange(*effects.role_change, turn);
  OnReadEffects(effects, turn);
  for (const raft::FetchRequest& fetch : effects.fetches) FetchForPeer(fetch);
  for (const ReplicaId peer : effects.snapshots_needed) snapshot_requests_.push_back(peer);
  if (effects.install_snapshot) AcceptSnapshot(*effects.install_snapshot, turn);
}

void Group::OnRoleChange(const raft::RoleChange& change, Turn& turn) {
  const Term leading = change.role == raft::Role::kLeader ? change.term : Term();
  if (leading != leading_term_) {
    // What is committed will be applied here, though this disk may be the last to have it (then `commit_`
    // lags behind): who waits for it gets the real answer.
    if (!leading_term_.IsNone()) FailPending(core_.commit_index(), turn);
    leading_term_ = leading;
    comparison_.ForgetPeers();
    diverged_.clear();
    serving_term_ = Term();
    if (!leading.IsNone() && shared_.dependencies.trace != nullptr) {
      shared_.dependencies.trace->OnLead(id_, self_, leading);
    }
    leader_first_index_ = core_.last_index();  // the no-op of the term, or what was proposed right behind it
  }
  turn.answers.push_back(
      [&observer = shared_.dependencies.observer, id = id_, change] { observer.OnRoleChange(id, change); });
}

void Group::OnReadEffects(const raft::Effects& effects, Turn& turn) {
  for (const raft::ReadReady& ready : effects.reads) {
    const auto it = reads_.find(ready.context);
    if (it == reads_.end()) continue;
    it->second.index = ready.index;
    it->second.confirmed = true;
  }
  for (const uint64_t context : effects.failed_reads) {
    auto node = reads_.extract(context);
    if (node.empty()) continue;
    for (auto& callback : node.mapped().done) {
      turn.answers.push_back([callback = std::move(callback), id = id_]() mutable {
        callback(Error(StatusCode::kUnavailable,
                       "group {}: leadership was lost before the read was confirmed", id));
      });
    }
  }
}

uint64_t Group::HostOf(ReplicaId replica) const {
  if (const raft::Member* member = core_.configuration().Find(replica)) return member->host;
  const auto it = seen_hosts_.find(replica);
  return it == seen_hosts_.end() ? 0 : it->second;
}

void Group::SendAll(std::vector<raft::Outgoing> messages) {
  for (raft::Outgoing& outgoing : messages) {
    const uint64_t host = HostOf(outgoing.to);
    if (auto* answer = std::get_if<raft::HeartbeatResponse>(&outgoing.message))
      answer->digests = comparison_.ToReport();
    if (host != 0) shared_.dependencies.transport.Send(host, id_, self_, outgoing.to, outgoing.message);
  }
}

// ---- reads, leadership ----

bool Group::Serving() const {
  return core_.role() == raft::Role::kLeader && !serving_term_.IsNone() && serving_term_ == core_.term();
}

// With the lease, the state here is the newest there is: everything acknowledged in this term is applied here
// before it is acknowledged, everything from earlier terms lies before this term's no-op.
bool Group::ServingWithLease() const {
  return Serving() && core_.HasLease(shared_.dependencies.executor.Now());
}

void Group::CheckServing(Turn& turn) {
  if (core_.role() != raft::Role::kLeader || leading_term_ != core_.term() || serving_term_ == leading_term_)
    return;
  if (applied_ < leader_first_index_) return;
  serving_term_ = core_.term();
  turn.answers.push_back([&observer = shared_.dependencies.observer, id = id_, term = serving_term_] {
    observer.OnServing(id, term);
  });
}

void Group::CompleteReads(Turn& turn) {
  for (auto it = reads_.begin(); it != reads_.end();) {
    if (!it->second.confirmed || it->second.index > applied_) {
      ++it;
      continue;
    }
    for (auto& callback : it->second.done) {
      turn.answers.push_back([callback = std::move(callback)]() mutable { callback(OkStatus()); });
    }
    it = reads_.erase(it);
  }
}

void Group::FailPending(LogIndex committed, Turn& turn) {
  // The next leader may have put, and committed, its own entries in place of what was proposed here.
  const auto unknown = std::find_if(pending_.begin(), pending_.end(), [&](const PendingProposal& proposal) {
    return proposal.index > committed || core_.TermAt(proposal.index) != proposal.term;
  });
  for (auto it = unknown; it != pending_.end(); ++it) {
    PendingProposal& proposal = *it;
    shared_.pending_bytes -= proposal.bytes;
    turn.answers.push_back([done = std::move(proposal.done), leader = core_.leader()]() mutable {
      done(Refusal(ProposeOutcome::Kind::kUnknown, leader));
    });
  }
  pending_.erase(unknown, pending_.end());
  for (QueuedProposal& queued : queued_) {
    shared_.pending_bytes -= queued.command.size();
    turn.answers.push_back([done = std::move(queued.done), leader = core_.leader()]() mutable {
      done(Refusal(ProposeOutcome::Kind::kNotLeader, leader));
    });
  }
  queued_.clear();
  std::vector<Callback<Status>> failed = std::exchange(queued_reads_, {});
  for (auto& [context, read] : reads_) {
    for (auto& callback : read.done) failed.push_back(std::move(callback));
  }
  reads_.clear();
  for (auto& callback : failed) {
    turn.answers.push_back([callback = std::move(callback), id = id_]() mutable {
      callback(
          Error(StatusCode::kUnavailable, "group {}: leadership was lost before the read was confirmed", id));
    });
  }
}

std::optional<Duration> Group::Staleness() const {
  if (core_.role() == raft::Role::kLeader) return Duration::zero();
  if (installing_ || !complete_at_ || applied_ < core_.commit_index()) return std::nullopt;
  return shared_.dependencies.executor.Now() - *complete_at_;
}

raft::SnapshotMark Group::MarkAt(LogIndex index) const {
  return {index, core_.TermAt(index), core_.ConfigurationAt(index)};
}

GroupStatus Group::Describe() const {
  GroupStatus status;
  status.group = id_;
  status.self = self_;
  status.role = core_.role();
  status.term = core_.term();
  status.leader = core_.leader();
  status.vote = core_.voted_for();
  status.commit = commit_;
  status.applied = applied_;
  status.last = core_.last_index();
  status.last_term = core_.TermAt(status.last);
  status.configuration = core_.configuration();
  status.configuration_index = core_.configuration_index();
  status.peers = core_.Peers(shared_.dependencies.executor.Now());
  status.serving = Serving();
  status.state_hash = state_hash_;
  if (status.role == raft::Role::kLeader) status.diverged = comparison_.Diverged(self_);
  status.quiescent = core_.quiescent();
  return status;
}

}  // namespace tenure::group
