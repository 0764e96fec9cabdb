#include "kv/rocksdb/rocksdb_engine.h"

#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "tests/kv/engine_contract.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::kv {
namespace {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tenure_kv_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Closing without flushing leaves what a crash leaves, whoever closes in order reopens first.
class RocksHarness {
 public:
  RocksHarness() { Start(false); }
  Engine& engine() { return *engine_; }
  void Crash(Prng&) {
    engine_.reset();
    Start(false);
  }
  void Reopen() {
    bool done = false;
    engine_->Flush([&](Status status) { done = status.ok(); });
    DrainFlushes();
    ASSERT_TRUE(done);
    engine_.reset();
    Start(true);
  }
  void DrainFlushes() {
    background_.Drain();
    reply_.Drain();
  }

 private:
  void Start(bool flush_on_close) {
    RocksOptions options;
    options.write_buffer_bytes = 1 << 20;
    options.flush_on_close = flush_on_close;
    auto opened = OpenRocksEngine(directory_.path() + "/db", options, background_, reply_,
                                  [](Status status) { ADD_FAILURE() << status; });
    ASSERT_TRUE(opened.ok()) << opened.status();
    engine_ = *std::move(opened);
  }
  TemporaryDirectory directory_;
  runtime::ManualExecutor background_;
  runtime::ManualExecutor reply_;
  std::unique_ptr<RocksEngine> engine_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Rocks, EngineContract, RocksHarness);

class RocksEngineTest : public ::testing::Test {
 protected:
  std::unique_ptr<RocksEngine> Open(RocksOptions options = {}) {
    auto opened = OpenRocksEngine(directory_.path() + "/db", options, background_, reply_,
                                  [this](Status status) { fatal_ = std::move(status); });
    EXPECT_TRUE(opened.ok()) << opened.status();
    return opened.ok() ? *std::move(opened) : nullptr;
  }
  static void Put(Engine& engine, std::string key, std::string value) {
    Batch batch;
    batch.Put(std::move(key), std::move(value));
    engine.Write(std::move(batch));
  }
  TemporaryDirectory directory_;
  runtime::ManualExecutor background_;
  runtime::ManualExecutor reply_;
  Status fatal_;
};

TEST_F(RocksEngineTest, OrderlyCloseFlushes) {
  auto engine = Open();
  Put(*engine, "a", "1");
  engine.reset();
  EXPECT_EQ(Open()->Get("a"), "1");
}

TEST_F(RocksEngineTest, CloseWithoutFlushLosesTheMemtable) {
  auto engine = Open({.flush_on_close = false});
  Put(*engine, "a", "1");
  engine.reset();
  EXPECT_EQ(Open()->Get("a"), std::nullopt);
}

TEST_F(RocksEngineTest, FlushRunsInTheBackgroundAndAnswersOnTheReplyExecutor) {
  auto engine = Open();
  Put(*engine, "a", "1");
  bool done = false;
  engine->Flush([&](Status status) { done = status.ok(); });
  EXPECT_FALSE(done);
  background_.Drain();
  EXPECT_FALSE(done);
  reply_.Drain();
  EXPECT_TRUE(done);
}

TEST_F(RocksEngineTest, FlushAfterCloseIsCancelled) {
  auto engine = Open();
  Status result;
  engine->Flush([&](Status status) { result = std::move(status); });
  engine.reset();
  background_.Drain();
  reply_.Drain();
  EXPECT_EQ(result.code(), StatusCode::kCancelled);
}

TEST_F(RocksEngineTest, DamagedTableGoesToTheFatalHandler) {
  auto engine = Open();
  for (int i = 0; i < 1000; ++i) Put(*engine, "key" + std::to_string(i), std::string(100, 'v'));
  engine.reset();
  for (const auto& file : std::filesystem::directory_iterator(directory_.path() + "/db")) {
    if (file.path().extension() != ".sst") continue;
    std::fstream stream(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(200);
    stream.write("garbage", 7);
  }
  engine = Open();
  (void)Dump(*engine);
  EXPECT_EQ(fatal_.code(), StatusCode::kDataLoss) << fatal_;
}

// The keys key000000 and so on, each with a long value.
struct ManyKeys {
  explicit ManyKeys(int count) {
    for (int i = 0; i < count; ++i) keys.push_back(fmt::format("key{:06}", i));
    for (const std::string& key : keys) writes.push_back({key, value});
  }
  const std::string value = std::string(300, 'v');
  std::vector<std::string> keys;
  std::vector<SortedWrite> writes;
};

TEST_F(RocksEngineTest, ALargeSortedBatchIsSeenAndDurableAtOnceWithAllThatWasWrittenBefore) {
  auto engine = Open({.flush_on_close = false});
  Put(*engine, "a", "1");
  Put(*engine, "key000007", "old");
  auto before = engine->NewSnapshot();
  ManyKeys many(10000);
  many.writes.push_back({"x", std::nullopt});
  engine->WriteSorted(many.writes);
  EXPECT_EQ(engine->Get("key000007"), std::string(300, 'v'));
  EXPECT_EQ(before->Get("key000007"), "old");
  EXPECT_EQ(before->Get("key000008"), std::nullopt);
  before.reset();
  Put(*engine, "key000007", "new");
  EXPECT_EQ(engine->Get("key000007"), "new");
  Put(*engine, "z", "lost");
  engine.reset();

  engine = Open();
  EXPECT_EQ(engine->Get("a"), "1");
  EXPECT_EQ(engine->Get("key000007"), std::string(300, 'v'));
  EXPECT_EQ(engine->Get("key009999"), std::string(300, 'v'));
  EXPECT_EQ(engine->Get("z"), std::nullopt);
  EXPECT_EQ(fatal_, OkStatus());
}

TEST_F(RocksEngineTest, TableFilesThatACrashKeptOutAreRemoved) {
  Open().reset();
  const std::string left = directory_.path() + "/db/added-0";
  std::ofstream(left) << "half a file";
  auto engine = Open();
  EXPECT_FALSE(std::filesystem::exists(left));
  engine->WriteSorted(ManyKeys(10000).writes);
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_EQ(engine->Get("key000000"), std::string(300, 'v'));
  EXPECT_EQ(fatal_, OkStatus());
}

TEST_F(RocksEngineTest, ATableFileThatCannotBeAddedIsFatal) {
  auto engine = Open();
  std::filesystem::create_directory(directory_.path() + "/db/added-0");
  engine->WriteSorted(ManyKeys(10000).writes);
  EXPECT_FALSE(fatal_.ok());
}

TEST_F(RocksEngineTest, StatsAndCompaction) {
  auto engine = Open();
  for (int i = 0; i < 1000; ++i) Put(*engine, "key" + std::to_string(i), std::string(100, 'v'));
  EXPECT_GT(engine->Stats().memtable_bytes, 0u);
  engine->Flush([](Status) {});
  background_.Drain();
  EXPECT_GT(engine->Stats().table_file_bytes, 0u);
  EXPECT_EQ(engine->Stats().estimated_keys, 1000u);
  Batch clear;
  clear.DeleteRange("", "");
  engine->Write(clear);
  EXPECT_TRUE(engine->CompactRange("", "").ok());
  EXPECT_EQ(engine->ApproximateBytes("", "zzz"), 0u);
}

TEST_F(RocksEngineTest, SecondOwnerIsRefused) {
  const auto engine = Open();
  const auto second = OpenRocksEngine(directory_.path() + "/db", {}, background_, reply_, nullptr);
  EXPECT_FALSE(second.ok());
}

}  // namespace
}  // namespace tenure::kv
