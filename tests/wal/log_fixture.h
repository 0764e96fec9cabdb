// A log on a fake disk and a manual executor, opened and crashed at will.
#pragma once

#include <gtest/gtest.h>

#include "tests/runtime/manual_executor.h"
#include "tests/wal/fake_disk.h"
#include "wal/wal.h"

namespace tenure::wal {

class CollectingSink : public LogSink {
 public:
  bool Enabled(LogLevel level) const override { return level >= LogLevel::kInfo; }
  void Write(LogLevel level, std::string_view, std::string_view message) override {
    if (level >= LogLevel::kWarn) lines.emplace_back(message);
    copies += message.find("forward") != std::string_view::npos ? 1 : 0;
  }
  std::vector<std::string> lines;  // warnings and worse
  size_t copies = 0;
};

class TestLog {
 public:
  explicit TestLog(uint64_t seed = 1) : storage(seed) { options.segment_bytes = 16 << 10; }

  Status Open() {
    executor = std::make_unique<runtime::ManualExecutor>();
    disk = std::make_unique<FakeDisk>(storage, *executor, sync_delay);
    failures = 0;
    auto opened = Wal::Open(*disk, *executor, "wal", options, Logger(&sink, "wal"), [this](Status status) {
      ++failures;
      failure = status;
    });
    if (!opened.ok()) return opened.status();
    wal = *std::move(opened);
    return OkStatus();
  }
  // The process dies as it stands.
  void Crash(bool power_loss) {
    Kill();
    storage.Crash(power_loss);
  }
  void Kill() {
    wal.reset();
    if (executor) executor->Stop();
  }
  Status CloseAndKill() {
    Status result = Error(StatusCode::kUnknown, "not answered");
    wal->Close([&](Status status) { result = status; });
    executor->Drain();
    Kill();
    return result;
  }

  // Appends and waits for the answer.
  Status Append(std::vector<Write> writes) {
    Status result = Error(StatusCode::kUnknown, "not answered");
    wal->Append(std::move(writes), [&](Status status) { result = status; });
    executor->Advance(std::chrono::milliseconds(20));
    return result;
  }
  StatusOr<std::vector<raft::Entry>> Read(uint64_t group, uint64_t from, uint64_t to, size_t max = 1 << 30) {
    StatusOr<std::vector<raft::Entry>> result = Error(StatusCode::kUnknown, "not answered");
    wal->Read(GroupId(group), LogIndex(from), LogIndex(to), max,
              [&](auto entries) { result = std::move(entries); });
    executor->Advance(std::chrono::milliseconds(20));
    return result;
  }
  void Idle() { executor->Advance(std::chrono::seconds(1)); }

  FakeStorage storage;
  WalOptions options;
  Duration sync_delay{};
  CollectingSink sink;
  std::unique_ptr<runtime::ManualExecutor> executor;
  std::unique_ptr<FakeDisk> disk;
  std::unique_ptr<Wal> wal;
  int failures = 0;
  Status failure;
};

inline raft::Entry MakeEntry(uint64_t index, uint64_t term, std::string payload,
                             raft::EntryType type = raft::EntryType::kCommand) {
  return {LogIndex(index), Term(term), type, Bytes(std::move(payload))};
}
// Entries first..first+count-1 of term 2, each with a payload of its own letter.
inline Write Entries(uint64_t group, uint64_t first, uint64_t count, size_t bytes = 50) {
  Write write;
  write.group = GroupId(group);
  for (uint64_t i = 0; i < count; ++i)
    write.entries.push_back(
        MakeEntry(first + i, 2, std::string(bytes, static_cast<char>('a' + (first + i) % 26))));
  return write;
}
inline raft::HardState MakeHardState(uint64_t term, uint64_t vote, uint64_t commit) {
  return {Term(term), ReplicaId(vote), LogIndex(commit)};
}
inline raft::Configuration OneVoter(uint64_t id = 1) {
  return {{{ReplicaId(id), 7, raft::MemberRole::kVoter}}};
}

}  // namespace tenure::wal
