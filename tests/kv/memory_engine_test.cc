#include "kv/memory_engine.h"

#include "tests/kv/engine_contract.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::kv {
namespace {

class MemoryHarness {
 public:
  MemoryHarness() : store_(std::make_shared<MemoryStore>()) { Start(); }
  Engine& engine() { return *engine_; }
  void Crash(Prng& prng) {
    engine_.reset();
    store_->Crash(prng);
    Start();
  }
  void Reopen() {
    engine_.reset();
    store_->FlushAll();
    Start();
  }
  void DrainFlushes() { executor_.Advance(std::chrono::seconds(1)); }

 private:
  void Start() { engine_ = std::make_unique<MemoryEngine>(store_, executor_); }
  runtime::ManualExecutor executor_;
  std::shared_ptr<MemoryStore> store_;
  std::unique_ptr<MemoryEngine> engine_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Memory, EngineContract, MemoryHarness);

TEST(MemoryEngineTest, AFlushUnderWayIsLostWithTheProcess) {
  runtime::ManualExecutor executor;
  const auto store = std::make_shared<MemoryStore>();
  auto engine = std::make_unique<MemoryEngine>(store, executor);
  Batch batch;
  batch.Put("a", "1");
  engine->Write(batch);
  bool done = false;
  engine->Flush([&](Status) { done = true; });
  executor.Drain();
  EXPECT_EQ(store->unflushed_batches(), 1u);
  engine.reset();
  executor.Advance(std::chrono::seconds(1));
  EXPECT_FALSE(done);
  EXPECT_EQ(store->unflushed_batches(), 1u);
}

TEST(MemoryEngineTest, FlushCoversOnlyWhatWasWrittenBeforeIt) {
  runtime::ManualExecutor executor;
  const auto store = std::make_shared<MemoryStore>();
  MemoryEngine engine(store, executor);
  Batch batch;
  batch.Put("a", "1");
  engine.Write(batch);
  bool done = false;
  engine.Flush([&](Status) { done = true; });
  engine.Write(batch);
  executor.Advance(std::chrono::seconds(1));
  EXPECT_TRUE(done);
  EXPECT_EQ(store->unflushed_batches(), 1u);
}

// Every crash point is one of the states between the last flush and the last write, and all of them happen.
TEST(MemoryEngineTest, CrashReachesEveryPrefix) {
  std::set<size_t> seen;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    runtime::ManualExecutor executor;
    const auto store = std::make_shared<MemoryStore>();
    {
      MemoryEngine engine(store, executor);
      for (int i = 0; i < 5; ++i) {
        Batch batch;
        batch.Put(std::to_string(i), "x");
        batch.DeleteRange("zz", "");
        engine.Write(batch);
        if (i == 1) {
          engine.Flush([](Status) {});
          executor.Advance(std::chrono::seconds(1));
        }
      }
    }
    Prng prng(seed);
    store->Crash(prng);
    MemoryEngine engine(store, executor);
    seen.insert(Dump(engine).size());
  }
  EXPECT_EQ(seen, (std::set<size_t>{2, 3, 4, 5}));
}

}  // namespace
}  // namespace tenure::kv
