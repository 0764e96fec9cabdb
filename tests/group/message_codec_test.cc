#include "group/message_codec.h"

#include <gtest/gtest.h>

namespace tenure::group {
namespace {

raft::Configuration ThreeVoters() {
  return {{{ReplicaId(1), 10, raft::MemberRole::kVoter},
           {ReplicaId(2), 20, raft::MemberRole::kIncoming},
           {ReplicaId(3), 30, raft::MemberRole::kLearner}}};
}

std::vector<raft::Message> OneOfEach() {
  raft::AppendRequest append{
      .term = Term(7), .prev_index = LogIndex(4), .prev_term = Term(6), .commit = LogIndex(3)};
  append.entries.push_back({LogIndex(5), Term(6), raft::EntryType::kCommand, Bytes(std::string("x\0y", 3))});
  append.entries.push_back({LogIndex(6), Term(7), raft::EntryType::kNoOp, Bytes()});
  raft::HeartbeatRequest heartbeat;
  heartbeat.term = Term(9);
  heartbeat.round = 12;
  heartbeat.commit = LogIndex(4);
  raft::HeartbeatResponse answer;
  answer.term = Term(9);
  answer.round = 12;
  raft::HeartbeatResponse with_digests = answer;
  with_digests.digests = {{LogIndex(256), 0xfedcba9876543210}, {LogIndex(300), 1}};
  return {
      raft::VoteRequest{Term(3), LogIndex(9), Term(2), true, true},
      raft::VoteResponse{Term(3), true, false},
      append,
      raft::AppendResponse{Term(7), false, LogIndex(4), LogIndex(2), Term(1)},
      heartbeat,
      answer,
      with_digests,
      raft::TimeoutNow{Term(5)},
      raft::InstallSnapshot{Term(8), {LogIndex(99), Term(7), ThreeVoters()}},
  };
}

TEST(MessageCodecTest, EveryKindRoundTrips) {
  std::string wire;
  for (const raft::Message& message : OneOfEach()) {
    AppendEnvelope(GroupId(5), ReplicaId(1), ReplicaId(2), 10, message, wire);
  }
  const auto decoded = DecodeEnvelopes(wire);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const auto expected = OneOfEach();
  ASSERT_EQ(decoded->size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const Envelope& envelope = (*decoded)[i];
    EXPECT_EQ(envelope.group, GroupId(5));
    EXPECT_EQ(envelope.from, ReplicaId(1));
    EXPECT_EQ(envelope.to, ReplicaId(2));
    EXPECT_EQ(envelope.from_host, 10u);
    EXPECT_EQ(raft::ToString(envelope.message), raft::ToString(expected[i]));
    if (const auto* answer = std::get_if<raft::HeartbeatResponse>(&envelope.message)) {
      EXPECT_EQ(answer->digests, std::get<raft::HeartbeatResponse>(expected[i]).digests);
    }
    // The text does not show payloads.
    if (const auto* append = std::get_if<raft::AppendRequest>(&envelope.message)) {
      EXPECT_EQ(append->entries, std::get<raft::AppendRequest>(expected[i]).entries);
    }
  }
}

TEST(MessageCodecTest, TruncationIsRefused) {
  for (const raft::Message& message : OneOfEach()) {
    std::string wire;
    AppendEnvelope(GroupId(5), ReplicaId(1), ReplicaId(2), 10, message, wire);
    for (size_t size = 1; size < wire.size(); ++size) {
      EXPECT_FALSE(DecodeEnvelopes(std::string_view(wire).substr(0, size)).ok())
          << raft::ToString(message) << " cut to " << size;
    }
  }
  EXPECT_FALSE(DecodeEnvelopes(std::string(40, '\xff')).ok());
}

}  // namespace
}  // namespace tenure::group
