#include "raft/log.h"

#include <algorithm>

#include "base/check.h"
#include "base/format.h"

namespace tenure::raft {

RaftLog::RaftLog(const PersistedState& state)
    : mark_index_(state.mark.index),
      mark_term_(state.mark.term),
      last_index_(state.last_index),
      runs_(state.terms) {
  TENURE_CHECK(last_index_ >= mark_index_, "log ends at {} before its mark {}", last_index_, mark_index_);
  TENURE_CHECK(runs_.empty() == (last_index_ == mark_index_), "{} term runs cover ({}, {}]", runs_.size(),
               mark_index_, last_index_);
  TENURE_CHECK(runs_.empty() || runs_.front().first == mark_index_.Next(), "terms begin at {} after mark {}",
               runs_.front().first, mark_index_);
  Term before = mark_term_;
  for (const TermRun& run : runs_) {
    TENURE_CHECK(run.term >= before && run.first <= last_index_, "term {} at {} follows term {}", run.term,
                 run.first, before);
    before = run.term;
  }
  configurations_.emplace_back(mark_index_, state.mark.configuration);
  for (const auto& configuration : state.configurations) {
    TENURE_CHECK(configuration.first > configurations_.back().first && configuration.first <= last_index_,
                 "configuration at {} is out of order or beyond {}", configuration.first, last_index_);
    configurations_.push_back(configuration);
  }
}

void RaftLog::CopyTo(PersistedState& state) const {
  state.mark = {mark_index_, mark_term_, configurations_.front().second};
  state.last_index = last_index_;
  state.terms = runs_;
  state.configurations.assign(std::next(configurations_.begin()), configurations_.end());
}

Term RaftLog::TermAt(LogIndex index) const {
  if (index == mark_index_) return mark_term_;
  if (index < mark_index_ || index > last_index_) return Term();
  if (index >= runs_.back().first) return runs_.back().term;
  const auto after = std::upper_bound(runs_.begin(), runs_.end(), index,
                                      [](LogIndex i, const TermRun& run) { return i < run.first; });
  return std::prev(after)->term;
}

bool RaftLog::Matches(LogIndex index, Term term) const {
  return index >= mark_index_ && index <= last_index_ && TermAt(index) == term;
}

bool RaftLog::IsUpToDate(Term term, LogIndex index) const {
  return term > last_term() || (term == last_term() && index >= last_index_);
}

bool RaftLog::IsAhead(Term term, LogIndex index) const {
  return term > last_term() || (term == last_term() && index > last_index_);
}

LogIndex RaftLog::LastPossibleMatch(LogIndex index, Term term) const {
  index = std::min(index, last_index_);
  if (index <= mark_index_ || TermAt(index) <= term) return std::max(index, mark_index_);
  const auto above = std::upper_bound(runs_.begin(), runs_.end(), term,
                                      [](Term t, const TermRun& run) { return t < run.term; });
  return above->first.Previous();
}

void RaftLog::Append(const Entry& entry) {
  TENURE_CHECK(entry.index == last_index_.Next(), "entry {} after {}", entry.index, last_index_);
  TENURE_CHECK(entry.term >= last_term(), "entry {} of term {} after term {}", entry.index, entry.term,
               last_term());
  if (runs_.empty() || runs_.back().term != entry.term) runs_.push_back({entry.index, entry.term});
  last_index_ = entry.index;
  cached_bytes_ += CostOf(entry);
  cache_.push_back(entry);
  if (entry.type != EntryType::kConfiguration) return;
  auto configuration = DecodeConfiguration(entry.payload.view());
  TENURE_CHECK(configuration.ok(), "entry {}: {}", entry.index, MessageOf(configuration.status()));
  configurations_.emplace_back(entry.index, *std::move(configuration));
}

void RaftLog::TruncateFrom(LogIndex index) {
  TENURE_CHECK(index > mark_index_, "truncation from {} reaches the mark {}", index, mark_index_);
  if (index > last_index_) return;
  last_index_ = index.Previous();
  while (!cache_.empty() && cache_.back().index >= index) {
    cached_bytes_ -= CostOf(cache_.back());
    cache_.pop_back();
  }
  while (!runs_.empty() && runs_.back().first >= index) runs_.pop_back();
  while (configurations_.size() > 1 && configurations_.back().first >= index) configurations_.pop_back();
}

void RaftLog::Reset(const SnapshotMark& mark) {
  mark_index_ = last_index_ = mark.index;
  mark_term_ = mark.term;
  runs_.clear();
  cache_.clear();
  cached_bytes_ = 0;
  configurations_.assign(1, {mark.index, mark.configuration});
}

void RaftLog::Compact(const SnapshotMark& mark) {
  if (mark.index <= mark_index_) return;
  TENURE_CHECK(Matches(mark.index, mark.term), "compaction to {}/{}, the log there has term {}", mark.index,
               mark.term, TermAt(mark.index));
  Evict(mark.index);
  const auto after = std::upper_bound(runs_.begin(), runs_.end(), mark.index,
                                      [](LogIndex i, const TermRun& run) { return i < run.first; });
  if (mark.index == last_index_) {
    runs_.clear();
  } else {
    const auto holding_next =
        after == runs_.end() || after->first > mark.index.Next() ? std::prev(after) : after;
    runs_.erase(runs_.begin(), holding_next);
    runs_.front().first = mark.index.Next();
  }
  const Configuration configuration = ConfigurationAt(mark.index);
  const auto later = std::find_if(configurations_.begin(), configurations_.end(),
                                  [&](const auto& c) { return c.first > mark.index; });
  // The entry that set the mark's configuration keeps its index as long as the mark does not pass it.
  configurations_.erase(configurations_.begin(), later);
  configurations_.insert(configurations_.begin(), {mark.index, configuration});
  mark_index_ = mark.index;
  mark_term_ = mark.term;
}

std::vector<Entry> RaftLog::Cached(LogIndex from, LogIndex to, size_t max_bytes) const {
  std::vector<Entry> entries;
  to = std::min(to, last_index_);
  if (cache_.empty() || from < cache_first() || from > to) return entries;
  size_t position = from.value() - cache_first().value();
  const size_t end = position + (to.value() - from.value()) + 1;
  size_t bytes = 0;
  size_t stop = position;
  while (stop < end && (stop == position || bytes + CostOf(cache_[stop]) <= max_bytes))
    bytes += CostOf(cache_[stop++]);
  entries.reserve(stop - position);
  for (; position < stop; position++) entries.push_back(cache_[position]);
  return entries;
}

void RaftLog::Evict(LogIndex upto) {
  while (!cache_.empty() && cache_.front().index <= upto) {
    cached_bytes_ -= CostOf(cache_.front());
    cache_.pop_front();
  }
}

const Configuration& RaftLog::ConfigurationAt(LogIndex index) const {
  const Configuration* found = &configurations_.front().second;
  for (const auto& [at, configuration] : configurations_) {
    if (at > index) break;
    found = &configuration;
  }
  return *found;
}

}  // namespace tenure::raft
