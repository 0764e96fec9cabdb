// The fake keeps the promises of ChangeSource that dispatchers rely on.
#include "tests/changefeed/dispatcher/fake_change_source.h"

#include <gtest/gtest.h>

#include "runtime/task.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::changefeed {
namespace {

const RegionId kSourceRegion{7};

LoggedChange Put(uint64_t ts, std::string key, std::string value) {
  return {.index = LogIndex(ts),
          .commit_ts = CommitTs(ts),
          .table = 1,
          .schema_version = 1,
          .key = std::move(key),
          .new_value = std::move(value)};
}

class FakeChangeSourceTest : public testing::Test {
 protected:
  ~FakeChangeSourceTest() override {
    scope_.Stop();
    executor_.Drain();
  }
  void Read(uint64_t after, size_t max_bytes = 1000) {
    result_.reset();
    scope_.Spawn(Run({.region = kSourceRegion, .table = 1, .after = CommitTs(after)}, max_bytes));
    executor_.Drain();
  }
  runtime::Task<void> Run(ReadPosition position, size_t max_bytes) {
    result_ = co_await source_.Read(position, max_bytes, scope_.token());
  }

  runtime::ManualExecutor executor_;
  FakeChangeSource source_{executor_};
  std::optional<StatusOr<ChangeBatch>> result_;
  runtime::TaskScope scope_{executor_};
};

TEST_F(FakeChangeSourceTest, WaitsForChangesAndGivesThemInParts) {
  Read(0);
  EXPECT_FALSE(result_.has_value());
  source_.Append(kSourceRegion, Put(5, "a", "1"));
  source_.Append(kSourceRegion, Put(6, "b", "2"));
  executor_.Drain();
  ASSERT_TRUE(result_ && result_->ok());
  EXPECT_EQ((*result_)->changes.size(), 2u);
  EXPECT_EQ((*result_)->resolved, CommitTs(6));
  Read(0, 1);
  EXPECT_EQ((*result_)->changes.size(), 1u);
  EXPECT_EQ((*result_)->resolved, CommitTs(5));
}

TEST_F(FakeChangeSourceTest, SaysWhyNothingComes) {
  source_.SetBegin(kSourceRegion, CommitTs(4));
  Read(3);
  EXPECT_TRUE(IsHistoryGone(result_->status()));
  source_.SetLeads(kSourceRegion, false);
  Read(4);
  EXPECT_TRUE(IsNotLeader(result_->status()));
}

TEST_F(FakeChangeSourceTest, EndsAtAChangeOfTheRange) {
  source_.Append(kSourceRegion, Put(5, "a", "1"));
  source_.EndRange(kSourceRegion, CommitTs(6));
  source_.Append(kSourceRegion, Put(7, "b", "2"));
  Read(0);
  EXPECT_EQ((*result_)->changes.size(), 1u);
  EXPECT_EQ((*result_)->range_end, CommitTs(6));
  Read(6);
  EXPECT_EQ((*result_)->changes.size(), 1u);
  EXPECT_FALSE((*result_)->range_end.has_value());
}

}  // namespace
}  // namespace tenure::changefeed
