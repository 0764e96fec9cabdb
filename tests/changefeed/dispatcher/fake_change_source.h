// A change log in memory: what tests of dispatchers and of those who drive them read from.
#pragma once

#include <map>
#include <set>
#include <utility>

#include "changefeed/dispatcher/change_source.h"
#include "runtime/awaitables.h"

namespace tenure::changefeed {

class FakeChangeSource final : public ChangeSource {
 public:
  explicit FakeChangeSource(runtime::Executor& executor) : changed_(executor) {}

  // Timestamps rise within a region.
  void Append(RegionId region, LoggedChange change) {
    Log& log = logs_[region];
    log.resolved = change.commit_ts;
    change.bytes_before = log.bytes;
    log.bytes += BytesOfChange(change);
    log.changes.push_back(std::move(change));
    Wake();
  }
  void Resolve(RegionId region, CommitTs resolved) {
    logs_[region].resolved = resolved;
    Wake();
  }
  void EndRange(RegionId region, CommitTs at) {
    logs_[region].range_ends.insert(at);
    logs_[region].resolved = at;
    Wake();
  }
  void SetLeads(RegionId region, bool leads) {
    logs_[region].leads = leads;
    Wake();
  }
  void SetBegin(RegionId region, CommitTs begin) { logs_[region].begin = begin; }
  // Rows at every timestamp: what a snapshot of the region shows.
  void SetRows(RegionId region, std::vector<LoggedChange> rows) { logs_[region].rows = std::move(rows); }

  runtime::Task<StatusOr<ChangeBatch>> Read(ReadPosition position, size_t max_bytes,
                                            runtime::StopToken stop) override {
    while (!stop.stop_requested()) {
      const Log& log = logs_[position.region];
      if (!log.leads) co_return NotLeader(position.region);
      if (position.after < log.begin) co_return HistoryGone(position.region, position.after, log.begin);
      if (log.resolved > position.after) co_return BatchOf(log, position, max_bytes);
      changed_.Reset();
      co_await changed_.Wait(stop);
    }
    co_return absl::CancelledError("stopped");
  }

  runtime::Task<StatusOr<SnapshotBatch>> ReadSnapshot(ReadPosition position, std::string from,
                                                      size_t max_bytes, runtime::StopToken stop) override {
    if (stop.stop_requested()) co_return absl::CancelledError("stopped");
    const Log& log = logs_[position.region];
    if (!log.leads) co_return NotLeader(position.region);
    SnapshotBatch batch;
    size_t index = from.empty() ? 0 : std::stoul(from);
    for (size_t bytes = 0; index < log.rows.size() && bytes < max_bytes; ++index) {
      if (log.rows[index].table != position.table) continue;
      batch.rows.push_back(log.rows[index]);
      batch.rows.back().commit_ts = position.after;
      bytes += log.rows[index].new_value->size() + 1;
    }
    if (index < log.rows.size()) batch.next = std::to_string(index);
    co_return batch;
  }

  uint64_t BytesOf(RegionId region) const override {
    const auto log = logs_.find(region);
    return log == logs_.end() ? 0 : log->second.bytes;
  }

 private:
  struct Log {
    uint64_t bytes = 0;
    std::vector<LoggedChange> changes;
    std::set<CommitTs> range_ends;
    std::vector<LoggedChange> rows;
    CommitTs begin;
    CommitTs resolved;
    bool leads = true;
  };

  static uint64_t BytesOfChange(const LoggedChange& change) {
    return change.key.size() + change.new_value.value_or("").size() + 1;
  }
  static ChangeBatch BatchOf(const Log& log, const ReadPosition& position, size_t max_bytes) {
    ChangeBatch batch{.resolved = log.resolved};
    const auto end = log.range_ends.upper_bound(position.after);
    if (end != log.range_ends.end()) batch.resolved = *end;
    if (end != log.range_ends.end()) batch.range_end = *end;
    size_t bytes = 0;
    batch.bytes_to = log.bytes;
    bool any = false;
    for (const LoggedChange& change : log.changes) {
      if (change.commit_ts <= position.after || change.commit_ts > batch.resolved) continue;
      if (!std::exchange(any, true)) batch.bytes_from = change.bytes_before;
      if (change.table != position.table) continue;
      if (bytes >= max_bytes) {
        batch.resolved = batch.changes.back().commit_ts;
        batch.range_end.reset();
        batch.bytes_to = change.bytes_before;
        break;
      }
      bytes += BytesOfChange(change);
      batch.changes.push_back(change);
    }
    if (!any) batch.bytes_from = batch.bytes_to;
    return batch;
  }
  void Wake() { changed_.Set(); }

  runtime::Event changed_;
  std::map<RegionId, Log> logs_;
};

}  // namespace tenure::changefeed
