#include "catalog/deduplication.h"

#include <gtest/gtest.h>

#include <map>

#include "base/prng.h"
#include "tests/catalog/test_catalog.h"

namespace tenure::catalog {
namespace {

using namespace ::tenure::v1;
using T = TestCatalog;

CatalogLimits Small() {
  CatalogLimits limits;
  limits.max_clients = 3;
  limits.max_results_per_client = 4;
  limits.client_session = std::chrono::seconds(60);
  return limits;
}

TEST(Deduplication, TheSameRequestIsAppliedOnce) {
  T t;
  t.Initialize();
  const auto first = t.Apply(T::WithId(T::Put("k", "1"), 5, 1));
  t.Apply(T::Put("k", "2"));
  const auto again = t.Apply(T::WithId(T::Put("k", "1"), 5, 1));
  EXPECT_TRUE(again.duplicate());
  EXPECT_EQ(again.revision(), first.revision());
  EXPECT_TRUE(again.changed());
  EXPECT_EQ(t.Entry("k")->entry().value(), "2");
}

TEST(Deduplication, WithinOneBatch) {
  T t;
  t.Initialize();
  const auto results = t.ApplyBatch({T::WithId(T::Put("k", "1"), 5, 1), T::WithId(T::Put("k", "1"), 5, 1)});
  EXPECT_FALSE(results[0].duplicate());
  EXPECT_TRUE(results[1].duplicate());
  EXPECT_EQ(t.Entry("k")->entry().version(), 1u);
}

TEST(Deduplication, SurvivesARestart) {
  T t;
  t.Initialize();
  const auto done = t.Apply(T::WithId(T::Register("u", "h:1"), 5, 3));
  auto absent = T::Put("k", "1");
  absent.mutable_put_entry()->set_if_revision(77);
  const auto refused = t.Apply(T::WithId(absent, 5, 9));
  t.Reopen();
  const auto again = t.Apply(T::WithId(T::Register("u", "h:1"), 5, 3));
  EXPECT_TRUE(again.duplicate());
  EXPECT_EQ(again.object_id(), done.object_id());
  const auto refused_again = t.Apply(T::WithId(absent, 5, 9));
  EXPECT_EQ(refused_again.reason(), REASON_CONDITION_FAILED);
  EXPECT_EQ(refused_again.message(), refused.message());
  EXPECT_TRUE(refused_again.duplicate());
}

TEST(Deduplication, ARefusalIsRemembered) {
  T t;
  t.Initialize();
  t.Apply(T::Put("k", "0"));
  auto absent = T::Put("k", "1");
  absent.mutable_put_entry()->set_if_absent(true);
  EXPECT_EQ(t.Apply(T::WithId(absent, 5, 1)).reason(), REASON_CONDITION_FAILED);
  t.Apply(T::Delete("k"));
  // A late copy must not succeed where its client was told no.
  EXPECT_EQ(t.Apply(T::WithId(absent, 5, 1)).reason(), REASON_CONDITION_FAILED);
  EXPECT_FALSE(t.Entry("k"));
}

TEST(Deduplication, AStaleEpochIsNotRemembered) {
  T t;
  t.Initialize();
  t.set_term(3);
  auto put = T::WithId(T::Put("k", "1"), 5, 1);
  put.set_epoch(2);
  EXPECT_EQ(t.Apply(put).reason(), REASON_STALE_EPOCH);
  put.set_epoch(3);
  EXPECT_EQ(t.Apply(put).reason(), REASON_UNSPECIFIED);
  // But what was done is known whatever the epoch.
  put.set_epoch(2);
  EXPECT_TRUE(t.Apply(put).duplicate());
}

TEST(Deduplication, WhatTheClientHasIsForgotten) {
  T t;
  t.Initialize();
  for (uint64_t i = 1; i <= 3; ++i) t.Apply(T::WithId(T::Put("k", "v"), 5, i));
  t.Apply(T::WithId(T::Put("k", "v"), 5, 4, 3));
  EXPECT_EQ(t.Apply(T::WithId(T::Put("k", "v"), 5, 2)).reason(), REASON_DUPLICATE_EXPIRED);
  EXPECT_TRUE(t.Apply(T::WithId(T::Put("k", "v"), 5, 3, 3)).duplicate());
}

TEST(Deduplication, SequencesMayComeInAnyOrder) {
  T t;
  t.Initialize();
  for (const uint64_t sequence : std::vector<uint64_t>{5, 2, 9, 1}) {
    EXPECT_FALSE(t.Apply(T::WithId(T::Put("k", "v"), 5, sequence)).duplicate());
  }
  for (const uint64_t sequence : std::vector<uint64_t>{1, 2, 5, 9}) {
    EXPECT_TRUE(t.Apply(T::WithId(T::Put("k", "v"), 5, sequence)).duplicate());
  }
  EXPECT_FALSE(t.Apply(T::WithId(T::Put("k", "v"), 5, 3)).duplicate());
}

TEST(Deduplication, TooManyAnswersOfOneClientPushTheOldestOut) {
  T t(Small());
  t.Initialize();
  for (uint64_t i = 1; i <= 5; ++i) t.Apply(T::WithId(T::Put("k", "v"), 5, i));
  EXPECT_EQ(t.Apply(T::WithId(T::Put("k", "v"), 5, 1)).reason(), REASON_DUPLICATE_EXPIRED);
  EXPECT_TRUE(t.Apply(T::WithId(T::Put("k", "v"), 5, 2)).duplicate());
}

TEST(Deduplication, TheLeastRecentlyUsedClientGoes) {
  T t(Small());
  t.Initialize();
  for (uint64_t client = 1; client <= 3; ++client) t.Apply(T::WithId(T::Put("k", "v"), client, 1));
  t.Apply(T::WithId(T::Put("k", "v"), 1, 2));  // 2 is now the oldest
  t.Apply(T::WithId(T::Put("k", "v"), 4, 1));
  EXPECT_EQ(t.catalog().client_count(), 3u);
  EXPECT_TRUE(t.Apply(T::WithId(T::Put("k", "v"), 1, 2)).duplicate());
  // It may come back with whatever sequence it has arrived at: a new session.
  const auto result = t.Apply(T::WithId(T::Put("k", "v"), 2, 7, 5));
  EXPECT_EQ(result.reason(), REASON_UNSPECIFIED);
  EXPECT_FALSE(result.duplicate());
  t.Reopen();
  EXPECT_EQ(t.catalog().client_count(), 3u);
}

// Found by the simulator: what a client asked first was refused before it reached the log.
TEST(Deduplication, ASessionMayBeginWithAnySequence) {
  T t;
  t.Initialize();
  const auto first = t.Apply(T::WithId(T::Put("k", "v"), 5, 3, 3));
  EXPECT_EQ(first.reason(), REASON_UNSPECIFIED) << first.message();
  EXPECT_FALSE(first.duplicate());
  EXPECT_TRUE(t.Apply(T::WithId(T::Put("k", "v"), 5, 3, 3)).duplicate());
}

TEST(Deduplication, IdleClientsExpireByTheTimeOfCommands) {
  T t(Small());
  t.Initialize();
  t.Apply(T::WithId(T::Put("k", "v"), 1, 1, 1, 1000));
  t.Apply(T::WithId(T::Put("k", "v"), 2, 1, 1, 61000));
  EXPECT_EQ(t.catalog().client_count(), 2u);
  t.Apply(T::WithId(T::Put("k", "v"), 3, 1, 1, 61001));
  EXPECT_EQ(t.catalog().client_count(), 2u);
  // A leader whose clock is behind turns nothing back.
  t.Apply(T::WithId(T::Put("k", "v"), 2, 2, 1, 10));
  t.Apply(T::WithId(T::Put("k", "v"), 3, 2, 1, 121001));
  EXPECT_EQ(t.catalog().client_count(), 2u);
}

TEST(Deduplication, FindAnswerLooksWithoutApplying) {
  T t;
  t.Initialize();
  RequestId id;
  EXPECT_FALSE(t.catalog().FindAnswer(id));
  id.set_client_id(5);
  id.set_sequence(1);
  EXPECT_FALSE(t.catalog().FindAnswer(id));
  t.Apply(T::WithId(T::Put("k", "v"), 5, 1));
  ASSERT_TRUE(t.catalog().FindAnswer(id));
  EXPECT_TRUE(t.catalog().FindAnswer(id)->duplicate());
}

// The same commands, divided into batches in any way and with restarts in between, come to the same bytes and
// the same answers.
TEST(Deduplication, TheDivisionIntoBatchesDoesNotMatter) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Prng prng(seed);
    std::vector<ipb::CatalogCommand> log;
    std::map<uint64_t, uint64_t> next;
    log.push_back(T::InitializeCommand());
    int64_t now = 1000;
    for (int i = 0; i < 400; ++i) {
      now += prng.Between(-2000, 6000);
      const uint64_t client = 1 + prng.Below(6);
      const std::string key = "k" + std::to_string(prng.Below(5));
      auto command = prng.Chance(1, 4) ? T::Delete(key) : T::Put(key, std::to_string(i));
      if (prng.Chance(1, 5)) command.mutable_put_entry()->set_if_absent(true);
      uint64_t& last = next[client];
      const uint64_t sequence = prng.Chance(1, 3) && last > 0 ? 1 + prng.Below(last) : ++last;
      if (prng.Chance(9, 10)) {
        command = T::WithId(command, client, sequence, 1 + prng.Below(sequence), now);
      }
      log.push_back(command);
    }
    const auto run = [&](uint64_t max_batch, bool restarts) {
      T t(Small());
      std::string answers;
      Prng cuts = prng.Fork("cuts" + std::to_string(max_batch));
      for (size_t at = 0; at < log.size();) {
        const size_t size = std::min(log.size() - at, size_t{1} + cuts.Below(max_batch));
        for (const auto& result : t.ApplyBatch(
                 {log.begin() + static_cast<long>(at), log.begin() + static_cast<long>(at + size)})) {
          answers += result.SerializeAsString() + ";";
        }
        at += size;
        if (restarts && cuts.Chance(1, 3)) t.Reopen();
      }
      return std::pair(answers, t.Dump());
    };
    const auto expected = run(1, false);
    EXPECT_EQ(run(1, true), expected) << "seed " << seed;
    EXPECT_EQ(run(10, false), expected) << "seed " << seed;
    EXPECT_EQ(run(50, true), expected) << "seed " << seed;
    EXPECT_EQ(run(1000, false), expected) << "seed " << seed;
  }
}

}  // namespace
}  // namespace tenure::catalog
