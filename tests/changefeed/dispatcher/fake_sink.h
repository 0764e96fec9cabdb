// Sinks in memory that deliver when the test says so.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "changefeed/dispatcher/dispatcher.h"

namespace tenure::changefeed {

// What outlives the sinks.
struct FakeSinkWorld {
  std::vector<Message> delivered;
  std::vector<SinkIdentity> made;
  size_t max_buffered = 1 << 20;
  bool holds = false;              // nothing is delivered
  std::optional<FeedError> fails;  // the next delivery
  bool refuses = false;            // sinks that are made do not open
  size_t most_buffered = 0;
  int finished = 0;

  std::vector<std::string> Values() const {
    std::vector<std::string> values;
    for (const Message& message : delivered) {
      if (message.kind != Message::Kind::kResolved) values.push_back(message.value);
    }
    return values;
  }
};

class FakeSink final : public Sink {
 public:
  FakeSink(runtime::Executor& executor, FakeSinkWorld& world, SinkObserver& observer, WritePermit permit)
      : executor_(executor),
        world_(world),
        observer_(observer),
        permit_(std::move(permit)),
        self_(std::make_shared<FakeSink*>(this)) {
    if (!world_.refuses) return;
    failed_ = true;
    timer_ = executor_.After(std::chrono::milliseconds(1), [this] {
      observer_.OnFailed({.code = FeedErrorCode::kSinkUnavailable, .message = "no such host"});
    });
  }
  ~FakeSink() override { *self_ = nullptr; }

  bool Write(uint64_t position, Message& message) override {
    if (failed_ || (bytes_ > 0 && bytes_ + message.bytes() > world_.max_buffered)) {
      refused_ = true;
      return false;
    }
    bytes_ += message.bytes();
    world_.most_buffered = std::max(world_.most_buffered, bytes_);
    buffered_.emplace_back(position, std::move(message));
    Flush();
    return true;
  }
  void Flush() override {
    if (failed_) return;
    timer_ = executor_.After(std::chrono::milliseconds(1), [this] { Drain(); });
  }
  size_t buffered_bytes() const override { return bytes_; }
  void Finish() override { ++world_.finished; }

 private:
  void Drain() {
    if (world_.holds) return Flush();
    if (buffered_.empty()) return;
    if (!permit_() || world_.fails) {
      failed_ = true;
      FeedError error = world_.fails ? *std::exchange(world_.fails, std::nullopt) : NotPermitted();
      return observer_.OnFailed(std::move(error));
    }
    const uint64_t position = buffered_.back().first;
    for (auto& [number, message] : buffered_) world_.delivered.push_back(std::move(message));
    buffered_.clear();
    bytes_ = 0;
    const auto self = self_;
    observer_.OnFlushed(position);
    if (*self != nullptr && std::exchange(refused_, false)) observer_.OnWritable();
  }

  runtime::Executor& executor_;
  FakeSinkWorld& world_;
  SinkObserver& observer_;
  const WritePermit permit_;
  std::vector<std::pair<uint64_t, Message>> buffered_;
  size_t bytes_ = 0;
  bool refused_ = false;
  bool failed_ = false;
  runtime::Timer timer_;
  std::shared_ptr<FakeSink*> self_;
};

class FakeSchemas final : public TableSchemas {
 public:
  struct Version {
    TableSchema schema;
    CommitTs since;
  };
  std::map<uint64_t, Version> versions;  // of table 1
  std::optional<CommitTs> dropped;

  std::shared_ptr<const TableSchema> Find(uint64_t, uint64_t version) const override {
    const auto found = versions.find(version);
    return found == versions.end() ? nullptr : std::make_shared<TableSchema>(found->second.schema);
  }
  std::shared_ptr<const TableSchema> FindAt(uint64_t, CommitTs at) const override {
    std::shared_ptr<const TableSchema> schema;
    for (const auto& [version, known] : versions) {
      if (schema == nullptr || known.since <= at) schema = std::make_shared<TableSchema>(known.schema);
    }
    return schema;
  }
  std::optional<CommitTs> ChangeAt(uint64_t, uint64_t version) const override {
    if (version == 0) return dropped;
    const auto found = versions.find(version);
    if (found == versions.end()) return std::nullopt;
    return found->second.since;
  }
};

}  // namespace tenure::changefeed
