#include "daemon/sink_threads.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

namespace tenure::daemon {
namespace {

class SinkThreadsTest : public testing::Test {
 protected:
  std::shared_ptr<changefeed::Background> For(const std::string& destination) {
    std::shared_ptr<changefeed::Background> background;
    owner_.RunAndWait([&] { background = threads_.For(destination); });
    return background;
  }
  size_t Size() {
    size_t size = 0;
    owner_.RunAndWait([&] { size = threads_.size(); });
    return size;
  }
  bool ShrinksTo(size_t size) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (Size() != size && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Size() == size;
  }

  runtime::RealExecutor owner_{"owner", runtime::RealExecutor::Work::kBlocking};
  SinkThreads threads_{owner_};
};

TEST_F(SinkThreadsTest, ADestinationHasOneThreadAsLongAsItIsUsed) {
  auto first = For("/a");
  auto second = For("/a");
  auto other = For("/b");
  EXPECT_EQ(first, second);
  EXPECT_NE(first, other);
  EXPECT_EQ(Size(), 2u);
  first.reset();
  EXPECT_EQ(Size(), 2u);
  second.reset();
  EXPECT_TRUE(ShrinksTo(1));
  other.reset();
  EXPECT_TRUE(ShrinksTo(0));
  EXPECT_NE(For("/a"), nullptr);
  EXPECT_TRUE(ShrinksTo(0));
}

TEST_F(SinkThreadsTest, OneThatHangsStaysUntilItHasAnsweredAndHoldsUpNoOther) {
  std::promise<void> healed;
  auto hung = For("/hung");
  std::future<void> heals = healed.get_future();
  runtime::Executor& executor = hung->executor;
  // As a sink does that is gone while its work is under way.
  executor.Post([&heals, users = std::move(hung)] { heals.wait(); });
  std::promise<void> done;
  auto well = For("/well");
  well->executor.Post([&done] { done.set_value(); });
  done.get_future().wait();
  well.reset();
  EXPECT_TRUE(ShrinksTo(1));
  healed.set_value();
  EXPECT_TRUE(ShrinksTo(0));
}

}  // namespace
}  // namespace tenure::daemon
