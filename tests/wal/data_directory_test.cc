#include "wal/data_directory.h"

#include <gmock/gmock.h>

#include "tests/runtime/manual_executor.h"
#include "tests/wal/fake_disk.h"

namespace tenure::wal {
namespace {

using ::testing::HasSubstr;

class DataDirectoryTest : public ::testing::Test {
 protected:
  DataDirectoryTest() : storage_(1), disk_(storage_, executor_) {
    identity_.cluster_id = "c-1";
    identity_.controller_id = ControllerId(2);
    identity_.node_uuid = "uuid";
    identity_.name = "a \"name\"\\";
    identity_.initial_members = "1=host:1\n2=host:2";
  }
  runtime::ManualExecutor executor_;
  FakeStorage storage_;
  FakeDisk disk_;
  Identity identity_;
};

TEST_F(DataDirectoryTest, CreateThenOpen) {
  EXPECT_EQ(DataDirectory::Open(disk_, "d").status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(DataDirectory::Create(disk_, "d", identity_).ok());
  storage_.Crash(true);
  const auto opened = DataDirectory::Open(disk_, "d");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->identity(), identity_);
  EXPECT_EQ((*opened)->log_path(), "d/wal");
}

TEST_F(DataDirectoryTest, HasOneOwner) {
  const auto first = DataDirectory::Create(disk_, "d", identity_);
  ASSERT_TRUE(first.ok());
  const auto second = DataDirectory::Open(disk_, "d");
  EXPECT_EQ(second.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(second.status())), HasSubstr("in use"));
  EXPECT_TRUE(DataDirectory::Peek(disk_, "d").ok()) << "inspection needs no lock";
}

TEST_F(DataDirectoryTest, ALogThatIsMissingIsNoEmptyLog) {
  const auto directory = DataDirectory::Create(disk_, "d", identity_);
  ASSERT_TRUE(directory.ok());
  const Status missing = (*directory)->CheckLog();
  EXPECT_EQ(missing.code(), StatusCode::kDataLoss);
  EXPECT_THAT(std::string(MessageOf(missing)), HasSubstr("d/wal holds no segment"));
  ASSERT_TRUE(disk_.Open("d/wal/0000000000000001.wal", runtime::OpenMode::kCreate).ok());
  EXPECT_TRUE((*directory)->CheckLog().ok());
  // Before it knows its cluster a process has promised nothing.
  Identity forming = identity_;
  forming.cluster_id.clear();
  const auto fresh = DataDirectory::Create(disk_, "e", forming);
  ASSERT_TRUE(fresh.ok());
  EXPECT_TRUE((*fresh)->CheckLog().ok());
}

TEST_F(DataDirectoryTest, ALogWithoutIdentityIsNoEmptyDirectory) {
  ASSERT_TRUE(disk_.Open("d/wal/0000000000000001.wal", runtime::OpenMode::kCreate).ok());
  const Status refused = DataDirectory::Create(disk_, "d", identity_).status();
  EXPECT_EQ(refused.code(), StatusCode::kDataLoss);
  EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr("d/identity is missing"));
}

TEST_F(DataDirectoryTest, ARepairThatHasNotEndedIsNamed) {
  const auto directory = DataDirectory::Create(disk_, "d", identity_);
  ASSERT_TRUE(directory.ok());
  ASSERT_TRUE(disk_.Open("d/repair-under-way", runtime::OpenMode::kCreate).ok());
  const Status refused = (*directory)->CheckLog();
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr("tenure repair d --execute"));
}

TEST_F(DataDirectoryTest, IsCreatedOnce) {
  ASSERT_TRUE(DataDirectory::Create(disk_, "d", identity_).ok());
  EXPECT_EQ(DataDirectory::Create(disk_, "d", identity_).status().code(), StatusCode::kFailedPrecondition);
}

TEST_F(DataDirectoryTest, RefusesForeignExpectations) {
  const auto directory = DataDirectory::Create(disk_, "d", identity_);
  ASSERT_TRUE(directory.ok());
  EXPECT_TRUE((*directory)->Expect(identity_).ok());
  Identity nothing;
  nothing.incarnation = 0;
  EXPECT_TRUE((*directory)->Expect(nothing).ok());
  const auto refused = [&](auto change, const char* what) {
    Identity other = identity_;
    change(other);
    const Status status = (*directory)->Expect(other);
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(MessageOf(status)), HasSubstr(what));
  };
  refused([](Identity& i) { i.cluster_id = "c-2"; }, "cluster id c-1, expected was c-2");
  refused([](Identity& i) { i.controller_id = ControllerId(3); }, "controller id 2, expected was 3");
  refused([](Identity& i) { i.node_uuid = "other"; }, "node uuid");
  refused([](Identity& i) { i.incarnation = 2; }, "incarnation 1 of its cluster, the cluster is at 2");
}

TEST_F(DataDirectoryTest, UpdateIsDurable) {
  {
    const auto directory = DataDirectory::Create(disk_, "d", identity_);
    identity_.incarnation = 2;
    identity_.history = "recovered by me\n";
    ASSERT_TRUE((*directory)->Update(identity_).ok());
  }
  storage_.Crash(true);
  EXPECT_EQ(*DataDirectory::Peek(disk_, "d"), identity_);
}

TEST_F(DataDirectoryTest, EveryFlippedByteAndEveryLengthIsNoticed) {
  const std::string text = EncodeIdentity(identity_);
  for (size_t i = 0; i < text.size(); ++i) {
    for (const int flip : {1, 0x80, 0xff}) {
      std::string bad = text;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      EXPECT_EQ(DecodeIdentity(bad).status().code(), StatusCode::kDataLoss) << i;
    }
    EXPECT_EQ(DecodeIdentity(text.substr(0, i)).status().code(), StatusCode::kDataLoss) << i;
  }
  EXPECT_EQ(*DecodeIdentity(text), identity_);
}

TEST_F(DataDirectoryTest, RefusesANewerFormat) {
  identity_.format = kDataFormat + 1;
  const auto decoded = DecodeIdentity(EncodeIdentity(identity_));
  EXPECT_EQ(decoded.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(decoded.status())), HasSubstr("newer"));
}

}  // namespace
}  // namespace tenure::wal
