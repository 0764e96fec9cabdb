#include "sim/feed_sinks.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "sim/world.h"

namespace tenure::sim {

using changefeed::FeedError;
using changefeed::FeedErrorCode;
using changefeed::Message;
using changefeed::SinkIdentity;

namespace {

constexpr size_t kMaxBuffered = 64 << 10;

class SimSink final : public changefeed::Sink {
 public:
  SimSink(runtime::Executor& executor, FeedSinks& sinks, SinkIdentity identity,
          changefeed::SinkObserver& observer, changefeed::WritePermit permit)
      : executor_(executor),
        sinks_(sinks),
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
      sinks_.Arrive(identity_, buffered_[i].second);
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

// "t7" of "t7-r1-v2".
std::string TableOf(const SinkIdentity& identity) {
  return identity.dispatcher.substr(0, identity.dispatcher.find('-'));
}

}  // namespace

std::unique_ptr<changefeed::Sink> FeedSinks::MakeSink(runtime::Executor& executor,
                                                      const SinkIdentity& identity,
                                                      changefeed::SinkObserver& observer,
                                                      changefeed::WritePermit permit) {
  return std::make_unique<SimSink>(executor, *this, identity, observer, std::move(permit));
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

void FeedSinks::Arrive(const SinkIdentity& identity, const Message& message) {
  ++messages_;
  Feed& feed = feeds_[identity.changefeed];
  if (identity.epoch.value() < feed.epoch) {
    world_.Fail("F1 epochs of a sink never fall",
                fmt::format("{} {}: {} of epoch {} after epoch {}", identity.changefeed, identity.dispatcher,
                            message.id, identity.epoch.value(), feed.epoch));
  }
  feed.epoch = std::max(feed.epoch, identity.epoch.value());
  if (message.kind == Message::Kind::kSchema) {
    uint64_t& version = feed.versions[TableOf(identity)];
    version = std::max(version, NumberIn(message.value, "schema_version").value_or(0));
  }
  if (message.kind == Message::Kind::kChange) Check(feed, identity, message);
}

void FeedSinks::Check(Feed& feed, const SinkIdentity& identity, const Message& message) {
  if (message.value.starts_with("{\"type\":\"snapshot\"")) {
    if (const auto value = ValueIn(message.value)) feed.values.insert(*value);
    return;
  }
  Key& key = feed.keys[TableOf(identity) + "/" + message.key];
  const uint64_t ts = message.commit_ts.value();
  const auto describe = [&] {
    return fmt::format("{} {}: {} of '{}' with commit_ts {} (epoch {})", identity.changefeed,
                       identity.dispatcher, message.id, message.key, ts, identity.epoch.value());
  };
  if (key.seen.contains(ts)) {
    ++duplicates_;
    return;
  }
  if (ts < key.newest) {
    world_.Fail("F2 changes of a key arrive in commit order",
                fmt::format("{} arrives first after one with {}", describe(), key.newest));
  }
  if (ts <= feed.checkpoint) {
    world_.Fail("F3 a checkpoint is at most what the sink holds",
                fmt::format("{} arrives first, the checkpoint was {}", describe(), feed.checkpoint));
  }
  CheckVersion(feed, TableOf(identity), identity, message);
  key.seen.insert(ts);
  key.newest = std::max(key.newest, ts);
  if (const auto value = ValueIn(message.value)) feed.values.insert(*value);
}

void FeedSinks::CheckVersion(Feed& feed, const std::string& table, const SinkIdentity& identity,
                             const Message& message) {
  const auto version = NumberIn(message.value, "schema_version");
  const auto known = feed.versions.find(table);
  if (!version || known == feed.versions.end() || *version >= known->second) return;
  world_.Fail("F5 rows of an older schema come before its change",
              fmt::format("{} {}: {} has version {}, the change to {} has arrived", identity.changefeed,
                          identity.dispatcher, message.id, *version, known->second));
}

}  // namespace tenure::sim
