#include "group/state_hash.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "kv/memory_engine.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::group {
namespace {

class StateHashTest : public ::testing::Test {
 protected:
  StateHashTest() : engine_(storage_, executor_) {}
  uint64_t Write(uint64_t hash, kv::Overlay& overlay) {
    kv::Batch batch = overlay.TakeBatch();
    const uint64_t after = HashAfter(hash, engine_, kPrefix, batch);
    engine_.Write(std::move(batch));
    return after;
  }
  static constexpr std::string_view kPrefix = "g1";
  runtime::ManualExecutor executor_;
  std::shared_ptr<kv::MemoryStore> storage_ = std::make_shared<kv::MemoryStore>();
  kv::MemoryEngine engine_;
};

TEST_F(StateHashTest, FollowsEveryKindOfWrite) {
  Prng prng(3);
  uint64_t hash = 0;
  engine_.Write([] {
    kv::Batch others;  // neighbours that are no part of the state
    others.Put("g0x", "1");
    others.Put("g2", "2");
    return others;
  }());
  for (int round = 0; round < 300; ++round) {
    kv::Overlay overlay(engine_, std::string(kPrefix));
    for (uint64_t i = 0, n = 1 + prng.Below(6); i < n; ++i) {
      const std::string key(1, static_cast<char>('a' + prng.Below(8)));
      switch (prng.Below(5)) {
        case 0:
          overlay.Delete(key);
          break;
        case 1:
          overlay.DeleteRange(key, prng.Below(3) == 0 ? "" : std::string(1, static_cast<char>(key[0] + 2)));
          break;
        default:
          overlay.Put(key, std::string(prng.Below(3), static_cast<char>('0' + prng.Below(3))));
      }
    }
    hash = Write(hash, overlay);
    ASSERT_EQ(hash, HashState(kv::PrefixReader(engine_, std::string(kPrefix)))) << "round " << round;
  }
}

TEST_F(StateHashTest, TellsApartWhatLooksAlike) {
  EXPECT_NE(HashPair("ab", "c"), HashPair("a", "bc"));
  EXPECT_NE(HashPair("a", "b"), HashPair("b", "a"));
  EXPECT_NE(HashPair("", ""), 0u);
}

std::vector<raft::StateDigest> At(uint64_t index, uint64_t hash) {
  return {{LogIndex(index), hash}};
}

TEST(StateComparisonTest, NamesTheReplicaThatDiffers) {
  StateComparison leader;
  leader.Record(LogIndex(10), 100);
  leader.OnReport(ReplicaId(2), At(10, 100));
  leader.OnReport(ReplicaId(3), At(10, 101));
  const auto diverged = leader.Diverged(ReplicaId(1));
  ASSERT_EQ(diverged.size(), 1u);
  EXPECT_EQ(diverged[0].replica, ReplicaId(3));
  EXPECT_EQ(diverged[0].index, LogIndex(10));
  EXPECT_EQ(diverged[0].expected, 100u);
  EXPECT_EQ(diverged[0].found, 101u);
}

TEST(StateComparisonTest, NamesTheLeaderIfTheOthersAgreeAgainstIt) {
  StateComparison leader;
  leader.Record(LogIndex(10), 100);
  leader.OnReport(ReplicaId(2), At(10, 101));
  leader.OnReport(ReplicaId(3), At(10, 101));
  const auto diverged = leader.Diverged(ReplicaId(1));
  ASSERT_EQ(diverged.size(), 1u);
  EXPECT_EQ(diverged[0].replica, ReplicaId(1));
  EXPECT_EQ(diverged[0].expected, 101u);
}

TEST(StateComparisonTest, ComparesWhatIsAheadWhenItGetsThere) {
  StateComparison leader;
  leader.Record(LogIndex(10), 100);
  leader.OnReport(ReplicaId(2), At(12, 7));
  EXPECT_TRUE(leader.Diverged(ReplicaId(1)).empty());
  leader.Record(LogIndex(11), 5);
  leader.Record(LogIndex(12), 6);
  EXPECT_EQ(leader.Diverged(ReplicaId(1)).size(), 1u);
}

TEST(StateComparisonTest, AReplicaThatAgreesAgainIsNamedNoMoreAndOldNewsDoNotCount) {
  StateComparison leader;
  leader.Record(LogIndex(10), 100);
  leader.Record(LogIndex(20), 200);
  leader.OnReport(ReplicaId(2), At(10, 1));
  EXPECT_EQ(leader.Diverged(ReplicaId(1)).size(), 1u);
  leader.OnReport(ReplicaId(2), At(20, 200));
  EXPECT_TRUE(leader.Diverged(ReplicaId(1)).empty());
  leader.OnReport(ReplicaId(2), At(10, 1));
  EXPECT_TRUE(leader.Diverged(ReplicaId(1)).empty());
}

TEST(StateComparisonTest, ReportsItsNewestPointAndTheLastBoundary) {
  StateComparison replica;
  EXPECT_TRUE(replica.ToReport().empty());
  replica.Record(LogIndex(StateComparison::kInterval), 1);
  EXPECT_EQ(replica.ToReport().size(), 1u);
  for (uint64_t i = 2; i < 2 * StateComparison::kKept; i += 3)
    replica.Record(LogIndex(StateComparison::kInterval + i), i);
  const auto digests = replica.ToReport();
  ASSERT_EQ(digests.size(), 2u);
  EXPECT_EQ(digests[0].index, LogIndex(StateComparison::kInterval));
  EXPECT_GT(digests[1].index, digests[0].index);
  EXPECT_EQ(StateComparison::NextBoundary(LogIndex(0)), LogIndex(StateComparison::kInterval));
  EXPECT_EQ(StateComparison::NextBoundary(LogIndex(StateComparison::kInterval)),
            LogIndex(2 * StateComparison::kInterval));
}

}  // namespace
}  // namespace tenure::group
