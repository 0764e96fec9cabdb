#include "controller/leadership/leadership.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "catalog/refusal.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using namespace ::tenure::v1;
using runtime::Task;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Records what is done to it; can fail, hang, and be required.
class FakeService : public LeaderService {
 public:
  FakeService(runtime::Executor& executor, std::string name, std::vector<std::string>& log)
      : executor_(executor), name_(std::move(name)), log_(log) {}
  std::string_view name() const override { return name_; }
  bool required() const override { return is_required; }
  Task<Status> Start(Term epoch, runtime::StopToken stop) override {
    log_.push_back("start " + name_ + " " + std::to_string(epoch.value()));
    EXPECT_FALSE(running) << name_;
    running = true;
    current = epoch;
    if (delay > Duration::zero() && !co_await runtime::SleepFor(executor_, delay, stop)) {
      co_return absl::CancelledError("stopped");
    }
    if (failures > 0) {
      --failures;
      running = false;
      co_return absl::UnavailableError("not now");
    }
    co_return OkStatus();
  }
  void Stop() override {
    log_.push_back("stop " + name_);
    running = false;
    current = Term();
  }

  bool is_required = false;
  int failures = 0;
  Duration delay{};
  bool running = false;
  Term current;

 private:
  runtime::Executor& executor_;
  const std::string name_;
  std::vector<std::string>& log_;
};

class LeadershipTest : public ::testing::Test {
 protected:
  LeadershipTest() {
    leadership.AddService(a);
    leadership.AddService(b);
  }
  ~LeadershipTest() override {
    bool stopped = false;
    leadership.Stop([&] { stopped = true; });
    executor.Advance(seconds(1));
    EXPECT_TRUE(stopped);
    EXPECT_FALSE(a.running);
    executor.Stop();
  }
  void Elect(uint64_t term) {
    leadership.OnRoleChange({raft::Role::kLeader, Term(term), ReplicaId(1)});
    leadership.OnServing(Term(term));
  }
  void Depose(uint64_t term, uint64_t leader = 0) {
    leadership.OnRoleChange({raft::Role::kFollower, Term(term), ReplicaId(leader)});
  }
  void Settle() { executor.Advance(milliseconds(1)); }

  runtime::ManualExecutor executor;
  CatalogMachine machine{{}, {}};
  ControllerDirectory directory{ThreeControllers(), machine.catalog()};
  Leadership leadership{executor, ReplicaId(1), directory, {}, {}};
  std::vector<std::string> log;
  FakeService a{executor, "a", log};
  FakeService b{executor, "b", log};
};

TEST_F(LeadershipTest, ServesOnceTheServicesHaveStarted) {
  EXPECT_EQ(leadership.phase(), "electing");
  EXPECT_EQ(catalog::ReasonOf(leadership.CheckServing()), REASON_NOT_LEADER);
  b.delay = milliseconds(50);
  leadership.OnRoleChange({raft::Role::kLeader, Term(3), ReplicaId(1)});
  EXPECT_EQ(leadership.phase(), "starting");
  EXPECT_EQ(catalog::RefusalOf(leadership.CheckLeading())->warming_up().reason(), "raft");
  leadership.OnServing(Term(3));
  EXPECT_TRUE(leadership.leading());
  EXPECT_TRUE(leadership.CheckLeading().ok());
  Settle();
  const auto refusal = catalog::RefusalOf(leadership.CheckServing());
  EXPECT_EQ(refusal->reason(), REASON_WARMING_UP);
  EXPECT_EQ(refusal->warming_up().reason(), "services");
  EXPECT_EQ(refusal->warming_up().missing(0), "b");
  executor.Advance(milliseconds(60));
  EXPECT_TRUE(leadership.CheckServing().ok());
  EXPECT_EQ(leadership.phase(), "serving");
  ASSERT_EQ(leadership.transitions().size(), 1u);
  EXPECT_EQ(leadership.transitions()[0].epoch(), 3u);
  EXPECT_EQ(leadership.transitions()[0].to(), "leader");
}

TEST_F(LeadershipTest, EndsAtOnceAndStopsInReverseOrder) {
  Elect(3);
  Settle();
  const auto token = leadership.token();
  Depose(4, 2);
  EXPECT_FALSE(leadership.serving());
  EXPECT_FALSE(leadership.leading());
  EXPECT_TRUE(token.stop_requested());
  const auto refusal = catalog::RefusalOf(leadership.CheckServing());
  EXPECT_EQ(refusal->not_leader().leader_address(), "c2:7100");
  EXPECT_TRUE(a.running);  // the transition is queued
  Settle();
  EXPECT_EQ(log, (std::vector<std::string>{"start a 3", "start b 3", "stop b", "stop a"}));
  EXPECT_EQ(leadership.transitions()[0].to(), "follower");
  EXPECT_EQ(leadership.phase(), "starting") << "the next leader has not said more yet";
}

TEST_F(LeadershipTest, AStaleBecomeStartsNothing) {
  Elect(3);
  Depose(4);
  Elect(5);
  Settle();
  EXPECT_EQ(log, (std::vector<std::string>{"start a 5", "start b 5"}));
  EXPECT_EQ(a.current, Term(5));
}

TEST_F(LeadershipTest, DeposedWhileStarting) {
  b.delay = seconds(3);
  Elect(3);
  executor.Advance(seconds(1));
  Depose(4);
  executor.Advance(seconds(1));
  EXPECT_EQ(log, (std::vector<std::string>{"start a 3", "start b 3", "stop b", "stop a"}));
  EXPECT_FALSE(leadership.serving());
  EXPECT_EQ(leadership.phase(), "electing");
}

TEST_F(LeadershipTest, AFailingServiceIsRetriedAndBlocksNobody) {
  b.failures = 3;
  Elect(3);
  Settle();
  EXPECT_TRUE(leadership.serving());
  EXPECT_EQ(leadership.services()[1].state(), "failed");
  EXPECT_EQ(leadership.services()[1].error(), "not now");
  executor.Advance(seconds(1));
  EXPECT_EQ(leadership.services()[1].state(), "running");
}

TEST_F(LeadershipTest, ARequiredServiceIsWaitedFor) {
  b.failures = 3;
  b.is_required = true;
  Elect(3);
  executor.Advance(milliseconds(200));
  EXPECT_FALSE(leadership.serving());
  executor.Advance(seconds(1));
  EXPECT_TRUE(leadership.serving());
}

TEST_F(LeadershipTest, AHangingServiceIsWaitedForUpToALimit) {
  b.delay = seconds(1000);
  Elect(3);
  executor.Advance(seconds(9));
  EXPECT_FALSE(leadership.serving());
  executor.Advance(seconds(2));
  EXPECT_TRUE(leadership.serving());
  EXPECT_EQ(leadership.services()[1].state(), "starting");
}

TEST_F(LeadershipTest, ReElectedInOneTurn) {
  Elect(3);
  Settle();
  leadership.OnRoleChange({raft::Role::kLeader, Term(4), ReplicaId(1)});
  EXPECT_FALSE(leadership.serving());
  leadership.OnServing(Term(4));
  Settle();
  EXPECT_TRUE(leadership.serving());
  EXPECT_EQ(leadership.epoch(), Term(4));
  EXPECT_EQ(a.current, Term(4));
}

TEST_F(LeadershipTest, KeepsTheLastTransitions) {
  for (uint64_t term = 1; term < 40; term += 2) {
    Elect(term);
    Settle();
    Depose(term + 1);
    Settle();
  }
  EXPECT_EQ(leadership.transitions().size(), 10u);
  EXPECT_EQ(leadership.transitions()[0].epoch(), 39u);
}

// Storms: a service runs only in the current epoch, and serving is only ever said of the current one.
TEST_F(LeadershipTest, Storm) {
  Prng prng(1);
  uint64_t term = 1;
  for (int i = 0; i < 2000; ++i) {
    a.delay = milliseconds(prng.Below(5));
    b.delay = milliseconds(prng.Below(5));
    b.failures = static_cast<int>(prng.Below(3)) / 2;
    if (prng.Chance(1, 2)) {
      Elect(++term);
    } else {
      Depose(++term, prng.Below(4));
    }
    if (prng.Chance(1, 2)) executor.Advance(milliseconds(prng.Below(12)));
    if (leadership.serving()) {
      EXPECT_EQ(leadership.epoch(), Term(term));
      EXPECT_EQ(a.current, leadership.epoch());
    }
  }
  a.delay = b.delay = Duration::zero();
  Elect(++term);
  executor.Advance(seconds(1));
  EXPECT_TRUE(leadership.serving());
  EXPECT_EQ(a.current, Term(term));
}

TEST(ClusterRecord, IsMadeOnTheFirstLeadershipAndKeptUpToDate) {
  TestController t;
  EXPECT_EQ(t.machine.catalog().cluster(), nullptr);
  t.Lead();
  ASSERT_NE(t.machine.catalog().cluster(), nullptr);
  EXPECT_EQ(t.machine.catalog().cluster()->cluster_id(), "cluster");
  EXPECT_EQ(t.machine.catalog().controllers().size(), 3u);
  EXPECT_TRUE(t.leadership.serving());
  const uint64_t applied = t.access.applied().value();
  t.Follow(8, 2);
  t.Lead(9);
  EXPECT_TRUE(t.leadership.serving());
  EXPECT_EQ(t.access.applied().value(), applied);  // nothing to change
}

TEST(ClusterRecord, AChangedAddressIsWritten) {
  TestController t;
  t.Lead();
  pb::ControllerRecord moved = ThreeControllers()[0];
  moved.set_address("elsewhere:7100");
  ClusterRecordService service(t.executor, t.access, "cluster", moved, ThreeControllers());
  runtime::TaskScope scope(t.executor);
  const auto run = [&]() -> Task<void> {
    const Status status = co_await service.Start(Term(7), scope.token());
    EXPECT_TRUE(status.ok()) << status;
  };
  scope.Spawn(run());
  t.executor.Advance(milliseconds(1));
  EXPECT_EQ(t.machine.catalog().controllers().at(1).controller().address(), "elsewhere:7100");
  EXPECT_EQ(t.directory.AddressOf(1), "elsewhere:7100");
}

TEST(ClusterRecord, AnotherClustersCatalogIsNotServed) {
  TestController t;
  t.Lead();
  ClusterRecordService service(t.executor, t.access, "another", ThreeControllers()[0], ThreeControllers());
  runtime::TaskScope scope(t.executor);
  const auto run = [&]() -> Task<void> {
    const Status status = co_await service.Start(Term(7), scope.token());
    EXPECT_EQ(catalog::ReasonOf(status), REASON_WRONG_CLUSTER);
  };
  scope.Spawn(run());
  t.executor.Advance(milliseconds(1));
}

}  // namespace
}  // namespace tenure::controller
