#include "client/catalog_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/fake_controllers.h"

namespace tenure::client {
namespace {

using catalog::ReasonOf;
using catalog::Refuse;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class CatalogStreamTest : public ::testing::Test {
 protected:
  CatalogStreamTest() { cluster.Lead("b:1"); }
  uint64_t Put(const std::string& key) {
    pb::StreamRequest request;
    request.mutable_put()->set_key(key);
    const uint64_t number = ++sent;
    stream.Send(std::move(request),
                [this, number](auto answer) { answers.emplace(number, std::move(answer)); });
    return number;
  }
  void Run(Duration time = milliseconds(1)) { cluster.executor.Advance(time); }
  FakeController& leader() { return cluster.controllers["b:1"]; }
  std::vector<pb::StreamRequest> Requests(size_t from_stream = 0) {
    std::vector<pb::StreamRequest> requests;
    for (size_t i = from_stream; i < leader().streams.size(); ++i) {
      for (const std::string& bytes : leader().streams[i]->messages) {
        pb::StreamRequests message;
        EXPECT_TRUE(message.ParseFromString(bytes));
        requests.insert(requests.end(), message.requests().begin(), message.requests().end());
      }
    }
    return requests;
  }
  void Answer(const std::vector<std::pair<uint64_t, pb::Reason>>& tags) {
    pb::StreamResponses message;
    for (const auto& [tag, reason] : tags) {
      pb::StreamResponse& response = *message.add_responses();
      response.set_tag(tag);
      if (reason != pb::REASON_UNSPECIFIED) {
        *response.mutable_refusal() = *catalog::RefusalOf(Refuse(reason, "refused"));
      } else {
        response.mutable_change()->set_revision(tag);
      }
    }
    leader().streams.back()->stream->Send(message.SerializeAsString());
    Run();
  }

  FakeCluster cluster;
  ControllerClient client{cluster.executor, *cluster.view, {"b:1", "a:1", "c:1"}, Prng(1)};
  CatalogStream stream{cluster.executor, *cluster.view, client, Prng(3), seconds(5)};
  uint64_t sent = 0;
  std::map<uint64_t, StatusOr<pb::StreamResponse>> answers;
};

TEST_F(CatalogStreamTest, FindsTheLeaderAndSendsATurnAsOneMessage) {
  for (int i = 0; i < 10; ++i) Put("k");
  Run(milliseconds(200));
  ASSERT_EQ(leader().streams.size(), 1u);
  EXPECT_EQ(leader().streams[0]->messages.size(), 1u);
  const auto requests = Requests();
  ASSERT_EQ(requests.size(), 10u);
  EXPECT_EQ(requests[9].put().id().sequence(), 10u);
  EXPECT_EQ(requests[9].put().id().answered_below(), 1u);
  Answer({{3, pb::REASON_UNSPECIFIED}, {1, pb::REASON_CONDITION_FAILED}, {77, pb::REASON_UNSPECIFIED}});
  EXPECT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers.at(3)->change().revision(), 3u);
  EXPECT_EQ(ReasonOf(answers.at(1).status()), pb::REASON_CONDITION_FAILED);
  EXPECT_EQ(stream.outstanding(), 8u);
}

TEST_F(CatalogStreamTest, WhatIsUnansweredIsSentAgainUnderTheSameIds) {
  for (int i = 0; i < 3; ++i) Put("k");
  Run(milliseconds(200));
  Answer({{2, pb::REASON_UNSPECIFIED}});
  const auto before = Requests();
  cluster.network.CutStreams("b:1");
  Run(seconds(1));
  const auto after = Requests(1);
  ASSERT_EQ(after.size(), 2u);
  EXPECT_EQ(after[0].SerializeAsString(), before[0].SerializeAsString());
  EXPECT_EQ(after[1].SerializeAsString(), before[2].SerializeAsString());
  Answer({{1, pb::REASON_UNSPECIFIED}, {3, pb::REASON_UNSPECIFIED}});
  EXPECT_EQ(answers.size(), 3u);
}

// The connection of a paused process stays: its kernel answers for it.
TEST_F(CatalogStreamTest, AControllerThatHangsIsLeft) {
  client.OnLeader("b:1");
  Put("k");
  Run(seconds(1));
  Answer({{1, pb::REASON_UNSPECIFIED}});
  Run(seconds(10));  // nothing is owed
  EXPECT_EQ(leader().streams.size(), 1u);
  cluster.network.SetHung("b:1", true);
  cluster.Lead("c:1");
  Put("k");
  Run(milliseconds(2500));
  EXPECT_EQ(cluster.controllers["c:1"].streams.size(), 0u);
  Run(seconds(1));
  EXPECT_EQ(cluster.controllers["c:1"].streams.size(), 1u);
}

// Whose requests end before it would be.
TEST_F(CatalogStreamTest, AControllerThatHangsIsLeftByTheImpatientToo) {
  client.OnLeader("b:1");
  CatalogStream impatient(cluster.executor, *cluster.view, client, Prng(3), seconds(2));
  const auto put = [&] {
    pb::StreamRequest request;
    request.mutable_put()->set_key("k");
    impatient.Send(std::move(request), [](auto) {});
  };
  put();
  Run(seconds(1) / 2);
  Answer({{1, pb::REASON_UNSPECIFIED}});
  cluster.network.SetHung("b:1", true);
  cluster.Lead("c:1");
  for (int i = 0; i < 3; ++i) {
    put();
    Run(seconds(3));  // one ends before the next begins
  }
  EXPECT_GE(cluster.controllers["c:1"].streams.size(), 1u);
}

TEST_F(CatalogStreamTest, ControllersThatSpeakGrpcAloneAreSpokenToByGrpc) {
  for (const auto& endpoint : cluster.endpoints) cluster.network.SetWithoutLinks(endpoint);
  for (int i = 0; i < 3; ++i) Put("k");
  Run(seconds(1));
  ASSERT_EQ(leader().streams.size(), 1u);
  EXPECT_EQ(Requests().size(), 3u);
  Answer({{1, pb::REASON_UNSPECIFIED}, {2, pb::REASON_UNSPECIFIED}, {3, pb::REASON_UNSPECIFIED}});
  EXPECT_EQ(answers.size(), 3u);
  EXPECT_GT(cluster.network.streams_opened, 1);
}

TEST_F(CatalogStreamTest, WhoHasNoLinksHasNotSeenTheRequest) {
  cluster.network.SetWithoutLinks("b:1");
  ControllerClient only(cluster.executor, *cluster.view, {"b:1"}, Prng(1));
  CatalogStream one(cluster.executor, *cluster.view, only, Prng(3), seconds(5));
  pb::StreamRequest request;
  request.mutable_put()->set_key("k");
  pb::Reason reason = pb::REASON_UNSPECIFIED;
  one.Send(std::move(request), [&](const auto& answer) { reason = ReasonOf(answer.status()); });
  Run(seconds(1));
  EXPECT_EQ(cluster.network.streams_opened, 2);
  ASSERT_EQ(Requests().size(), 1u);
  Answer({{1, pb::REASON_OUT_OF_SPACE}});
  EXPECT_EQ(reason, pb::REASON_OUT_OF_SPACE);
}

// All of it in one message would be more than a controller takes, on the first stream and on every one after it.
TEST_F(CatalogStreamTest, MessagesAreOfLimitedSizeHoweverMuchIsOutstanding) {
  client.OnLeader("b:1");
  for (int i = 0; i < 100; ++i) {
    pb::StreamRequest request;
    request.mutable_put()->set_value(std::string(i % 10 == 0 ? 1 << 20 : 900 << 10, 'v'));
    stream.Send(std::move(request), [](auto) {});
  }
  for (int streams = 1; streams <= 2; ++streams) {
    Run(seconds(1));
    ASSERT_EQ(leader().streams.size(), static_cast<size_t>(streams));
    for (const std::string& message : leader().streams.back()->messages)
      EXPECT_LT(message.size(), (1u << 20) + 1000);
    EXPECT_EQ(Requests(static_cast<size_t>(streams - 1)).size(), 100u);
    cluster.network.CutStreams("b:1");
  }
}

TEST_F(CatalogStreamTest, ARedirectMovesTheWholeStream) {
  client.OnLeader("b:1");
  for (int i = 0; i < 3; ++i) Put("k");
  Run(milliseconds(200));
  cluster.Lead("c:1");
  pb::StreamResponses message;
  for (uint64_t tag = 1; tag <= 3; ++tag) {
    pb::StreamResponse& response = *message.add_responses();
    response.set_tag(tag);
    if (tag == 2) {
      response.mutable_change();
    } else {
      *response.mutable_refusal() = *catalog::RefusalOf(catalog::NotLeaderRefusal(3, "c:1"));
    }
  }
  leader().streams.back()->stream->Send(message.SerializeAsString());
  Run(milliseconds(5));
  EXPECT_EQ(answers.size(), 1u);
  ASSERT_EQ(cluster.controllers["c:1"].streams.size(), 1u);
  pb::StreamRequests moved;
  ASSERT_TRUE(moved.ParseFromString(cluster.controllers["c:1"].streams[0]->messages.at(0)));
  EXPECT_EQ(moved.requests_size(), 2);
}

TEST_F(CatalogStreamTest, RefusedForNowIsTriedLaterWithoutHoldingUpOthers) {
  Put("k");
  Run(milliseconds(200));
  Answer({{1, pb::REASON_OVERLOADED}});
  Put("l");
  Run();
  EXPECT_EQ(Requests().size(), 2u);
  Run(milliseconds(60));
  EXPECT_EQ(Requests().size(), 3u);
  Answer({{1, pb::REASON_UNSPECIFIED}, {2, pb::REASON_UNSPECIFIED}});
  EXPECT_EQ(answers.size(), 2u);
}

TEST_F(CatalogStreamTest, TimesOut) {
  Put("k");
  pb::StreamRequest get;
  get.mutable_get()->set_key("k");
  stream.Send(std::move(get), [this](auto answer) { answers.emplace(100, std::move(answer)); });
  Run(seconds(6));
  EXPECT_EQ(ReasonOf(answers.at(1).status()), pb::REASON_UNKNOWN_OUTCOME);
  EXPECT_EQ(ReasonOf(answers.at(100).status()), pb::REASON_UNAVAILABLE);
  for (const auto& endpoint : cluster.endpoints) cluster.network.SetDown(endpoint, true);
  Run(seconds(1));
  Put("k");
  Run(seconds(6));
  EXPECT_EQ(ReasonOf(answers.at(2).status()), pb::REASON_UNAVAILABLE);  // certainly not done
  EXPECT_THAT(MessageOf(answers.at(2).status()), HasSubstr("connection refused"));
  EXPECT_LT(cluster.network.streams_opened, 60);
}

TEST_F(CatalogStreamTest, AForgottenSession) {
  client.OnLeader("b:1");
  Put("k");
  Run(milliseconds(200));
  Answer({{1, pb::REASON_DUPLICATE_EXPIRED}});
  const auto requests = Requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_NE(requests[0].put().id().client_id(), requests[1].put().id().client_id());
  EXPECT_EQ(requests[1].put().id().sequence(), 1u);
  // Sent twice already: nobody can say.
  cluster.network.CutStreams("b:1");
  Run(seconds(1));
  Answer({{1, pb::REASON_DUPLICATE_EXPIRED}});
  EXPECT_EQ(ReasonOf(answers.at(1).status()), pb::REASON_UNKNOWN_OUTCOME);
}

TEST_F(CatalogStreamTest, IsBounded) {
  CatalogStream small(cluster.executor, *cluster.view, client, Prng(3), seconds(5), 2);
  int refused = 0;
  for (int i = 0; i < 3; ++i) {
    pb::StreamRequest request;
    request.mutable_put()->set_key("k");
    small.Send(std::move(request),
               [&](auto answer) { refused += catalog::IsReason(answer.status(), pb::REASON_OVERLOADED); });
  }
  EXPECT_EQ(refused, 1);
}

}  // namespace
}  // namespace tenure::client
