#include "sim/sim_network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/scheduler.h"
#include "sim/sim_executor.h"

namespace tenure::sim {
namespace {

using namespace std::chrono_literals;

struct Sink : runtime::StreamHandler {
  void OnMessage(std::string message) override { messages.push_back(std::move(message)); }
  void OnClosed(Status status) override { closed = std::move(status); }
  std::vector<std::string> messages;
  std::optional<Status> closed;
};

struct TestService : runtime::Service {
  bool IsStream(std::string_view) const override { return stream_service; }
  void OnCall(const runtime::CallInfo&, std::string request, runtime::Reply reply) override {
    ++executed;
    reply(std::move(request));
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream> s) override {
    stream = std::move(s);
    auto handler = std::make_unique<Sink>();
    sink = handler.get();
    return handler;
  }
  bool stream_service = false;
  int executed = 0;
  Sink* sink = nullptr;
  std::unique_ptr<runtime::Stream> stream;
};

struct Node {
  Node(Scheduler& world, SimClock& clock, SimNetwork& net, const std::string& name)
      : process(world, clock, name, Prng(5).Fork(name)), executor(process.AddExecutor("main")) {
    net.AddHost(process, name);
    network = net.MakeView(process, executor);
  }
  ~Node() {
    service.stream.reset();
    process.Kill();
  }
  SimProcess process;
  SimExecutor& executor;
  TestService service;
  std::unique_ptr<runtime::Network> network;
};

class SimNetworkTest : public testing::Test {
 protected:
  explicit SimNetworkTest(uint64_t seed = 1) : net(world, Prng(seed)) {
    b->network->Serve("t.Call", b->service);
    b->network->Serve("t.Stream", stream_service);
    stream_service.stream_service = true;
  }
  ~SimNetworkTest() override {
    stream.reset();
    stream_service.stream.reset();
  }
  std::optional<StatusOr<std::string>> Call(Duration timeout, Duration wait) {
    std::optional<StatusOr<std::string>> answer;
    auto shared = std::make_shared<std::optional<StatusOr<std::string>>>();
    a->executor.Post([this, timeout, shared] {
      a->network->Call("b", "t.Call/Echo", "x", timeout, [shared](StatusOr<std::string> r) { *shared = r; });
    });
    world.RunUntil([&] { return shared->has_value(); }, wait);
    return *shared;
  }
  void OpenStream(bool lossy = false) {
    a->executor.Post(
        [this, lossy] { stream = a->network->OpenStream("b", "t.Stream/S", sink, {.lossy = lossy}); });
    world.RunFor(10ms);
    ASSERT_NE(stream_service.sink, nullptr);
  }
  void Send(int from, int to) {
    a->executor.Post([this, from, to] {
      for (int i = from; i < to; ++i) stream->Send(std::to_string(i));
    });
  }

  Scheduler world;
  SimClock clock{world, Instant(1h), WallFromMillis(0)};
  SimNetwork net;
  std::unique_ptr<Node> a = std::make_unique<Node>(world, clock, net, "a");
  std::unique_ptr<Node> b = std::make_unique<Node>(world, clock, net, "b");
  TestService stream_service;
  Sink sink;
  std::unique_ptr<runtime::Stream> stream;
};

TEST_F(SimNetworkTest, ABlockedWayThereTimesOutWithoutExecution) {
  net.Block("a", "b");
  EXPECT_EQ(Call(1s, 2s)->status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(b->service.executed, 0);
  net.Unblock("a", "b");
  world.RunFor(1s);
  EXPECT_EQ(b->service.executed, 1) << "what was held arrives after all";
}

TEST_F(SimNetworkTest, ABlockedWayBackTimesOutAfterExecution) {
  net.Block("b", "a");
  EXPECT_EQ(Call(1s, 2s)->status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(b->service.executed, 1);
}

TEST_F(SimNetworkTest, ALongBlockBreaksTheConnectionBothWays) {
  OpenStream();
  net.Partition({"a"}, {"b"});
  const auto answer = Call(60s, 20s);
  ASSERT_TRUE(answer.has_value()) << "keepalive ends it before the timeout";
  EXPECT_EQ(answer->status().code(), StatusCode::kUnavailable);
  ASSERT_TRUE(sink.closed.has_value());
  EXPECT_EQ(sink.closed->code(), StatusCode::kUnavailable);
  const auto second = Call(60s, 5s);
  ASSERT_TRUE(second.has_value());
  EXPECT_TRUE(runtime::WasNotSent(second->status()));
  net.HealAll();
  EXPECT_TRUE(Call(1s, 2s)->ok());
}

TEST_F(SimNetworkTest, StreamsSurviveAShortBlockInOrder) {
  OpenStream();
  Send(0, 10);
  world.RunFor(10ms);
  net.Partition({"a"}, {"b"});
  Send(10, 20);
  world.RunFor(2s);
  EXPECT_EQ(stream_service.sink->messages.size(), 10u);
  EXPECT_GT(stream->buffered_bytes(), 0u);
  net.HealAll();
  Send(20, 30);
  world.RunFor(1s);
  ASSERT_EQ(stream_service.sink->messages.size(), 30u);
  for (size_t i = 0; i < 30; ++i) EXPECT_EQ(stream_service.sink->messages[i], std::to_string(i));
  EXPECT_EQ(stream->buffered_bytes(), 0u);
}

TEST_F(SimNetworkTest, LossyStreamsLoseRepeatAndReorder) {
  net.SetDefaults(
      {.loss_per_million = 100'000, .duplicate_per_million = 100'000, .reorder_per_million = 100'000});
  OpenStream(true);
  Send(0, 1000);
  world.RunFor(1s);
  std::vector<int> seen;
  for (const auto& m : stream_service.sink->messages) seen.push_back(std::stoi(m));
  EXPECT_FALSE(std::is_sorted(seen.begin(), seen.end()));
  std::sort(seen.begin(), seen.end());
  EXPECT_NE(std::adjacent_find(seen.begin(), seen.end()), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  EXPECT_LT(seen.size(), 960u);
  EXPECT_GT(seen.size(), 840u);
}

TEST_F(SimNetworkTest, OrderedStreamsDoNot) {
  net.SetDefaults(
      {.loss_per_million = 500'000, .duplicate_per_million = 500'000, .reorder_per_million = 500'000});
  OpenStream(false);
  Send(0, 500);
  world.RunFor(1s);
  ASSERT_EQ(stream_service.sink->messages.size(), 500u);
  for (size_t i = 0; i < 500; ++i) EXPECT_EQ(stream_service.sink->messages[i], std::to_string(i));
}

TEST_F(SimNetworkTest, AnswersGetLost) {
  net.SetLink("b", "a", {.lost_answers_per_million = 1'000'000});
  const auto answer = Call(1s, 2s);
  EXPECT_EQ(answer->status().code(), StatusCode::kUnavailable);
  EXPECT_FALSE(runtime::WasNotSent(answer->status()));
  EXPECT_EQ(b->service.executed, 1);
  net.SetLink("b", "a", {});
  net.SetLink("a", "b", {.lost_requests_per_million = 1'000'000});
  EXPECT_EQ(Call(1s, 2s)->status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(b->service.executed, 1);
}

TEST_F(SimNetworkTest, AKilledProcessResetsItsConnections) {
  OpenStream();
  b->process.Kill();
  world.RunFor(10ms);
  ASSERT_TRUE(sink.closed.has_value());
  EXPECT_EQ(sink.closed->code(), StatusCode::kUnavailable);
  EXPECT_TRUE(runtime::WasNotSent(Call(1s, 2s)->status()));
}

TEST_F(SimNetworkTest, AMachineWithoutPowerIsSilent) {
  OpenStream();
  net.PowerOff("b");
  b->process.Kill();
  world.RunFor(3s);
  EXPECT_FALSE(sink.closed.has_value());
  world.RunFor(10s);
  EXPECT_TRUE(sink.closed.has_value());
  const auto answer = Call(60s, 5s);
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(runtime::WasNotSent(answer->status()));
}

TEST_F(SimNetworkTest, ANewIncarnationIsReached) {
  b.reset();
  b = std::make_unique<Node>(world, clock, net, "b");
  b->network->Serve("t.Call", b->service);
  EXPECT_TRUE(Call(1s, 2s)->ok());
}

TEST_F(SimNetworkTest, APausedServerAnswersLater) {
  b->process.Pause();
  EXPECT_EQ(Call(1s, 2s)->status().code(), StatusCode::kDeadlineExceeded);
  b->process.Resume();
  world.RunFor(10ms);
  EXPECT_EQ(b->service.executed, 1);
}

TEST_F(SimNetworkTest, BrokenConnectionsEndBothSides) {
  OpenStream();
  net.BreakConnections("b", "a");
  world.RunFor(10ms);
  EXPECT_TRUE(sink.closed.has_value());
  EXPECT_TRUE(Call(1s, 2s)->ok()) << "a new connection is made";
}

TEST(SimNetworkDeterminism, TheSameSeedGivesTheSameRun) {
  const auto run = [](uint64_t seed) {
    Scheduler world;
    SimClock clock(world, Instant(1h), WallFromMillis(0));
    SimNetwork net(
        world, Prng(seed),
        {.loss_per_million = 50'000, .reorder_per_million = 100'000, .lost_answers_per_million = 50'000});
    Node a(world, clock, net, "a");
    Node b(world, clock, net, "b");
    b.network->Serve("t.Call", b.service);
    int answered = 0;
    std::function<void()> next = [&] {
      a.network->Call("b", "t.Call/Echo", std::to_string(answered), 100ms, [&](StatusOr<std::string>) {
        if (++answered < 500) next();
      });
    };
    a.executor.Post([&] { next(); });
    world.RunUntil([&] { return answered == 500; }, 1h);
    return std::make_pair(world.event_hash(), world.now());
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

}  // namespace
}  // namespace tenure::sim
