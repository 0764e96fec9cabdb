// A group's state machine: what is applied, its hash, and its replacement by a snapshot.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/codec.h"
#include "base/format.h"
#include "base/rare_path.h"
#include "group/group.h"

namespace tenure::group {
namespace {

// Below the host prefix.
constexpr char kAppliedKey = 'a';    // index and term of the last applied entry
constexpr char kStateHashKey = 'h';  // hash of the state at that entry

// Commands that the state machine prepares for at once: what it fetches for them fits a processor's cache.
constexpr size_t kPrepared = 128;

// A batch ends when what its commands write and answer is so many times what a batch of commands may be.
constexpr size_t kAmplified = 4;

std::string EncodeApplied(LogIndex index, Term term) {
  std::string out;
  PutFixed64(out, index.value());
  PutFixed64(out, term.value());
  return out;
}

std::string EncodeHash(uint64_t hash) {
  std::string out;
  PutFixed64(out, hash);
  return out;
}

}  // namespace

void Group::LoadStateHash() {
  if (applied_.IsNone()) return;
  const auto stored = shared_.dependencies.engine.Get(host_prefix_ + kStateHashKey);
  // Written by a version that kept none: read everything, once.
  state_hash_ = stored ? ByteReader(*stored).Fixed64() : HashState(state_);
  RecordStateHash();
}

void Group::RecordStateHash() {
  comparison_.Record(applied_, state_hash_);
  if (shared_.dependencies.trace != nullptr)
    shared_.dependencies.trace->OnStateHash(id_, self_, applied_, state_hash_);
}

void Group::OnDigests(ReplicaId from, const std::vector<raft::StateDigest>& digests) {
  if (core_.role() != raft::Role::kLeader) return;
  comparison_.OnReport(from, digests);
  const std::vector<Divergence> found = comparison_.Diverged(self_);
  std::vector<ReplicaId> diverged;
  for (const Divergence& divergence : found) diverged.push_back(divergence.replica);
  if (diverged == diverged_) return;
  for (const Divergence& divergence : found) {
    logger_.Error(
        "the state of replica {} (on {}) is not that of the others: at index {} its hash is {:016x}, theirs "
        "{:016x}. "
        "It must not be relied on: remove it and add a new one",
        divergence.replica, HostOf(divergence.replica), divergence.index, divergence.found,
        divergence.expected);
  }
  if (diverged.empty()) logger_.Info("the states of all replicas agree again");
  diverged_ = std::move(diverged);
}

LogIndex Group::StoredApplied() const {
  const auto stored = shared_.dependencies.engine.Get(host_prefix_ + kAppliedKey);
  if (!stored) return LogIndex();
  ByteReader in(*stored);
  const LogIndex applied(in.Fixed64());
  in.Fixed64();
  TENURE_CHECK(in.AtEnd(), "group {}: applied record of {} bytes", id_, stored->size());
  return applied;
}

// ---- applying ----

// Applies one batch; true if anything was applied.
bool Group::ApplyBatch(Turn& turn) {
  if (installing_ || fetching_ || applied_ >= commit_) return false;
  const std::vector<raft::Entry> entries =
      core_.CachedEntries(applied_.Next(), commit_, shared_.options.max_batch_bytes);
  if (entries.empty()) {
    FetchForApply();
    return false;
  }
  ApplyEntries(entries, turn);
  return true;
}

// In batches that end at every boundary of the comparison. What commands write and answer may be far more than
// the commands: where it is, the rest has to wait, and other groups and what is asked of this one have their
// turn.
size_t Group::ApplyEntries(std::span<const raft::Entry> entries, Turn& turn) {
  size_t applied = 0;
  while (applied < entries.size()) {
    const uint64_t room = StateComparison::NextBoundary(applied_).value() - applied_.value();
    const size_t count = std::min<size_t>(entries.size() - applied, room);
    const size_t done = ApplyOneBatch(entries.subspan(applied, count), turn);
    applied += done;
    if (done < count) break;
  }
  const size_t cache_share =
      std::max<size_t>(shared_.options.max_cache_bytes / std::max<size_t>(shared_.groups, 1), 64 << 10);
  if (core_.cached_bytes() > cache_share) core_.EvictCache(applied_);
  return applied;
}

size_t Group::Prepare(std::span<const raft::Entry> entries, const kv::Reader& state) {
  std::vector<std::string_view> commands;
  commands.reserve(entries.size());
  for (const raft::Entry& entry : entries) {
    if (entry.type == raft::EntryType::kCommand) commands.push_back(entry.payload.view());
  }
  return machine_->Prepare(commands, state) ? entries.size() : 1;
}

size_t Group::ApplyOneBatch(std::span<const raft::Entry> entries, Turn& turn) {
  kv::Overlay overlay(shared_.dependencies.engine, state_prefix_);
  std::vector<std::pair<const raft::Entry*, std::string>> results;
  results.reserve(entries.size());
  size_t result_bytes = 0;
  size_t prepared = 0;  // up to here
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i == prepared) {
      if (i > 0 && overlay.bytes() + result_bytes > kAmplified * shared_.options.max_batch_bytes) break;
      prepared += Prepare(entries.subspan(i, std::min(kPrepared, entries.size() - i)), overlay);
    }
    const raft::Entry& entry = entries[i];
    TENURE_CHECK(entry.index == applied_.Next(), "G1: group {} applies {} after {}", id_, entry.index,
                 applied_);
    std::string result;
#ifdef TENURE_MUTANT_diverge_silently
    if (self_ == ReplicaId(2) && entry.index.value() % 20 == 0) overlay.Put("diverged", "");
#endif
    if (entry.type == raft::EntryType::kCommand) {
      result = machine_->Apply({entry.index, entry.term}, entry.payload.view(), overlay);
    }
    if (shared_.dependencies.trace != nullptr) shared_.dependencies.trace->OnApply(id_, self_, entry);
    result_bytes += result.size();
    results.emplace_back(&entry, std::move(result));
    applied_ = entry.index;
  }
  NoteBytes(entries.first(results.size()));
  machine_->FinishBatch(overlay);
  kv::Batch batch = overlay.TakeBatch();
  state_hash_ = HashAfter(state_hash_, shared_.dependencies.engine, state_prefix_, batch);
  batch.Put(host_prefix_ + kAppliedKey, EncodeApplied(applied_, results.back().first->term));
  batch.Put(host_prefix_ + kStateHashKey, EncodeHash(state_hash_));
  shared_.dependencies.engine.Write(std::move(batch));
  RecordStateHash();
  machine_->OnBatchWritten(applied_);
  core_.OnApplied(applied_);
  for (auto& [entry, result] : results) AnswerApplied(entry->index, entry->term, std::move(result), turn);
  return results.size();
}

void Group::AnswerApplied(LogIndex index, Term term, std::string result, Turn& turn) {
  // More than one wait for a configuration that was asked for again.
  while (!pending_.empty() && pending_.front().index == index) {
    PendingProposal proposal = std::move(pending_.front());
    pending_.pop_front();
    TENURE_CHECK(proposal.term == term, "G2: group {} index {}: proposed in term {}, applied from term {}",
                 id_, index, proposal.term, term);
    shared_.pending_bytes -= proposal.bytes;
    turn.answers.push_back(
        [done = std::move(proposal.done), index, result = std::move(result), self = self_]() mutable {
          done({ProposeOutcome::Kind::kApplied, index, std::move(result), self});
        });
  }
}

void Group::FetchForApply() {
  fetching_ = true;
  auto& executor = shared_.dependencies.executor;
  shared_.dependencies.wal.Read(
      id_, applied_.Next(), commit_, shared_.options.max_batch_bytes,
      [this, alive = alive_, &executor, from = applied_.Next()](StatusOr<std::vector<raft::Entry>> entries) {
        executor.Post([this, alive, from, entries = std::move(entries)]() mutable {
          if (!*alive) return;
          fetching_ = false;
          if (installing_ || applied_.Next() != from) return;  // a snapshot came meanwhile
          TENURE_CHECK(entries.ok(), "group {}: cannot read committed entries from {}: {}", id_, from,
                       MessageOf(entries.status()));
          ApplyFetched(std::make_shared<const std::vector<raft::Entry>>(*std::move(entries)), 0);
        });
      });
}

void Group::ApplyFetched(std::shared_ptr<const std::vector<raft::Entry>> entries, size_t from) {
  auto& executor = shared_.dependencies.executor;
  Turn turn;
  from += ApplyEntries(std::span(*entries).subspan(from), turn);
  for (Closure& answer : turn.answers) executor.Post(std::move(answer));
  shared_.wake(id_);
  if (from == entries->size()) return;
  fetching_ = true;
  executor.Post([this, alive = alive_, entries = std::move(entries), from] {
    if (!*alive) return;
    fetching_ = false;
    if (!installing_ && (*entries)[from].index == applied_.Next()) ApplyFetched(entries, from);
  });
}

void Group::FetchForPeer(const raft::FetchRequest& request) {
  auto& executor = shared_.dependencies.executor;
  shared_.dependencies.wal.Read(
      id_, request.from, core_.persisted_index(), request.max_bytes,
      [this, alive = alive_, &executor, request](StatusOr<std::vector<raft::Entry>> entries) {
        executor.Post([this, alive, request, entries = std::move(entries)]() mutable {
          if (!*alive) return;
          // Compacted meanwhile: nothing to send, the core finds out and asks for a snapshot.
          if (!entries.ok() && entries.status().code() != StatusCode::kOutOfRange) {
            const Status lost = Error(entries.status().code(), "group {}: entries from {} for replica {}: {}",
                                      id_, request.from, request.peer, MessageOf(entries.status()));
            TENURE_CHECK(shared_.dependencies.on_failure != nullptr, "{}", MessageOf(lost));
            return shared_.dependencies.on_failure(lost);
          }
          core_.OnFetched(shared_.dependencies.executor.Now(), request.peer, request.from,
                          entries.ok() ? std::move(*entries) : std::vector<raft::Entry>());
          shared_.wake(id_);
        });
      });
}

// ---- snapshots ----

void Group::AcceptSnapshot(const raft::SnapshotMark& mark, Turn& turn) {
  // Where it is rejected the core waits for nothing: the leader offers the snapshot again.
  if (shared_.snapshots.Find(id_, mark) == nullptr) {
    logger_.Warn("snapshot at index {} is not stored here", mark.index);
    return core_.OnSnapshotRejected();
  }
  // The one that the log begins at, since the start: the core knows nothing of that.
  if (installing_) return core_.OnSnapshotRejected();
  installing_ = true;
  wal::Write write;
  write.group = id_;
  write.reset_to = mark;
  turn.writes.push_back(std::move(write));
  turn.when_durable.push_back([this, alive = alive_, mark] {
    if (*alive) Install(mark, /*report=*/true);
  });
}

void Group::Install(const raft::SnapshotMark& mark, bool report) {
  TENURE_RARE_PATH("group: a snapshot is installed");
  installing_ = true;
  logger_.Info("installing a snapshot at index {}", mark.index);
  const auto installed = [this, alive = alive_, mark, report](StatusOr<uint64_t> hash) {
    if (!*alive) return;
    if (hash.ok()) return OnInstalled(mark, *hash, report);
    const Status lost =
        Error(StatusCode::kDataLoss,
              "group {}: the log begins after {} and the state before that is in a snapshot that "
              "cannot be read: {}; `tenure repair` drops this replica",
              id_, mark.index, MessageOf(hash.status()));
    TENURE_CHECK(shared_.dependencies.on_failure != nullptr, "{}", MessageOf(lost));
    shared_.dependencies.on_failure(lost);
  };
  shared_.install(id_, mark, host_prefix_ + kAppliedKey, installed);
}

void Group::OnInstalled(const raft::SnapshotMark& mark, uint64_t state_hash, bool report) {
  kv::Batch batch;
  state_hash_ = state_hash;
  batch.Put(host_prefix_ + kStateHashKey, EncodeHash(state_hash_));
  batch.Put(host_prefix_ + kAppliedKey, EncodeApplied(mark.index, mark.term));
  shared_.dependencies.engine.Write(std::move(batch));
  // Of what this replica had proposed when it led, and the snapshot holds, the results are not known.
  if (!pending_.empty()) {
    Turn turn;
    FailPending(LogIndex(), turn);
    for (Closure& answer : turn.answers) shared_.dependencies.executor.Post(std::move(answer));
  }
  applied_ = mark.index;
  compacted_ = mark.index;
  commit_ = std::max(commit_, mark.index);
  installing_ = false;
  comparison_.Restart();
  RecordStateHash();
  machine_->Reset(state_, applied_);
  if (report) core_.OnSnapshotInstalled(shared_.dependencies.executor.Now(), mark);
  core_.OnApplied(applied_);
  shared_.wake(id_);
}

}  // namespace tenure::group
