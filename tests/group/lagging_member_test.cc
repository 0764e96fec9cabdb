// What a leader keeps for a member that lags or is being sent a snapshot, what it says to it, and to whom it hands
// over when it stops.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/group/one_process.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

constexpr GroupId kLed(7);
constexpr ReplicaId kOwn(1);
constexpr ReplicaId kPrompt(2);
constexpr ReplicaId kLagging(3);

// The other members, as far as their messages go. The one that lags votes, and holds nothing.
class Members final : public SilentTransport {
 public:
  void Send(uint64_t, GroupId, ReplicaId, ReplicaId to, const raft::Message& message) override {
    if (to == kLagging && gone) return;
    if (const auto* vote = std::get_if<raft::VoteRequest>(&message)) {
      answers.emplace_back(to, raft::VoteResponse{.term = vote->term, .pre = vote->pre, .granted = true});
    } else if (const auto* heartbeat = std::get_if<raft::HeartbeatRequest>(&message)) {
      heartbeats[to] = *heartbeat;
      answers.emplace_back(to, raft::HeartbeatResponse{.term = heartbeat->term, .round = heartbeat->round});
    } else if (const auto* append = std::get_if<raft::AppendRequest>(&message)) {
      raft::AppendResponse answer{.term = append->term, .accepted = to != kLagging || keeps_up};
      answer.index = append->entries.empty() ? append->prev_index : append->entries.back().index;
      if (!answer.accepted) answer.index = append->prev_index;
      answers.emplace_back(to, answer);
    } else if (std::holds_alternative<raft::TimeoutNow>(message)) {
      handed_over_to.push_back(to);
    }
  }
  void SendHeartbeat(uint64_t to, const HostHeartbeat& heartbeat) override {
    beats.push_back({.from = to,
                     .incarnation = 10 + to,
                     .sequence = heartbeat.sequence,
                     .echo = heartbeat.sequence,
                     .echo_incarnation = heartbeat.incarnation});
  }
  // The content never gets there.
  void Offer(uint64_t, const SnapshotOffer& offer, Callback<StatusOr<uint64_t>> done) override {
    offered.push_back(offer.mark.index);
    waiting.push_back(std::move(done));
  }

  bool gone = false;
  bool keeps_up = true;
  std::vector<std::pair<ReplicaId, raft::Message>> answers;
  std::vector<HostHeartbeat> beats;
  std::map<ReplicaId, raft::HeartbeatRequest> heartbeats;
  std::vector<ReplicaId> handed_over_to;
  std::vector<LogIndex> offered;
  std::vector<Callback<StatusOr<uint64_t>>> waiting;
};

class LaggingMemberTest : public OneProcessTest {
 protected:
  ~LaggingMemberTest() override { End(); }  // before the transport goes

  void Lead() {
    transport = &members;
    Begin();
    Do([this] {
      ASSERT_TRUE(
          host->Start(kLed, kOwn, VotersOf({1, 2, 3}), std::make_unique<Register>(), /*campaign=*/true).ok());
    });
    for (int i = 0; i < 100 && (i == 0 || !host->StatusOf(kLed)->serving); ++i) Exchange();
    ASSERT_TRUE(host->StatusOf(kLed)->serving);
  }
  // What the others answer arrives.
  void Exchange(Duration time = 10ms) {
    world.RunFor(time / 2);
    Do([this, answers = std::exchange(members.answers, {}),
        beats = std::exchange(members.beats, {})]() mutable {
      for (auto& [from, message] : answers) {
        host->OnRaftMessage(kLed, from, kOwn, from.value(), std::move(message));
      }
      for (const HostHeartbeat& beat : beats) host->OnHostHeartbeat(beat);
    });
    world.RunFor(time / 2);
  }
  void ExchangeFor(Duration time) {
    for (Duration passed{}; passed < time; passed += 10ms) Exchange();
  }
  void Write(int entries) {
    for (int i = 0; i < entries; ++i) {
      Do([this] { host->Propose(kLed, std::string(200, 'x'), [](const ProposeOutcome&) {}); });
      Exchange();
    }
  }
  LogIndex Compacted() const { return host->CompactedUpTo(kLed); }

  Members members;
};

// From what it hears a follower concludes how old its state is.
TEST_F(LaggingMemberTest, ItsHeartbeatsNameNoCommit) {
  Lead();
  members.keeps_up = false;
  Write(3);
  ExchangeFor(500ms);
  const LogIndex commit = host->StatusOf(kLed)->commit;
  EXPECT_EQ(members.heartbeats.at(kPrompt).commit, commit);
  EXPECT_EQ(members.heartbeats.at(kLagging).commit, LogIndex());
}

TEST_F(LaggingMemberTest, TheLogBehindItsSnapshotIsKept) {
  options.keep_entries = 10;
  options.keep_bytes = 2 << 10;
  options.flush_bytes = 4 << 10;
  options.member_budget_bytes = 8 << 10;
  Lead();
  members.gone = true;
  Write(200);
  ExchangeFor(3s);
  ASSERT_GT(Compacted(), LogIndex(100)) << "more than is kept for one that is away";
  members.gone = false;
  members.keeps_up = false;
  ExchangeFor(1s);
  ASSERT_EQ(members.offered.size(), 1u);
  const LogIndex mark = members.offered.front();
  Write(60);
  ExchangeFor(3s);
  EXPECT_LE(Compacted(), mark);
  Write(200);
  ExchangeFor(3s);
  EXPECT_GT(Compacted(), mark) << "more than is kept for anybody";
}

// Whatever one member may be given: the process has other groups, and a disk that ends.
TEST_F(LaggingMemberTest, WhatIsKeptForMembersIsBoundedForTheProcess) {
  options.keep_entries = 10;
  options.keep_bytes = 2 << 10;
  options.flush_bytes = 4 << 10;
  options.trim_log_bytes = 16 << 10;
  options.max_kept_bytes = 64 << 10;
  log_options.segment_bytes = 4 << 10;
  Lead();
  members.gone = true;
  Write(100);
  ExchangeFor(5s);
  ASSERT_LT(Compacted(), LogIndex(20)) << "within the budget of a member";
  for (int i = 0; i < 10; ++i) {
    Write(100);
    ExchangeFor(3s);
  }
  ASSERT_GT(wal->bytes_on_disk(), options.max_kept_bytes);
  EXPECT_GT(Compacted(), LogIndex(1100 - 400)) << "64 KiB are 320 entries";
}

// A log that is too large is flushed for, unless nothing of it would go.
TEST_F(LaggingMemberTest, NothingIsFlushedForALogThatItPins) {
  options.trim_log_bytes = 16 << 10;
  log_options.segment_bytes = 4 << 10;
  Lead();
  members.gone = true;
  Write(100);
  ExchangeFor(10s);
  const uint64_t pinned = wal->bytes_on_disk();
  ASSERT_GT(pinned, options.trim_log_bytes);
  const uint64_t flushes = store->flushes();
  Write(1);
  ExchangeFor(20s);
  EXPECT_EQ(store->flushes(), flushes);
  members.gone = false;
  ExchangeFor(10s);
  EXPECT_GT(store->flushes(), flushes);
  EXPECT_LT(wal->bytes_on_disk(), pinned);
}

TEST_F(LaggingMemberTest, AGroupThatSleepsIsHandedOver) {
  options.raft.quiesce_after = 500ms;
  Lead();
  ExchangeFor(5s);
  ASSERT_TRUE(host->IsQuiescent(kLed));
  bool stopped = false;
  Do([&] { host->PrepareStop(2s, [&] { stopped = true; }); });
  ExchangeFor(1s);
  EXPECT_EQ(members.handed_over_to.size(), 1u);
  ExchangeFor(3s);
  EXPECT_TRUE(stopped);
}

}  // namespace
}  // namespace tenure::group
