#include "changefeed/views/local_change_source.h"

#include <utility>

namespace tenure::changefeed {
namespace {

// What happened to regions is told once for so long: each telling wakes the other executor, and makes every
// reader that has caught up look into the log anew.
constexpr Duration kTellEvery = std::chrono::milliseconds(10);

LoggedChange FromStore(uint64_t ts, store::ChangeRecord record) {
  using StoreKind = store::ChangeRecord::Kind;
  LoggedChange change{.index = LogIndex(record.index),
                      .ordinal = record.ordinal,
                      .commit_ts = CommitTs(ts),
                      .table = record.table,
                      .schema_version = record.schema_version,
                      .key = std::move(record.key),
                      .old_value = std::move(record.old_value),
                      .new_value = std::move(record.new_value),
                      .fields = std::move(record.fields),
                      .bytes_before = record.bytes_before};
  if (record.kind == StoreKind::kDelete) change.kind = LoggedChange::Kind::kDelete;
  if (record.kind == StoreKind::kSchema) change.kind = LoggedChange::Kind::kSchema;
  return change;
}

}  // namespace

struct LocalChangeSource::Home {
  std::map<RegionId, std::unique_ptr<runtime::Event>> news;  // of regions that somebody waits for
  std::map<RegionId, uint64_t> bytes;                        // of their logs
  bool gone = false;

  void Hear(const std::map<RegionId, uint64_t>& regions) {
    if (gone) return;
    for (const auto& [region, written] : regions) {
      bytes[region] = written;
      if (const auto waiting = news.find(region); waiting != news.end()) waiting->second->Set();
    }
  }
};

namespace {

// Of the node's executor.
struct Untold {
  std::map<RegionId, uint64_t> regions;  // with the bytes of their logs
  runtime::Timer timer;                  // runs while there are any
};

}  // namespace

LocalChangeSource::LocalChangeSource(runtime::Executor& home, runtime::Executor& node, node::ChangeLogs& logs)
    : home_(home), node_(node), logs_(logs), state_(std::make_shared<Home>()) {
  node_.Post([&logs, &home, &node, state = state_] {
    logs.SetListener(
        [&home, &node, state, untold = std::make_shared<Untold>()](RegionId region, uint64_t bytes) {
          const bool first = untold->regions.empty();
          untold->regions[region] = bytes;
          if (!first) return;
          untold->timer = node.After(kTellEvery, [&home, state, weak = std::weak_ptr(untold)] {
            const auto told = weak.lock();
            if (told == nullptr) return;
            home.Post([state, regions = std::exchange(told->regions, {})] { state->Hear(regions); });
          });
        });
  });
}

LocalChangeSource::~LocalChangeSource() {
  state_->gone = true;
  state_->news.clear();
  node_.Post([&logs = logs_] { logs.SetListener(nullptr); });
}

runtime::Task<StatusOr<ChangeBatch>> LocalChangeSource::Read(ReadPosition position, size_t max_bytes,
                                                             runtime::StopToken stop) {
  using Result = StatusOr<store::ChangeRead>;
  while (true) {
    auto ask = [this, position, max_bytes](Callback<Result> done) {
      node_.Post([&home = home_, &logs = logs_, position, max_bytes, done = std::move(done)]() mutable {
        Result result = logs.Read(position.region, position.table, position.after.value(), max_bytes);
        home.Post(
            [result = std::move(result), done = std::move(done)]() mutable { done(std::move(result)); });
      });
    };
    Result read = co_await runtime::AsyncUntil<Result>(home_, stop, std::move(ask));
    if (!read.ok()) co_return read.status();
    if (read->resolved > position.after.value()) {
      ChangeBatch batch{
          .resolved = CommitTs(read->resolved), .bytes_from = read->bytes_from, .bytes_to = read->bytes_to};
      if (read->range_end) batch.range_end = CommitTs(*read->range_end);
      for (auto& [ts, record] : read->changes) batch.changes.push_back(FromStore(ts, std::move(record)));
      co_return batch;
    }
    // What happens on the node's executor after the log was looked at is heard of after its result.
    auto& news = state_->news[position.region];
    if (news == nullptr) news = std::make_unique<runtime::Event>(home_);
    runtime::Event& event = *news;
    event.Reset();
    const bool heard = co_await event.Wait(stop);
    if (!heard) co_return absl::CancelledError("stopped");
  }
}

runtime::Task<StatusOr<SnapshotBatch>> LocalChangeSource::ReadSnapshot(ReadPosition position,
                                                                       std::string from, size_t max_bytes,
                                                                       runtime::StopToken stop) {
  using Result = StatusOr<store::RowsRead>;
  auto ask = [this, position, from = std::move(from), max_bytes](Callback<Result> done) mutable {
    node_.Post([&home = home_, &logs = logs_, position, from = std::move(from), max_bytes,
                done = std::move(done)]() mutable {
      Result result = logs.ReadRows(position.region, position.table, position.after.value(), from, max_bytes);
      home.Post([result = std::move(result), done = std::move(done)]() mutable { done(std::move(result)); });
    });
  };
  Result read = co_await runtime::AsyncUntil<Result>(home_, stop, std::move(ask));
  if (!read.ok()) co_return read.status();
  SnapshotBatch batch{.next = std::move(read->next)};
  for (store::ChangeRecord& record : read->rows)
    batch.rows.push_back(FromStore(position.after.value(), std::move(record)));
  co_return batch;
}

uint64_t LocalChangeSource::BytesOf(RegionId region) const {
  const auto heard = state_->bytes.find(region);
  return heard == state_->bytes.end() ? 0 : heard->second;
}

}  // namespace tenure::changefeed
