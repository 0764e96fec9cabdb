// What commands rely on between them and a controller, which here is a script behind a real port.
#include "cli/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "catalog/refusal.h"

namespace tenure::cli {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;

pb::WatchResponse Message(std::vector<std::pair<uint64_t, std::string>> events, uint64_t progress) {
  pb::WatchResponse message;
  for (const auto& [revision, key] : events) {
    pb::Event& event = *message.add_events();
    event.set_revision(revision);
    event.mutable_new_record()->mutable_entry()->set_key(key);
  }
  message.set_progress_revision(progress);
  return message;
}

// Serves one script after the other: messages, and how the stream ends then.
class ScriptedController : public runtime::Service {
 public:
  struct Script {
    std::vector<pb::WatchResponse> messages;
    Status end;
  };
  class Handler : public runtime::StreamHandler {
   public:
    Handler(ScriptedController& owner, std::unique_ptr<runtime::Stream> stream)
        : owner_(owner), stream_(std::move(stream)) {}
    void OnMessage(std::string bytes) override {
      pb::WatchRequest request;
      request.ParseFromString(bytes);
      const Script script = owner_.scripts.at(owner_.begun_after.size());
      owner_.begun_after.push_back(request.after_revision());
      for (const pb::WatchResponse& message : script.messages) stream_->Send(message.SerializeAsString());
      stream_->Close(script.end);
    }
    void OnClosed(Status) override {}

   private:
    ScriptedController& owner_;
    std::unique_ptr<runtime::Stream> stream_;
  };

  bool IsStream(std::string_view method) const override { return method == "Watch"; }
  void OnCall(const runtime::CallInfo&, std::string, runtime::Reply reply) override {
    ++calls;
    reply(absl::CancelledError("this process is ending"));
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream> stream) override {
    return std::make_unique<Handler>(*this, std::move(stream));
  }

  std::vector<Script> scripts;
  std::vector<uint64_t> begun_after;
  std::atomic<int> calls{0};
};

class SessionTest : public testing::Test {
 protected:
  void SetUp() override {
    network_->Serve("tenure.v1.Catalog", controller);
    network_->Serve("tenure.v1.Cluster", controller);
    ASSERT_TRUE(grpc_.Listen("127.0.0.1:0").ok());
    auto opened = Session::Open(fmt::format("127.0.0.1:{}", grpc_.port()));
    ASSERT_TRUE(opened.ok()) << opened.status();
    session = *std::move(opened);
  }
  void TearDown() override {
    session.reset();
    executor_.RunAndWait([this] { network_.reset(); });
    executor_.Stop();
  }

  ScriptedController controller;
  std::unique_ptr<Session> session;

 private:
  runtime::RealExecutor executor_{"controller"};
  rpc::GrpcProcess grpc_;
  std::unique_ptr<runtime::Network> network_ = grpc_.MakeNetwork(executor_);
};

TEST_F(SessionTest, AWatchTellsEachRevisionOnceAndAsAWhole) {
  // Revision 5 does not fit into one message, and the stream ends in the middle of it.
  controller.scripts = {
      {{Message({{4, "a"}, {5, "b"}}, 4)}, absl::UnavailableError("connection reset")},
      {{Message({{5, "b"}}, 4), Message({{5, "c"}}, 5), Message({}, 7)}, absl::UnavailableError("again")},
      {{Message({{8, "d"}}, 8)}, absl::OutOfRangeError("no more")},
  };
  std::vector<std::string> told;
  pb::WatchRequest request;
  request.set_after_revision(3);
  const Status end = session->Watch(request, seconds(10), [&told](const pb::Event& event) {
    told.push_back(fmt::format("{}{}", event.revision(), event.new_record().entry().key()));
  });
  EXPECT_EQ(end.code(), StatusCode::kOutOfRange) << end;
  EXPECT_THAT(told, ElementsAre("4a", "5b", "5c", "8d"));
  EXPECT_THAT(controller.begun_after, ElementsAre(3, 4, 7));
}

TEST_F(SessionTest, AWatchOutlivesControllersThatComeAndGo) {
  controller.scripts = {
      {{}, absl::UnimplementedError("no controller here")},
      {{}, absl::CancelledError("this process is ending")},
      {{}, absl::DeadlineExceededError("nobody answers")},
      {{}, catalog::NotLeaderRefusal(0, "")},
      {{}, absl::InvalidArgumentError("no such kind")},
  };
  const Status end = session->Watch({}, seconds(20), [](const pb::Event&) {});
  EXPECT_EQ(end.code(), StatusCode::kInvalidArgument) << end;
  EXPECT_EQ(controller.begun_after.size(), controller.scripts.size());
}

TEST_F(SessionTest, WhatMustNotBeDoneTwiceIsSentOnce) {
  const auto transferred = session->CallOnce<pb::TransferLeadershipResponse>(
      "tenure.v1.Cluster/TransferLeadership", pb::TransferLeadershipRequest(), seconds(10));
  EXPECT_EQ(catalog::ReasonOf(transferred.status()), pb::REASON_UNKNOWN_OUTCOME) << transferred.status();
  EXPECT_EQ(controller.calls, 1);
}

}  // namespace
}  // namespace tenure::cli
