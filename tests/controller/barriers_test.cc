// Grants of leases, contacts, and barriers, over a catalog that needs no consensus.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/refusal.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using catalog::ReasonOf;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Duration kProceedAfter = milliseconds(12100);

class BarriersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    t.Lead();
    for (FakeNode* node : {&a, &b}) {
      node->Register();
      node->Connect();
      t.executor.Advance(milliseconds(100));
    }
    Acknowledge(a);
    Acknowledge(b);
  }
  // The node reports that it serves from the present revision, under this epoch.
  void Acknowledge(FakeNode& node, uint64_t epoch = 7) {
    node.next.set_serving_revision(t.access.applied().value());
    node.next.set_leader_epoch(epoch);
    node.Beat();
  }
  const ipb::HeartbeatResponse& Answer(const FakeNode& node) const { return node.heard->messages.back(); }
  // Asks for a barrier at the present revision.
  void Ask(int64_t budget_ms = 0) {
    pb::BarrierRequest request;
    request.set_budget_ms(budget_ms);
    answer.reset();
    t.Start<pb::BarrierResponse>("tenure.v1.Cluster/Barrier", request, seconds(100),
                                 [this](StatusOr<pb::BarrierResponse> said) { answer = std::move(said); });
    t.executor.Advance(milliseconds(1));
  }
  bool Proceeded() const { return answer.has_value() && answer->ok() && (*answer)->proceeded(); }
  std::string DispositionOf(const FakeNode& node) const {
    for (const pb::BarrierNode& said : (*answer)->nodes()) {
      if (said.node() == node.id) return said.disposition();
    }
    return "none";
  }
  StatusOr<pb::FencingResponse> Set(int64_t fence_ms, pb::FencingMode mode = pb::FENCING_STRICT) {
    pb::FencingRequest request;
    request.set_set(true);
    request.set_fence_ms(fence_ms);
    request.set_mode(mode);
    return t.Call<pb::FencingResponse>("tenure.v1.Cluster/Fencing", request);
  }
  StatusOr<pb::FencingResponse> Settings() {
    return t.Call<pb::FencingResponse>("tenure.v1.Cluster/Fencing", pb::FencingRequest());
  }

  TestController t;
  FakeNode a{t, "a"};
  FakeNode b{t, "b"};
  std::optional<StatusOr<pb::BarrierResponse>> answer;
};

TEST_F(BarriersTest, AnAnswerGrantsTheLeaseUnderTheLeaderLeaseOnly) {
  a.Beat();
  ASSERT_TRUE(Answer(a).has_lease());
  EXPECT_EQ(Answer(a).lease().length_ms(), 10000);
  EXPECT_EQ(Answer(a).lease().mode(), pb::FENCING_STRICT);
  EXPECT_EQ(Answer(a).newest_format(), catalog::kNewestFormat);
  t.group.lease = false;
  a.Beat();
  EXPECT_FALSE(Answer(a).has_lease());
  EXPECT_EQ(Answer(a).sequence(), a.sequence) << "it is answered all the same";
  t.group.lease = true;
  a.next.set_stopping(true);
  a.next.set_lease_given_up(true);
  a.Beat();
  EXPECT_FALSE(Answer(a).has_lease());
}

TEST_F(BarriersTest, AllAliveCostsNoWait) {
  Ask();
  ASSERT_TRUE(Proceeded());
  EXPECT_EQ((*answer)->waited_ms(), 0);
  EXPECT_EQ(DispositionOf(a), "ACKED");
  EXPECT_EQ((*answer)->revision(), t.access.applied().value());
}

TEST_F(BarriersTest, WaitsForTheAcknowledgementAndTellsTheNodeThatItDoes) {
  ASSERT_TRUE(t.Put("k", "v").ok());
  Ask();
  EXPECT_FALSE(answer.has_value());
  t.executor.Advance(milliseconds(5));
  EXPECT_EQ(Answer(a).awaited_revision(), t.access.applied().value()) << "pushed";
  EXPECT_FALSE(Answer(a).has_lease()) << "a push answers no heartbeat";
  Acknowledge(a);
  EXPECT_FALSE(answer.has_value());
  ASSERT_THAT(t.barriers.Waiting(), ::testing::SizeIs(1));
  EXPECT_THAT(t.barriers.Waiting()[0].waiting_for(), ElementsAre(b.id));
  Acknowledge(b);
  t.executor.Advance(milliseconds(1));
  EXPECT_TRUE(Proceeded());
  EXPECT_TRUE(t.barriers.Waiting().empty());
  EXPECT_EQ(t.barriers.Numbers().proceeded, 1u);
}

TEST_F(BarriersTest, AnAcknowledgementUnderAnEarlierEpochIsNone) {
  ASSERT_TRUE(t.Put("k", "v").ok());
  Ask();
  Acknowledge(a);
  Acknowledge(b, /*epoch=*/6);
  t.executor.Advance(milliseconds(10));
  EXPECT_FALSE(answer.has_value());
  Acknowledge(b);
  t.executor.Advance(milliseconds(1));
  EXPECT_TRUE(Proceeded());
}

TEST_F(BarriersTest, WhatCountsIsTheNewestHeartbeat) {
  b.next.set_leader_epoch(7);
  b.Beat();  // fenced: it serves from nothing
  Ask();
  EXPECT_FALSE(answer.has_value()) << "it may recover with an older view than it had";
  Acknowledge(b);
  t.executor.Advance(milliseconds(1));
  EXPECT_TRUE(Proceeded());
}

TEST_F(BarriersTest, ALostNodeHoldsItUpUntilItsLeaseHasCertainlyRunOut) {
  ASSERT_TRUE(t.Put("k", "v").ok());
  const Instant granted = t.executor.Now();
  b.Beat();
  Ask();
  for (Duration waited{}; t.executor.Now() - granted < kProceedAfter - seconds(1);
       waited += milliseconds(500)) {
    t.executor.Advance(milliseconds(500));
    Acknowledge(a);
    EXPECT_FALSE(answer.has_value());
  }
  t.executor.Advance(kProceedAfter - (t.executor.Now() - granted) - milliseconds(1));
  EXPECT_FALSE(answer.has_value());
  t.executor.Advance(milliseconds(3));
  ASSERT_TRUE(Proceeded());
  EXPECT_EQ(DispositionOf(b), "FENCED_SAFE");
  // It costs the next one nothing.
  ASSERT_TRUE(t.Put("k", "w").ok());
  Acknowledge(a);
  Ask();
  EXPECT_TRUE(Proceeded());
}

TEST_F(BarriersTest, ANewLeaderCountsSilenceFromItsOwnBeginning) {
  t.executor.Advance(seconds(60));
  t.Follow(8, 2);
  t.Lead(9);
  t.executor.Advance(seconds(1));
  a.Connect();
  Acknowledge(a, 9);
  Ask();
  EXPECT_FALSE(answer.has_value()) << "another leader may have granted b a lease a moment ago";
  for (int i = 0; i < 22; ++i) {
    t.executor.Advance(milliseconds(500));
    Acknowledge(a, 9);
  }
  EXPECT_FALSE(answer.has_value());
  t.executor.Advance(milliseconds(600));
  ASSERT_TRUE(Proceeded());
  EXPECT_EQ(DispositionOf(b), "FENCED_SAFE");
}

TEST_F(BarriersTest, AFarewellCostsNoWait) {
  ASSERT_TRUE(t.Put("k", "v").ok());
  Acknowledge(a);
  Ask();
  EXPECT_FALSE(answer.has_value());
  b.next.set_lease_given_up(true);
  b.next.set_leader_epoch(7);
  b.next.set_stopping(true);
  b.Beat();
  t.executor.Advance(milliseconds(1));
  ASSERT_TRUE(Proceeded());
  EXPECT_EQ(DispositionOf(b), "SAFE_GONE");
  // Back again, with a lease: what it said is void.
  b.Restart();
  b.Beat();
  ASSERT_TRUE(Answer(b).has_lease());
  ASSERT_TRUE(t.Put("k", "w").ok());
  Acknowledge(a);
  Ask();
  EXPECT_FALSE(answer.has_value());
  Acknowledge(b);
  t.executor.Advance(milliseconds(1));
  EXPECT_TRUE(Proceeded());
}

TEST_F(BarriersTest, WhatWasSaidUnderAnEarlierEpochIsVoid) {
  ASSERT_TRUE(t.Put("k", "v").ok());
  Acknowledge(a);
  b.next.set_lease_given_up(true);
  b.next.set_leader_epoch(6);
  b.Beat();
  Ask();
  EXPECT_FALSE(answer.has_value());
  Acknowledge(b);
  t.executor.Advance(milliseconds(1));
  EXPECT_TRUE(Proceeded());
}

TEST_F(BarriersTest, TheVerdictCountsUnderTheLeaderLeaseOnly) {
  t.group.lease = false;
  Ask();
  EXPECT_FALSE(answer.has_value()) << "everybody has acknowledged, but another may lead by now";
  t.executor.Advance(milliseconds(100));
  EXPECT_FALSE(answer.has_value());
  t.group.lease = true;
  t.executor.Advance(milliseconds(110));  // its leadership is confirmed, and looked at again
  EXPECT_TRUE(Proceeded());
}

TEST_F(BarriersTest, ANodeThatRegistersMeanwhileIsWaitedFor) {
  ASSERT_TRUE(t.Put("k", "v").ok());
  Acknowledge(a);
  Ask();
  EXPECT_FALSE(answer.has_value());
  FakeNode c(t, "c");
  c.Register();
  c.Connect();
  c.Beat();
  Acknowledge(a);
  Acknowledge(b);
  t.executor.Advance(milliseconds(10));
  EXPECT_FALSE(answer.has_value()) << "it was granted a lease and has said nothing";
  Acknowledge(c);
  t.executor.Advance(milliseconds(1));
  EXPECT_TRUE(Proceeded());
}

TEST_F(BarriersTest, ASpentBudgetNamesTheNodes) {
  ASSERT_TRUE(t.Put("k", "v").ok());
  Acknowledge(a);
  Ask(/*budget_ms=*/300);
  t.executor.Advance(milliseconds(400));
  ASSERT_TRUE(answer.has_value() && answer->ok());
  EXPECT_FALSE((*answer)->proceeded());
  EXPECT_EQ(DispositionOf(a), "ACKED");
  EXPECT_EQ(DispositionOf(b), "UNSAFE");
  EXPECT_EQ(t.barriers.Numbers().failed, 1u);
}

TEST_F(BarriersTest, EndsWithTheLeadership) {
  ASSERT_TRUE(t.Put("k", "v").ok());
  Ask();
  t.Follow(8, 2);
  t.executor.Advance(milliseconds(10));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_NOT_LEADER);
}

TEST_F(BarriersTest, ARevisionThatIsNotAppliedIsRefused) {
  pb::BarrierRequest request;
  request.set_revision(t.access.applied().value() + 1);
  const auto refused = t.Call<pb::BarrierResponse>("tenure.v1.Cluster/Barrier", request);
  EXPECT_THAT(std::string(MessageOf(refused.status())), HasSubstr("is not in 1.."));
}

TEST_F(BarriersTest, ManyWaitAtTheCostOfOne) {
  std::vector<bool> done(200);
  for (size_t i = 0; i < done.size(); ++i) {
    ASSERT_TRUE(t.Put("k", std::to_string(i)).ok());
    t.Start<pb::BarrierResponse>(
        "tenure.v1.Cluster/Barrier", pb::BarrierRequest(), seconds(100),
        [&done, i](StatusOr<pb::BarrierResponse> said) { done[i] = said.ok() && said->proceeded(); });
  }
  t.executor.Advance(milliseconds(1));
  EXPECT_EQ(t.barriers.Numbers().waiting, 200u);
  EXPECT_EQ(std::count(done.begin(), done.end(), true), 0);
  Acknowledge(a);
  Acknowledge(b);
  t.executor.Advance(milliseconds(1));
  EXPECT_EQ(std::count(done.begin(), done.end(), true), 200);
}

TEST_F(BarriersTest, TheBoundIsLoweredWhenEveryNodeHasConfirmed) {
  ASSERT_TRUE(Set(4000).ok());
  auto settings = Settings();
  ASSERT_TRUE(settings.ok());
  EXPECT_EQ(settings->settings().bound_ms(), 10000);
  EXPECT_EQ(settings->proceed_ms(), 12100);
  EXPECT_THAT(settings->unconfirmed(), ElementsAre(a.id, b.id));
  const uint64_t version = settings->settings().version();
  a.Beat();
  EXPECT_EQ(Answer(a).lease().length_ms(), 4000);
  EXPECT_EQ(Answer(a).lease().version(), version);
  a.next.set_confirmed_fencing(version + 1);
  a.Beat();
  b.next.set_confirmed_fencing(1);  // of the version before
  b.Beat();
  t.executor.Advance(milliseconds(10));
  EXPECT_EQ(Settings()->settings().bound_ms(), 10000);
  EXPECT_THAT(Settings()->unconfirmed(), ElementsAre(b.id));
  a.next.set_confirmed_fencing(version + 1);
  a.Beat();
  b.next.set_confirmed_fencing(version + 1);
  b.Beat();
  t.executor.Advance(milliseconds(10));
  settings = Settings();
  EXPECT_EQ(settings->settings().bound_ms(), 4000);
  EXPECT_EQ(settings->settings().version(), version);
  EXPECT_EQ(settings->proceed_ms(), 6040);
}

TEST_F(BarriersTest, AvailableIsNeverPassedBySilence) {
  ASSERT_TRUE(Set(10000, pb::FENCING_AVAILABLE).ok());
  EXPECT_EQ(Settings()->proceed_ms(), 0);
  for (int i = 0; i < 60; ++i) {
    t.executor.Advance(seconds(1));
    Acknowledge(a);
  }
  Ask(/*budget_ms=*/1000);
  t.executor.Advance(seconds(2));
  ASSERT_TRUE(answer.has_value() && answer->ok());
  EXPECT_FALSE((*answer)->proceeded());
  EXPECT_EQ(DispositionOf(b), "UNSAFE");
}

TEST_F(BarriersTest, ARemovedNodeIsWaitedForUntilItHasNoLease) {
  b.stream.reset();
  for (int i = 0; i < 35; ++i) {
    t.executor.Advance(seconds(1));
    Acknowledge(a);
  }
  ASSERT_EQ(b.State(), pb::NODE_DOWN);
  // Another leader: what this one knows of b's lease begins anew.
  t.Follow(8, 2);
  t.Lead(9);
  a.Connect();
  t.executor.Advance(seconds(4));
  Acknowledge(a, 9);
  pb::RemoveNodeRequest request;
  request.set_node(b.id);
  StatusOr<pb::RemoveNodeResponse> removed = absl::InternalError("not asked");
  for (int i = 0; i < 40 && !removed.ok(); ++i) {
    removed = t.Call<pb::RemoveNodeResponse>("tenure.v1.Cluster/RemoveNode", request);
    t.executor.Advance(milliseconds(200));
    Acknowledge(a, 9);
  }
  ASSERT_TRUE(removed.ok()) << removed.status();
  const Duration led = t.executor.Now() - t.leadership.since();
  if (led < kProceedAfter - seconds(1)) {
    EXPECT_EQ(b.State(), pb::NODE_REMOVING);
  }
  for (int i = 0; i < 30; ++i) {
    t.executor.Advance(milliseconds(500));
    Acknowledge(a, 9);
  }
  EXPECT_EQ(b.State(), pb::NODE_REMOVED);
  Ask();
  ASSERT_TRUE(Proceeded());
  EXPECT_EQ(DispositionOf(b), "SAFE_GONE");
}

}  // namespace
}  // namespace tenure::controller
