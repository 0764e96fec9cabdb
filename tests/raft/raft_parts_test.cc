// The core's parts by tables: majorities, configurations, the log.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/format.h"
#include "raft/config_change.h"
#include "raft/log.h"
#include "raft/outbox.h"
#include "raft/quorum.h"
#include "tests/raft/fake_replica.h"

namespace tenure::raft {
namespace {

constexpr auto V = MemberRole::kVoter, L = MemberRole::kLearner, I = MemberRole::kIncoming,
               O = MemberRole::kOutgoing, D = MemberRole::kDemoting;

Configuration Make(const std::vector<MemberRole>& roles) {
  Configuration configuration;
  for (size_t i = 0; i < roles.size(); i++)
    configuration.members.push_back({ReplicaId(i + 1), i + 1, roles[i]});
  return configuration;
}

TEST(Quorum, MajorityValueTable) {
  struct Row {
    std::vector<MemberRole> roles;
    std::vector<uint64_t> values;  // by member
    uint64_t expected;
  };
  const std::vector<Row> rows = {
      {{}, {}, 0},
      {{V}, {7}, 7},
      {{V, V}, {7, 3}, 3},
      {{V, V, V}, {7, 3, 5}, 5},
      {{V, V, V, V}, {1, 2, 3, 4}, 2},
      {{V, V, V, V, V}, {1, 2, 3, 4, 5}, 3},
      {{V, V, V, L, L}, {1, 1, 1, 9, 9}, 1},
      {{L}, {9}, 0},
      // Joint: the lesser of two majorities.
      {{O, O, O, I, I, I}, {9, 9, 9, 1, 2, 3}, 2},
      {{O, O, O, I, I, I}, {1, 2, 3, 9, 9, 9}, 2},
      {{V, V, O, I}, {5, 5, 0, 0}, 5},
      {{V, V, O, I}, {5, 0, 0, 7}, 0},
      {{V, D, D, L}, {5, 6, 0, 9}, 5},
      {{D, D, D, I}, {5, 6, 7, 0}, 0},
      {{O, I}, {4, 6}, 4},
      {{V, V, V, I, I}, {3, 3, 0, 0, 2}, 2},
  };
  for (const Row& row : rows) {
    const Configuration configuration = Make(row.roles);
    const uint64_t value =
        MajorityValue(configuration, uint64_t{0}, [&](ReplicaId id) { return row.values[id.value() - 1]; });
    EXPECT_EQ(value, row.expected) << ToString(configuration);
  }
}

// Against counting, for every assignment of roles to four members and every set that agrees.
TEST(Quorum, HasMajorityAgreesWithCounting) {
  const std::vector<MemberRole> all = {V, L, I, O, D};
  for (int code = 0; code < 625; code++) {
    std::vector<MemberRole> roles;
    for (int i = 0, rest = code; i < 4; i++, rest /= 5) roles.push_back(all[static_cast<size_t>(rest % 5)]);
    const Configuration configuration = Make(roles);
    for (unsigned agrees = 0; agrees < 16; agrees++) {
      size_t voters[2] = {0, 0}, yes[2] = {0, 0};
      for (size_t i = 0; i < 4; i++) {
        for (const int half : {0, 1}) {
          if (!VotesIn(roles[i], half == 0 ? Half::kOld : Half::kNew)) continue;
          voters[half]++;
          if ((agrees >> i) & 1) yes[half]++;
        }
      }
      const bool of_old = yes[0] * 2 > voters[0], of_new = yes[1] * 2 > voters[1];
      EXPECT_EQ(HasMajority(configuration, [&](ReplicaId id) { return (agrees >> (id.value() - 1)) & 1; }),
                configuration.IsJoint() ? of_old && of_new : of_new)
          << ToString(configuration) << " " << agrees;
    }
  }
}

TEST(Configuration, JointTable) {
  const auto members = [](const std::vector<uint64_t>& voters, const std::vector<uint64_t>& learners) {
    return MakeConfiguration(voters, learners);
  };
  EXPECT_EQ(ToString(JointOf(members({1, 2, 3}, {}), members({1, 2, 4}, {}))),
            "1:voter@1 2:voter@2 3:outgoing@3 4:incoming@4");
  EXPECT_EQ(ToString(JointOf(members({1, 2}, {3, 4}), members({2, 3}, {1}))),
            "1:demoting@1 2:voter@2 3:incoming@3");
  for (const auto& [current, target] : std::vector<std::pair<Configuration, Configuration>>{
           {members({1, 2, 3}, {}), members({4}, {1, 2})}, {members({1}, {2}), members({2}, {})}}) {
    EXPECT_EQ(JointOf(current, target).Left(), target);
    EXPECT_TRUE(JointOf(current, target).IsJoint());
  }
  EXPECT_TRUE(SameVoters(members({1, 2}, {3}), members({1, 2}, {4})));
  EXPECT_FALSE(SameVoters(members({1, 2}, {3}), members({1, 2, 3}, {})));
  EXPECT_FALSE(SameVoters(members({1, 2}, {}), members({1}, {2})));
}

TEST(Configuration, CodecRoundTripAndRefusals) {
  for (const Configuration& configuration : {Make({}), Make({V}), Make({V, L, I, O, D})}) {
    const auto decoded = DecodeConfiguration(EncodeConfiguration(configuration));
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(*decoded, configuration);
  }
  const std::string good = EncodeConfiguration(Make({V, L}));
  for (size_t size = 0; size < good.size(); size++)
    EXPECT_FALSE(DecodeConfiguration(good.substr(0, size)).ok()) << size;
  EXPECT_FALSE(DecodeConfiguration(good + "x").ok());
  std::string other_format = good, bad_role = good;
  other_format[0] = 2;
  bad_role.back() = 6;
  EXPECT_EQ(DecodeConfiguration(other_format).status().code(), StatusCode::kUnimplemented);
  EXPECT_FALSE(DecodeConfiguration(bad_role).ok());
  EXPECT_FALSE(DecodeConfiguration(EncodeConfiguration({{{ReplicaId(2)}, {ReplicaId(1)}}})).ok());
}

// 1 2 3 4 5 6 7 8 9
// 1 1 1 3 3 4 4 4 6
RaftLog MakeLog() {
  PersistedState state;
  state.mark.configuration = MakeConfiguration({1, 2, 3});
  RaftLog log(state);
  const std::vector<uint64_t> terms = {1, 1, 1, 3, 3, 4, 4, 4, 6};
  for (size_t i = 0; i < terms.size(); i++)
    log.Append({LogIndex(i + 1), Term(terms[i]), EntryType::kCommand, Bytes("payload")});
  return log;
}

TEST(RaftLog, TermsAndBackingUp) {
  RaftLog log = MakeLog();
  EXPECT_EQ(log.TermAt(LogIndex(0)), Term());
  EXPECT_EQ(log.TermAt(LogIndex(5)), Term(3));
  EXPECT_EQ(log.TermAt(LogIndex(9)), Term(6));
  EXPECT_EQ(log.TermAt(LogIndex(10)), Term());
  struct Row {
    uint64_t index, term, expected;
  };
  for (const Row& row : std::vector<Row>{{9, 6, 9},
                                         {20, 6, 9},
                                         {9, 5, 8},
                                         {9, 4, 8},
                                         {7, 4, 7},
                                         {7, 3, 5},
                                         {9, 2, 3},
                                         {2, 9, 2},
                                         {9, 0, 0}}) {
    EXPECT_EQ(log.LastPossibleMatch(LogIndex(row.index), Term(row.term)), LogIndex(row.expected))
        << row.index << "/" << row.term;
  }
}

TEST(RaftLog, CompactionKeepsTermsBehindIt) {
  for (uint64_t mark = 1; mark <= 9; mark++) {
    const RaftLog whole = MakeLog();
    RaftLog log = MakeLog();
    log.Compact({LogIndex(mark), log.TermAt(LogIndex(mark)), log.configuration()});
    for (uint64_t i = 0; i <= 10; i++) {
      EXPECT_EQ(log.TermAt(LogIndex(i)), i < mark ? Term() : whole.TermAt(LogIndex(i))) << mark << " " << i;
    }
    EXPECT_EQ(log.last_index(), LogIndex(9));
    EXPECT_EQ(log.last_term(), Term(6));
    EXPECT_EQ(log.Cached(LogIndex(mark + 1), LogIndex(9), 1000).size(), 9 - mark);
    log.Append({LogIndex(10), Term(6)});
    EXPECT_EQ(log.TermAt(LogIndex(10)), Term(6));
  }
}

TEST(RaftLog, TruncationAndCache) {
  RaftLog log = MakeLog();
  log.Evict(LogIndex(4));
  EXPECT_TRUE(log.Cached(LogIndex(4), LogIndex(9), 1000).empty());
  EXPECT_EQ(log.Cached(LogIndex(5), LogIndex(9), 1).size(), 1u);
  EXPECT_EQ(log.Cached(LogIndex(5), LogIndex(9), 2 * (7 + 32)).size(), 2u);
  log.TruncateFrom(LogIndex(7));
  EXPECT_EQ(log.last_index(), LogIndex(6));
  EXPECT_EQ(log.last_term(), Term(4));
  log.TruncateFrom(LogIndex(3));
  EXPECT_EQ(log.last_term(), Term(1));
  EXPECT_EQ(log.cached_bytes(), 0u);
  EXPECT_EQ(log.cache_first(), LogIndex(3));
  log.Append({LogIndex(3), Term(7)});
  EXPECT_EQ(log.cache_first(), LogIndex(3));
}

TEST(RaftLog, ConfigurationsFollowTheLog) {
  RaftLog log = MakeLog();
  const Configuration next = MakeConfiguration({1, 2, 4});
  log.Append({LogIndex(10), Term(6), EntryType::kConfiguration, Bytes(EncodeConfiguration(next))});
  EXPECT_EQ(log.configuration(), next);
  EXPECT_EQ(log.configuration_index(), LogIndex(10));
  EXPECT_EQ(log.ConfigurationAt(LogIndex(9)), MakeConfiguration({1, 2, 3}));
  log.TruncateFrom(LogIndex(10));
  EXPECT_EQ(log.configuration(), MakeConfiguration({1, 2, 3}));
  log.Append({LogIndex(10), Term(6), EntryType::kConfiguration, Bytes(EncodeConfiguration(next))});
  log.Compact({LogIndex(10), Term(6), next});
  EXPECT_EQ(log.configuration(), next);
  EXPECT_EQ(log.last_term(), Term(6));
}

// A disk that hangs: every probe and heartbeat of the leader is answered, nothing of that may leave.
TEST(Outbox, TheLastWordToAPeerIsKept) {
  Outbox outbox(HardState{.term = Term(1)}, LogIndex());
  outbox.SetHardState(HardState{.term = Term(2)});
  for (uint64_t i = 1; i <= 3; ++i) outbox.AppendEntry({.index = LogIndex(i), .term = Term(2)});
  const Effects taken = outbox.Take(HardState{.term = Term(2)});
  for (uint64_t round = 1; round <= 1000; ++round) {
    for (const ReplicaId peer : {ReplicaId(2), ReplicaId(3)}) {
      outbox.SendWhenDurable(peer, AppendResponse{.term = Term(2), .accepted = true, .index = LogIndex(3)},
                             LogIndex(3));
      outbox.SendWhenDurable(peer, HeartbeatResponse{.term = Term(2), .round = round});
    }
  }
  ASSERT_TRUE(outbox.OnPersisted(taken.persist_token));
  const std::vector<Outgoing>& messages = outbox.effects().messages;
  ASSERT_EQ(messages.size(), 4U);
  for (const Outgoing& outgoing : messages) {
    const auto* const heartbeat = std::get_if<HeartbeatResponse>(&outgoing.message);
    if (heartbeat != nullptr) EXPECT_EQ(heartbeat->round, 1000U);
  }
}

}  // namespace
}  // namespace tenure::raft
