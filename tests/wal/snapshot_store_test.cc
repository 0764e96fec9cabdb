#include "wal/snapshot_store.h"

#include "tests/runtime/manual_executor.h"
#include "tests/wal/fake_disk.h"
#include "tests/wal/log_fixture.h"

namespace tenure::wal {
namespace {

class SnapshotStoreTest : public ::testing::Test {
 protected:
  SnapshotStoreTest() : storage_(3), disk_(storage_, executor_), store_(*SnapshotStore::Open(disk_, "s")) {}
  SnapshotMeta Store(const SnapshotId& id, const std::string& content) {
    const auto writer = store_->NewWriter(id, false);
    EXPECT_TRUE(writer.ok());
    EXPECT_TRUE((*writer)->Append(content).ok());
    const auto meta = (*writer)->Finish({id.index, id.term, OneVoter()}, nullptr);
    EXPECT_TRUE(meta.ok()) << meta.status();
    return *meta;
  }
  runtime::ManualExecutor executor_;
  FakeStorage storage_;
  FakeDisk disk_;
  std::unique_ptr<SnapshotStore> store_;
  const SnapshotId id_{GroupId(4), LogIndex(100), Term(3)};
};

TEST_F(SnapshotStoreTest, WhatWasFinishedSurvivesPowerLoss) {
  const auto writer = store_->NewWriter(id_, false);
  ASSERT_TRUE(writer.ok());
  for (const char* chunk : {"one", "", "two", "three"}) ASSERT_TRUE((*writer)->Append(chunk).ok());
  EXPECT_EQ((*writer)->offset(), 11u);
  const auto meta = (*writer)->Finish({LogIndex(100), Term(3), OneVoter(7)}, nullptr);
  ASSERT_TRUE(meta.ok());
  storage_.Crash(true);
  EXPECT_EQ(store_->List()->size(), 1u);
  const auto reader = store_->NewReader(id_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->meta(), *meta);
  EXPECT_EQ((*reader)->meta().mark.configuration, OneVoter(7));
  EXPECT_EQ(*(*reader)->Read(0, 100), "onetwothree");
  EXPECT_EQ(*(*reader)->Read(3, 3), "two");
  EXPECT_EQ(*(*reader)->Read(11, 3), "");
  EXPECT_TRUE((*reader)->Verify().ok());
}

TEST_F(SnapshotStoreTest, TransferIsResumed) {
  const SnapshotMeta sent = Store(id_, std::string(5000, 'x') + std::string(5000, 'y'));
  ASSERT_TRUE(store_->Remove(id_).ok());
  {
    const auto writer = store_->NewWriter(id_, true);
    ASSERT_TRUE((*writer)->Append(std::string(5000, 'x')).ok());
  }
  EXPECT_EQ(store_->PartialBytes(id_), 5000u);
  EXPECT_TRUE(store_->List()->empty());
  const auto writer = store_->NewWriter(id_, true);
  EXPECT_EQ((*writer)->offset(), 5000u);
  ASSERT_TRUE((*writer)->Append(std::string(5000, 'y')).ok());
  const auto meta = (*writer)->Finish(sent.mark, &sent);
  ASSERT_TRUE(meta.ok()) << meta.status();
  EXPECT_EQ(*meta, sent);
  EXPECT_EQ(store_->PartialBytes(id_), 0u);
}

TEST_F(SnapshotStoreTest, WhatDiffersFromTheSendersIsDropped) {
  const SnapshotMeta sent = Store(id_, "the right content");
  ASSERT_TRUE(store_->Remove(id_).ok());
  const auto writer = store_->NewWriter(id_, false);
  ASSERT_TRUE((*writer)->Append("the wrong content").ok());
  EXPECT_EQ((*writer)->Finish(sent.mark, &sent).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(store_->PartialBytes(id_), 0u);
  EXPECT_TRUE(store_->List()->empty());
}

TEST_F(SnapshotStoreTest, DamageIsFound) {
  Store(id_, std::string(3000, 'z'));
  std::string& file = storage_.ContentOf("s/4-100-3.snap");
  const std::string good = file;
  for (size_t i = 0; i < good.size(); i += i < 2990 ? 97 : 1) {
    file = good;
    file[i] = static_cast<char>(file[i] ^ 0xff);
    const auto reader = store_->NewReader(id_);
    EXPECT_TRUE(!reader.ok() || !(*reader)->Verify().ok()) << i;
  }
  for (size_t size = 0; size < good.size(); size += size < 2990 ? 97 : 1) {
    file = good.substr(0, size);
    EXPECT_EQ(store_->NewReader(id_).status().code(), StatusCode::kDataLoss) << size;
  }
}

TEST_F(SnapshotStoreTest, ListAndRemove) {
  Store({GroupId(4), LogIndex(9), Term(1)}, "a");
  Store({GroupId(4), LogIndex(10), Term(1)}, "b");
  Store({GroupId(11), LogIndex(1), Term(1)}, "c");
  {
    const auto part = store_->NewWriter({GroupId(4), LogIndex(11), Term(1)}, false);
  }
  EXPECT_EQ(*store_->List(), (std::vector<SnapshotId>{{GroupId(4), LogIndex(9), Term(1)},
                                                      {GroupId(4), LogIndex(10), Term(1)},
                                                      {GroupId(11), LogIndex(1), Term(1)}}));
  ASSERT_TRUE(store_->RemoveGroup(GroupId(4)).ok());
  EXPECT_EQ(store_->List()->size(), 1u);
  EXPECT_EQ(storage_.names().size(), 1u);
  EXPECT_EQ(store_->NewReader({GroupId(4), LogIndex(9), Term(1)}).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace tenure::wal
