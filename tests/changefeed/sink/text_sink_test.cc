#include "changefeed/sink/text_sink.h"

#include <gtest/gtest.h>

#include "changefeed/sink/delivered_prefix.h"
#include "tests/changefeed/sink/recording_observer.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::changefeed {
namespace {

class TextSinkTest : public testing::Test {
 protected:
  bool Write(uint64_t n) {
    Message message = LineOf(n);
    return sink_.Write(n, message);
  }
  runtime::ManualExecutor executor_;
  RecordingObserver observer_;
  std::string output_;
  Status result_;
  bool permitted_ = true;
  TextSink sink_{executor_,
                 observer_,
                 [this](std::string_view text) {
                   if (result_.ok()) output_ += text;
                   return result_;
                 },
                 {.max_buffered_bytes = 1000},
                 [this] { return permitted_; }};
};

TEST_F(TextSinkTest, WritesLinesInOrder) {
  EXPECT_TRUE(Write(1));
  EXPECT_TRUE(Write(2));
  executor_.Drain();
  EXPECT_EQ(output_, "line 1\nline 2\n");
  EXPECT_EQ(observer_.flushed, 2u);
}

TEST_F(TextSinkTest, IsBoundedAndSaysWhenThereIsRoom) {
  uint64_t n = 0;
  while (Write(n + 1)) ++n;
  EXPECT_LE(sink_.buffered_bytes(), 1000u);
  executor_.Drain();
  EXPECT_EQ(observer_.writable, 1);
  EXPECT_EQ(observer_.flushed, n);
}

TEST_F(TextSinkTest, AnErrorEndsIt) {
  result_ = Error(StatusCode::kUnavailable, "broken pipe");
  EXPECT_TRUE(Write(1));
  executor_.Drain();
  ASSERT_TRUE(observer_.error.has_value());
  EXPECT_EQ(observer_.error->message, "broken pipe");
  EXPECT_FALSE(Write(2));
  EXPECT_EQ(observer_.flushed, 0u);
}

TEST_F(TextSinkTest, WithoutPermitNothingIsWritten) {
  EXPECT_TRUE(Write(1));
  permitted_ = false;
  executor_.Drain();
  EXPECT_EQ(output_, "");
  EXPECT_TRUE(observer_.error.has_value());
}

TEST(DeliveredPrefix, RisesOnlyOverWhatIsConfirmedByAll) {
  DeliveredPrefix prefix;
  const auto a = prefix.Add(10, 1);
  const auto b = prefix.Add(20, 3);
  const auto c = prefix.Add(30, 1);
  prefix.Confirm(c);
  EXPECT_FALSE(prefix.TakePrefix().has_value());
  prefix.Confirm(a);
  EXPECT_EQ(prefix.TakePrefix(), 10u);
  prefix.Confirm(b);
  prefix.Confirm(b);
  EXPECT_FALSE(prefix.TakePrefix().has_value());
  prefix.Confirm(b);
  EXPECT_EQ(prefix.TakePrefix(), 30u);
  prefix.Add(40, 0);
  EXPECT_EQ(prefix.TakePrefix(), 40u) << "it goes nowhere";
  EXPECT_EQ(prefix.waiting(), 0u);
}

}  // namespace
}  // namespace tenure::changefeed
