#include "base/prng.h"
#include "kv/memory_engine.h"
#include "tests/kv/engine_contract.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::kv {
namespace {

class OverlayTest : public ::testing::Test {
 protected:
  OverlayTest() : engine_(std::make_shared<MemoryStore>(), executor_) {}
  void Put(std::string key, std::string value) {
    Batch batch;
    batch.Put(std::move(key), std::move(value));
    engine_.Write(std::move(batch));
  }
  runtime::ManualExecutor executor_;
  MemoryEngine engine_;
};

TEST(PrefixEndTest, IsTheSmallestStringBehindThePrefix) {
  EXPECT_EQ(PrefixEnd("a"), "b");
  EXPECT_EQ(PrefixEnd("a\xff"), "b");
  EXPECT_EQ(PrefixEnd("\xff\xff"), "");
  EXPECT_EQ(PrefixEnd(""), "");
  EXPECT_EQ(PrefixEnd(std::string_view("a\0", 2)), "a\x01");
}

TEST_F(OverlayTest, PrefixReaderShowsItsPartOnly) {
  for (const char* key : {"a", "p", "p1", "p2", "q"}) Put(key, key);
  const PrefixReader reader(engine_, "p");
  EXPECT_EQ(reader.Get("1"), "p1");
  EXPECT_EQ(reader.Get("3"), std::nullopt);
  EXPECT_EQ(Dump(reader), (Table{{"", "p"}, {"1", "p1"}, {"2", "p2"}}));
  EXPECT_EQ(Dump(reader, "1", "2"), (Table{{"1", "p1"}}));
  const PrefixReader last(engine_, "q");
  EXPECT_EQ(Dump(last), (Table{{"", "q"}}));
}

TEST_F(OverlayTest, ReadsItsOwnWrites) {
  Put("xa", "1");
  Put("xb", "1");
  Put("yc", "1");
  Overlay overlay(engine_, "x");
  overlay.Put("a", "2");
  overlay.Delete("b");
  overlay.Put("c", "2");
  EXPECT_EQ(overlay.Get("a"), "2");
  EXPECT_EQ(overlay.Get("b"), std::nullopt);
  EXPECT_EQ(Dump(overlay), (Table{{"a", "2"}, {"c", "2"}}));
  EXPECT_EQ(engine_.Get("xa"), "1") << "not written yet";
  EXPECT_GT(overlay.bytes(), 0u);
  engine_.Write(overlay.TakeBatch());
  EXPECT_EQ(overlay.bytes(), 0u);
  EXPECT_EQ(Dump(engine_), (Table{{"xa", "2"}, {"xc", "2"}, {"yc", "1"}}));
}

TEST_F(OverlayTest, DeleteRangeHidesTheBaseAndEarlierWritesOnly) {
  for (const char* key : {"a", "b", "c", "d"}) Put(key, "base");
  Overlay overlay(engine_, "");
  overlay.Put("bb", "early");
  overlay.DeleteRange("b", "d");
  overlay.Put("c", "late");
  EXPECT_EQ(Dump(overlay), (Table{{"a", "base"}, {"c", "late"}, {"d", "base"}}));
  overlay.DeleteRange("", "");
  EXPECT_EQ(Dump(overlay), Table());
  overlay.Put("z", "only");
  engine_.Write(overlay.TakeBatch());
  EXPECT_EQ(Dump(engine_), (Table{{"z", "only"}}));
}

TEST_F(OverlayTest, UnboundedDeleteRangeStaysUnderThePrefix) {
  Put("xa", "1");
  Put("yb", "1");
  Overlay overlay(engine_, "x");
  overlay.DeleteRange("", "");
  EXPECT_EQ(Dump(overlay), Table());
  engine_.Write(overlay.TakeBatch());
  EXPECT_EQ(Dump(engine_), (Table{{"yb", "1"}}));
}

TEST_F(OverlayTest, DeletingWhileIterating) {
  for (const char* key : {"a", "b", "c", "d"}) Put(key, key);
  Overlay overlay(engine_, "");
  overlay.Put("bb", "bb");
  std::vector<std::string> seen;
  for (auto it = overlay.NewIterator("", ""); it->Valid(); it->Next()) {
    seen.emplace_back(it->key());
    overlay.Delete(std::string(it->key()));
    if (seen.back() == "b") overlay.DeleteRange("c", "d");
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"a", "b", "bb", "d"}));
  EXPECT_EQ(Dump(overlay), Table());
}

TEST_F(OverlayTest, RandomAgainstAModel) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Prng prng(seed);
    Table model;
    Batch clear;
    clear.DeleteRange("", "");
    engine_.Write(clear);
    for (int i = 0; i < 10; ++i) {
      const Batch batch = RandomBatch(prng);
      ApplyTo(model, batch);
      for (auto operation : batch.operations) {
        operation.key = "p" + operation.key;
        if (operation.kind == Operation::Kind::kDeleteRange) {
          operation.value = operation.value.empty() ? "q" : "p" + operation.value;
        }
        Batch one;
        one.operations.push_back(operation);
        engine_.Write(one);
      }
    }
    Put("o", "outside");
    Put("q", "outside");
    Overlay overlay(engine_, "p");
    for (int i = 0; i < 12; ++i) {
      const Batch batch = RandomBatch(prng);
      ApplyTo(model, batch);
      for (const auto& operation : batch.operations) {
        switch (operation.kind) {
          case Operation::Kind::kPut:
            overlay.Put(operation.key, operation.value);
            break;
          case Operation::Kind::kDelete:
            overlay.Delete(operation.key);
            break;
          case Operation::Kind::kDeleteRange:
            overlay.DeleteRange(operation.key, operation.value);
            break;
        }
      }
      ASSERT_EQ(Dump(overlay), model) << "seed " << seed;
      const std::string lower = RandomKey(prng);
      const std::string upper = RandomKey(prng);
      if (lower < upper) {
        ASSERT_EQ(Dump(overlay, lower, upper), Cut(model, lower, upper)) << "seed " << seed;
      }
      auto it = overlay.NewIterator("", "");
      const std::string key = RandomKey(prng);
      it->Seek(key);
      const auto expected = model.lower_bound(key);
      ASSERT_EQ(it->Valid(), expected != model.end());
      if (it->Valid()) {
        ASSERT_EQ(it->key(), expected->first);
        ASSERT_EQ(it->value(), expected->second);
      }
      const auto found = model.find(key);
      ASSERT_EQ(overlay.Get(key), found == model.end() ? std::nullopt : std::optional(found->second));
      if (prng.Chance(1, 4)) engine_.Write(overlay.TakeBatch());
    }
    engine_.Write(overlay.TakeBatch());
    ASSERT_EQ(Dump(PrefixReader(engine_, "p")), model) << "seed " << seed;
    ASSERT_EQ(engine_.Get("o"), "outside");
    ASSERT_EQ(engine_.Get("q"), "outside");
  }
}

}  // namespace
}  // namespace tenure::kv
