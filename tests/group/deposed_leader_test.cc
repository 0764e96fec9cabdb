// What a leader that is deposed tells those who wait for it: the real answer for what is committed, "unknown"
// for the rest.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/group/one_process.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

constexpr GroupId kDeposed(7);
constexpr ReplicaId kSelf(1);
constexpr ReplicaId kPeer(2);

// The other members, as far as their messages go: they vote for whoever asks, and keep what they are sent.
class PeerTransport final : public SilentTransport {
 public:
  using Answers = std::vector<std::pair<ReplicaId, raft::Message>>;

  void Send(uint64_t, GroupId, ReplicaId, ReplicaId to, const raft::Message& message) override {
    if (const auto* vote = std::get_if<raft::VoteRequest>(&message)) {
      answers.emplace_back(to, raft::VoteResponse{.term = vote->term, .pre = vote->pre, .granted = true});
    } else if (const auto* heartbeat = std::get_if<raft::HeartbeatRequest>(&message)) {
      answers.emplace_back(to, raft::HeartbeatResponse{.term = heartbeat->term, .round = heartbeat->round});
    } else if (const auto* append = std::get_if<raft::AppendRequest>(&message)) {
      term = append->term;
      const LogIndex last = append->entries.empty() ? append->prev_index : append->entries.back().index;
      if (acknowledges) {
        answers.emplace_back(to, raft::AppendResponse{.term = term, .accepted = true, .index = last});
      } else if (!append->entries.empty()) {
        held_back.emplace_back(to, raft::AppendResponse{.term = term, .accepted = true, .index = last});
      }
    }
  }

  Answers answers;
  bool acknowledges = true;
  Answers held_back;
  Term term;
};

class DeposedLeaderTest : public OneProcessTest {
 protected:
  ~DeposedLeaderTest() override { End(); }  // before the transport goes

  void Lead(std::initializer_list<uint64_t> members) {
    transport = &peers;
    Begin();
    Do([this, members = VotersOf(members)] {
      ASSERT_TRUE(
          host->Start(kDeposed, kSelf, members, std::make_unique<Register>(), /*campaign=*/true).ok());
    });
    world.RunFor(1ms);
    for (int i = 0; i < 100 && !host->StatusOf(kDeposed)->serving; ++i) Exchange();
    EXPECT_TRUE(host->StatusOf(kDeposed)->serving);
  }

  // What the others answer arrives.
  void Exchange() {
    world.RunFor(5ms);
    for (auto& answer : std::exchange(peers.answers, {})) Arrive({std::move(answer)});
    world.RunFor(5ms);
  }
  // In one turn of the group.
  void Arrive(PeerTransport::Answers messages) {
    executor->Post([this, messages = std::move(messages)]() mutable {
      for (auto& [from, message] : messages)
        host->OnRaftMessage(kDeposed, from, kSelf, from.value(), std::move(message));
    });
  }
  // Durable here, if the disk does not hang, and sent to the others, which say nothing.
  void ProposeUnacknowledged(std::string command) {
    peers.acknowledges = false;
    executor->Post([this, command = std::move(command)] {
      host->Propose(kDeposed, command,
                    [this](ProposeOutcome outcome) { outcomes.push_back(std::move(outcome)); });
    });
    world.RunFor(20ms);
    ASSERT_FALSE(peers.held_back.empty());
    ASSERT_TRUE(outcomes.empty());
  }
  std::pair<ReplicaId, raft::Message> OfNextLeader() const {
    return {kPeer, raft::HeartbeatRequest{.term = Term(peers.term.value() + 1), .round = 1}};
  }

  PeerTransport peers;
  std::vector<ProposeOutcome> outcomes;
};

TEST_F(DeposedLeaderTest, WhatIsCommittedGetsItsAnswer) {
  Lead({1, 2});
  ProposeUnacknowledged("a");
  Arrive({peers.held_back.at(0), OfNextLeader()});
  world.RunFor(20ms);
  EXPECT_EQ(host->StatusOf(kDeposed)->role, raft::Role::kFollower);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].kind, ProposeOutcome::Kind::kApplied);
  EXPECT_EQ(outcomes[0].result, "applied a");
}

// The others' disks were faster than this one: the entry is committed, and is applied when it is durable
// here.
TEST_F(DeposedLeaderTest, WhatOnlyTheOthersHoldDurablyGetsItsAnswerToo) {
  Lead({1, 2, 3});
  disk.HangSyncs();
  ProposeUnacknowledged("a");
  PeerTransport::Answers arriving = peers.held_back;
  ASSERT_EQ(arriving.size(), 2u);
  arriving.push_back(OfNextLeader());
  Arrive(std::move(arriving));
  world.RunFor(20ms);
  EXPECT_EQ(host->StatusOf(kDeposed)->role, raft::Role::kFollower);
  EXPECT_TRUE(outcomes.empty());
  disk.ReleaseSyncs();
  world.RunFor(20ms);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].kind, ProposeOutcome::Kind::kApplied);
  EXPECT_EQ(outcomes[0].result, "applied a");
}

// The next leader has another entry in its place, and all it takes to be deposed, to lose the entry and to
// hear that its successor is committed arrives at once.
TEST_F(DeposedLeaderTest, WhatWasReplacedIsUnknownThoughItsIndexIsCommitted) {
  Lead({1, 2, 3});
  ProposeUnacknowledged("a");
  const auto lost = std::get<raft::AppendResponse>(peers.held_back.at(0).second).index;
  const Term next(peers.term.value() + 1);
  raft::AppendRequest append{
      .term = next, .prev_index = lost.Previous(), .prev_term = peers.term, .commit = lost};
  append.entries.push_back({lost, next, raft::EntryType::kNoOp, {}});
  Arrive({{kPeer, std::move(append)}});
  world.RunFor(20ms);
  EXPECT_EQ(host->StatusOf(kDeposed)->role, raft::Role::kFollower);
  EXPECT_EQ(host->StatusOf(kDeposed)->applied, lost);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].kind, ProposeOutcome::Kind::kUnknown);
}

TEST_F(DeposedLeaderTest, WhatIsNotCommittedIsUnknown) {
  Lead({1, 2});
  ProposeUnacknowledged("a");
  Arrive({OfNextLeader(), peers.held_back.at(0)});
  world.RunFor(20ms);
  EXPECT_EQ(host->StatusOf(kDeposed)->role, raft::Role::kFollower);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].kind, ProposeOutcome::Kind::kUnknown);
}

}  // namespace
}  // namespace tenure::group
