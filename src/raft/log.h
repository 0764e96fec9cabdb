// One replica's log as far as deciding needs it: the terms of everything after the mark, the configurations
// in it, and a cache of recent entries. It does not know what is durable (outbox.h does) or committed.
//
// Driven by RaftCore. Indexes are contiguous; (mark_index, last_index] is the log.
//
// Invariants: terms never fall along the log; the cache is a suffix of the log.
// Threading: one owner.
#pragma once

#include <cstddef>
#include <deque>
#include <utility>
#include <vector>

#include "raft/types.h"

namespace tenure::raft {

class RaftLog {
 public:
  explicit RaftLog(const PersistedState& state);

  LogIndex mark_index() const { return mark_index_; }
  LogIndex last_index() const { return last_index_; }
  Term last_term() const { return runs_.empty() ? mark_term_ : runs_.back().term; }
  // Zero if unknown: before the mark, or beyond the end.
  Term TermAt(LogIndex index) const;
  bool Matches(LogIndex index, Term term) const;
  // Whether a log ending in (term, index) is at least as up to date as this one (thesis 3.6.1).
  bool IsUpToDate(Term term, LogIndex index) const;
  // Whether it holds something that this one does not: strictly more up to date.
  bool IsAhead(Term term, LogIndex index) const;
  // The last index <= `index` whose term is <= `term`, not before the mark: where two logs may still agree
  // when they differ at `index` (fast back-up).
  LogIndex LastPossibleMatch(LogIndex index, Term term) const;

  void Append(const Entry& entry);
  void TruncateFrom(LogIndex index);
  // Forgets everything and begins after `mark`.
  void Reset(const SnapshotMark& mark);
  // Begins after `mark`, keeping what follows it.
  void Compact(const SnapshotMark& mark);

  // Entries [from, to] as far as they are cached; stops at the first gap or after max_bytes (at least one).
  std::vector<Entry> Cached(LogIndex from, LogIndex to, size_t max_bytes) const;
  // First cached index; last_index + 1 if nothing is cached.
  LogIndex cache_first() const { return cache_.empty() ? last_index_.Next() : cache_.front().index; }
  size_t cached_bytes() const { return cached_bytes_; }
  void Evict(LogIndex upto);

  const Configuration& configuration() const { return configurations_.back().second; }
  LogIndex configuration_index() const { return configurations_.back().first; }
  // Mark, terms and configurations, as they are kept; hard_state is left alone.
  void CopyTo(PersistedState& state) const;
  // In force at `index`; the mark's if `index` lies before it.
  const Configuration& ConfigurationAt(LogIndex index) const;

 private:
  LogIndex mark_index_;
  Term mark_term_;
  LogIndex last_index_;
  std::vector<TermRun> runs_;
  std::deque<Entry> cache_;
  size_t cached_bytes_ = 0;
  std::vector<std::pair<LogIndex, Configuration>> configurations_;  // never empty; first is the mark's
};

// What an entry counts as, against limits in bytes.
inline size_t CostOf(const Entry& entry) {
  return entry.payload.size() + 32;
}

}  // namespace tenure::raft
