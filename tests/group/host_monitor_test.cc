// Two processes that watch each other over a link that may break in either direction.
#include "group/host_monitor.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tests/runtime/manual_executor.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

class HostMonitorTest : public testing::Test {
 protected:
  struct End final : Transport, HostListener {
    explicit End(HostMonitorTest& test_in, uint64_t id_in) : test(test_in), id(id_in) {}
    void SetReceiver(MessageReceiver*) override {}
    void SetSelf(uint64_t) override {}
    uint64_t self() const override { return id; }
    void SetClusterId(std::string) override {}
    void SetIncarnation(uint64_t) override {}
    void SetOnSuperseded(std::function<void(uint64_t)>) override {}
    void Send(uint64_t, GroupId, ReplicaId, ReplicaId, const raft::Message&) override {}
    void SendHeartbeat(uint64_t to, const HostHeartbeat& heartbeat) override {
      ++sent;
      if (cut) return;
      test.executor.Post([this, to, heartbeat] {
        if (End& other = test.At(to); other.monitor) other.monitor->OnHeartbeat(heartbeat);
      });
    }
    TransportCounters counters() const override { return {}; }
    void Flush() override {}
    void Offer(uint64_t, const SnapshotOffer&, Callback<StatusOr<uint64_t>>) override {}
    void PutChunk(uint64_t, SnapshotChunk, Callback<StatusOr<uint64_t>>) override {}
    AddressBook& addresses() override { return book; }
    void OnHostSilent(uint64_t host) override { events.push_back("silent " + std::to_string(host)); }
    void OnHostReturned(uint64_t host, bool restarted) override {
      events.push_back((restarted ? "restarted " : "returned ") + std::to_string(host));
    }
    std::vector<std::string> TakeEvents() { return std::exchange(events, {}); }

    HostMonitorTest& test;
    const uint64_t id;
    bool cut = false;  // nothing leaves
    int sent = 0;
    AddressBook book;
    std::vector<std::string> events;
    std::unique_ptr<HostMonitor> monitor;
  };

  void Start(End& end, uint64_t incarnation) {
    end.monitor = std::make_unique<HostMonitor>(executor, end, end, incarnation,
                                                HostMonitor::Options{.interval = 200ms, .silent_after = 1s});
    end.monitor->Watch(3 - end.id);
  }
  End& At(uint64_t id) { return id == 1 ? one : two; }

  using Events = std::vector<std::string>;
  runtime::ManualExecutor executor;
  End one{*this, 1};
  End two{*this, 2};
};

TEST_F(HostMonitorTest, SilenceAndReturn) {
  Start(one, 11);
  Start(two, 21);
  EXPECT_EQ(one.monitor->HealthOf(2), HostHealth::kUnknown);
  executor.Advance(1s);
  EXPECT_EQ(one.monitor->HealthOf(2), HostHealth::kAlive);
  EXPECT_EQ(one.TakeEvents(), Events{});  // it was never gone
  two.cut = true;
  executor.Advance(1500ms);
  EXPECT_EQ(one.monitor->HealthOf(2), HostHealth::kSilent);
  EXPECT_EQ(one.TakeEvents(), Events{"silent 2"});
  two.cut = false;
  executor.Advance(600ms);
  EXPECT_EQ(one.monitor->HealthOf(2), HostHealth::kAlive);
  EXPECT_EQ(one.TakeEvents(), Events{"returned 2"});
}

TEST_F(HostMonitorTest, BothSidesSeeALinkThatIsBrokenOneWay) {
  Start(one, 11);
  Start(two, 21);
  executor.Advance(1s);
  one.cut = true;  // two goes on talking to one
  executor.Advance(1800ms);
  EXPECT_EQ(one.TakeEvents(), Events{"silent 2"});
  EXPECT_EQ(two.TakeEvents(), Events{"silent 1"});
}

TEST_F(HostMonitorTest, ARestartIsSeenHoweverShort) {
  Start(one, 11);
  Start(two, 21);
  executor.Advance(1s);
  two.monitor.reset();
  Start(two, 22);
  executor.Advance(600ms);
  EXPECT_EQ(one.TakeEvents(), Events{"restarted 2"});
  EXPECT_EQ(one.monitor->HealthOf(2), HostHealth::kAlive);
  EXPECT_EQ(two.TakeEvents(), Events{});
}

// A replica that has heard nothing of its group watches nobody.
TEST_F(HostMonitorTest, OneThatWatchesNobodyAnswers) {
  Start(one, 11);
  two.monitor = std::make_unique<HostMonitor>(executor, two, two, 21,
                                              HostMonitor::Options{.interval = 200ms, .silent_after = 1s});
  executor.Advance(2s);
  EXPECT_EQ(one.monitor->HealthOf(2), HostHealth::kAlive);
  EXPECT_EQ(one.TakeEvents(), Events{});
  // One message for each heartbeat, and none for an answer.
  one.monitor->Unwatch(2);
  executor.Advance(2s);
  one.sent = two.sent = 0;
  two.monitor->OnHeartbeat({.from = 1, .incarnation = 11, .sequence = 99, .echo = 0, .echo_incarnation = 0});
  executor.Advance(2s);
  EXPECT_EQ(two.sent, 1);
  EXPECT_EQ(one.sent, 0);
}

TEST_F(HostMonitorTest, OneThatWasNeverHeardIsSilentInTheEnd) {
  Start(one, 11);
  executor.Advance(900ms);
  EXPECT_EQ(one.monitor->HealthOf(2), HostHealth::kUnknown);
  executor.Advance(400ms);
  EXPECT_EQ(one.monitor->HealthOf(2), HostHealth::kSilent);
  EXPECT_EQ(one.TakeEvents(), Events{"silent 2"});
  executor.Advance(5s);
  EXPECT_EQ(one.TakeEvents(), Events{});
}

// It came back so soon that nobody had missed it, says one word of its new life, hears none, and dies for good.
TEST_F(HostMonitorTest, OneThatDiesInItsNewLifeIsReported) {
  Start(one, 11);
  Start(two, 21);
  executor.Advance(2s);
  two.monitor.reset();
  one.cut = true;
  executor.Advance(100ms);
  Start(two, 22);
  executor.Advance(250ms);
  two.monitor.reset();
  ASSERT_EQ(one.monitor->HealthOf(2), HostHealth::kSilent);
  one.TakeEvents();
  executor.Advance(3s);
  EXPECT_EQ(one.TakeEvents(), Events{"silent 2"});
}

TEST_F(HostMonitorTest, WatchersAreCounted) {
  Start(one, 11);
  Start(two, 21);
  one.monitor->Watch(2);
  one.monitor->Unwatch(2);
  executor.Advance(1s);
  EXPECT_EQ(one.monitor->HealthOf(2), HostHealth::kAlive);
  one.monitor->Unwatch(2);
  EXPECT_EQ(one.monitor->HealthOf(2), HostHealth::kUnknown);
}

}  // namespace
}  // namespace tenure::group
