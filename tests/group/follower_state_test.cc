// What a follower's state may be read for: how old it is, and that it is whole.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/codec.h"
#include "base/hash.h"
#include "tests/group/one_process.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

constexpr GroupId kFollowed(7);
constexpr ReplicaId kFollower(1);
constexpr ReplicaId kLeader(2);
constexpr Term kTerm(1);

class FollowerStateTest : public OneProcessTest {
 protected:
  void Follow() {
    Begin();
    Do([this] {
      ASSERT_TRUE(host->Start(kFollowed, kFollower, VotersOf({1, 2, 3}), std::make_unique<Register>(),
                              /*campaign=*/false)
                      .ok());
    });
    world.RunFor(10ms);
  }
  void Arrive(raft::Message message) {
    Do([this, message = std::move(message)]() mutable {
      host->OnRaftMessage(kFollowed, kLeader, kFollower, kLeader.value(), std::move(message));
    });
    world.RunFor(20ms);
  }
  // Entries after `previous`, up to `last`.
  static raft::AppendRequest Append(uint64_t previous, uint64_t last, uint64_t commit) {
    raft::AppendRequest append{.term = kTerm,
                               .prev_index = LogIndex(previous),
                               .prev_term = previous == 0 ? Term() : kTerm,
                               .commit = LogIndex(commit)};
    for (uint64_t i = previous + 1; i <= last; ++i) {
      append.entries.push_back({LogIndex(i), kTerm, raft::EntryType::kNoOp, {}});
    }
    return append;
  }
  static raft::HeartbeatRequest Heartbeat(uint64_t commit) {
    return {.term = kTerm, .round = 1, .commit = LogIndex(commit)};
  }
  std::optional<Duration> Staleness() const { return host->Staleness(kFollowed); }
};

TEST_F(FollowerStateTest, ItIsAsOldAsTheLastWordThatNothingIsMissing) {
  Follow();
  EXPECT_EQ(Staleness(), std::nullopt);
  Arrive(Heartbeat(0));
  EXPECT_EQ(Staleness(), std::nullopt) << "it has nothing, and hears of nothing";
  Arrive(Append(0, 3, 3));
  ASSERT_TRUE(Staleness().has_value());
  EXPECT_LT(*Staleness(), 100ms);

  world.RunFor(60s);
  EXPECT_GT(*Staleness(), 60s);
  Arrive(Heartbeat(0));
  EXPECT_GT(*Staleness(), 60s) << "the leader is there, and has more";
  Arrive(Append(10, 11, 11));
  EXPECT_GT(*Staleness(), 60s) << "what is between is missing";
  Arrive(Append(3, 8, 11));
  EXPECT_GT(*Staleness(), 60s) << "a part of it is still missing";
  Arrive(Append(8, 11, 11));
  EXPECT_LT(*Staleness(), 100ms);
  world.RunFor(10s);
  Arrive(Heartbeat(11));
  EXPECT_LT(*Staleness(), 100ms);
}

// A new leader may hold more than it knows to be committed.
TEST_F(FollowerStateTest, ALeaderOfANewTermKnowsNothingAtFirst) {
  Follow();
  Arrive(Append(0, 3, 3));
  world.RunFor(60s);
  const Term next(kTerm.value() + 1);
  Arrive(raft::HeartbeatRequest{.term = next, .round = 1, .commit = LogIndex(3)});
  EXPECT_GT(*Staleness(), 60s);
  raft::AppendRequest append{
      .term = next, .prev_index = LogIndex(3), .prev_term = kTerm, .commit = LogIndex(3)};
  append.entries.push_back({LogIndex(4), next, raft::EntryType::kNoOp, {}});
  Arrive(append);
  EXPECT_GT(*Staleness(), 60s);
  Arrive(raft::HeartbeatRequest{.term = next, .round = 2, .commit = LogIndex(4)});
  EXPECT_LT(*Staleness(), 100ms);
}

// Committed elsewhere, and in this replica's memory; nobody sees it here before the disk has it.
TEST_F(FollowerStateTest, WhatIsNotAppliedYetIsMissing) {
  Follow();
  Arrive(Append(0, 3, 3));
  disk.HangSyncs();
  Arrive(Append(3, 4, 4));
  EXPECT_EQ(Staleness(), std::nullopt);
  disk.ReleaseSyncs();
  world.RunFor(20ms);
  EXPECT_LT(*Staleness(), 100ms);
}

TEST_F(FollowerStateTest, ItIsNotReadWhileASnapshotReplacesIt) {
  options.snapshot_chunk_bytes = 64;
  Follow();
  Arrive(Append(0, 3, 3));
  EXPECT_TRUE(host->HasWholeState(kFollowed));
  std::string content;
  for (int i = 0; i < 100; ++i) {
    PutPrefixed(content, fmt::format("key{:03}", i));
    PutPrefixed(content, "value");
  }
  const raft::SnapshotMark mark{LogIndex(50), kTerm, VotersOf({1, 2, 3})};
  const auto accepted = [](const StatusOr<uint64_t>& size) { EXPECT_TRUE(size.ok()) << size.status(); };
  Do([&] {
    host->OnSnapshotOffer({.group = kFollowed,
                           .from = kLeader,
                           .to = kFollower,
                           .mark = mark,
                           .total_bytes = content.size(),
                           .checksum = HashBytes(content)},
                          accepted);
    host->OnSnapshotChunk({.group = kFollowed,
                           .to = kFollower,
                           .mark = mark,
                           .content = content,
                           .checksum = HashBytes(content),
                           .last = true},
                          accepted);
  });
  world.RunFor(1s);
  Do([&] {
    host->OnRaftMessage(kFollowed, kLeader, kFollower, kLeader.value(), raft::InstallSnapshot{kTerm, mark});
  });
  int halves = 0;
  for (int i = 0; i < 100000 && (host->StatusOf(kFollowed)->applied < mark.index); ++i) {
    if (host->HasWholeState(kFollowed)) {
      EXPECT_NE(host->NewSnapshot(kFollowed), nullptr);
    } else {
      ++halves;
      EXPECT_EQ(host->NewSnapshot(kFollowed), nullptr);
      EXPECT_EQ(Staleness(), std::nullopt);
    }
    world.RunFor(1us);
  }
  EXPECT_GT(halves, 10);
  EXPECT_EQ(host->NewSnapshot(kFollowed)->Get("key099"), "value");
  Arrive(Heartbeat(50));
  EXPECT_LT(*Staleness(), 100ms);
}

}  // namespace
}  // namespace tenure::group
