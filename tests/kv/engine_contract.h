// What every kv::Engine promises (kv/kv.h), as one typed suite. A harness opens, crashes and reopens one kind
// of engine:
//
//   struct Harness { Engine& engine(); void Crash(Prng&); void Reopen(); void DrainFlushes(); };
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/prng.h"
#include "kv/kv.h"

namespace tenure::kv {

using Table = std::map<std::string, std::string>;

inline Table Dump(const Reader& reader, std::string_view lower = "", std::string_view upper = "") {
  Table table;
  std::string before;
  for (auto it = reader.NewIterator(lower, upper); it->Valid(); it->Next()) {
    EXPECT_TRUE(table.empty() || before < it->key()) << "bytewise order";
    before = it->key();
    table.emplace(it->key(), it->value());
  }
  return table;
}

inline void ApplyTo(Table& table, const Batch& batch) {
  for (const auto& operation : batch.operations) {
    switch (operation.kind) {
      case Operation::Kind::kPut:
        table[operation.key] = operation.value;
        break;
      case Operation::Kind::kDelete:
        table.erase(operation.key);
        break;
      case Operation::Kind::kDeleteRange: {
        if (!operation.value.empty() && operation.key >= operation.value) break;
        table.erase(table.lower_bound(operation.key),
                    operation.value.empty() ? table.end() : table.lower_bound(operation.value));
        break;
      }
    }
  }
}

inline Table Cut(const Table& table, const std::string& lower, const std::string& upper) {
  if (!upper.empty() && lower >= upper) return {};
  return Table(table.lower_bound(lower), upper.empty() ? table.end() : table.lower_bound(upper));
}

// Few keys, so that they meet; bytes at both ends of the range.
inline std::string RandomKey(Prng& prng) {
  static const std::string letters(
      "\x00\x01"
      "ab\xfe\xff",
      6);
  std::string key;
  for (uint64_t n = 1 + prng.Below(3); n > 0; --n) key += letters[prng.Below(letters.size())];
  return key;
}

inline Batch RandomBatch(Prng& prng) {
  Batch batch;
  for (uint64_t n = 1 + prng.Below(5); n > 0; --n) {
    const uint64_t kind = prng.Below(10);
    if (kind < 6) {
      batch.Put(RandomKey(prng), std::to_string(prng.Below(1000)));
    } else if (kind < 9) {
      batch.Delete(RandomKey(prng));
    } else {
      batch.DeleteRange(RandomKey(prng), prng.Chance(1, 8) ? std::string() : RandomKey(prng));
    }
  }
  return batch;
}

template <class Harness>
class EngineContract : public ::testing::Test {
 protected:
  Engine& engine() { return harness_.engine(); }
  void Put(std::string key, std::string value) {
    Batch batch;
    batch.Put(std::move(key), std::move(value));
    engine().Write(std::move(batch));
  }
  Status FlushNow() {
    Status result = Error(StatusCode::kUnknown, "not answered");
    engine().Flush([&](Status status) { result = std::move(status); });
    harness_.DrainFlushes();
    return result;
  }
  Harness harness_;
};

TYPED_TEST_SUITE_P(EngineContract);

TYPED_TEST_P(EngineContract, ReadsWhatWasWritten) {
  EXPECT_EQ(this->engine().Get("a"), std::nullopt);
  Batch batch;
  batch.Put("a", "1");
  batch.Put("b", "");
  batch.Put("a", "2");
  batch.Delete("c");
  this->engine().Write(std::move(batch));
  EXPECT_EQ(this->engine().Get("a"), "2");
  EXPECT_EQ(this->engine().Get("b"), "");
  EXPECT_EQ(Dump(this->engine()), (Table{{"a", "2"}, {"b", ""}}));
}

TYPED_TEST_P(EngineContract, DeleteRangeIsHalfOpenAndMayBeUnbounded) {
  for (const char* key : {"a", "b", "ba", "c", "d"}) this->Put(key, key);
  Batch batch;
  batch.DeleteRange("b", "c");
  batch.DeleteRange("z", "a");  // nothing
  batch.Put("bb", "later");
  this->engine().Write(std::move(batch));
  EXPECT_EQ(Dump(this->engine()), (Table{{"a", "a"}, {"bb", "later"}, {"c", "c"}, {"d", "d"}}));
  Batch rest;
  rest.Put("zz", "gone too");
  rest.DeleteRange("bb", "");
  this->engine().Write(std::move(rest));
  EXPECT_EQ(Dump(this->engine()), (Table{{"a", "a"}}));
}

TYPED_TEST_P(EngineContract, IteratorsKeepToTheirBounds) {
  for (const char* key : {"a", "b", "c", "d", "e"}) this->Put(key, key);
  auto it = this->engine().NewIterator("b", "d");
  ASSERT_TRUE(it->Valid());
  EXPECT_EQ(it->key(), "b");
  it->Seek("a");
  ASSERT_TRUE(it->Valid());
  EXPECT_EQ(it->key(), "b");
  it->Seek("c");
  EXPECT_EQ(it->value(), "c");
  it->Next();
  EXPECT_FALSE(it->Valid());
  it->Seek("e");
  EXPECT_FALSE(it->Valid());
  EXPECT_FALSE(this->engine().NewIterator("x", "y")->Valid());
}

TYPED_TEST_P(EngineContract, SnapshotsAndIteratorsShowTheirMoment) {
  this->Put("a", "1");
  this->Put("b", "1");
  auto it = this->engine().NewIterator("", "");
  const auto first = this->engine().NewSnapshot();
  Batch batch;
  batch.Put("a", "2");
  batch.Delete("b");
  batch.Put("c", "2");
  this->engine().Write(std::move(batch));
  const auto second = this->engine().NewSnapshot();
  Batch clear;
  clear.DeleteRange("", "");
  this->engine().Write(std::move(clear));
  EXPECT_EQ(Dump(*first), (Table{{"a", "1"}, {"b", "1"}}));
  EXPECT_EQ(first->Get("c"), std::nullopt);
  EXPECT_EQ(second->Get("a"), "2");
  EXPECT_EQ(Dump(*second), (Table{{"a", "2"}, {"c", "2"}}));
  EXPECT_EQ(Dump(this->engine()), Table());
  ASSERT_TRUE(it->Valid());
  EXPECT_EQ(it->key(), "a");
  EXPECT_EQ(it->value(), "1");
  it->Next();
  EXPECT_EQ(it->key(), "b");
}

TYPED_TEST_P(EngineContract, FlushedSurvivesACrashWholeAndInOrder) {
  Prng prng(42);
  for (int round = 0; round < 4; ++round) {
    std::vector<Table> states{Dump(this->engine())};
    size_t flushed = 0;
    const uint64_t writes = prng.Below(40);
    for (uint64_t i = 0; i < writes; ++i) {
      const Batch batch = RandomBatch(prng);
      Table next = states.back();
      ApplyTo(next, batch);
      this->engine().Write(batch);
      states.push_back(next);
      if (prng.Chance(1, 15)) {
        ASSERT_TRUE(this->FlushNow().ok());
        flushed = states.size() - 1;
      }
    }
    ASSERT_EQ(Dump(this->engine()), states.back());
    this->harness_.Crash(prng);
    const Table left = Dump(this->engine());
    bool found = false;
    for (size_t i = flushed; i < states.size(); ++i) found = found || states[i] == left;
    ASSERT_TRUE(found) << "round " << round << ": not a prefix of the writes";
  }
}

TYPED_TEST_P(EngineContract, OrderlyStopKeepsEverything) {
  this->Put("a", "1");
  ASSERT_TRUE(this->FlushNow().ok());
  this->Put("b", "2");
  this->harness_.Reopen();
  EXPECT_EQ(Dump(this->engine()), (Table{{"a", "1"}, {"b", "2"}}));
}

TYPED_TEST_P(EngineContract, RandomAgainstAModel) {
  Prng prng(7);
  Table model;
  std::vector<std::pair<std::unique_ptr<Reader>, Table>> snapshots;
  for (int i = 0; i < 1500; ++i) {
    const Batch batch = RandomBatch(prng);
    ApplyTo(model, batch);
    this->engine().Write(batch);
    if (prng.Chance(1, 10)) snapshots.emplace_back(this->engine().NewSnapshot(), model);
    if (snapshots.size() > 5) {
      const size_t which = prng.Below(snapshots.size());
      ASSERT_EQ(Dump(*snapshots[which].first), snapshots[which].second);
      snapshots.erase(snapshots.begin() + static_cast<ptrdiff_t>(which));
    }
    if (prng.Chance(1, 10)) {
      const std::string lower = RandomKey(prng);
      const std::string upper = prng.Chance(1, 3) ? std::string() : RandomKey(prng);
      if (upper.empty() || lower < upper) {
        ASSERT_EQ(Dump(this->engine(), lower, upper), Cut(model, lower, upper));
      }
    }
    const std::string key = RandomKey(prng);
    const auto expected = model.find(key);
    ASSERT_EQ(this->engine().Get(key),
              expected == model.end() ? std::nullopt : std::optional(expected->second));
    if (prng.Chance(1, 200)) {
      ASSERT_TRUE(this->FlushNow().ok());
    }
  }
  snapshots.clear();
  ASSERT_EQ(Dump(this->engine()), model);
}

TYPED_TEST_P(EngineContract, EstimatesGrowAndShrink) {
  EXPECT_EQ(this->engine().ApproximateBytes("", ""), 0u);
  for (int i = 0; i < 200; ++i)
    this->Put("k" + std::to_string(1000 + i), std::string(1000, static_cast<char>(i)));
  const uint64_t unflushed = this->engine().UnflushedBytes();
  EXPECT_GT(unflushed, 150'000u);
  ASSERT_TRUE(this->FlushNow().ok());
  EXPECT_LT(this->engine().UnflushedBytes(), unflushed / 10);
  EXPECT_GT(this->engine().ApproximateBytes("k", "l"), 0u);
  EXPECT_EQ(this->engine().ApproximateBytes("l", "m"), 0u);
}

REGISTER_TYPED_TEST_SUITE_P(EngineContract, ReadsWhatWasWritten, DeleteRangeIsHalfOpenAndMayBeUnbounded,
                            IteratorsKeepToTheirBounds, SnapshotsAndIteratorsShowTheirMoment,
                            FlushedSurvivesACrashWholeAndInOrder, OrderlyStopKeepsEverything,
                            RandomAgainstAModel, EstimatesGrowAndShrink);

}  // namespace tenure::kv
