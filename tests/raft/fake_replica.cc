#include "tests/raft/fake_replica.h"

#include <algorithm>

#include "base/check.h"
#include "base/format.h"
#include "base/hash.h"

namespace tenure::raft {
namespace {

void TruncateEntries(std::deque<Entry>& entries, LogIndex from) {
  while (!entries.empty() && entries.back().index >= from) entries.pop_back();
}

}  // namespace

FakeState ApplyTo(const FakeState& state, const Entry& entry) {
  TENURE_CHECK(entry.index == state.applied.Next(), "applied {} after {}", entry.index, state.applied);
  const uint64_t seed = state.hash * 31 + entry.term.value();
  return {entry.index, HashBytes(entry.payload.view(), seed)};
}

FakeReplica::FakeReplica(const RaftConfig& config, const Configuration& initial) : config_(config) {
  disk_.mark.configuration = initial;
}

void FakeReplica::Start(Instant now, Prng prng) {
  PersistedState persisted;
  persisted.hard_state = disk_.hard_state;
  persisted.mark = disk_.mark;
  persisted.last_index = durable_last();
  for (const Entry& entry : disk_.entries) {
    if (persisted.terms.empty() || persisted.terms.back().term != entry.term) {
      persisted.terms.push_back({entry.index, entry.term});
    }
    if (entry.type == EntryType::kConfiguration) {
      persisted.configurations.emplace_back(entry.index, DecodeConfiguration(entry.payload.view()).value());
    }
  }
  mark_ = disk_.mark;
  log_ = disk_.entries;
  state_ = disk_.state;
  TENURE_CHECK(state_.applied <= durable_last(), "R5: the state machine of {} is at {}, its log ends at {}",
               config_.self, state_.applied, durable_last());
  core_ = std::make_unique<RaftCore>(config_, persisted, prng, now);
  core_->OnApplied(state_.applied);
}

void FakeReplica::Crash(size_t writes_kept) {
  for (size_t i = 0; i < writes_kept && i < queue_.size(); i++) Carry(queue_[i]);
  queue_.clear();
  received_.clear();
  core_.reset();
}

Effects FakeReplica::Collect() {
  Effects effects = core_->TakeEffects();
  if (effects.truncate_from) TruncateEntries(log_, *effects.truncate_from);
  for (const Entry& entry : effects.entries) {
    const LogIndex last = log_.empty() ? mark_.index : log_.back().index;
    TENURE_CHECK(entry.index == last.Next(), "{} is told to write entry {} after {}", config_.self,
                 entry.index, last);
    log_.push_back(entry);
  }
  if (effects.NeedsPersist()) {
    queue_.push_back({.token = effects.persist_token,
                      .hard_state = effects.hard_state,
                      .truncate_from = effects.truncate_from,
                      .entries = effects.entries,
                      .messages = effects.messages_after_persist});
  }
  if (effects.install_snapshot) queue_.push_back({.install = effects.install_snapshot});
  if (effects.commit) Apply(*effects.commit);
  return effects;
}

std::vector<Outgoing> FakeReplica::PersistOne(Instant now) {
  const Write write = std::move(queue_.front());
  queue_.pop_front();
  Carry(write);
  if (write.install) {
    mark_ = disk_.mark;
    log_.clear();
    state_ = disk_.state;
    core_->OnSnapshotInstalled(now, *write.install);
  } else {
    core_->OnPersisted(now, write.token);
  }
  return write.messages;
}

void FakeReplica::Carry(const Write& write) {
  if (write.install) {
    const FakeSnapshot& snapshot = received_.at(write.install->index);
    disk_.mark = snapshot.mark;
    disk_.entries.clear();
    disk_.state = snapshot.state;
    return;
  }
  if (write.truncate_from) TruncateEntries(disk_.entries, *write.truncate_from);
  for (const Entry& entry : write.entries) {
    TENURE_CHECK(entry.index == durable_last().Next(), "{} writes entry {} after {}", config_.self,
                 entry.index, durable_last());
    disk_.entries.push_back(entry);
  }
  if (write.hard_state) disk_.hard_state = *write.hard_state;
}

void FakeReplica::Apply(LogIndex upto) {
  for (LogIndex index = state_.applied.Next(); index <= upto; index = index.Next()) {
    const Entry* entry = EntryAt(index);
    TENURE_CHECK(entry != nullptr, "{} is told to apply {}, its log is ({}, {}]", config_.self, index,
                 mark_.index, log_.empty() ? mark_.index : log_.back().index);
    state_ = ApplyTo(state_, *entry);
  }
  core_->OnApplied(state_.applied);
}

const Entry* FakeReplica::EntryAt(LogIndex index) const {
  if (log_.empty() || index < log_.front().index || index > log_.back().index) return nullptr;
  return &log_[index.value() - log_.front().index.value()];
}

std::vector<Entry> FakeReplica::Read(LogIndex from, size_t max_bytes) const {
  std::vector<Entry> entries;
  size_t bytes = 0;
  for (const Entry* entry = EntryAt(from); entry != nullptr; entry = EntryAt(entry->index.Next())) {
    bytes += entry->payload.size();
    if (!entries.empty() && bytes > max_bytes) break;
    entries.push_back(*entry);
  }
  return entries;
}

LogIndex FakeReplica::durable_last() const {
  return disk_.entries.empty() ? disk_.mark.index : disk_.entries.back().index;
}

void FakeReplica::CompactTo(LogIndex index) {
  index = std::min(index, disk_.state.applied);
  if (index <= mark_.index) return;
  mark_ = {index, core_->TermAt(index), core_->ConfigurationAt(index)};
  disk_.mark = mark_;
  while (!log_.empty() && log_.front().index <= index) log_.pop_front();
  while (!disk_.entries.empty() && disk_.entries.front().index <= index) disk_.entries.pop_front();
  core_->OnCompacted(mark_);
}

FakeSnapshot FakeReplica::TakeSnapshot() const {
  const LogIndex at = state_.applied;
  return {{at, core_->TermAt(at), core_->ConfigurationAt(at)}, state_};
}

bool FakeReplica::HasReceived(const SnapshotMark& mark) const {
  const auto found = received_.find(mark.index);
  return found != received_.end() && found->second.mark == mark;
}

Configuration MakeConfiguration(const std::vector<uint64_t>& voters, const std::vector<uint64_t>& learners) {
  Configuration configuration;
  for (const uint64_t id : voters) configuration.members.push_back({ReplicaId(id), id, MemberRole::kVoter});
  for (const uint64_t id : learners)
    configuration.members.push_back({ReplicaId(id), id, MemberRole::kLearner});
  std::sort(configuration.members.begin(), configuration.members.end());
  return configuration;
}

}  // namespace tenure::raft
