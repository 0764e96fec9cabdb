#include "client/controller_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/catalog_client.h"
#include "tests/client/fake_controllers.h"

namespace tenure::client {
namespace {

using catalog::ReasonOf;
using catalog::Refuse;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class ControllerClientTest : public ::testing::Test {
 protected:
  void Call(const CallOptions& options = {}) {
    answer.reset();
    asked = executor().Now();
    client.Call("tenure.v1.Catalog/X", "request", options, [this](StatusOr<std::string> a) {
      answer = std::move(a);
      took = executor().Now() - asked;
    });
  }
  runtime::ManualExecutor& executor() { return cluster.executor; }
  size_t calls() const { return cluster.network.calls.size(); }

  FakeCluster cluster;
  ControllerClient client{cluster.executor, *cluster.view, cluster.endpoints, Prng(1)};
  std::optional<StatusOr<std::string>> answer;
  Instant asked;
  Duration took{};
};

TEST_F(ControllerClientTest, FollowsTheRedirectAndRemembers) {
  for (const std::string leader : {"a:1", "b:1", "c:1"}) {
    cluster.Lead(leader);
    Call();
    executor().Advance(milliseconds(1));
    ASSERT_TRUE(answer && answer->ok());
    const size_t before = calls();
    Call();
    executor().Advance(milliseconds(1));
    EXPECT_EQ(calls(), before + 1);
    EXPECT_EQ(client.Target(), leader);
  }
}

TEST_F(ControllerClientTest, ForgetsWhatItLearnedAndNotWhatItWasGiven) {
  using ::testing::ElementsAre;
  client.SetControllers({"b:1", "d:1", "e:1"});
  EXPECT_THAT(client.endpoints(), ElementsAre("a:1", "b:1", "c:1", "d:1", "e:1"));
  client.SetControllers({"e:1", "f:1"});
  EXPECT_THAT(client.endpoints(), ElementsAre("a:1", "b:1", "c:1", "e:1", "f:1"));
  // However often all are replaced, there is a place for those of today.
  for (int i = 0; i < 40; ++i) client.SetControllers({fmt::format("x{}:1", i), fmt::format("y{}:1", i)});
  EXPECT_THAT(client.endpoints(), ElementsAre("a:1", "b:1", "c:1", "x39:1", "y39:1"));
  // Those it was given are gone.
  for (const char* gone : {"a:1", "b:1", "c:1"}) cluster.network.SetDown(gone, true);
  FakeController now;
  auto view = cluster.network.MakeView("y39:1");
  view->Serve("tenure.v1.Catalog", now);
  Call();
  executor().Advance(seconds(1));
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_EQ(client.Target(), "y39:1");
}

TEST_F(ControllerClientTest, WaitsOutAnElection) {
  cluster.Lead("");  // nobody leads: no address is named
  for (auto& [endpoint, controller] : cluster.controllers) {
    controller.behaviour = [](const auto&, const auto&) { return catalog::NotLeaderRefusal(0, ""); };
  }
  Call();
  executor().Advance(seconds(3));
  EXPECT_FALSE(answer);
  EXPECT_LT(calls(), 60u);  // it pauses
  cluster.Lead("c:1");
  executor().Advance(seconds(1));
  ASSERT_TRUE(answer && answer->ok());
}

TEST_F(ControllerClientTest, StaysWithALeaderThatIsWarmingUp) {
  cluster.Lead("b:1");
  int left = 5;
  cluster.controllers["b:1"].behaviour = [&](const auto&, const auto&) -> StatusOr<std::string> {
    if (left-- > 0) return catalog::WarmingUpRefusal({});
    return std::string("ok");
  };
  Call();
  executor().Advance(seconds(5));
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_LE(cluster.controllers["a:1"].requests.size() + cluster.controllers["c:1"].requests.size(), 1u);
}

TEST_F(ControllerClientTest, TriesAtTheEndOfAWarmUpThatIsShorterThanItsDeadline) {
  cluster.Lead("b:1");
  const Instant ready = executor().Now() + milliseconds(14'900);
  cluster.controllers["b:1"].behaviour = [&](const auto&, const auto&) -> StatusOr<std::string> {
    if (executor().Now() >= ready) return std::string("ok");
    ::tenure::v1::WarmingUp details;
    details.set_reason("load");
    details.set_remaining_ms(ToMillis(ready - executor().Now()));
    return catalog::WarmingUpRefusal(std::move(details));
  };
  Call({.timeout = seconds(15)});
  executor().Advance(seconds(20));
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_LT(took, milliseconds(15'000));
  EXPECT_LT(calls(), 80u) << "it sleeps as it is told";
  EXPECT_LE(cluster.controllers["a:1"].requests.size() + cluster.controllers["c:1"].requests.size(), 1u);
  // With less time than that: the refusal, with who was missing and why, and not a moment later.
  const Instant never = executor().Now() + seconds(1000);
  cluster.controllers["b:1"].behaviour = [&](const auto&, const auto&) -> StatusOr<std::string> {
    ::tenure::v1::WarmingUp details;
    details.set_reason("load");
    details.set_remaining_ms(ToMillis(never - executor().Now()));
    return catalog::WarmingUpRefusal(std::move(details));
  };
  Call({.timeout = seconds(2)});
  executor().Advance(seconds(3));
  ASSERT_TRUE(answer);
  EXPECT_EQ(catalog::ReasonOf(answer->status()), ::tenure::v1::REASON_WARMING_UP);
  EXPECT_LE(took, seconds(2));
}

TEST_F(ControllerClientTest, ARedirectToADeadAddressDoesNotLoop) {
  // a and its friend still believe in b, which is gone; c has been elected.
  cluster.Lead("c:1");
  cluster.controllers["a:1"].behaviour = [](const auto&, const auto&) {
    return catalog::NotLeaderRefusal(2, "b:1");
  };
  cluster.network.SetDown("b:1", true);
  for (int i = 0; i < 10; ++i) {
    ControllerClient fresh(executor(), *cluster.view, cluster.endpoints, Prng(static_cast<uint64_t>(i)));
    const size_t before = calls();
    bool done = false;
    fresh.Call("tenure.v1.Catalog/X", "", {}, [&](StatusOr<std::string> a) { done = a.ok(); });
    executor().Advance(milliseconds(100));
    EXPECT_TRUE(done);
    EXPECT_LE(calls() - before, 4u);
  }
}

TEST_F(ControllerClientTest, ARedirectToOneselfDoesNotLoop) {
  for (auto& [endpoint, controller] : cluster.controllers) {
    controller.behaviour = [self = endpoint](const auto&, const auto&) {
      return catalog::NotLeaderRefusal(1, self);
    };
  }
  Call({.timeout = seconds(2)});
  executor().Advance(seconds(3));
  ASSERT_TRUE(answer);
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_UNAVAILABLE);
  EXPECT_LT(calls(), 60u);
}

TEST_F(ControllerClientTest, TwoThatNameEachOtherDoNotSpin) {
  cluster.controllers["a:1"].behaviour = [](const auto&, const auto&) {
    return catalog::NotLeaderRefusal(2, "b:1");
  };
  cluster.controllers["b:1"].behaviour = [](const auto&, const auto&) {
    return catalog::NotLeaderRefusal(1, "a:1");
  };
  cluster.controllers["c:1"].behaviour = [](const auto&, const auto&) {
    return catalog::NotLeaderRefusal(1, "a:1");
  };
  Call({.timeout = seconds(2)});
  executor().Advance(seconds(3));
  ASSERT_TRUE(answer);
  EXPECT_LT(calls(), 100u);
}

TEST_F(ControllerClientTest, TheFinalErrorNamesWhatWasTried) {
  for (const auto& endpoint : cluster.endpoints) cluster.network.SetDown(endpoint, true);
  Call({.timeout = seconds(2)});
  executor().Advance(seconds(3));
  ASSERT_TRUE(answer);
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_UNAVAILABLE);
  EXPECT_EQ(MessageOf(answer->status()),
            "no controller reachable within 2000 ms: a:1: connection refused; b:1: connection refused; "
            "c:1: connection refused");
  EXPECT_LE(took, seconds(2));
  EXPECT_GE(took, milliseconds(1500));
}

TEST_F(ControllerClientTest, NothingHangsBeyondTheDeadline) {
  for (const auto& endpoint : cluster.endpoints) cluster.network.SetHung(endpoint, true);
  Call({.timeout = seconds(5)});
  executor().Advance(seconds(6));
  ASSERT_TRUE(answer);
  EXPECT_EQ(took, seconds(5));
  Call({.timeout = seconds(5), .changes = true});
  executor().Advance(seconds(6));
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_UNKNOWN_OUTCOME);
}

TEST_F(ControllerClientTest, AHungLeaderIsLeftAfterAnAttempt) {
  cluster.Lead("b:1");
  Call();
  executor().Advance(milliseconds(1));
  cluster.network.SetHung("b:1", true);
  cluster.Lead("c:1");
  Call();
  executor().Advance(milliseconds(2100));
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_EQ(client.Target(), "c:1");
}

TEST_F(ControllerClientTest, FinalRefusalsComeAsTheyAre) {
  cluster.Everyone([](const auto&, const auto&) { return Refuse(pb::REASON_CONDITION_FAILED, "no"); });
  Call();
  executor().Advance(milliseconds(1));
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(calls(), 1u);
}

// Found by the simulator: a process that is joining, or is no controller any more, has the last word for
// nobody.
TEST_F(ControllerClientTest, WhoOffersNoServiceIsPassedOver) {
  cluster.Lead("b:1");
  for (const char* endpoint : {"a:1", "c:1"}) {
    cluster.controllers[endpoint].behaviour = [](const auto&, const auto&) {
      return absl::UnimplementedError("unknown service tenure.v1.Catalog");
    };
  }
  for (uint64_t i = 0; i < 6; ++i) {  // whomever it asks first
    ControllerClient fresh(executor(), *cluster.view, cluster.endpoints, Prng(i));
    std::optional<StatusOr<std::string>> said;
    // Nothing was executed by those who offer nothing: a change may be sent on, too.
    fresh.Call("tenure.v1.Catalog/X", "", {.idempotent = false, .changes = true},
               [&](StatusOr<std::string> a) { said = std::move(a); });
    executor().Advance(seconds(1));
    ASSERT_TRUE(said);
    EXPECT_TRUE(said->ok()) << said->status();
  }
}

// Seen in a rolling restart: a process that ends cancels the calls that it has not answered.
TEST_F(ControllerClientTest, WhoEndsItsCallsIsLeft) {
  cluster.Lead("b:1");
  for (const char* endpoint : {"a:1", "c:1"}) {
    cluster.controllers[endpoint].behaviour = [](const auto&, const auto&) {
      return absl::CancelledError("CANCELLED");
    };
  }
  for (uint64_t i = 0; i < 6; ++i) {  // whomever it asks first
    ControllerClient fresh(executor(), *cluster.view, cluster.endpoints, Prng(i));
    std::optional<StatusOr<std::string>> said;
    fresh.Call("tenure.v1.Catalog/X", "", {.idempotent = true, .changes = true},
               [&](StatusOr<std::string> a) { said = std::move(a); });
    executor().Advance(seconds(1));
    ASSERT_TRUE(said);
    EXPECT_TRUE(said->ok()) << said->status();
  }
}

// Found by the simulator: the first answer was lost, and the next leader's disk was full.
TEST_F(ControllerClientTest, ARefusalForSpaceSaysNothingOfAnEarlierAttempt) {
  cluster.Everyone(
      [](const auto&, const auto&) { return Refuse(pb::REASON_OUT_OF_SPACE, "the disk is full"); });
  for (const char* endpoint : {"a:1", "b:1", "c:1"}) cluster.network.LoseAnswers(endpoint, 1);
  Call({.changes = true});
  executor().Advance(seconds(1));
  ASSERT_TRUE(answer);
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_UNKNOWN_OUTCOME);
  EXPECT_THAT(MessageOf(answer->status()), HasSubstr("the disk is full"));
  answer.reset();
  Call({.changes = true});
  executor().Advance(seconds(1));
  ASSERT_TRUE(answer);
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_OUT_OF_SPACE) << "sent once, it was refused";
  cluster.Everyone(
      [](const auto&, const auto&) { return Refuse(pb::REASON_NOT_ENOUGH_NODES, "2 nodes are UP"); });
  for (const char* endpoint : {"a:1", "b:1", "c:1"}) cluster.network.LoseAnswers(endpoint, 1);
  Call({.changes = true});
  executor().Advance(seconds(1));
  ASSERT_TRUE(answer);
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_UNKNOWN_OUTCOME) << "of which the log says nothing either";
}

TEST_F(ControllerClientTest, RetryableRefusalsAreRetriedAndNamedInTheEnd) {
  cluster.Everyone([](const auto&, const auto&) { return Refuse(pb::REASON_OVERLOADED, "too much"); });
  Call({.timeout = seconds(2)});
  executor().Advance(seconds(3));
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_OVERLOADED);
  EXPECT_THAT(MessageOf(answer->status()), HasSubstr("too much"));
  EXPECT_GT(calls(), 3u);
}

// Seen under load: the last of many attempts was cut off by the deadline, and the refusals before it were lost.
TEST_F(ControllerClientTest, ARefusalIsNamedThoughALaterAttemptWasCutOff) {
  cluster.Everyone([this](const auto&, const auto&) {
    if (calls() == 4) {
      for (const auto& endpoint : cluster.endpoints) cluster.network.SetHung(endpoint, true);
    }
    return Refuse(pb::REASON_BUSY, "one at a time");
  });
  Call({.timeout = seconds(2)});
  executor().Advance(seconds(3));
  ASSERT_TRUE(answer);
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_BUSY);
  EXPECT_THAT(MessageOf(answer->status()), HasSubstr("one at a time, then "));
  EXPECT_EQ(took, seconds(2));
}

TEST_F(ControllerClientTest, NoAttemptIsTooShortForItsAnswer) {
  Duration shortest = seconds(1000);
  cluster.Everyone([&](const runtime::CallInfo& info, const auto&) {
    shortest = std::min(shortest, info.deadline - executor().Now());
    return Refuse(pb::REASON_BUSY, "one at a time");
  });
  for (int i = 0; i < 50; ++i) {
    Call({.timeout = milliseconds(2000 + i), .changes = true});
    executor().Advance(seconds(3));
    ASSERT_TRUE(answer);
    EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_BUSY);
    EXPECT_LE(took, milliseconds(2000 + i));
  }
  EXPECT_GE(shortest, milliseconds(50));
}

TEST_F(ControllerClientTest, WhatIsNotIdempotentIsNotRepeatedUnlessItWasNeverSent) {
  cluster.Lead("a:1");
  cluster.network.SetDown("b:1", true);
  cluster.network.SetDown("c:1", true);
  Call({.idempotent = false});
  executor().Advance(seconds(1));
  ASSERT_TRUE(answer && answer->ok());  // refused connections were certain
  cluster.network.LoseAnswers("a:1", 1);
  Call({.idempotent = false, .changes = true});
  executor().Advance(seconds(1));
  EXPECT_EQ(ReasonOf(answer->status()), pb::REASON_UNKNOWN_OUTCOME);
  EXPECT_THAT(MessageOf(answer->status()), HasSubstr("a:1: connection reset"));
}

TEST_F(ControllerClientTest, AnyControllerIsAskedInTurn) {
  cluster.Lead("c:1");
  cluster.controllers["b:1"].behaviour = [](const auto&, const auto&) { return std::string("stale"); };
  cluster.network.SetDown("a:1", true);
  cluster.network.SetDown("c:1", true);
  Call({.any_controller = true});
  executor().Advance(seconds(1));
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_EQ(**answer, "stale");
}

TEST_F(ControllerClientTest, DestructionDropsWhatIsPending) {
  cluster.network.SetHung("a:1", true);
  cluster.network.SetHung("b:1", true);
  cluster.network.SetHung("c:1", true);
  bool called = false;
  {
    ControllerClient brief(executor(), *cluster.view, cluster.endpoints, Prng(1));
    brief.Call("tenure.v1.Catalog/X", "", {}, [&](auto) { called = true; });
    executor().Advance(milliseconds(10));
  }
  executor().Advance(seconds(20));
  EXPECT_FALSE(called);
}

TEST_F(ControllerClientTest, DestructionDropsWhatWaitsForItsNextAttempt) {
  for (const auto& endpoint : cluster.endpoints) cluster.network.SetDown(endpoint, true);
  bool called = false;
  size_t before = 0;
  {
    ControllerClient brief(executor(), *cluster.view, cluster.endpoints, Prng(1));
    brief.Call("tenure.v1.Catalog/X", "", {}, [&](auto) { called = true; });
    executor().Advance(milliseconds(10));  // all were tried
    before = calls();
    EXPECT_GE(before, 3u);
  }
  executor().Advance(seconds(20));
  EXPECT_FALSE(called);
  EXPECT_EQ(calls(), before);
}

// ---- CatalogClient ----

class CatalogClientTest : public ControllerClientTest {
 protected:
  static pb::RequestId IdOf(const std::string& bytes) {
    pb::PutEntryRequest request;
    EXPECT_TRUE(request.ParseFromString(bytes));
    return request.id();
  }
  void Put(Duration timeout = seconds(5)) {
    pb::PutEntryRequest request;
    request.set_key("k");
    changed.reset();
    catalog.PutEntry(request, timeout, [this](auto a) { changed = std::move(a); });
    executor().Advance(milliseconds(1));
  }
  CatalogClient catalog{cluster.executor, client, Prng(2)};
  std::optional<StatusOr<pb::ChangeResponse>> changed;
};

TEST_F(CatalogClientTest, TheSameIdIsSentUntilThereIsAnAnswer) {
  cluster.Lead("a:1");
  cluster.controllers["a:1"].behaviour = [](const auto&, const auto&) { return std::string(); };
  Put();
  cluster.network.LoseAnswers("a:1", 2);
  Put();
  executor().Advance(seconds(2));
  ASSERT_TRUE(changed && changed->ok());
  const auto& requests = cluster.controllers["a:1"].requests;
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_EQ(IdOf(requests[1]).sequence(), 2u);
  EXPECT_EQ(IdOf(requests[1]).answered_below(), 2u);
  EXPECT_EQ(requests[1], requests[2]);
  EXPECT_EQ(requests[2], requests[3]);
}

TEST_F(CatalogClientTest, AForgottenSessionIsReplaced) {
  std::string session;
  cluster.Everyone([&](const auto&, const std::string& request) -> StatusOr<std::string> {
    const auto id = IdOf(request);
    if (session.empty()) session = std::to_string(id.client_id());
    if (session == std::to_string(id.client_id())) return Refuse(pb::REASON_DUPLICATE_EXPIRED, "forgotten");
    EXPECT_EQ(id.sequence(), 1u);
    return std::string();
  });
  Put();
  ASSERT_TRUE(changed && changed->ok()) << changed->status();
}

TEST_F(CatalogClientTest, AForgottenRequestThatMayHaveBeenDoneIsUnknown) {
  int count = 0;
  cluster.Everyone([&](const auto&, const auto&) -> StatusOr<std::string> {
    if (count++ == 0) return Refuse(pb::REASON_UNKNOWN_OUTCOME, "leadership was lost");
    return Refuse(pb::REASON_DUPLICATE_EXPIRED, "forgotten");
  });
  Put();
  executor().Advance(seconds(1));
  ASSERT_TRUE(changed);
  EXPECT_EQ(ReasonOf(changed->status()), pb::REASON_UNKNOWN_OUTCOME);
  EXPECT_EQ(count, 2);
}

TEST_F(CatalogClientTest, AnIdleSessionIsRenewed) {
  cluster.Everyone([](const auto&, const auto&) { return std::string(); });
  Put();
  executor().Advance(std::chrono::minutes(6));
  Put();
  std::vector<std::string> requests;
  for (auto& [endpoint, controller] : cluster.controllers) {
    requests.insert(requests.end(), controller.requests.begin(), controller.requests.end());
  }
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_NE(IdOf(requests[0]).client_id(), IdOf(requests[1]).client_id());
}

TEST_F(CatalogClientTest, Tasks) {
  cluster.Everyone([](const auto&, const auto&) { return std::string(); });
  runtime::TaskScope scope(cluster.executor);
  bool done = false;
  const auto run = [&]() -> runtime::Task<void> {
    pb::PutEntryRequest request;
    request.set_key("k");
    const auto response = co_await catalog.PutEntryTask(std::move(request), seconds(5), scope.token());
    EXPECT_TRUE(response.ok());
    pb::GetEntryRequest get;
    const auto got = co_await catalog.GetEntryTask(std::move(get), seconds(5), scope.token());
    EXPECT_TRUE(got.ok());
    done = true;
  };
  scope.Spawn(run());
  executor().Advance(milliseconds(10));
  EXPECT_TRUE(done);
}

TEST(RequestIds, AnsweredBelowIsTheLowestUnanswered) {
  RequestIds ids(Prng(1));
  EXPECT_EQ(ids.Next().answered_below(), 1u);
  const auto second = ids.Next();
  EXPECT_EQ(second.answered_below(), 1u);
  ids.Done(1);
  EXPECT_EQ(ids.Next().answered_below(), 2u);
  ids.Done(second);
  EXPECT_EQ(ids.Next().answered_below(), 3u);
  const uint64_t before = ids.client_id();
  ids.Renew();
  EXPECT_NE(ids.client_id(), before);
  const auto first = ids.Next();
  EXPECT_EQ(first.sequence(), 1u);
  ids.Done(second);  // of the earlier session
  EXPECT_EQ(ids.unanswered(), 1u);
}

}  // namespace
}  // namespace tenure::client
