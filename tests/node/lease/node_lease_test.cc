#include "node/lease/node_lease.h"

#include <gtest/gtest.h>

#include "node/lease/request_fence.h"

namespace tenure::node {
namespace {

using namespace std::chrono_literals;  // NOLINT
namespace pb = ::tenure::v1;

class ManualClock final : public runtime::Clock {
 public:
  Instant Now() const override { return now; }
  WallTime WallNow() const override { return {}; }
  Instant now{1000s};
};

class NodeLeaseTest : public ::testing::Test {
 protected:
  LeaseGrant Grant(Instant sent_at, uint64_t epoch = 1, uint64_t revision = 5) const {
    return {.sent_at = sent_at, .epoch = Term(epoch), .revision = Revision(revision), .length = 10s};
  }
  // A lease from now on, and a pull that is new enough.
  void Serve(uint64_t revision = 5) {
    lease.OnGrant(Grant(clock.now, 1, revision), clock.now);
    ASSERT_TRUE(lease.OnPulled(Revision(revision), clock.now));
  }

  ManualClock clock;
  NodeLease lease{clock.now};
};

TEST_F(NodeLeaseTest, BeginsFencedAndServesAfterAGrantAndAPull) {
  EXPECT_FALSE(lease.Serves(clock.now));
  EXPECT_EQ(lease.FencedReason(clock.now), "starting");
  EXPECT_FALSE(lease.OnPulled(Revision(9), clock.now)) << "without a lease no pull helps";
  lease.OnGrant(Grant(clock.now), clock.now);
  EXPECT_TRUE(lease.WantsPull(clock.now));
  EXPECT_FALSE(lease.Serves(clock.now));
  EXPECT_FALSE(lease.OnPulled(Revision(4), clock.now)) << "older than the grant";
  EXPECT_TRUE(lease.OnPulled(Revision(5), clock.now));
  EXPECT_TRUE(lease.Serves(clock.now));
  EXPECT_EQ(lease.FencedSince(clock.now), std::nullopt);
}

TEST_F(NodeLeaseTest, LastsFromTheSendTime) {
  const Instant sent = clock.now;
  clock.now += 4s;
  lease.OnGrant(Grant(sent), clock.now);
  ASSERT_TRUE(lease.OnPulled(Revision(5), clock.now));
  EXPECT_EQ(lease.Left(clock.now), 6s);
  EXPECT_TRUE(lease.Serves(sent + 10s - Duration(1)));
  EXPECT_FALSE(lease.Serves(sent + 10s));
  // A grant whose time is over, or which answers what was not sent yet, is none.
  lease.OnGrant(Grant(clock.now - 10s), clock.now);
  lease.OnGrant(Grant(clock.now + 1s), clock.now);
  EXPECT_EQ(lease.Left(clock.now), 6s);
}

TEST_F(NodeLeaseTest, AnUnbrokenLeaseIsProlongedAnExpiredOneIsNot) {
  Serve();
  clock.now += 9s;
  lease.OnGrant(Grant(clock.now, 1, 7), clock.now);
  EXPECT_TRUE(lease.Serves(clock.now));
  EXPECT_EQ(lease.recoveries(), 1u);
  clock.now += 12s;
  EXPECT_FALSE(lease.Serves(clock.now));
  EXPECT_EQ(lease.FencedSince(clock.now), clock.now - 2s);
  EXPECT_EQ(lease.FencedReason(clock.now), "lease expired");
  lease.OnGrant(Grant(clock.now, 1, 8), clock.now);
  EXPECT_FALSE(lease.Serves(clock.now));
  EXPECT_TRUE(lease.WantsPull(clock.now));
  EXPECT_FALSE(lease.OnPulled(Revision(7), clock.now));
  EXPECT_TRUE(lease.OnPulled(Revision(8), clock.now));
  EXPECT_EQ(lease.recoveries(), 2u);
}

TEST_F(NodeLeaseTest, APullIsNoLease) {
  lease.OnGrant(Grant(clock.now), clock.now);
  clock.now += 9s;
  ASSERT_TRUE(lease.OnPulled(Revision(5), clock.now));
  EXPECT_EQ(lease.Left(clock.now), 1s);
  clock.now += 1s;
  EXPECT_FALSE(lease.OnPulled(Revision(6), clock.now)) << "the lease ran out while the pull was made";
  EXPECT_FALSE(lease.Serves(clock.now));
}

TEST_F(NodeLeaseTest, GrantsOfLowerEpochsAreNotTaken) {
  lease.OnGrant(Grant(clock.now, 3), clock.now);
  const Instant until = lease.serves_until();
  clock.now += 1s;
  lease.OnGrant(Grant(clock.now, 2), clock.now);
  EXPECT_EQ(lease.serves_until(), until);
  lease.OnGrant(Grant(clock.now, 4), clock.now);
  EXPECT_EQ(lease.serves_until(), until + 1s);
  EXPECT_EQ(lease.epoch(), Term(4));
}

TEST_F(NodeLeaseTest, GrantsForHeartbeatsOfAnEarlierLifeAreNotTaken) {
  lease.OnGrant(Grant(clock.now - 1s), clock.now);
  EXPECT_FALSE(lease.WantsPull(clock.now));
}

TEST_F(NodeLeaseTest, WhoSaidThatItIsFencedTakesNoGrantForAnEarlierHeartbeat) {
  Serve();
  const Instant sent = clock.now + 1s;
  clock.now += 2s;
  lease.GiveUp(clock.now, "stopping");
  EXPECT_FALSE(lease.Serves(clock.now));
  EXPECT_EQ(lease.Left(clock.now), Duration::zero());
  EXPECT_EQ(lease.FencedReason(clock.now), "stopping");
  lease.OnGrant(Grant(sent), clock.now);
  lease.OnGrant(Grant(clock.now), clock.now);  // for the heartbeat that said so
  EXPECT_FALSE(lease.WantsPull(clock.now));
  clock.now += 1s;
  lease.OnGrant(Grant(clock.now), clock.now);
  EXPECT_TRUE(lease.WantsPull(clock.now));
}

TEST_F(NodeLeaseTest, ThePullIsAtLeastWhatWasReported) {
  Serve();
  EXPECT_EQ(lease.Report(Revision(9), clock.now), Revision(9));
  clock.now += 11s;
  EXPECT_EQ(lease.Report(Revision(9), clock.now), Revision()) << "fenced";
  // The leader has applied less than what this node was told by its watch.
  lease.OnGrant(Grant(clock.now, 1, 6), clock.now);
  EXPECT_EQ(lease.needed(), Revision(9));
  EXPECT_FALSE(lease.OnPulled(Revision(8), clock.now));
  EXPECT_TRUE(lease.OnPulled(Revision(9), clock.now));
}

TEST_F(NodeLeaseTest, ACatalogThatWasRecoveredBeginsAnew) {
  Serve(100);
  lease.Report(Revision(100), clock.now);
  lease.OnGrant(Grant(clock.now, 8, 100), clock.now);
  lease.Reset(clock.now, "another incarnation");
  EXPECT_FALSE(lease.Serves(clock.now));
  clock.now += 1s;
  lease.OnGrant(Grant(clock.now, 2, 40), clock.now);
  EXPECT_TRUE(lease.OnPulled(Revision(40), clock.now));
}

TEST_F(NodeLeaseTest, AGrantByOlderSettingsCountsWithTheSmallerLength) {
  LeaseGrant grant = Grant(clock.now);
  grant.length = 4s;
  grant.version = Revision(20);
  lease.OnGrant(grant, clock.now);
  grant.length = 10s;
  grant.version = Revision(10);
  lease.OnGrant(grant, clock.now);
  EXPECT_EQ(lease.Left(clock.now), 4s);
  grant.length = 2s;
  clock.now += 1s;
  grant.sent_at = clock.now;
  lease.OnGrant(grant, clock.now);
  EXPECT_EQ(lease.Left(clock.now), 3s) << "shorter than what is left: no prolongation";
}

TEST_F(NodeLeaseTest, ConfirmsSettingsOnceItsLeaseIsNoLonger) {
  Serve();
  EXPECT_EQ(lease.Confirms(clock.now), 1u) << "version 0, the default";
  clock.now += 1s;
  LeaseGrant grant = Grant(clock.now);
  grant.length = 4s;
  grant.version = Revision(20);
  lease.OnGrant(grant, clock.now);
  EXPECT_EQ(lease.Left(clock.now), 9s);
  EXPECT_EQ(lease.Confirms(clock.now), 0u);
  clock.now += 5s;
  EXPECT_EQ(lease.Confirms(clock.now), 21u);
}

TEST_F(NodeLeaseTest, AvailableGoesOnServingWithoutALease) {
  LeaseGrant grant = Grant(clock.now);
  grant.mode = pb::FENCING_AVAILABLE;
  grant.version = Revision(3);
  lease.OnGrant(grant, clock.now);
  EXPECT_FALSE(lease.Serves(clock.now)) << "it has nothing to serve yet";
  ASSERT_TRUE(lease.OnPulled(Revision(5), clock.now));
  clock.now += 100s;
  EXPECT_TRUE(lease.Serves(clock.now));
  EXPECT_FALSE(lease.Owns(clock.now));
  EXPECT_TRUE(lease.MayLeave(lease.recoveries(), clock.now));
  EXPECT_EQ(lease.Report(Revision(6), clock.now), Revision(6));
  // Back to strict: what has no lease serves nothing, and begins with a pull.
  clock.now += 1s;
  grant = Grant(clock.now);
  grant.version = Revision(7);
  lease.OnGrant(grant, clock.now);
  EXPECT_FALSE(lease.Serves(clock.now));
  EXPECT_TRUE(lease.WantsPull(clock.now));
}

TEST_F(NodeLeaseTest, WhatWasFencedStrictlyIsNotRevivedByAvailable) {
  Serve();
  clock.now += 20s;
  LeaseGrant grant = Grant(clock.now, 1, 9);
  grant.mode = pb::FENCING_AVAILABLE;
  grant.version = Revision(8);
  lease.OnGrant(grant, clock.now);
  EXPECT_FALSE(lease.Serves(clock.now)) << "a barrier may have passed it by";
  EXPECT_TRUE(lease.OnPulled(Revision(9), clock.now));
  EXPECT_FALSE(lease.MayLeave(1, clock.now)) << "a request from before that";
  EXPECT_TRUE(lease.MayLeave(2, clock.now));
}

TEST_F(NodeLeaseTest, NorByHearingOfItTooLateForALease) {
  Serve();
  const Instant sent = clock.now + 1s;
  clock.now += 20s;
  LeaseGrant grant = Grant(sent);
  grant.mode = pb::FENCING_AVAILABLE;
  grant.version = Revision(8);
  lease.OnGrant(grant, clock.now);
  EXPECT_FALSE(lease.Serves(clock.now));
  EXPECT_FALSE(lease.WantsPull(clock.now)) << "it brought no lease";
}

// ---- RequestFence ----

class RequestFenceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Grant(5);
    fence.OnView(Revision(5));
    ASSERT_TRUE(fence.lease().OnPulled(Revision(5), clock.now));
  }
  void Grant(uint64_t revision) {
    fence.lease().OnGrant({.sent_at = clock.now, .epoch = Term(1), .revision = Revision(revision)},
                          clock.now);
  }
  ManualClock clock;
  RequestFence fence{clock};
};

TEST_F(RequestFenceTest, ExpiryIsNoticedAtTheMomentOfUse) {
  const auto ticket = fence.Enter();
  ASSERT_TRUE(ticket.has_value());
  clock.now += 10s;  // the process stood still
  EXPECT_FALSE(fence.MayLeave(*ticket, clock.now));
  fence.Leave(*ticket, false);
  EXPECT_FALSE(fence.Enter().has_value());
}

TEST_F(RequestFenceTest, ARequestFromBeforeARecoveryIsNotAnswered) {
  const auto ticket = fence.Enter();
  clock.now += 20s;
  Grant(6);
  fence.OnView(Revision(6));
  ASSERT_TRUE(fence.lease().OnPulled(Revision(6), clock.now));
  EXPECT_FALSE(fence.MayLeave(*ticket, clock.now));
  const auto later = fence.Enter();
  EXPECT_TRUE(fence.MayLeave(*later, clock.now));
  fence.Leave(*ticket, false);
  fence.Leave(*later, true);
}

TEST_F(RequestFenceTest, TheReportWaitsForTheOldestRequest) {
  EXPECT_EQ(fence.Report(), Revision(5));
  const auto first = fence.Enter();
  fence.OnView(Revision(7));
  const auto second = fence.Enter();
  fence.OnView(Revision(9));
  EXPECT_EQ(fence.present(), Revision(9));
  EXPECT_EQ(fence.Report(), Revision(5));
  int reached = 0;
  fence.SetOnReached([&] { ++reached; });
  fence.Await(Revision(9));
  fence.Leave(*first, true);
  EXPECT_EQ(fence.Report(), Revision(7));
  EXPECT_EQ(reached, 0);
  fence.Leave(*second, true);
  EXPECT_EQ(reached, 1) << "whoever waits is told at once";
  EXPECT_EQ(fence.Report(), Revision(9));
}

TEST_F(RequestFenceTest, ProgressWithoutAChangeHoldsNobodyUp) {
  const auto ticket = fence.Enter();
  fence.OnProgress(Revision(8));
  EXPECT_EQ(fence.Report(), Revision(8)) << "the request's view is the catalog's up to there";
  int reached = 0;
  fence.SetOnReached([&] { ++reached; });
  fence.Await(Revision(8));
  EXPECT_EQ(reached, 0) << "it was reported";
  fence.Await(Revision(10));
  fence.OnProgress(Revision(10));
  EXPECT_EQ(reached, 1);
  fence.Leave(*ticket, true);
}

TEST_F(RequestFenceTest, ACatalogThatWentBackIsNotReportedAsItWas) {
  fence.OnView(Revision(100));
  const auto ticket = fence.Enter();
  fence.lease().Reset(clock.now, "another incarnation");
  clock.now += 1s;
  Grant(40);
  fence.OnView(Revision(40));
  ASSERT_TRUE(fence.lease().OnPulled(Revision(40), clock.now));
  EXPECT_EQ(fence.Report(), Revision(40));
  fence.Leave(*ticket, false);
}

}  // namespace
}  // namespace tenure::node
