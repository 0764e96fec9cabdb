#include "changefeed/sink/background_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "changefeed/sink/text_delivery.h"
#include "tests/changefeed/sink/recording_observer.h"
#include "tests/runtime/manual_executor.h"
#include "tests/wal/fake_disk.h"

namespace tenure::changefeed {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// What a destination got: a word for each call.
struct Destination {
  std::vector<std::string> calls;
  std::optional<FeedError> error;  // of the next call
};

class FakeDelivery final : public BlockingDelivery {
 public:
  FakeDelivery(Destination& destination, std::string name)
      : destination_(destination), name_(std::move(name)) {}
  ~FakeDelivery() override { destination_.calls.push_back(name_ + " gone"); }
  std::optional<FeedError> Open() override {
    destination_.calls.push_back(name_ + " open");
    return std::exchange(destination_.error, std::nullopt);
  }
  std::optional<FeedError> Deliver(std::vector<Item>& batch) override {
    std::string call = name_;
    for (const Item& item : batch) call += item.header ? " [" + *item.header + "]" : " " + item.message.id;
    destination_.calls.push_back(std::move(call));
    return std::exchange(destination_.error, std::nullopt);
  }

 private:
  Destination& destination_;
  const std::string name_;
};

class BackgroundSinkTest : public testing::Test {
 protected:
  // A disk or a pipe; nothing happens there but when the test lets it.
  struct Place {
    Destination destination;
    wal::FakeStorage storage{1};
    runtime::ManualExecutor executor;
    wal::FakeDisk disk{storage, executor};
    std::shared_ptr<Background> background = std::make_shared<Background>(executor, disk);
  };
  struct Writer {
    Writer(BackgroundSinkTest& test, Place& place, const std::string& name = "a", Duration flush = {})
        : sink(std::make_unique<BackgroundSink>(
              test.executor_, place.background, observer,
              BackgroundSinkOptions{.where = "file:///out", .flush = flush},
              SinkLimits{.max_buffered_bytes = 4096, .timeout = seconds(10)}, [this] { return permitted; },
              std::make_unique<FakeDelivery>(place.destination, name))) {}
    bool Write(uint64_t n, size_t bytes = 0) {
      Message message = LineOf(n, bytes);
      return sink->Write(n, message);
    }
    bool permitted = true;
    RecordingObserver observer;
    std::unique_ptr<BackgroundSink> sink;
  };
  // What the background is asked for and says, until both have nothing left.
  void Run(Place& place) {
    for (int i = 0; i < 20; ++i) {
      place.executor.Drain();
      executor_.Advance(Duration::zero());
    }
  }

  runtime::ManualExecutor executor_;
  Place place_;
};

TEST_F(BackgroundSinkTest, WhatIsWrittenMeanwhileIsTheNextBatch) {
  Writer writer(*this, place_);
  EXPECT_TRUE(writer.Write(1));
  executor_.Advance(seconds(1));
  EXPECT_FALSE(writer.observer.opened);
  place_.executor.Drain();
  EXPECT_THAT(place_.destination.calls, ElementsAre("a open")) << "nothing before it is known to be open";
  executor_.Drain();
  EXPECT_TRUE(writer.observer.opened);
  EXPECT_TRUE(writer.Write(2));
  EXPECT_TRUE(writer.Write(3));
  Run(place_);
  EXPECT_THAT(place_.destination.calls, ElementsAre("a open", "a 1-1", "a 1-2 1-3"));
  EXPECT_EQ(writer.observer.flushed, 3u);
  EXPECT_EQ(writer.sink->buffered_bytes(), 0u);
}

TEST_F(BackgroundSinkTest, MessagesWaitForOthersUpToTheFlush) {
  Writer writer(*this, place_, "a", milliseconds(100));
  Run(place_);
  for (uint64_t n = 1; n <= 4; ++n) {
    ASSERT_TRUE(writer.Write(n));
    executor_.Advance(milliseconds(30));
    place_.executor.Drain();
  }
  EXPECT_THAT(place_.destination.calls, ElementsAre("a open", "a 1-1 1-2 1-3 1-4"))
      << "counted from the first one: a steady stream does not put it off";
  Run(place_);
  ASSERT_TRUE(writer.Write(5));
  writer.sink->Flush();
  place_.executor.Drain();
  EXPECT_EQ(place_.destination.calls.back(), "a 1-5");
}

TEST_F(BackgroundSinkTest, HeadersStayInOrder) {
  Writer writer(*this, place_, "a", milliseconds(100));
  Run(place_);
  writer.sink->SetHeader("x");
  ASSERT_TRUE(writer.Write(1));
  writer.sink->SetHeader("x,y");
  ASSERT_TRUE(writer.Write(2));
  writer.sink->Flush();
  Run(place_);
  EXPECT_EQ(place_.destination.calls.back(), "a [x] 1-1 [x,y] 1-2");
}

TEST_F(BackgroundSinkTest, IsBoundedAndSaysWhenThereIsRoom) {
  Writer writer(*this, place_);
  Run(place_);
  uint64_t n = 0;
  while (writer.Write(n + 1, 300)) ++n;
  EXPECT_LE(writer.sink->buffered_bytes(), 4096u);
  EXPECT_EQ(writer.observer.writable, 0);
  Run(place_);
  EXPECT_EQ(writer.observer.writable, 1);
  EXPECT_EQ(writer.observer.flushed, n);
  EXPECT_GE(place_.destination.calls.size(), 4u) << "not all at once: the permit is asked before each batch";
}

TEST_F(BackgroundSinkTest, WhatHangsFailsInTimeAndHoldsUpNobodyElse) {
  Place other;
  Writer hung(*this, place_);
  Writer well(*this, other);
  Run(place_);
  Run(other);
  ASSERT_TRUE(hung.Write(1));
  executor_.Advance(seconds(9));
  EXPECT_FALSE(hung.observer.error.has_value());
  for (uint64_t n = 1; n <= 5; ++n) {
    ASSERT_TRUE(well.Write(n));
    executor_.Advance(seconds(1));
    Run(other);
  }
  ASSERT_TRUE(hung.observer.error.has_value());
  EXPECT_EQ(hung.observer.error->code, FeedErrorCode::kSinkUnavailable);
  EXPECT_THAT(hung.observer.error->message, HasSubstr("file:///out has not answered for 10000 ms"));
  EXPECT_EQ(well.observer.flushed, 5u);
  EXPECT_FALSE(well.observer.error.has_value());
  Run(place_);
  EXPECT_EQ(hung.observer.flushed, 0u) << "the last word was said";
  EXPECT_TRUE(hung.observer.once && hung.observer.rising);
}

TEST_F(BackgroundSinkTest, ADirectoryThatHangsWhenItIsOpenedFailsInTime) {
  Writer hung(*this, place_);
  executor_.Advance(seconds(11));
  ASSERT_TRUE(hung.observer.error.has_value());
  EXPECT_FALSE(hung.observer.opened);
}

TEST_F(BackgroundSinkTest, WhoWaitsForOthersOfTheSameDestinationDoesNotFail) {
  Writer first(*this, place_, "a");
  Writer second(*this, place_, "b");
  Run(place_);
  ASSERT_TRUE(second.Write(1));
  for (uint64_t n = 1; n <= 4; ++n) {
    executor_.Advance(seconds(8));
    // Slow: between what it does for `first` it has not come to `second`.
    place_.background->finished.fetch_add(1);
  }
  EXPECT_FALSE(second.observer.error.has_value());
  Run(place_);
  EXPECT_EQ(second.observer.flushed, 1u);
}

TEST_F(BackgroundSinkTest, WhoComesAfterwardsOpensWhenTheOneBeforeHasEnded) {
  Writer old(*this, place_, "old");
  Run(place_);
  ASSERT_TRUE(old.Write(1));
  executor_.Advance(Duration::zero());  // in the background, where it hangs
  ASSERT_TRUE(old.Write(2));
  old.sink.reset();
  Writer next(*this, place_, "next");
  ASSERT_TRUE(next.Write(1));
  Run(place_);
  EXPECT_THAT(place_.destination.calls, ElementsAre("old open", "old gone", "next open", "next 1-1"))
      << "nothing that had not begun is written any more";
}

TEST_F(BackgroundSinkTest, RetriesWhileItHangsHoldNoMessages) {
  for (int i = 0; i < 20; ++i) {
    Writer writer(*this, place_, std::to_string(i));
    for (uint64_t n = 1; writer.Write(n, 300); ++n) executor_.Drain();
    executor_.Advance(seconds(11));
    EXPECT_TRUE(writer.observer.error.has_value());
    EXPECT_FALSE(writer.Write(100));
  }
  Run(place_);
  EXPECT_THAT(place_.destination.calls, testing::SizeIs(20));
  for (const std::string& call : place_.destination.calls) EXPECT_THAT(call, HasSubstr(" gone"));
}

TEST_F(BackgroundSinkTest, WithoutPermitNothingIsWritten) {
  Writer writer(*this, place_);
  Run(place_);
  ASSERT_TRUE(writer.Write(1));
  executor_.Advance(Duration::zero());
  writer.permitted = false;
  Run(place_);
  EXPECT_TRUE(writer.observer.error.has_value());
  EXPECT_THAT(place_.destination.calls, ElementsAre("a open"));
  EXPECT_FALSE(writer.Write(2));
  Writer late(*this, place_, "late");
  late.permitted = false;
  Run(place_);
  EXPECT_TRUE(late.observer.error.has_value());
  EXPECT_THAT(place_.destination.calls, ElementsAre("a open")) << "opening a directory writes to it as well";
}

TEST_F(BackgroundSinkTest, AnErrorEndsIt) {
  for (const bool opening : {true, false}) {
    Writer writer(*this, place_);
    if (!opening) Run(place_);
    place_.destination.error = FeedError{.code = FeedErrorCode::kSinkRejected, .message = "disk is full"};
    ASSERT_TRUE(writer.Write(1));
    Run(place_);
    ASSERT_TRUE(writer.observer.error.has_value());
    EXPECT_EQ(writer.observer.error->message, "disk is full");
    EXPECT_FALSE(writer.Write(2));
    EXPECT_EQ(writer.observer.flushed, 0u);
    executor_.Advance(seconds(20));
    EXPECT_TRUE(writer.observer.once);
  }
}

TEST_F(BackgroundSinkTest, MayGoInTheMiddleOfACallback) {
  struct Ending final : SinkObserver {
    void OnFlushed(uint64_t) override { sink.reset(); }
    void OnWritable() override { ADD_FAILURE() << "after its end"; }
    void OnFailed(FeedError) override { ADD_FAILURE() << "after its end"; }
    std::unique_ptr<BackgroundSink> sink;
  } observer;
  observer.sink = std::make_unique<BackgroundSink>(
      executor_, place_.background, observer, BackgroundSinkOptions{}, SinkLimits{.max_buffered_bytes = 100},
      [] { return true; }, std::make_unique<FakeDelivery>(place_.destination, "a"));
  Run(place_);
  Message first = LineOf(1);
  Message second = LineOf(2);
  EXPECT_TRUE(observer.sink->Write(1, first));
  EXPECT_FALSE(observer.sink->Write(2, second));
  Run(place_);
  EXPECT_EQ(observer.sink, nullptr);
}

TEST(TextDelivery, WritesLinesAndSaysWhatIsWrong) {
  std::string output;
  Status result;
  TextDelivery delivery([&](std::string_view text) {
    output += text;
    return result;
  });
  std::vector<BlockingDelivery::Item> batch;
  for (const uint64_t n : {1u, 2u}) batch.push_back({.position = n, .message = LineOf(n), .header = {}});
  batch.push_back({.position = 0, .message = {}, .header = "no line"});
  EXPECT_FALSE(delivery.Deliver(batch).has_value());
  EXPECT_EQ(output, "line 1\nline 2\n");
  result = Error(StatusCode::kUnavailable, "broken pipe");
  EXPECT_EQ(delivery.Deliver(batch)->message, "broken pipe");
}

}  // namespace
}  // namespace tenure::changefeed
