#include "group/state_hash.h"

#include <algorithm>

#include "base/hash.h"

namespace tenure::group {
namespace {

// Of the pairs below `prefix` in [lower, upper) of the engine.
uint64_t HashRange(const kv::Reader& engine, std::string_view prefix, std::string_view lower,
                   std::string_view upper) {
  uint64_t sum = 0;
  for (auto it = engine.NewIterator(lower, upper); it->Valid(); it->Next())
    sum += HashPair(it->key().substr(prefix.size()), it->value());
  return sum;
}

bool Covers(const kv::Operation& range, std::string_view key) {
  return key >= range.key && (range.value.empty() || key < range.value);
}

}  // namespace

uint64_t HashPair(std::string_view key, std::string_view value) {
  return HashBytes(value, HashBytes(key, 1));
}

uint64_t HashState(const kv::Reader& state) {
  return HashRange(state, {}, {}, {});
}

uint64_t HashAfter(uint64_t hash, const kv::Reader& engine, std::string_view prefix, const kv::Batch& batch) {
  size_t ranges = 0;
  for (const kv::Operation& operation : batch.operations) {
    if (operation.kind != kv::Operation::Kind::kDeleteRange) continue;
    hash -= HashRange(engine, prefix, operation.key, operation.value);
    ++ranges;
  }
  const auto in_range = [&](std::string_view key) {
    return std::any_of(batch.operations.begin(), batch.operations.begin() + static_cast<ptrdiff_t>(ranges),
                       [&](const kv::Operation& range) { return Covers(range, key); });
  };
  for (size_t i = ranges; i < batch.operations.size(); ++i) {
    const kv::Operation& operation = batch.operations[i];
    const std::string_view key = std::string_view(operation.key).substr(prefix.size());
    if (!in_range(operation.key)) {
      if (const auto before = engine.Get(operation.key)) hash -= HashPair(key, *before);
    }
    if (operation.kind == kv::Operation::Kind::kPut) hash += HashPair(key, operation.value);
  }
  return hash;
}

void StateComparison::Record(LogIndex index, uint64_t hash) {
  own_.push_back({index, hash});
  if (own_.size() > kKept) own_.pop_front();
  if (index.value() % kInterval == 0) boundary_ = own_.back();
  for (auto& [id, peer] : peers_) {
    for (const raft::StateDigest& digest : peer.waiting) {
      if (digest.index == index) Compare(peer, digest, hash);
    }
    std::erase_if(peer.waiting, [index](const raft::StateDigest& digest) { return digest.index <= index; });
  }
}

void StateComparison::Restart() {
  own_.clear();
  boundary_.reset();
  peers_.clear();
}

std::vector<raft::StateDigest> StateComparison::ToReport() const {
  std::vector<raft::StateDigest> digests;
  if (boundary_) digests.push_back(*boundary_);
  if (!own_.empty() && (!boundary_ || own_.back().index != boundary_->index)) digests.push_back(own_.back());
  return digests;
}

void StateComparison::OnReport(ReplicaId id, const std::vector<raft::StateDigest>& digests) {
  if (digests.empty()) return;
  Peer& peer = peers_[id];
  peer.waiting.clear();
  for (const raft::StateDigest& digest : digests) {
    if (const auto own = OwnAt(digest.index)) {
      Compare(peer, digest, *own);
    } else if (own_.empty() || digest.index > own_.back().index) {
      peer.waiting.push_back(digest);
    }
  }
}

std::optional<uint64_t> StateComparison::OwnAt(LogIndex index) const {
  if (boundary_ && boundary_->index == index) return boundary_->hash;
  const auto it =
      std::lower_bound(own_.begin(), own_.end(), index,
                       [](const raft::StateDigest& own, LogIndex wanted) { return own.index < wanted; });
  if (it == own_.end() || it->index != index) return std::nullopt;
  return it->hash;
}

void StateComparison::Compare(Peer& peer, const raft::StateDigest& digest, uint64_t own) {
  if (digest.index < peer.compared) return;  // a message that was overtaken
  peer.compared = digest.index;
  peer.own = own;
  peer.theirs = digest.hash;
}

std::vector<Divergence> StateComparison::Diverged(ReplicaId self) const {
  std::vector<Divergence> diverged;
  size_t agree = 1;  // with this replica, itself included
  std::map<std::pair<LogIndex, uint64_t>, size_t> against;
  for (const auto& [id, peer] : peers_) {
    if (peer.compared.IsNone()) continue;
    if (!peer.differs()) {
      ++agree;
      continue;
    }
    diverged.push_back({id, peer.compared, peer.own, peer.theirs});
    ++against[{peer.compared, peer.theirs}];
  }
  // Others that agree with each other and are more than those on this side: then this side is wrong.
  for (const auto& [claim, count] : against) {
    if (count <= agree || agree > 1) continue;
    const auto& [index, theirs] = claim;
    const auto one = std::find_if(diverged.begin(), diverged.end(),
                                  [&](const Divergence& d) { return d.index == index && d.found == theirs; });
    return {{self, index, theirs, one->expected}};
  }
  return diverged;
}

}  // namespace tenure::group
