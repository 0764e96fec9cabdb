// What runtime/network.h promises.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "runtime/connect_failure.h"
#include "runtime/network.h"
#include "tests/contract/worlds.h"

namespace tenure::contract {
namespace {

using namespace std::chrono_literals;
using runtime::CallInfo;
using runtime::Reply;
using runtime::Stream;
using runtime::StreamHandler;

// Records what a stream brings; on the server's side keeps its own end.
class Recorder : public StreamHandler {
 public:
  void OnMessage(std::string message) override {
    EXPECT_FALSE(closed.has_value());
    messages.push_back(std::move(message));
    if (on_message) on_message(messages.back());
  }
  void OnClosed(Status status) override {
    EXPECT_FALSE(closed.has_value());
    closed = std::move(status);
    if (on_closed) on_closed();
  }
  std::vector<std::string> messages;
  std::optional<Status> closed;
  std::unique_ptr<Stream> stream;
  std::function<void(const std::string&)> on_message;
  std::function<void()> on_closed;
};

class TestService : public runtime::Service {
 public:
  bool IsStream(std::string_view method) const override {
    return method == "Stream" || method == "Echo" || method == "Refused";
  }
  void OnCall(const CallInfo& info, std::string request, Reply reply) override {
    last_info = info;
    ++calls;
    if (info.method == "Echo1") return reply(std::move(request));
    if (info.method == "Keep") return kept.push_back(std::move(reply));
    if (info.method == "Drop") return;
    if (info.method == "Fail") {
      Status status = Error(StatusCode::kFailedPrecondition, "node {} is \xe2\x82\xac", 7);
      status.SetPayload("tenure/reason", absl::Cord(absl::string_view("\0binary\xff", 8)));
      status.SetPayload("other", absl::Cord("x"));
      return reply(std::move(status));
    }
    reply(Error(StatusCode::kUnimplemented, "unknown method {}", info.method));
  }
  std::unique_ptr<StreamHandler> OnStream(const CallInfo& info, std::unique_ptr<Stream> stream) override {
    last_info = info;
    if (info.method == "Refused") return nullptr;
    struct Owned : Recorder {
      explicit Owned(TestService& s) : service(s) { service.current = this; }
      ~Owned() override {
        ++service.handlers_destroyed;
        service.last_messages = messages;
        service.last_closed = closed;
        if (service.current == this) service.current = nullptr;
      }
      TestService& service;
    };
    auto handler = std::make_unique<Owned>(*this);
    handler->stream = std::move(stream);
    if (info.method == "Echo") {
      handler->on_message = [raw = handler.get()](const std::string& m) { raw->stream->Send(m); };
    }
    ++streams;
    return handler;
  }
  int calls = 0;
  int streams = 0;
  int handlers_destroyed = 0;
  std::vector<Reply> kept;
  CallInfo last_info;
  Recorder* current = nullptr;
  std::vector<std::string> last_messages;
  std::optional<Status> last_closed;
};

class NetworkContract : public ContractTest {
 protected:
  NetworkContract() { server->network().Serve("test.Service", service); }
  ~NetworkContract() override {
    if (client) client->Kill();
    server->Kill();
    service.kept.clear();
  }
  // Calls and waits.
  StatusOr<std::string> Call(std::string_view method, std::string request, Duration timeout = 5s) {
    return CallAt(server->address(), method, std::move(request), timeout);
  }
  StatusOr<std::string> CallAt(const runtime::Endpoint& to, std::string_view method, std::string request,
                               Duration timeout = 5s) {
    std::optional<StatusOr<std::string>> answer;
    world->Do(client->executor(), [&] {
      client->network().Call(to, method, std::move(request), timeout, [&](StatusOr<std::string> result) {
        EXPECT_TRUE(client->executor().IsCurrent());
        EXPECT_FALSE(answer.has_value());
        answer = std::move(result);
      });
      EXPECT_FALSE(answer.has_value()) << "not inside Call";
    });
    world->Await(client->executor(), [&] { return answer.has_value(); }, "an answer");
    return *std::move(answer);
  }
  std::unique_ptr<Stream> Open(std::string_view method, StreamHandler& handler) {
    std::unique_ptr<Stream> stream;
    world->Do(client->executor(),
              [&] { stream = client->network().OpenStream(server->address(), method, handler, options()); });
    return stream;
  }
  runtime::StreamOptions options() const { return {.direct = GetParam() == Kind::kLink}; }
  void OnServer(const std::function<bool()>& condition, const char* what) {
    world->Await(server->executor(), condition, what);
  }
  void OnClient(const std::function<bool()>& condition, const char* what) {
    world->Await(client->executor(), condition, what);
  }
  int OnServerNow(const std::function<int()>& value) {
    int result = 0;
    DoServer([&] { result = value(); });
    return result;
  }
  void DoServer(std::function<void()> closure) { world->Do(server->executor(), std::move(closure)); }
  void DoClient(std::function<void()> closure) { world->Do(client->executor(), std::move(closure)); }

  TestService service;
  std::unique_ptr<Process> server = world->NewProcess("server");
  std::unique_ptr<Process> client = world->NewProcess("client");
};

// --- unary calls
// -----------------------------------------------------------------------------------------------

TEST_P(NetworkContract, CallsAreAnswered) {
  EXPECT_EQ(*Call("test.Service/Echo1", "hello"), "hello");
  EXPECT_EQ(*Call("test.Service/Echo1", ""), "");
  DoServer([&] {
    EXPECT_EQ(service.last_info.method, "Echo1");
    EXPECT_FALSE(service.last_info.peer.empty());
  });
}

TEST_P(NetworkContract, LargePayloads) {
  for (const size_t size : {size_t{4095}, size_t{4096}, size_t{100'000}, size_t{20} << 20}) {
    std::string payload(size, '\0');
    for (size_t i = 0; i < size; i += 997) payload[i] = static_cast<char>(i);
    const auto answer = Call("test.Service/Echo1", payload, 20s);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_TRUE(*answer == payload);
  }
  const auto refused = Call("test.Service/Echo1", std::string(runtime::kMaxMessageBytes + 1, 'x'));
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
}

TEST_P(NetworkContract, StatusesTravelWhole) {
  const Status status = Call("test.Service/Fail", "").status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(MessageOf(status), "node 7 is \xe2\x82\xac");
  ASSERT_TRUE(status.GetPayload("tenure/reason").has_value());
  EXPECT_EQ(*status.GetPayload("tenure/reason"), std::string("\0binary\xff", 8));
  EXPECT_EQ(*status.GetPayload("other"), "x");
  EXPECT_FALSE(runtime::WasNotSent(status));
}

TEST_P(NetworkContract, WhatIsUnknownIsNamed) {
  const Status no_service = Call("test.Nothing/Echo1", "").status();
  EXPECT_EQ(no_service.code(), StatusCode::kUnimplemented);
  EXPECT_NE(MessageOf(no_service).find("test.Nothing"), std::string_view::npos) << no_service;
  const Status no_method = Call("test.Service/Nothing", "").status();
  EXPECT_EQ(no_method.code(), StatusCode::kUnimplemented);
  EXPECT_NE(MessageOf(no_method).find("Nothing"), std::string_view::npos) << no_method;
}

TEST_P(NetworkContract, ServicesMayComeLater) {
  TestService later;
  DoServer([&] { server->network().Serve("test.Later", later); });
  EXPECT_EQ(*Call("test.Later/Echo1", "x"), "x");
  server->CloseNetwork();
}

TEST_P(NetworkContract, TimeoutsEndCallsAndReachTheServer) {
  // On a busy machine the time may be up before the server has seen the call: then with more of it.
  Duration timeout = 50ms;
  for (int arrived = 0; arrived == 0 && timeout < 20s; arrived = OnServerNow([&] { return service.calls; })) {
    timeout *= 2;
    Instant start;
    DoClient([&] { start = client->executor().Now(); });
    const Status status = Call("test.Service/Keep", "", timeout).status();
    EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << status;
    DoClient([&] { EXPECT_GE(client->executor().Now() - start, timeout - 5ms); });
  }
  DoServer([&] {
    EXPECT_NE(service.last_info.deadline, kFarFuture);
    EXPECT_LE(service.last_info.deadline, server->executor().Now() + timeout);
    ASSERT_FALSE(service.kept.empty());
    service.kept[0](std::string("too late"));
  });
  EXPECT_EQ(*Call("test.Service/Echo1", "goes on"), "goes on");
}

TEST_P(NetworkContract, RepliesMayComeLaterAndOutOfOrder) {
  std::vector<std::string> answers;
  DoClient([&] {
    for (const char* request : {"a", "b"}) {
      client->network().Call(server->address(), "test.Service/Keep", request, 5s,
                             [&](StatusOr<std::string> answer) { answers.push_back(*answer); });
    }
  });
  OnServer([&] { return service.kept.size() == 2; }, "two calls");
  DoServer([&] { service.kept[1](std::string("second")); });
  OnClient([&] { return answers.size() == 1; }, "an answer");
  DoServer([&] { service.kept[0](std::string("first")); });
  OnClient([&] { return answers.size() == 2; }, "the other");
  EXPECT_EQ(answers, (std::vector<std::string>{"second", "first"}));
}

TEST_P(NetworkContract, DroppedRepliesAnswerInternal) {
  EXPECT_EQ(Call("test.Service/Drop", "").status().code(), StatusCode::kInternal);
}

TEST_P(NetworkContract, RefusedConnectionsAreUnavailableAndNotSent) {
  const auto gone = world->NewProcess("gone");
  const runtime::Endpoint address = gone->address();
  gone->Kill();
  const Status status = CallAt(address, "test.Service/Echo1", "").status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_TRUE(runtime::WasNotSent(status)) << status;
  EXPECT_TRUE(runtime::WasRefused(status)) << status;
  EXPECT_NE(MessageOf(status).find(address), std::string_view::npos) << status;
}

TEST_P(NetworkContract, CallsOfADyingServerFail) {
  std::optional<StatusOr<std::string>> answer;
  DoClient([&] {
    client->network().Call(server->address(), "test.Service/Keep", "", 10s,
                           [&](StatusOr<std::string> result) { answer = std::move(result); });
  });
  OnServer([&] { return service.kept.size() == 1; }, "the call");
  server->Kill();
  OnClient([&] { return answer.has_value(); }, "the failure");
  EXPECT_EQ(answer->status().code(), StatusCode::kUnavailable) << answer->status();
  EXPECT_FALSE(runtime::WasNotSent(answer->status()));
  service.kept[0](std::string("nobody is there"));
}

TEST_P(NetworkContract, AClosedNetworkAnswersUnavailableAndCallsNobody) {
  bool called = false;
  DoClient([&] {
    client->network().Call(server->address(), "test.Service/Keep", "", 5s, [&](auto) { called = true; });
  });
  OnServer([&] { return service.kept.size() == 1; }, "the call");
  client->CloseNetwork();
  world->Pass(20ms);
  DoClient([&] { EXPECT_FALSE(called); });
  service.kept[0](std::string("nobody is there"));

  const auto second = world->NewProcess("second");
  std::optional<StatusOr<std::string>> answer;
  world->Do(second->executor(), [&] {
    second->network().Call(server->address(), "test.Service/Keep", "", 5s,
                           [&](StatusOr<std::string> result) { answer = std::move(result); });
  });
  OnServer([&] { return service.kept.size() == 2; }, "the call");
  server->CloseNetwork();
  service.kept.clear();
  world->Await(second->executor(), [&] { return answer.has_value(); }, "the failure");
  EXPECT_EQ(answer->status().code(), StatusCode::kUnavailable) << answer->status();
  second->Kill();
}

TEST_P(NetworkContract, ManyCallsAtOnce) {
  int answered = 0;
  DoClient([&] {
    for (int i = 0; i < 2000; ++i) {
      const std::string request = std::to_string(i);
      client->network().Call(server->address(), "test.Service/Echo1", request, 10s,
                             [&answered, request](StatusOr<std::string> answer) {
                               EXPECT_TRUE(answer.ok() && *answer == request) << answer.status();
                               ++answered;
                             });
    }
  });
  OnClient([&] { return answered == 2000; }, "all answers");
}

TEST_P(NetworkContract, CallingOneself) {
  std::optional<StatusOr<std::string>> answer;
  DoServer([&] {
    server->network().Call(server->address(), "test.Service/Echo1", "me", 5s,
                           [&](StatusOr<std::string> result) { answer = std::move(result); });
  });
  OnServer([&] { return answer.has_value(); }, "the answer");
  EXPECT_EQ(**answer, "me");
}

// --- streams
// ---------------------------------------------------------------------------------------------------

TEST_P(NetworkContract, StreamsCarryMessagesInOrderBothWays) {
  Recorder recorder;
  auto stream = Open("test.Service/Echo", recorder);
  DoClient([&] {
    for (int i = 0; i < 5000; ++i)
      stream->Send(std::string(static_cast<size_t>(i % 700), 'x') + std::to_string(i));
    stream->Send("");
  });
  OnClient([&] { return recorder.messages.size() == 5001; }, "all messages");
  for (int i = 0; i < 5000; ++i) {
    ASSERT_EQ(recorder.messages[static_cast<size_t>(i)],
              std::string(static_cast<size_t>(i % 700), 'x') + std::to_string(i));
  }
  EXPECT_EQ(recorder.messages.back(), "");
  OnClient([&] { return stream->buffered_bytes() == 0; }, "an empty buffer");
  DoClient([&] { stream.reset(); });
}

TEST_P(NetworkContract, LargeStreamMessages) {
  Recorder recorder;
  auto stream = Open("test.Service/Echo", recorder);
  const std::string big(size_t{10} << 20, 'b');
  DoClient([&] {
    stream->Send("small");
    stream->Send(big);
    stream->Send("small again");
  });
  OnClient([&] { return recorder.messages.size() == 3; }, "three messages");
  EXPECT_TRUE(recorder.messages[1] == big);
  EXPECT_EQ(recorder.messages[2], "small again");
  DoClient([&] { stream.reset(); });
}

TEST_P(NetworkContract, AClientsCloseComesAfterItsMessages) {
  for (const Status& status : {OkStatus(), Error(StatusCode::kAborted, "enough")}) {
    Recorder recorder;
    auto stream = Open("test.Service/Stream", recorder);
    const int destroyed = OnServerNow([&] { return service.handlers_destroyed; });
    DoClient([&] {
      for (int i = 0; i < 100; ++i) stream->Send("m");
      stream->Close(status);
      stream->Close(OkStatus());
      stream->Send("not any more");
    });
    OnServer([&] { return service.handlers_destroyed > destroyed; }, "the handler's end");
    DoServer([&] {
      EXPECT_EQ(service.last_messages.size(), 100u);
      ASSERT_TRUE(service.last_closed.has_value());
      EXPECT_EQ(*service.last_closed, status);
    });
    DoClient([&] {
      EXPECT_FALSE(recorder.closed.has_value()) << "not after the own Close";
      stream.reset();
    });
  }
}

TEST_P(NetworkContract, AServersCloseComesAfterItsMessages) {
  Status refusal = Error(StatusCode::kFailedPrecondition, "compacted");
  refusal.SetPayload("why", absl::Cord("because"));
  for (const Status& status : {OkStatus(), refusal}) {
    Recorder recorder;
    const int streams = OnServerNow([&] { return service.streams; });
    auto stream = Open("test.Service/Stream", recorder);
    OnServer([&] { return service.streams > streams; }, "the stream");
    const int destroyed = OnServerNow([&] { return service.handlers_destroyed; });
    DoServer([&] {
      for (int i = 0; i < 100; ++i) service.current->stream->Send("m");
      service.current->stream->Close(status);
      EXPECT_EQ(service.handlers_destroyed, destroyed) << "the handler may be what called Close";
    });
    OnClient([&] { return recorder.closed.has_value(); }, "the close");
    EXPECT_EQ(recorder.messages.size(), 100u);
    EXPECT_EQ(*recorder.closed, status);
    OnServer([&] { return service.handlers_destroyed > destroyed; }, "the handler's end");
    DoServer([&] { EXPECT_FALSE(service.last_closed.has_value()); });
    DoClient([&] { stream.reset(); });
  }
}

TEST_P(NetworkContract, DroppingAStreamCancelsIt) {
  Recorder recorder;
  auto stream = Open("test.Service/Stream", recorder);
  OnServer([&] { return service.streams == 1; }, "the stream");
  DoClient([&] { stream.reset(); });
  OnServer([&] { return service.handlers_destroyed == 1; }, "the handler's end");
  DoServer([&] { EXPECT_EQ(service.last_closed->code(), StatusCode::kCancelled); });

  stream = Open("test.Service/Stream", recorder);
  OnServer([&] { return service.streams == 2; }, "the stream");
  DoServer([&] { service.current->stream.reset(); });
  OnClient([&] { return recorder.closed.has_value(); }, "the close");
  EXPECT_EQ(recorder.closed->code(), StatusCode::kCancelled);
  OnServer([&] { return service.handlers_destroyed == 2; }, "the handler's end");
  DoClient([&] { stream.reset(); });
}

TEST_P(NetworkContract, AStreamDroppedAtOnce) {
  Recorder recorder;
  DoClient([&] {
    auto stream = client->network().OpenStream(server->address(), "test.Service/Stream", recorder, options());
    stream->Send("perhaps");
  });
  world->Pass(50ms);
  OnServer([&] { return service.handlers_destroyed == service.streams; }, "no handler is left");
  DoClient([&] { EXPECT_FALSE(recorder.closed.has_value()); });
}

TEST_P(NetworkContract, UnknownStreamsAreRefused) {
  for (const char* method : {"test.Service/Refused", "test.Nothing/Stream", "test.Service/Echo1"}) {
    Recorder recorder;
    auto stream = Open(method, recorder);
    DoClient([&] { stream->Send("m"); });
    OnClient([&] { return recorder.closed.has_value(); }, "the refusal");
    EXPECT_EQ(recorder.closed->code(), StatusCode::kUnimplemented) << method << ": " << *recorder.closed;
    DoClient([&] { stream.reset(); });
  }
}

TEST_P(NetworkContract, AStreamToNobodyCloses) {
  const auto gone = world->NewProcess("gone");
  const runtime::Endpoint address = gone->address();
  gone->Kill();
  Recorder recorder;
  std::unique_ptr<Stream> stream;
  DoClient([&] {
    stream = client->network().OpenStream(address, "test.Service/Stream", recorder, options());
    stream->Send("m");
    EXPECT_FALSE(recorder.closed.has_value());
  });
  OnClient([&] { return recorder.closed.has_value(); }, "the close");
  EXPECT_EQ(recorder.closed->code(), StatusCode::kUnavailable);
  EXPECT_TRUE(runtime::WasNotSent(*recorder.closed)) << *recorder.closed;
  DoClient([&] { stream.reset(); });
}

TEST_P(NetworkContract, ADyingServerClosesItsStreams) {
  Recorder recorder;
  auto stream = Open("test.Service/Stream", recorder);
  OnServer([&] { return service.streams == 1; }, "the stream");
  server->Kill();
  OnClient([&] { return recorder.closed.has_value(); }, "the close");
  EXPECT_EQ(recorder.closed->code(), StatusCode::kUnavailable) << *recorder.closed;
  EXPECT_EQ(service.handlers_destroyed, 1);
  DoClient([&] { stream.reset(); });
}

TEST_P(NetworkContract, ADyingClientCancelsItsStreams) {
  Recorder recorder;
  auto stream = Open("test.Service/Stream", recorder);
  OnServer([&] { return service.streams == 1; }, "the stream");
  client->Kill();
  OnServer([&] { return service.handlers_destroyed == 1; }, "the handler's end");
  DoServer([&] { EXPECT_EQ(service.last_closed->code(), StatusCode::kCancelled); });
  stream->Send("nothing");  // a stream may outlive its network
  stream.reset();
  EXPECT_FALSE(recorder.closed.has_value());
}

TEST_P(NetworkContract, AHandlerMayCloseAndDropItsStreamInACallback) {
  Recorder recorder;
  auto stream = Open("test.Service/Echo", recorder);
  recorder.on_message = [&](const std::string&) { stream.reset(); };
  DoClient([&] {
    for (int i = 0; i < 10; ++i) stream->Send("m");
  });
  OnServer([&] { return service.handlers_destroyed == 1; }, "the handler's end");
  DoClient([&] { EXPECT_EQ(recorder.messages.size(), 1u); });

  Recorder second;
  stream = Open("test.Service/Stream", second);
  second.on_closed = [&] { stream.reset(); };
  OnServer([&] { return service.streams == 2; }, "the stream");
  DoServer([&] {
    service.current->on_message = [&](const std::string&) { service.current->stream->Close(OkStatus()); };
  });
  DoClient([&] {
    stream->Send("a");
    stream->Send("b");
  });
  OnClient([&] { return second.closed.has_value(); }, "the close");
  OnServer([&] { return service.handlers_destroyed == 2; }, "the handler's end");
  DoServer([&] { EXPECT_EQ(service.last_messages.size(), 1u); });
}

TEST_P(NetworkContract, ASlowReaderIsNoticed) {
  Recorder recorder;
  auto stream = Open("test.Service/Stream", recorder);
  OnServer([&] { return service.streams == 1; }, "the stream");
  // The server's executor does not come to read: bounded memory takes what it can, the rest waits here.
  size_t buffered = 0;
  const std::string block(1 << 20, 'x');
  DoServer([&] {
    if (GetParam() != Kind::kSim) {
      DoClient([&] {
        for (int i = 0; i < 64; ++i) stream->Send(block);
      });
      const Instant end = server->executor().Now() + 300ms;
      while (server->executor().Now() < end) DoClient([&] { buffered = stream->buffered_bytes(); });
    }
  });
  if (GetParam() == Kind::kSim) {
    DoClient([&] {
      for (int i = 0; i < 64; ++i) stream->Send(block);
      buffered = stream->buffered_bytes();
    });
  }
  EXPECT_GT(buffered, size_t{16} << 20);
  OnServer([&] { return service.current->messages.size() == 64; }, "all messages in the end");
  OnClient([&] { return stream->buffered_bytes() == 0; }, "an empty buffer");
  DoClient([&] { stream.reset(); });
}

TEST_P(NetworkContract, AServerThatComesBackIsFoundAgain) {
  EXPECT_EQ(*Call("test.Service/Echo1", "x"), "x");
  Recorder recorder;
  for (int round = 0; round < 20; ++round) {
    auto stream = Open("test.Service/Echo", recorder);
    DoClient([&] { stream->Send("m"); });
    OnClient([&] { return !recorder.messages.empty(); }, "the echo");
    DoClient([&] { stream->Close(OkStatus()); });
    DoClient([&] {
      stream.reset();
      recorder.messages.clear();
    });
  }
  OnServer([&] { return service.handlers_destroyed == 20; }, "all handlers' ends");
}

INSTANTIATE_TEST_SUITE_P(Worlds, NetworkContract, testing::Values(Kind::kReal, Kind::kLink, Kind::kSim),
                         WorldName);

}  // namespace
}  // namespace tenure::contract
