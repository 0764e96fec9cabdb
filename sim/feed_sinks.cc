#include "sim/feed_sinks.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "sim/world.h"

namespace tenure::sim {

using changefeed::FeedError;
using changefeed::FeedErrorCode;
using changefeed::Message;
using changefeed::SinkIdentity;

namespace {

constexpr size_t kMaxBuffered = 64 << 10;
// The version of a table that was dropped: nothing comes after that.
constexpr uint64_t kDropped = std::numeric_limits<uint64_t>::max();

class SimSink final : public changefeed::Sink {
 public:
  SimSink(runtime::Executor& executor, FeedSinks& sinks, uint64_t number, SinkIdentity identity,
          changefeed::SinkObserver& observer, changefeed::WritePermit permit)
      : executor_(executor),
        sinks_(sinks),
        number_(number),
        identity_(std::move(identity)),
        observer_(observer),
        permit_(std::move(permit)),
        self_(std::make_shared<SimSink*>(this)) {}
  ~SimSink() override { *self_ = nullptr; }

  bool Write(uint64_t position, Message& message) override {
    if (failed_ || (bytes_ > 0 && bytes_ + message.bytes() > kMaxBuffered)) {
      refused_ = true;
      return false;
    }
    bytes_ += message.bytes();
    buffered_.emplace_back(position, std::move(message));
    Flush();
    return true;
  }
  void Flush() override {
    if (!std::exchange(scheduled_, true)) timer_ = executor_.After(sinks_.DrawDelay(), [this] { Drain(); });
  }
  size_t buffered_bytes() const override { return bytes_; }

 private:
  void Drain() {
    scheduled_ = false;
    if (failed_ || buffered_.empty()) return;
    if (!permit_()) return Fail(changefeed::NotPermitted());
    const bool fails = sinks_.DrawFailure();
    uint64_t position = 0;
    // A failure may come in the middle: what was delivered before it is delivered.
    const size_t count = fails ? buffered_.size() / 2 : buffered_.size();
    for (size_t i = 0; i < count; ++i) {
      sinks_.Arrive(number_, identity_, buffered_[i].second);
      position = buffered_[i].first;
    }
    if (fails) return Fail({.code = FeedErrorCode::kSinkUnavailable, .message = "the sink has failed"});
    buffered_.clear();
    bytes_ = 0;
    const auto self = self_;
    observer_.OnFlushed(position);
    if (*self != nullptr && std::exchange(refused_, false)) observer_.OnWritable();
  }
  void Fail(FeedError error) {
    failed_ = true;
    observer_.OnFailed(std::move(error));
  }

  runtime::Executor& executor_;
  FeedSinks& sinks_;
  const uint64_t number_;
  const SinkIdentity identity_;
  changefeed::SinkObserver& observer_;
  const changefeed::WritePermit permit_;
  std::vector<std::pair<uint64_t, Message>> buffered_;
  size_t bytes_ = 0;
  bool refused_ = false;
  bool failed_ = false;
  bool scheduled_ = false;
  runtime::Timer timer_;
  std::shared_ptr<SimSink*> self_;
};

// The number behind `"name":` in JSON without blanks.
std::optional<uint64_t> NumberIn(const std::string& json, std::string_view name) {
  const std::string label = fmt::format("\"{}\":", name);
  const size_t at = json.find(label);
  if (at == std::string::npos) return std::nullopt;
  uint64_t number = 0;
  const char* begin = json.data() + at + label.size();
  if (std::from_chars(begin, json.data() + json.size(), number).ec != std::errc()) return std::nullopt;
  return number;
}

std::optional<std::string> ValueIn(const std::string& json) {
  constexpr std::string_view kLabel = "\"value\":\"";
  const size_t at = json.find(kLabel);
  if (at == std::string::npos) return std::nullopt;
  const size_t begin = at + kLabel.size();
  return json.substr(begin, json.find('"', begin) - begin);
}

// Images of a row, which are the last members of a change and have no object inside: "{...}" or "null".
struct Images {
  std::string before;
  std::string after;
};
std::optional<Images> ImagesIn(const std::string& json) {
  constexpr std::string_view kOld = "\"old\":";
  constexpr std::string_view kNew = ",\"new\":";
  const size_t before = json.find(kOld);
  const size_t after = json.find(kNew);
  if (before == std::string::npos || after == std::string::npos) return std::nullopt;
  const size_t begin = before + kOld.size();
  const size_t middle = after + kNew.size();
  return Images{json.substr(begin, after - begin), json.substr(middle, json.size() - middle - 1)};
}

// "t7" of "t7-r1-v2".
std::string TableOf(const SinkIdentity& identity) {
  return identity.dispatcher.substr(0, identity.dispatcher.find('-'));
}

}  // namespace

std::unique_ptr<changefeed::Sink> FeedSinks::MakeSink(runtime::Executor& executor,
                                                      const SinkIdentity& identity,
                                                      changefeed::SinkObserver& observer,
                                                      changefeed::WritePermit permit) {
  Feed& feed = feeds_[identity.changefeed];
  // Its epoch has passed its barrier: nobody writes under a lower one any more.
  feed.epoch = std::max(feed.epoch, identity.epoch.value());
  feed.writers[identity.dispatcher] = ++sinks_;
  return std::make_unique<SimSink>(executor, *this, sinks_, identity, observer, std::move(permit));
}

Duration FeedSinks::DrawDelay() {
  if (!world_.calm() && prng_.Chance(1, 400)) return std::chrono::milliseconds(prng_.Between(500, 9000));
  return std::chrono::milliseconds(prng_.Between(1, 40));
}

bool FeedSinks::DrawFailure() {
  return !world_.calm() && prng_.Chance(1, 300);
}

void FeedSinks::OnCheckpoint(const std::string& feed, uint64_t checkpoint) {
  Feed& known = feeds_[feed];
  known.checkpoint = std::max(known.checkpoint, checkpoint);
}

void FeedSinks::OnStopped(const std::string& feed, uint64_t epoch) {
  Feed& known = feeds_[feed];
  known.epoch = std::max(known.epoch, epoch);
}

bool FeedSinks::Has(const std::string& feed, const std::string& value) const {
  const auto found = feeds_.find(feed);
  return found != feeds_.end() && found->second.values.contains(value);
}

bool FeedSinks::HasRow(const std::string& feed, const std::string& c1) const {
  const auto found = feeds_.find(feed);
  return found != feeds_.end() && found->second.rows.contains(c1);
}

std::string FeedSinks::Describe(const SinkIdentity& identity, const Message& message) {
  return fmt::format("{} {}: {} of '{}' with commit_ts {} (epoch {})", identity.changefeed,
                     identity.dispatcher, message.id, message.key, message.commit_ts.value(),
                     identity.epoch.value());
}

void FeedSinks::Arrive(uint64_t sink, const SinkIdentity& identity, const Message& message) {
  ++messages_;
  Feed& feed = feeds_[identity.changefeed];
  CheckWriter(feed, sink, identity, message);
  switch (message.kind) {
    case Message::Kind::kChange:
      return CheckChange(feed, identity, message);
    case Message::Kind::kSchema:
      return CheckSchemaChange(feed, identity, message);
    case Message::Kind::kResolved:
      feed.resolved = std::max(feed.resolved, message.commit_ts.value());
  }
}

void FeedSinks::CheckWriter(Feed& feed, uint64_t sink, const SinkIdentity& identity, const Message& message) {
  if (identity.epoch.value() < feed.epoch) {
    world_.Fail("F1 epochs of a sink never fall",
                fmt::format("{} after epoch {}", Describe(identity, message), feed.epoch));
  }
  if (sink != feed.writers[identity.dispatcher]) {
    world_.Fail("F7 a span has one writer",
                fmt::format("{} by sink {} after sink {} was made", Describe(identity, message), sink,
                            feed.writers[identity.dispatcher]));
  }
}

void FeedSinks::CheckIsNew(const Feed& feed, const SinkIdentity& identity, const Message& message) {
  const uint64_t ts = message.commit_ts.value();
  if (ts <= feed.checkpoint) {
    world_.Fail(
        "F3 a checkpoint is at most what the sink holds",
        fmt::format("{} arrives first, the checkpoint was {}", Describe(identity, message), feed.checkpoint));
  }
  if (ts <= feed.resolved) {
    world_.Fail(
        "F6 nothing new comes up to what was said to be resolved",
        fmt::format("{} arrives first after resolved {}", Describe(identity, message), feed.resolved));
  }
}

void FeedSinks::NoteValue(Feed& feed, const Message& message) {
  if (const auto images = ImagesIn(message.value)) {
    if (const auto c1 = NumberIn(images->after, "c1")) feed.rows.insert(std::to_string(*c1));
  } else if (const auto value = ValueIn(message.value)) {
    feed.values.insert(*value);
  }
}

void FeedSinks::CheckChange(Feed& feed, const SinkIdentity& identity, const Message& message) {
  if (message.value.starts_with("{\"type\":\"snapshot\"")) return NoteValue(feed, message);
  Key& key = feed.keys[TableOf(identity) + "/" + message.key];
  const uint64_t ts = message.commit_ts.value();
  if (key.seen.contains(ts)) {
    ++duplicates_;
    return;
  }
  if (ts < key.newest) {
    world_.Fail("F2 changes of a key arrive in commit order",
                fmt::format("{} arrives first after one with {}", Describe(identity, message), key.newest));
  }
  CheckIsNew(feed, identity, message);
  if (const auto images = ImagesIn(message.value)) {
    ++rows_;
    CheckRow(feed, key, identity, message);
    key.version = NumberIn(message.value, "schema_version").value_or(0);
    key.image = images->after;
  }
  key.seen.insert(ts);
  key.newest = std::max(key.newest, ts);
  NoteValue(feed, message);
}

void FeedSinks::CheckRow(Feed& feed, const Key& before, const SinkIdentity& identity,
                         const Message& message) {
  const uint64_t version = NumberIn(message.value, "schema_version").value_or(0);
  Table& table = feed.tables[TableOf(identity)];
  if (table.first == 0) table.first = version;
  if (version < table.newest) {
    world_.Fail("F5 rows come on their side of a schema change",
                fmt::format("{} has version {}, the change to {} has arrived", Describe(identity, message),
                            version, table.newest));
  }
  if (version > std::max(table.first, table.newest)) {
    world_.Fail("F5 rows come on their side of a schema change",
                fmt::format("{} has version {}, the last change that has arrived was to {}",
                            Describe(identity, message), version, std::max(table.first, table.newest)));
  }
  const std::string old = ImagesIn(message.value)->before;
  if (before.version != version || before.image == old) return;  // the images of two versions differ
  world_.Fail("F8 the old image of a row is the new one of the change before",
              fmt::format("{} has {}, the change with commit_ts {} left {}", Describe(identity, message), old,
                          before.newest, before.image));
}

void FeedSinks::CheckSchemaChange(Feed& feed, const SinkIdentity& identity, const Message& message) {
  Table& table = feed.tables[TableOf(identity)];
  if (!table.changes.insert(message.commit_ts.value()).second) return;
  ++schema_changes_;
  CheckIsNew(feed, identity, message);
  const uint64_t version = NumberIn(message.value, "schema_version").value_or(0);
  if (version == 0) table.newest = kDropped;
  if (table.first == 0) table.first = version;
  table.newest = std::max(table.newest, version);
}

}  // namespace tenure::sim
