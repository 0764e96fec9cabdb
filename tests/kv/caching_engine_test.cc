#include "kv/caching_engine.h"

#include "kv/memory_engine.h"
#include "runtime/real/real_executor.h"
#include "tests/kv/engine_contract.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::kv {
namespace {

// Small enough that the suite's few records spill and are evicted all the time.
constexpr CachingOptions kTiny = {.max_bytes = 1500, .max_dirty_bytes = 400};

class CachingHarness {
 public:
  CachingHarness() : store_(std::make_shared<MemoryStore>()) { Start(); }
  Engine& engine() { return *engine_; }
  void Crash(Prng& prng) {
    engine_.reset();
    base_.reset();
    store_->Crash(prng);
    Start();
  }
  void Reopen() {
    engine_->Flush([](Status) {});
    executor_.Advance(Duration::zero());
    engine_.reset();
    base_.reset();
    store_->FlushAll();
    Start();
  }
  void DrainFlushes() { executor_.Advance(std::chrono::seconds(1)); }

 private:
  void Start() {
    base_ = std::make_unique<MemoryEngine>(store_, executor_);
    engine_ = std::make_unique<CachingEngine>(*base_, executor_, executor_, kTiny);
  }
  runtime::ManualExecutor executor_;
  std::shared_ptr<MemoryStore> store_;
  std::unique_ptr<MemoryEngine> base_;
  std::unique_ptr<CachingEngine> engine_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Caching, EngineContract, CachingHarness);

class CachingEngineTest : public ::testing::Test {
 protected:
  void Put(std::string key, std::string value) {
    Batch batch;
    batch.Put(std::move(key), std::move(value));
    engine.Write(std::move(batch));
  }
  void Delete(std::string key) {
    Batch batch;
    batch.Delete(std::move(key));
    engine.Write(std::move(batch));
  }
  void RunBackground() {
    background.Drain();
    executor.Drain();
  }

  runtime::ManualExecutor executor;
  runtime::ManualExecutor background;
  std::shared_ptr<MemoryStore> store = std::make_shared<MemoryStore>();
  MemoryEngine base{store, executor};
  CachingEngine engine{base, executor, background, {.max_bytes = 10000, .max_dirty_bytes = 1000}};
};

TEST_F(CachingEngineTest, KeepsWritesUntilThereAreEnoughAndSpillsThemAsOneBatch) {
  Put("a", "1");
  Put("b", "2");
  Put("a", "3");
  RunBackground();
  EXPECT_EQ(base.Get("a"), std::nullopt);
  EXPECT_EQ(engine.Get("a"), "3");
  EXPECT_GT(engine.dirty_bytes(), 0u);

  Put("c", std::string(1000, 'x'));
  EXPECT_EQ(engine.dirty_bytes(), 0u);
  EXPECT_EQ(base.Get("a"), std::nullopt) << "written in the background";
  RunBackground();
  EXPECT_EQ(base.Get("a"), "3");
  EXPECT_EQ(base.Get("b"), "2");
  EXPECT_EQ(store->unflushed_batches(), 1u);
}

TEST_F(CachingEngineTest, ReadsFindWhatIsOnItsWayDown) {
  Put("a", "1");
  Put("c", std::string(1000, 'x'));
  EXPECT_EQ(engine.Get("a"), "1");
  Delete("a");
  EXPECT_EQ(engine.Get("a"), std::nullopt);
  RunBackground();
  EXPECT_EQ(base.Get("a"), "1");
  EXPECT_EQ(engine.Get("a"), std::nullopt);
  Put("d", std::string(1000, 'x'));
  RunBackground();
  EXPECT_EQ(base.Get("a"), std::nullopt);
  EXPECT_EQ(engine.Get("a"), std::nullopt);
}

TEST_F(CachingEngineTest, AKeyDeletedInASpillAndWrittenAgainDuringItStays) {
  Put("a", "1");
  Put("c", std::string(1000, 'x'));
  RunBackground();
  Delete("a");
  Put("c", std::string(1000, 'y'));  // spills the deletion
  Put("a", "2");
  RunBackground();
  EXPECT_EQ(engine.Get("a"), "2");
  Put("c", std::string(1000, 'z'));
  RunBackground();
  EXPECT_EQ(base.Get("a"), "2");
  EXPECT_EQ(engine.Get("a"), "2");
}

TEST_F(CachingEngineTest, ASecondSpillDoesNotOvertakeTheFirst) {
  Put("a", "1");
  Put("c", std::string(1000, 'x'));
  Put("a", "2");
  Put("c", std::string(1000, 'y'));  // the first one goes down here, the second one waits
  EXPECT_EQ(base.Get("a"), "1");
  RunBackground();
  EXPECT_EQ(base.Get("a"), "2");
}

TEST_F(CachingEngineTest, IteratorsSnapshotsAndFlushSeeEverything) {
  Put("a", "1");
  EXPECT_EQ(Dump(engine), (Table{{"a", "1"}}));
  Put("b", "2");
  EXPECT_EQ(Dump(*engine.NewSnapshot()), (Table{{"a", "1"}, {"b", "2"}}));
  Put("c", std::string(1000, 'x'));
  Put("d", "4");
  bool flushed = false;
  engine.Flush([&](const Status& status) { flushed = status.ok(); });
  EXPECT_EQ(engine.dirty_bytes(), 0u);
  EXPECT_EQ(base.Get("d"), std::nullopt) << "written in the background";
  RunBackground();
  EXPECT_EQ(base.Get("d"), "4");
  executor.Advance(std::chrono::seconds(1));
  EXPECT_TRUE(flushed);
}

TEST_F(CachingEngineTest, AFlushTakesWhatIsOnItsWayWithIt) {
  Put("a", "1");
  Put("c", std::string(1000, 'x'));  // spills
  Put("a", "2");
  Put("b", "1");
  engine.Flush([](const Status&) {});
  Put("a", "3");
  Delete("b");
  EXPECT_EQ(engine.Get("a"), "3");
  RunBackground();
  EXPECT_EQ(base.Get("a"), "2");
  EXPECT_EQ(base.Get("b"), "1");
  EXPECT_EQ(engine.Get("b"), std::nullopt);
  EXPECT_EQ(Dump(engine).size(), 2u);
  EXPECT_EQ(base.Get("a"), "3");
  EXPECT_EQ(base.Get("b"), std::nullopt);
}

// Long and short values, deletions, spills, flushes and evictions in any order, against a map. `run` is called
// now and then.
void CompareWithAMap(CachingEngine& engine, int operations, const std::function<void()>& run) {
  Prng prng(7);
  std::map<std::string, std::string> model;
  for (int i = 0; i < operations; ++i) {
    const std::string key =
        fmt::format("{}{}", prng.Below(2) == 0 ? "group----1" : "group----2", prng.Below(40));
    Batch batch;
    switch (prng.Below(8)) {
      case 0:
        batch.Delete(key);
        model.erase(key);
        break;
      case 1:
        if (prng.Below(20) == 0) engine.Flush([](const Status&) {});
        if (prng.Below(20) == 0) ASSERT_EQ(Dump(engine), Table(model.begin(), model.end()));
        break;
      case 2:
        run();
        break;
      case 3: {
        const auto found = model.find(key);
        ASSERT_EQ(engine.Get(key), found == model.end() ? std::nullopt : std::optional(found->second));
        break;
      }
      default: {
        const size_t size = prng.Below(prng.Below(10) == 0 ? 900 : 30);
        model[key] = std::string(size, static_cast<char>('a' + prng.Below(26)));
        batch.Put(key, model[key]);
      }
    }
    if (!batch.empty()) engine.Write(std::move(batch));
  }
  ASSERT_EQ(Dump(engine), Table(model.begin(), model.end()));
}

TEST_F(CachingEngineTest, HoldsWhatAMapHolds) {
  CompareWithAMap(engine, 20000, [this] { RunBackground(); });
}

// For ThreadSanitizer: spills are read by a thread while their records are written anew.
TEST_F(CachingEngineTest, HoldsWhatAMapHoldsWithAThreadBehindIt) {
  runtime::RealExecutor thread("background", runtime::RealExecutor::Work::kBlocking);
  runtime::RealExecutor home("home");
  home.RunAndWait([&] {
    CachingEngine other(base, home, thread, {.max_bytes = 10000, .max_dirty_bytes = 1000});
    CompareWithAMap(other, 20000, [] {});
    thread.Stop();
  });
}

TEST_F(CachingEngineTest, AnIteratorOverAnotherKindLeavesWhatIsDirty) {
  const std::string one = "group----1";
  const std::string other = "group----2";
  Put(one + "a", "1");
  EXPECT_TRUE(Dump(engine, other, PrefixEnd(other)).empty());
  EXPECT_TRUE(Dump(engine, other + "a", other + "b").empty());
  EXPECT_GT(engine.dirty_bytes(), 0u);
  EXPECT_EQ(Dump(engine, one, PrefixEnd(one)), (Table{{one + "a", "1"}}));
  EXPECT_EQ(engine.dirty_bytes(), 0u);
  Put(one + "b", "2");
  EXPECT_EQ(Dump(engine, one, other + "z").size(), 2u) << "a range over several kinds";

  Put(one + "c", std::string(1000, 'x'));
  EXPECT_EQ(engine.dirty_bytes(), 0u);
  EXPECT_TRUE(Dump(engine, other, PrefixEnd(other)).empty());
  EXPECT_EQ(base.Get(one + "c"), std::nullopt) << "still on its way";
  EXPECT_EQ(Dump(engine, one + "b", one + "d").size(), 2u);
}

TEST_F(CachingEngineTest, ADeletedRangeIsForgotten) {
  for (int i = 0; i < 5; ++i) Put(fmt::format("k{}", i), "v");
  Batch batch;
  batch.DeleteRange("k1", "k3");
  batch.Put("k2", "new");
  engine.Write(std::move(batch));
  EXPECT_EQ(engine.Get("k1"), std::nullopt);
  EXPECT_EQ(engine.Get("k2"), "new");
  EXPECT_EQ(engine.Get("k3"), "v");
  EXPECT_EQ(Dump(engine), (Table{{"k0", "v"}, {"k2", "new"}, {"k3", "v"}, {"k4", "v"}}));
}

TEST_F(CachingEngineTest, ALargeDeletedRangeIsForgottenWhole) {
  for (int i = 0; i < 3000; ++i) Put(fmt::format("k{:04}", i), "v");
  Put("z", "stays");
  Batch batch;
  batch.DeleteRange("k", "l");
  engine.Write(std::move(batch));
  EXPECT_EQ(engine.Get("k0000"), std::nullopt);
  EXPECT_EQ(engine.Get("k2999"), std::nullopt);
  EXPECT_EQ(engine.Get("z"), "stays");
}

TEST_F(CachingEngineTest, HoldsNoMoreThanItsLimit) {
  for (int i = 0; i < 1000; ++i) {
    Put(fmt::format("k{}", i), std::string(100, 'v'));
    RunBackground();
    EXPECT_LE(engine.bytes(), 11500u);
  }
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(engine.Get(fmt::format("k{}", i)), std::string(100, 'v'));
    EXPECT_LE(engine.bytes(), 11500u);
  }
}

// Too little for a spill, written again and again: nothing but flushes sends it down.
TEST_F(CachingEngineTest, WhatAFlushSentDownIsNotKeptTwiceForEver) {
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 5; ++i) Put(fmt::format("k{}", i), fmt::format("{:0>100}", round));
    Delete("gone");
    EXPECT_LE(engine.bytes(), 1200u) << "round " << round;
    engine.Flush([](Status) {});
    RunBackground();
  }
  for (int i = 0; i < 5; ++i) Put(fmt::format("k{}", i), fmt::format("{:0>100}", 49));
  EXPECT_LE(engine.bytes(), 1100u) << "written in place";
  EXPECT_EQ(engine.Get("k4"), fmt::format("{:0>100}", 49));
}

// A limit that leaves no room beside what has to stay: a new record must not make the hand pass all of that.
TEST_F(CachingEngineTest, WhatIsReadHasRoomBesideWhatHasToStay) {
  for (int i = 0; i < 100; ++i) {
    Batch batch;
    batch.Put(fmt::format("read{}", i), std::string(100, 'r'));
    base.Write(std::move(batch));
  }
  CachingEngine tight(base, executor, background, {.max_bytes = 4000, .max_dirty_bytes = 3000});
  const auto write = [&tight](int number) {
    Batch batch;
    batch.Put(fmt::format("k{}", number), std::string(100, 'v'));
    tight.Write(std::move(batch));
  };
  int written = 0;
  while (tight.dirty_bytes() == 0 || tight.bytes() < 2900) write(written++);
  write(written++);  // spills
  while (tight.dirty_bytes() < 2500) write(written++);
  const size_t staying = tight.bytes();
  ASSERT_GT(staying, 5000u);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(tight.Get(fmt::format("read{}", i)), std::string(100, 'r'));
    EXPECT_LE(tight.bytes(), staying + 1000);
  }
  EXPECT_GT(tight.bytes(), staying + 700) << "some of what was read is still here";
  RunBackground();
}

TEST_F(CachingEngineTest, ASpillThatTheProcessDoesNotLiveToWriteIsForgotten) {
  {
    CachingEngine other(base, executor, background, {.max_bytes = 10000, .max_dirty_bytes = 10});
    Batch batch;
    batch.Put("a", "1");
    other.Write(std::move(batch));
  }
  RunBackground();
  EXPECT_EQ(base.Get("a"), std::nullopt);
}

}  // namespace
}  // namespace tenure::kv
