// The receiver's end of a snapshot whose completion fails.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "group/snapshot_transfer.h"
#include "kv/memory_engine.h"
#include "sim/scheduler.h"
#include "sim/sim_disk.h"
#include "sim/sim_executor.h"
#include "tests/group/silent_transport.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

class SnapshotReceiveTest : public testing::Test {
 protected:
  SnapshotReceiveTest() {
    mark.index = LogIndex(9);
    mark.term = Term(2);
    mark.configuration.members.push_back({.id = ReplicaId(1), .host = 1, .role = raft::MemberRole::kVoter});
    view = disk.MakeView(process, executor);
    store = *wal::SnapshotStore::Open(*view, "/snapshots");
    files = std::make_unique<SnapshotFiles>(executor, executor, *store, Logger());
    transfer = std::make_unique<SnapshotTransfer>(
        SnapshotTransfer::Dependencies{executor, engine, *files, transport, Logger(), 1024},
        [](GroupId) { return std::nullopt; }, [](GroupId, ReplicaId, LogIndex, bool) {});
  }
  ~SnapshotReceiveTest() override { process.Kill(); }

  template <class Message>
  StatusOr<uint64_t> Receive(const Message& message) {
    std::optional<StatusOr<uint64_t>> answer;
    executor.Post([&] { transfer->Receive(message, [&](StatusOr<uint64_t> a) { answer = std::move(a); }); });
    world.RunFor(1s);
    return answer ? *answer : StatusOr<uint64_t>(Error(StatusCode::kInternal, "no answer"));
  }
  SnapshotOffer Offer() const {
    return {.group = GroupId(1),
            .from = ReplicaId(2),
            .to = ReplicaId(1),
            .mark = mark,
            .total_bytes = content.size(),
            .checksum = HashBytes(content)};
  }
  SnapshotChunk Chunk() const {
    return {.group = GroupId(1),
            .to = ReplicaId(1),
            .mark = mark,
            .offset = 0,
            .content = content,
            .checksum = HashBytes(content),
            .last = true};
  }

  const std::string content = "state of a group";
  raft::SnapshotMark mark;
  sim::Scheduler world;
  sim::SimClock clock{world, Instant(1h), WallFromMillis(1)};
  sim::SimDisk disk{world, "disk", Prng(1)};
  sim::SimProcess process{world, clock, "p", Prng(2)};
  sim::SimExecutor& executor = process.AddExecutor("all");
  kv::MemoryEngine engine{std::make_shared<kv::MemoryStore>(), executor};
  SilentTransport transport;
  std::unique_ptr<runtime::Disk> view;
  std::unique_ptr<wal::SnapshotStore> store;
  std::unique_ptr<SnapshotFiles> files;
  std::unique_ptr<SnapshotTransfer> transfer;
};

TEST_F(SnapshotReceiveTest, OneWhoseSyncFailedIsReceivedAnew) {
  EXPECT_EQ(*Receive(Offer()), 0u);
  disk.FailSyncs(1);
  EXPECT_FALSE(Receive(Chunk()).ok());
  EXPECT_EQ(*Receive(Offer()), 0u) << "neither complete nor partly there";
  EXPECT_EQ(*Receive(Chunk()), content.size());
  EXPECT_EQ(*Receive(Offer()), content.size() + 1) << "complete";
  EXPECT_NE(files->Find(GroupId(1)), nullptr);
}

TEST_F(SnapshotReceiveTest, OneThatACrashLeftBeforeItsNameIsReceivedAnew) {
  // The trailer is there, the name that says so is not.
  auto part = view->Open("/snapshots/1-9-2.snap.part", runtime::OpenMode::kCreate);
  ASSERT_TRUE(part.ok());
  ASSERT_TRUE((*part)->Write(0, content + "and a trailer").ok());
  EXPECT_EQ(*Receive(Offer()), 0u);
  EXPECT_EQ(*Receive(Chunk()), content.size());
  EXPECT_EQ(*Receive(Offer()), content.size() + 1);
}

// Of a run that ended, under another mark: nobody will ask for it.
TEST_F(SnapshotReceiveTest, PartsOfOthersAreRemovedWhenOneBegins) {
  for (const char* name : {"1-4-1.snap.part", "1-12-2.snap.part", "2-4-1.snap.part"}) {
    auto part = view->Open(std::string("/snapshots/") + name, runtime::OpenMode::kCreate);
    ASSERT_TRUE((*part)->Write(0, "of no use").ok());
  }
  EXPECT_EQ(*Receive(Offer()), 0u);
  EXPECT_EQ(*Receive(Chunk()), content.size());
  EXPECT_EQ(*view->List("/snapshots"), (std::vector<std::string>{"1-9-2.snap", "2-4-1.snap.part"}));
  SnapshotFiles restarted(executor, executor, *store, Logger());
  EXPECT_TRUE(restarted.HasAny(GroupId(2)));
  executor.Post([&] { restarted.Remove(GroupId(2), LogIndex(4)); });
  world.RunFor(1s);
  EXPECT_TRUE(view->Exists("/snapshots/2-4-1.snap.part")) << "perhaps it goes on";
  executor.Post([&] { restarted.Remove(GroupId(2), LogIndex(5)); });
  world.RunFor(1s);
  EXPECT_FALSE(view->Exists("/snapshots/2-4-1.snap.part"));
}

TEST_F(SnapshotReceiveTest, APartThatFillsTheDiskIsRemoved) {
  EXPECT_EQ(*Receive(Offer()), 0u);
  SnapshotChunk first = Chunk();
  first.content = content.substr(0, 5);
  first.checksum = HashBytes(first.content);
  first.last = false;
  EXPECT_EQ(*Receive(first), 5u);
  disk.FailWrites(1, ".part");
  SnapshotChunk second = Chunk();
  second.offset = 5;
  second.content = content.substr(5);
  second.checksum = HashBytes(second.content);
  EXPECT_FALSE(Receive(second).ok());
  EXPECT_TRUE(view->List("/snapshots")->empty());
}

// What is complete is what was written, or nothing: a part that another one took the place of is not finished.
TEST_F(SnapshotReceiveTest, OneThatWasGivenUpIsNotFinished) {
  raft::SnapshotMark other = mark;
  other.index = LogIndex(10);
  std::vector<StatusOr<wal::SnapshotMeta>> finished;
  executor.Post([&] {
    files->Append(GroupId(1), mark, 0, content, [](const StatusOr<uint64_t>&) {});
    files->Append(GroupId(1), other, 0, content, [](const StatusOr<uint64_t>&) {});
    files->Finish(GroupId(1), mark, std::nullopt, [&](auto meta) { finished.push_back(std::move(meta)); });
    files->Finish(GroupId(1), other, std::nullopt, [&](auto meta) { finished.push_back(std::move(meta)); });
  });
  world.RunFor(1s);
  ASSERT_EQ(finished.size(), 2u);
  EXPECT_EQ(finished[0].status().code(), StatusCode::kAborted);
  ASSERT_TRUE(finished[1].ok()) << finished[1].status();
  EXPECT_EQ(finished[1]->content_bytes, content.size());
}

TEST_F(SnapshotReceiveTest, AnOlderOneThatComesLateDoesNotHideTheNewer) {
  raft::SnapshotMark newer = mark;
  newer.index = LogIndex(10);
  executor.Post([&] {
    for (const raft::SnapshotMark& one : {newer, mark}) {
      files->Append(GroupId(1), one, 0, content, [](const StatusOr<uint64_t>&) {});
      files->Finish(GroupId(1), one, std::nullopt, [](const auto& meta) { EXPECT_TRUE(meta.ok()); });
    }
  });
  world.RunFor(1s);
  EXPECT_EQ(files->Find(GroupId(1))->mark.index, newer.index);
  // A leader that has the older one offers it: it needs nothing, and can be installed.
  EXPECT_EQ(files->Find(GroupId(1), mark)->mark.index, mark.index);
  EXPECT_EQ(*Receive(Offer()), content.size() + 1);
  executor.Post([&] { files->Remove(GroupId(1), newer.index.Next(), newer.index); });
  world.RunFor(1s);
  EXPECT_EQ(files->Find(GroupId(1), newer), nullptr);
  EXPECT_EQ(files->Find(GroupId(1))->mark.index, mark.index);
  executor.Post([&] { files->Remove(GroupId(1), newer.index.Next()); });
  world.RunFor(1s);
  EXPECT_TRUE(view->List("/snapshots")->empty());
}

}  // namespace
}  // namespace tenure::group
