#include "changefeed/sink/net/threaded_sink.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"
#include "tests/changefeed/sink/recording_observer.h"

namespace tenure::changefeed {
namespace {

// What a delivery did, and what it waits for, whatever anybody wishes: the look-up of a name, say.
struct Place {
  std::promise<void> opens;
  std::shared_future<void> may_open = opens.get_future().share();
  std::atomic<bool> opened{false};
  std::atomic<int> sent{0};
  std::atomic<bool> interrupted{false};
  std::atomic<bool> gone{false};
};

class FakeDelivery final : public Delivery {
 public:
  explicit FakeDelivery(Place& place) : place_(place) {}
  ~FakeDelivery() override { place_.gone = true; }
  std::optional<FeedError> Open(const WritePermit&) override {
    place_.opened = true;
    place_.may_open.wait();
    return std::nullopt;
  }
  Progress Send(std::vector<Item>& batch) override {
    place_.sent += static_cast<int>(batch.size());
    return {.flushed = batch.back().position, .error = std::nullopt};
  }
  Progress Wait() override { return {}; }
  bool HasUndelivered() const override { return false; }
  void Interrupt() override { place_.interrupted = true; }

 private:
  Place& place_;
};

class ThreadedSinkTest : public testing::Test {
 protected:
  std::unique_ptr<Sink> Make(Place& place, bool permitted = true) {
    return std::make_unique<ThreadedSink>(
        executor_, endings_, observer_, SinkLimits{}, [permitted] { return permitted; },
        std::make_unique<FakeDelivery>(place));
  }
  template <class What>
  bool Until(What what) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!what() && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return what();
  }

  Place place_;  // outlives the threads
  Place other_;
  RecordingObserver observer_;
  runtime::RealExecutor executor_{"sink-test"};
  runtime::RealExecutor ending_{"sink-endings"};
  runtime::RealDisk disk_{ending_};
  std::shared_ptr<Background> endings_ = std::make_shared<Background>(ending_, disk_);
};

TEST_F(ThreadedSinkTest, DeliversAndGoesAway) {
  place_.opens.set_value();
  std::unique_ptr<Sink> sink;
  executor_.RunAndWait([&] {
    sink = Make(place_);
    for (uint64_t n = 1; n <= 5; ++n) {
      Message message = LineOf(n);
      EXPECT_TRUE(sink->Write(n, message));
    }
  });
  EXPECT_TRUE(Until([&] {
    uint64_t flushed = 0;
    executor_.RunAndWait([&] { flushed = observer_.flushed; });
    return flushed == 5;
  }));
  executor_.RunAndWait([&] { sink.reset(); });
  EXPECT_TRUE(place_.interrupted);
  EXPECT_TRUE(Until([&] { return place_.gone.load(); }));
  EXPECT_EQ(place_.sent, 5);
}

TEST_F(ThreadedSinkTest, WhoMayNotWriteDoesNotEvenOpen) {
  std::unique_ptr<Sink> sink;
  executor_.RunAndWait([&] { sink = Make(place_, /*permitted=*/false); });
  EXPECT_TRUE(Until([&] {
    bool failed = false;
    executor_.RunAndWait([&] { failed = observer_.error.has_value(); });
    return failed;
  }));
  EXPECT_EQ(observer_.error->message, NotPermitted().message);
  EXPECT_FALSE(place_.opened);
  executor_.RunAndWait([&] { sink.reset(); });
  EXPECT_TRUE(Until([&] { return place_.gone.load(); }));
}

TEST_F(ThreadedSinkTest, HoldsLittleUntilItIsOpened) {
  std::unique_ptr<Sink> sink;
  uint64_t position = 0;
  const auto fill = [&] {
    for (bool taken = true; taken;) {
      Message message = LineOf(position + 1, 10'000);
      taken = sink->Write(position + 1, message);
      if (taken) ++position;
    }
  };
  executor_.RunAndWait([&] {
    sink = Make(place_);
    fill();
    EXPECT_GT(sink->buffered_bytes(), SinkRoom::kLeast / 2);
    EXPECT_LE(sink->buffered_bytes(), SinkRoom::kLeast);
  });
  place_.opens.set_value();
  EXPECT_TRUE(Until([&] {
    int writable = 0;
    executor_.RunAndWait([&] { writable = observer_.writable; });
    return writable > 0;
  }));
  executor_.RunAndWait([&] { sink.reset(); });
}

TEST(SinkRoom, SinksShareABudget) {
  const SinkLimits limits{.max_buffered_bytes = 16 << 20,
                          .budget = std::make_shared<SinkBudget>(SinkBudget{64 << 20})};
  std::vector<std::unique_ptr<SinkRoom>> rooms;
  const auto add = [&](size_t count) {
    while (rooms.size() < count) rooms.push_back(std::make_unique<SinkRoom>(limits));
    return rooms.front()->bytes(true);
  };
  EXPECT_EQ(add(1), 16u << 20);
  EXPECT_EQ(add(64), 1u << 20);
  EXPECT_EQ(add(1000), SinkRoom::kLeast);
  EXPECT_EQ(rooms.front()->bytes(false), SinkRoom::kLeast);
  rooms.resize(2);
  EXPECT_EQ(rooms.front()->bytes(true), 16u << 20);
  EXPECT_EQ(SinkRoom({.max_buffered_bytes = 100}).bytes(false), 100u);
}

TEST_F(ThreadedSinkTest, OneThatCannotBeInterruptedHoldsUpNobody) {
  executor_.RunAndWait([&] {
    auto hung = Make(place_);
    Message message = LineOf(1);
    EXPECT_TRUE(hung->Write(1, message));
  });
  EXPECT_TRUE(place_.interrupted) << "and the executor goes on";
  other_.opens.set_value();
  std::unique_ptr<Sink> well;
  executor_.RunAndWait([&] {
    well = Make(other_);
    Message message = LineOf(1);
    EXPECT_TRUE(well->Write(1, message));
  });
  EXPECT_TRUE(Until([&] { return other_.sent == 1; }));
  executor_.RunAndWait([&] { well.reset(); });
  EXPECT_FALSE(place_.gone);
  place_.opens.set_value();
  EXPECT_TRUE(Until([&] { return place_.gone && other_.gone; }));
  EXPECT_EQ(place_.sent, 0) << "what was written is not sent once the sink is gone";
}

}  // namespace
}  // namespace tenure::changefeed
