// Links on the wire: what tests/contract (kind Link) cannot see with our own client on the other side.
#include "rpc/link.h"

#include <arpa/inet.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "rpc/framing.h"
#include "rpc/grpc_process.h"
#include "runtime/connect_failure.h"
#include "runtime/real/real_executor.h"

namespace tenure::rpc {
namespace {

using namespace std::chrono_literals;

std::string Record(const std::string& content) {
  std::string record;
  for (int i = 0; i < 4; ++i) record.push_back(static_cast<char>(content.size() >> (8 * i)));
  return record + content;
}

std::string Batch(const std::vector<std::string>& messages) {
  std::string batch;
  for (const std::string& message : messages) AppendMessageFrame(batch, message);
  return Record(batch);
}

std::string Hello(const std::string& path) {
  return std::string(kLinkMagic) + Record(path);
}

sockaddr_in LoopbackAddress(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A client without any of our code.
class RawClient {
 public:
  explicit RawClient(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const sockaddr_in server = LoopbackAddress(port);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&server), sizeof(server)), 0);
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  ~RawClient() { Close(); }
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void Send(std::string_view bytes) { ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // What comes after the server's greeting until `size` bytes are there, the end, or ten seconds.
  std::string Read(size_t size) {
    while (received_.size() < kLinkMagic.size() + size && Receive()) {
    }
    EXPECT_TRUE(received_.starts_with(kLinkMagic));
    return received_.substr(std::min(received_.size(), kLinkMagic.size()), size);
  }
  // Everything up to the server's end; nullopt if that does not come within ten seconds.
  std::optional<std::string> ReadToEnd() {
    while (Receive()) {
    }
    return ended_ ? std::optional(received_) : std::nullopt;
  }

 private:
  bool Receive() {
    pollfd waiting{fd_, POLLIN, 0};
    if (::poll(&waiting, 1, 10'000) <= 0) return false;
    char bytes[4096];
    const ssize_t n = ::recv(fd_, bytes, sizeof(bytes), 0);
    ended_ = n <= 0;
    if (!ended_) received_.append(bytes, static_cast<size_t>(n));
    return !ended_;
  }
  int fd_;
  std::string received_;
  bool ended_ = false;
};

struct LinkEchoStream : runtime::StreamHandler {
  LinkEchoStream(std::unique_ptr<runtime::Stream> s, std::optional<Status>& c)
      : stream(std::move(s)), closed(c) {}
  void OnMessage(std::string message) override { stream->Send(std::move(message)); }
  void OnClosed(Status status) override { closed = std::move(status); }
  std::unique_ptr<runtime::Stream> stream;
  std::optional<Status>& closed;
};

// Answers and does not return until the answer has been read.
struct BusyStream : runtime::StreamHandler {
  BusyStream(std::unique_ptr<runtime::Stream> s, std::promise<void>& r) : stream(std::move(s)), read(r) {}
  void OnMessage(std::string message) override {
    stream->Send(std::move(message));
    EXPECT_EQ(read.get_future().wait_for(10s), std::future_status::ready);
  }
  void OnClosed(Status) override {}
  std::unique_ptr<runtime::Stream> stream;
  std::promise<void>& read;
};

struct LinkEcho : runtime::Service {
  bool IsStream(std::string_view method) const override { return method != "Unary"; }
  void OnCall(const runtime::CallInfo&, std::string request, runtime::Reply reply) override {
    reply(std::move(request));
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo& info,
                                                   std::unique_ptr<runtime::Stream> stream) override {
    if (info.method == "Busy") return std::make_unique<BusyStream>(std::move(stream), answer_read);
    if (info.method != "Stream") return nullptr;
    return std::make_unique<LinkEchoStream>(std::move(stream), closed);
  }
  std::optional<Status> closed;
  std::promise<void> answer_read;
};

class LinkTest : public testing::Test {
 protected:
  LinkTest() {
    network->Serve("test.Echo", echo);
    const Status listening = process.Listen("127.0.0.1:0");
    EXPECT_TRUE(listening.ok()) << listening;
  }
  ~LinkTest() override {
    executor.RunAndWait([&] { network.reset(); });
    executor.Stop();
  }
  void Await(const std::function<bool()>& condition) {
    const auto give_up = std::chrono::steady_clock::now() + 20s;
    for (bool holds = false; !holds; std::this_thread::sleep_for(1ms)) {
      executor.RunAndWait([&] { holds = condition(); });
      if (!holds && std::chrono::steady_clock::now() > give_up) {
        ADD_FAILURE() << "waited for too long";
        return;
      }
    }
  }
  // The process serves as if nothing had been.
  void ExpectAlive() {
    RawClient client(process.port());
    client.Send(Hello("/test.Echo/Stream") + Batch({"alive"}));
    EXPECT_EQ(client.Read(Batch({"alive"}).size()), Batch({"alive"}));
  }

  runtime::RealExecutor executor{"test"};
  LinkEcho echo;
  GrpcProcess process{{.keepalive_time = 200ms, .keepalive_timeout = 100ms}};
  std::unique_ptr<runtime::Network> network = process.MakeNetwork(executor);
};

TEST_F(LinkTest, ByteByByteIsTheSame) {
  RawClient client(process.port());
  for (const char byte :
       Hello("/test.Echo/Stream") + Batch({"one", "two"}) + Batch({""}) + Batch({"three"})) {
    client.Send({&byte, 1});
    std::this_thread::sleep_for(100us);
  }
  // A link sends each message as it is sent.
  const std::string all = Batch({"one"}) + Batch({"two"}) + Batch({""}) + Batch({"three"});
  EXPECT_EQ(client.Read(all.size()), all);
}

// What Raft sends is on its way while the sender applies what is committed.
TEST_F(LinkTest, AMessageDoesNotWaitUntilItsSenderIsThrough) {
  RawClient client(process.port());
  client.Send(Hello("/test.Echo/Busy") + Batch({"now"}));
  EXPECT_EQ(client.Read(Batch({"now"}).size()), Batch({"now"}));
  echo.answer_read.set_value();
}

TEST_F(LinkTest, AClosedStreamIsAnsweredAndClosed) {
  RawClient client(process.port());
  std::string batch;
  AppendMessageFrame(batch, "m");
  AppendCloseFrame(batch, OkStatus());
  client.Send(Hello("/test.Echo/Stream") + Record(batch));
  const auto answer = client.ReadToEnd();
  ASSERT_TRUE(answer.has_value());
  std::string close;
  AppendCloseFrame(close, OkStatus());
  EXPECT_TRUE(answer->ends_with(Record(close)));
  Await([&] { return echo.closed.has_value(); });
  EXPECT_TRUE(echo.closed->ok()) << *echo.closed;
}

TEST_F(LinkTest, AnEndWithoutAWordIsACancellation) {
  RawClient client(process.port());
  client.Send(Hello("/test.Echo/Stream") + Batch({"m"}));
  EXPECT_EQ(client.Read(Batch({"m"}).size()), Batch({"m"}));
  client.Close();
  Await([&] { return echo.closed.has_value(); });
  EXPECT_EQ(echo.closed->code(), StatusCode::kCancelled) << *echo.closed;
}

TEST_F(LinkTest, WhatIsRefusedIsToldWhy) {
  const std::pair<const char*, const char*> cases[] = {
      {"/test.Nothing/Stream", "unknown service test.Nothing"},
      {"/test.Echo/Unary", "/test.Echo/Unary is not a stream"},
      {"/test.Echo/Other", "unknown stream /test.Echo/Other"},
      {"garbage", "malformed method name garbage"},
      {"", "malformed method name "},
  };
  for (const auto& [path, message] : cases) {
    RawClient client(process.port());
    client.Send(Hello(path) + Batch({"to nobody"}));
    const auto answer = client.ReadToEnd();
    ASSERT_TRUE(answer.has_value()) << path;
    ASSERT_TRUE(answer->starts_with(kLinkMagic)) << path;
    ASSERT_GT(answer->size(), kLinkMagic.size() + 4) << path;
    FrameReader frames(std::string_view(*answer).substr(kLinkMagic.size() + 4));
    EXPECT_FALSE(frames.Next().has_value());
    ASSERT_TRUE(frames.closed().has_value()) << path;
    EXPECT_EQ(*frames.closed(), Error(StatusCode::kUnimplemented, "{}", message));
  }
  ExpectAlive();
}

TEST_F(LinkTest, GarbageCostsItsSenderOnly) {
  std::string huge_path(kLinkMagic);
  huge_path += std::string("\xff\xff\xff\x7f", 4);
  const std::string huge_record = Hello("/test.Echo/Stream") + std::string("\xff\xff\xff\xff", 4);
  const std::string no_frames = Hello("/test.Echo/Stream") + Record(std::string("\xff\xff\xff"));
  const std::string nearly = "TENURE-LINK/2\nwhatever";
  for (const std::string& bytes :
       {huge_path, huge_record, no_frames, nearly, std::string("GET / HTTP/1.1\r\n\r\n")}) {
    RawClient client(process.port());
    client.Send(bytes);
    EXPECT_TRUE(client.ReadToEnd().has_value()) << "still open after: " << bytes;
  }
  ExpectAlive();
}

TEST_F(LinkTest, WhoSaysNothingIsNotWaitedForForEver) {
  RawClient silent(process.port());
  RawClient half(process.port());
  half.Send(kLinkMagic.substr(0, 5));
  RawClient nameless(process.port());
  nameless.Send(kLinkMagic);
  RawClient refused(process.port());
  refused.Send(Hello("/test.Nothing/X"));
  EXPECT_TRUE(silent.ReadToEnd().has_value());
  EXPECT_TRUE(half.ReadToEnd().has_value());
  EXPECT_TRUE(nameless.ReadToEnd().has_value());
  EXPECT_TRUE(refused.ReadToEnd().has_value());
  ExpectAlive();
}

TEST_F(LinkTest, AfterShutdownNobodyIsLeft) {
  GrpcProcess patient;
  ASSERT_TRUE(patient.Listen("127.0.0.1:0").ok());
  RawClient silent(patient.port());
  RawClient half(patient.port());
  half.Send(kLinkMagic.substr(0, 5));
  RawClient link(patient.port());
  link.Send(kLinkMagic);
  EXPECT_EQ(link.Read(0), "");  // accepted, and so are those before
  patient.Shutdown(0s);
  EXPECT_TRUE(silent.ReadToEnd().has_value());
  EXPECT_TRUE(half.ReadToEnd().has_value());
  EXPECT_TRUE(link.ReadToEnd().has_value());
}

struct LinkRecorder : runtime::StreamHandler {
  void OnMessage(std::string) override { ++messages; }
  void OnClosed(Status s) override { status = std::move(s); }
  int messages = 0;
  std::optional<Status> status;
};

class LinkClientTest : public LinkTest {
 protected:
  // How a link to `endpoint` ends.
  Status StatusOf(const std::string& endpoint) {
    LinkRecorder recorder;
    std::unique_ptr<runtime::Stream> stream;
    executor.RunAndWait([&] {
      stream = network->OpenStream(endpoint, "test.Echo/Stream", recorder, {.direct = true});
      stream->Send("m");
    });
    Await([&] { return recorder.status.has_value(); });
    executor.RunAndWait([&] { stream.reset(); });
    return recorder.status.value_or(OkStatus());
  }
  // How `streams` links in turn end; `serve` gets the first connection of each.
  Status StatusAgainst(const std::function<void(int fd)>& serve, int streams = 1) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = LoopbackAddress(0);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener, 5), 0);
    EXPECT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
    std::thread server([&] {
      for (int i = 0; i < streams; ++i) {
        const int fd = ::accept(listener, nullptr, nullptr);
        serve(fd);
        ::close(fd);
      }
    });
    Status status;
    for (int i = 0; i < streams; ++i) {
      status = StatusOf("127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
    }
    server.join();
    ::close(listener);
    return status;
  }
};

TEST_F(LinkClientTest, WhyThereIsNoConnection) {
  int free_port = 0;
  {
    GrpcProcess other;
    ASSERT_TRUE(other.Listen("127.0.0.1:0").ok());
    free_port = other.port();
  }
  const Status refused = StatusOf("127.0.0.1:" + std::to_string(free_port));
  EXPECT_TRUE(runtime::WasRefused(refused)) << refused;
  const Status nameless = StatusOf("no-such-host.invalid:1");
  EXPECT_TRUE(runtime::WasNotSent(nameless) && !runtime::WasRefused(nameless)) << nameless;
  const Status malformed = StatusOf("nonsense");
  EXPECT_EQ(malformed.code(), StatusCode::kUnavailable);
  EXPECT_EQ(MessageOf(malformed), "nonsense: 'nonsense' is not HOST:PORT");
}

// Of its addresses, perhaps, not all are listened on.
TEST_F(LinkClientTest, AProcessIsFoundByName) {
  LinkRecorder recorder;
  std::unique_ptr<runtime::Stream> stream;
  for (int i = 0; i < 2; ++i) {  // the second time its addresses are known
    executor.RunAndWait([&] {
      stream = network->OpenStream("localhost:" + std::to_string(process.port()), "test.Echo/Stream",
                                   recorder, {.direct = true});
      stream->Send("m");
    });
    Await([&] { return recorder.messages == i + 1 || recorder.status.has_value(); });
    executor.RunAndWait([&] {
      EXPECT_FALSE(recorder.status.has_value()) << *recorder.status;
      stream.reset();
    });
  }
}

TEST_F(LinkClientTest, AServerThatEndsWithoutAWord) {
  const Status status = StatusAgainst([](int fd) {
    char bytes[256];
    (void)::recv(fd, bytes, sizeof(bytes), 0);
  });
  EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status;
  EXPECT_FALSE(runtime::WasNotSent(status)) << status;
}

std::string ReadUntilEnd(int fd) {
  std::string received;
  char bytes[256];
  for (ssize_t n = 0; (n = ::recv(fd, bytes, sizeof(bytes), 0)) > 0;)
    received.append(bytes, static_cast<size_t>(n));
  return received;
}

TEST_F(LinkClientTest, AServerThatSendsNonsense) {
  const Status status = StatusAgainst([](int fd) {
    const std::string answer = std::string(kLinkMagic) + "HTTP/1.1 400 Bad Request\r\n\r\n";
    ::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    (void)ReadUntilEnd(fd);
  });
  EXPECT_EQ(status.code(), StatusCode::kInternal) << status;
}

TEST_F(LinkClientTest, AServerOfGrpcAloneHasNoLinks) {
  grpc::AsyncGenericService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterAsyncGenericService(&service);
  const auto queue = builder.AddCompletionQueue();
  const auto server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  const Status status = StatusOf("127.0.0.1:" + std::to_string(port));
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented) << status;
  server->Shutdown();
  queue->Shutdown();
  void* tag = nullptr;
  for (bool ok = false; queue->Next(&tag, &ok);) {
  }
}

TEST_F(LinkClientTest, AServerThatDoesNotGreetIsGivenUp) {
  const Status status = StatusAgainst([](int fd) { (void)ReadUntilEnd(fd); });
  EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status;
}

// A program from before links: every other stream to it is gRPC's.
TEST_F(LinkClientTest, AServerWithoutLinksIsSpokenToByGrpc) {
  std::vector<std::string> received;
  const Status last = StatusAgainst(
      [&](int fd) {
        const char settings[] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100};
        ::send(fd, settings, sizeof(settings), MSG_NOSIGNAL);
        if (received.size() % 2 == 0) {  // a link's greeting is no preface of HTTP/2
          received.push_back(ReadUntilEnd(fd));
        } else {
          std::string preface(24, '\0');
          (void)::recv(fd, preface.data(), preface.size(), MSG_WAITALL);
          received.push_back(preface);
        }
      },
      3);
  EXPECT_EQ(last.code(), StatusCode::kUnimplemented) << last;
  ASSERT_EQ(received.size(), 3u);
  EXPECT_TRUE(received[0].starts_with(kLinkMagic)) << received[0];
  EXPECT_EQ(received[1], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  EXPECT_TRUE(received[2].starts_with(kLinkMagic)) << received[2];
}

// The peer's kernel takes what its buffers hold; its process never reads.
TEST_F(LinkClientTest, APeerThatTakesNothingIsGivenUp) {
  LinkRecorder recorder;
  std::unique_ptr<runtime::Stream> stream;
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = LoopbackAddress(0);
  socklen_t size = sizeof(address);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(listener, 5), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  executor.RunAndWait([&] {
    stream = network->OpenStream("127.0.0.1:" + std::to_string(ntohs(address.sin_port)), "test.Echo/Stream",
                                 recorder, {.direct = true});
    for (int i = 0; i < 32; ++i) stream->Send(std::string(1 << 20, 'x'));
  });
  Await([&] { return recorder.status.has_value(); });
  executor.RunAndWait([&] {
    EXPECT_EQ(recorder.status->code(), StatusCode::kUnavailable) << *recorder.status;
    stream.reset();
  });
  ::close(listener);
}

}  // namespace
}  // namespace tenure::rpc
