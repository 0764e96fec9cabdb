// What is GrpcProcess's own beyond the contract of runtime/network.h (tests/contract): listening, clients of
// other make, the standard services, shutting down.
#include "rpc/grpc_process.h"

#include <arpa/inet.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "rpc/convert.h"
#include "rpc/standard_services.h"
#include "runtime/real/real_executor.h"
#include "tenure/internal/v1/grpc_standard.pb.h"

namespace tenure::rpc {
namespace {

namespace pb = tenure::internal::v1;
using namespace std::chrono_literals;

struct EchoStream : runtime::StreamHandler {
  explicit EchoStream(std::unique_ptr<runtime::Stream> s) : stream(std::move(s)) {}
  void OnMessage(std::string message) override { stream->Send(std::move(message)); }
  void OnEndOfMessages() override { stream->Close(OkStatus()); }
  void OnClosed(Status) override {}
  std::unique_ptr<runtime::Stream> stream;
};

struct Echo : runtime::Service {
  bool IsStream(std::string_view method) const override { return method == "Stream"; }
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override {
    if (info.method == "Keep") return kept.push_back(std::move(reply));
    if (info.method == "Refuse") {
      Status status = absl::FailedPreconditionError("not so");
      status.SetPayload("type.googleapis.com/test.Why", absl::Cord("why"));
      return reply(std::move(status));
    }
    reply(std::move(request));
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream> stream) override {
    return std::make_unique<EchoStream>(std::move(stream));
  }
  std::vector<runtime::Reply> kept;
};

class GrpcProcessTest : public testing::Test {
 protected:
  GrpcProcessTest() {
    network->Serve("test.Echo", echo);
    network->Serve(kHealthServiceName, health);
    for (const std::string_view name : kReflectionServiceNames) network->Serve(name, reflection);
    const Status listening = process->Listen("127.0.0.1:0");
    EXPECT_TRUE(listening.ok()) << listening;
    address = "127.0.0.1:" + std::to_string(process->port());
    foreign =
        std::make_unique<grpc::GenericStub>(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  }
  ~GrpcProcessTest() override {
    Do([&] { network.reset(); });
    echo.kept.clear();
    process.reset();
    executor.Stop();
  }
  void Do(std::function<void()> closure) {
    executor.RunAndWait([&] { closure(); });
  }
  // As any gRPC client does it.
  grpc::Status ForeignCall(const std::string& path, const std::string& request, std::string* answer) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 10s);
    grpc::ByteBuffer response;
    const grpc::ByteBuffer buffer = ToBuffer(request);
    std::optional<grpc::Status> status;
    std::mutex mutex;
    std::condition_variable changed;
    foreign->UnaryCall(&context, path, {}, &buffer, &response, [&](grpc::Status s) {
      const std::lock_guard lock(mutex);
      status = s;
      changed.notify_one();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return status.has_value(); });
    if (answer != nullptr) *answer = ToString(response);
    return *status;
  }
  // Sends `requests` one gRPC message each, half-closes, reads up to `limit` answers or to the end.
  grpc::Status ForeignStream(const std::string& path, const std::vector<std::string>& requests, size_t limit,
                             std::vector<std::string>* answers) {
    grpc::CompletionQueue queue;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 10s);
    auto stream = foreign->PrepareCall(&context, path, &queue);
    const auto wait = [&] {
      void* tag;
      bool ok;
      return queue.Next(&tag, &ok) && ok;
    };
    stream->StartCall(nullptr);
    wait();
    for (const std::string& request : requests) {
      stream->Write(ToBuffer(request), nullptr);
      wait();
    }
    stream->WritesDone(nullptr);
    wait();
    while (answers->size() < limit) {
      grpc::ByteBuffer buffer;
      stream->Read(&buffer, nullptr);
      if (!wait()) break;
      answers->push_back(ToString(buffer));
    }
    if (answers->size() == limit) context.TryCancel();
    grpc::Status status;
    stream->Finish(&status, nullptr);
    wait();
    queue.Shutdown();
    void* tag;
    bool ok;
    while (queue.Next(&tag, &ok)) {
    }
    return status;
  }

  runtime::RealExecutor executor{"test"};
  Echo echo;
  HealthService health{[](std::string_view name) { return name == "test.Echo"; }};
  ReflectionService reflection{[this] { return process->service_names(); }};
  std::unique_ptr<GrpcProcess> process = std::make_unique<GrpcProcess>();
  std::unique_ptr<runtime::Network> network = process->MakeNetwork(executor);
  std::string address;
  std::unique_ptr<grpc::GenericStub> foreign;
};

TEST_F(GrpcProcessTest, AnAddressInUseIsSaidSo) {
  GrpcProcess second;
  const Status status = second.Listen(address);
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(MessageOf(status), "cannot listen on " + address + ": Address already in use");
}

TEST_F(GrpcProcessTest, AnAddressThatIsNoneIsSaidSo) {
  GrpcProcess second;
  const Status status = second.Listen("nonsense");
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_NE(MessageOf(status).find("cannot listen on nonsense: "), std::string_view::npos) << status;
}

TEST_F(GrpcProcessTest, ConnectionsDoNotTakeTheLastDescriptors) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = dup(0);
  close(next);
  rlimit low = before;
  low.rlim_cur = static_cast<rlim_t>(next) + 20;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  auto crowded = std::make_unique<GrpcProcess>();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  runtime::RealExecutor other("other");
  auto view = crowded->MakeNetwork(other);
  view->Serve("test.Echo", echo);
  ASSERT_TRUE(crowded->Listen("127.0.0.1:0").ok());
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(crowded->port()));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<int> sockets;
  for (int i = 0; i < 30; ++i) {
    sockets.push_back(::socket(AF_INET, SOCK_STREAM, 0));
    ASSERT_EQ(::connect(sockets.back(), reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  }
  char byte = 0;
  EXPECT_EQ(::recv(sockets.back(), &byte, 1, 0), 0) << "it is closed";
  for (const int socket : sockets) ::close(socket);
  other.RunAndWait([&] { view.reset(); });
  crowded->Shutdown(100ms);
}

TEST_F(GrpcProcessTest, AProcessThatOnlyCalls) {
  GrpcProcess client;
  runtime::RealExecutor other("client");
  auto view = client.MakeNetwork(other);
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<StatusOr<std::string>> answer;
  other.Post([&] {
    view->Call(address, "test.Echo/Unary", "hi", 5s, [&](StatusOr<std::string> result) {
      const std::lock_guard lock(mutex);
      answer = std::move(result);
      changed.notify_one();
    });
  });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return answer.has_value(); });
  }
  EXPECT_EQ(**answer, "hi");
  other.RunAndWait([&] { view.reset(); });
}

TEST_F(GrpcProcessTest, ForeignClientsCall) {
  std::string answer;
  EXPECT_TRUE(ForeignCall("/test.Echo/Unary", "plain", &answer).ok());
  EXPECT_EQ(answer, "plain");
  EXPECT_EQ(ForeignCall("/test.Nothing/X", "", nullptr).error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(ForeignCall("/noslash", "", nullptr).error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

// In the form that gRPC's libraries of all languages read.
TEST_F(GrpcProcessTest, ForeignClientsReadTheDetailsOfErrors) {
  const grpc::Status status = ForeignCall("/test.Echo/Refuse", "", nullptr);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(status.error_message(), "not so");
  pb::ErrorDetails details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), 9);
  EXPECT_EQ(details.message(), "not so");
  ASSERT_EQ(details.details_size(), 1);
  EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/test.Why");
  EXPECT_EQ(details.details(0).value(), "why");
}

TEST_F(GrpcProcessTest, ForeignStreamsAreOneMessageEachAndEndByHalfClose) {
  std::vector<std::string> answers;
  const grpc::Status status = ForeignStream("/test.Echo/Stream", {"a", "", "c"}, 100, &answers);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(answers, (std::vector<std::string>{"a", "", "c"}));
}

TEST_F(GrpcProcessTest, Health) {
  std::string bytes;
  pb::HealthCheckRequest request;
  pb::HealthCheckResponse response;
  EXPECT_TRUE(ForeignCall("/grpc.health.v1.Health/Check", "", &bytes).ok());
  ASSERT_TRUE(response.ParseFromString(bytes));
  EXPECT_EQ(response.status(), pb::HealthCheckResponse::NOT_SERVING);
  Do([&] { health.SetServing(true); });
  request.set_service("test.Echo");
  EXPECT_TRUE(ForeignCall("/grpc.health.v1.Health/Check", request.SerializeAsString(), &bytes).ok());
  ASSERT_TRUE(response.ParseFromString(bytes));
  EXPECT_EQ(response.status(), pb::HealthCheckResponse::SERVING);
  request.set_service("test.Nothing");
  EXPECT_EQ(ForeignCall("/grpc.health.v1.Health/Check", request.SerializeAsString(), &bytes).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(GrpcProcessTest, HealthIsWatched) {
  std::vector<std::string> answers;
  std::thread changer([&] {
    for (int i = 0; i < 50; ++i) {
      std::this_thread::sleep_for(5ms);
      Do([&] { health.SetServing(i % 2 == 0); });
    }
  });
  ForeignStream("/grpc.health.v1.Health/Watch", {""}, 3, &answers);
  changer.join();
  ASSERT_EQ(answers.size(), 3u);
  pb::HealthCheckResponse first;
  pb::HealthCheckResponse second;
  EXPECT_TRUE(first.ParseFromString(answers[1]) && second.ParseFromString(answers[2]));
  EXPECT_NE(first.status(), second.status());
}

TEST_F(GrpcProcessTest, Reflection) {
  for (const std::string_view name : kReflectionServiceNames) {
    pb::ServerReflectionRequest list;
    list.set_list_services("");
    pb::ServerReflectionRequest symbol;
    symbol.set_file_containing_symbol("tenure.internal.v1.HealthCheckRequest");
    pb::ServerReflectionRequest unknown;
    unknown.set_file_by_filename("no/such.proto");
    std::vector<std::string> answers;
    const grpc::Status status = ForeignStream(
        fmt::format("/{}/ServerReflectionInfo", name),
        {list.SerializeAsString(), symbol.SerializeAsString(), unknown.SerializeAsString()}, 100, &answers);
    EXPECT_TRUE(status.ok()) << status.error_message();
    ASSERT_EQ(answers.size(), 3u);
    pb::ServerReflectionResponse response;
    ASSERT_TRUE(response.ParseFromString(answers[0]));
    ASSERT_EQ(response.list_services_response().service_size(), 4);
    EXPECT_EQ(response.list_services_response().service(3).name(), "test.Echo");
    ASSERT_TRUE(response.ParseFromString(answers[1]));
    EXPECT_EQ(response.file_descriptor_response().file_descriptor_proto_size(), 2);  // and what it imports
    ASSERT_TRUE(response.ParseFromString(answers[2]));
    EXPECT_EQ(response.error_response().error_code(), 5);
  }
}

TEST_F(GrpcProcessTest, AProcessThatComesBackIsReachedSoon) {
  GrpcProcess client;
  runtime::RealExecutor other("client");
  auto view = client.MakeNetwork(other);
  std::optional<StatusOr<std::string>> answer;
  const auto call = [&] {
    other.RunAndWait([&] {
      answer.reset();
      view->Call(address, "test.Echo/Unary", "hi", 5s,
                 [&](StatusOr<std::string> result) { answer = std::move(result); });
    });
    for (bool done = false; !done; std::this_thread::sleep_for(1ms)) {
      other.RunAndWait([&] { done = answer.has_value(); });
    }
    return answer->ok();
  };
  EXPECT_TRUE(call());
  Do([&] { network.reset(); });
  process.reset();
  EXPECT_FALSE(call());
  EXPECT_EQ(answer->status().code(), StatusCode::kUnavailable);
  std::this_thread::sleep_for(300ms);
  process = std::make_unique<GrpcProcess>();
  network = process->MakeNetwork(executor);
  network->Serve("test.Echo", echo);
  const Status listening = process->Listen(address);
  ASSERT_TRUE(listening.ok()) << listening;
  const auto start = std::chrono::steady_clock::now();
  while (!call() && std::chrono::steady_clock::now() - start < 10s) std::this_thread::sleep_for(10ms);
  EXPECT_TRUE(answer->ok());
  other.RunAndWait([&] { view.reset(); });
}

TEST_F(GrpcProcessTest, ShutdownCutsOffWhatIsNotAnswered) {
  std::thread caller([&] {
    const grpc::Status status = ForeignCall("/test.Echo/Keep", "", nullptr);
    EXPECT_FALSE(status.ok());
  });
  for (bool arrived = false; !arrived; std::this_thread::sleep_for(1ms)) {
    Do([&] { arrived = !echo.kept.empty(); });
  }
  Do([&] { network.reset(); });
  process->Shutdown(50ms);
  caller.join();
  echo.kept[0](std::string("too late"));
}

// Passes one TCP connection on until it is told to swallow everything: a network that became a black hole.
class Proxy {
 public:
  explicit Proxy(int server_port) : listener_(Listen()) {
    thread_ = std::thread([this, server_port] { Run(server_port); });
  }
  ~Proxy() {
    stop_ = true;
    thread_.join();
    ::close(listener_);
  }
  int port() const { return port_; }
  void Swallow() { swallow_ = true; }

 private:
  static sockaddr_in Loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  int Listen() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof(address);
    ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    ::listen(fd, 5);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    return fd;
  }
  void Run(int server_port) {
    pollfd fds[3] = {{listener_, POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};
    std::vector<int> open;
    while (!stop_) {
      if (::poll(fds, 3, 10) <= 0) continue;
      if ((fds[0].revents & POLLIN) != 0 && fds[1].fd < 0) {
        const sockaddr_in server = Loopback(server_port);
        open = {::accept(listener_, nullptr, nullptr), ::socket(AF_INET, SOCK_STREAM, 0)};
        ::connect(open[1], reinterpret_cast<const sockaddr*>(&server), sizeof(server));
        fds[1].fd = open[0];
        fds[2].fd = open[1];
        fds[0].fd = -1;  // a second connection is not answered
        continue;
      }
      for (int from = 1; from <= 2; ++from) {
        if (fds[from].revents == 0) continue;
        char bytes[65536];
        const ssize_t n = ::recv(fds[from].fd, bytes, sizeof(bytes), 0);
        if (n <= 0) {
          fds[from].fd = -1;
        } else if (!swallow_) {
          ::send(open[static_cast<size_t>(2 - from)], bytes, static_cast<size_t>(n), MSG_NOSIGNAL);
        }
      }
    }
    for (const int fd : open) ::close(fd);
  }
  int port_ = 0;
  int listener_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> swallow_{false};
  std::thread thread_;
};

struct CloseRecorder : runtime::StreamHandler {
  void OnMessage(std::string) override { ++messages; }
  void OnClosed(Status s) override { status = std::move(s); }
  int messages = 0;
  std::optional<Status> status;
};

TEST_F(GrpcProcessTest, ABlackHoleIsNoticedByKeepalive) {
  GrpcOptions options;
  options.keepalive_time = 500ms;
  options.keepalive_timeout = 500ms;
  GrpcProcess client(options);
  runtime::RealExecutor other("client");
  auto view = client.MakeNetwork(other);
  Proxy proxy(process->port());
  const std::string to = "127.0.0.1:" + std::to_string(proxy.port());
  CloseRecorder stream_end;
  std::unique_ptr<runtime::Stream> stream;
  std::optional<StatusOr<std::string>> answer;
  other.RunAndWait([&] {
    stream = view->OpenStream(to, "test.Echo/Stream", stream_end, {});
    stream->Send("x");
  });
  const auto await = [&](auto condition) {
    const auto give_up = std::chrono::steady_clock::now() + 20s;
    for (bool holds = false; !holds && std::chrono::steady_clock::now() < give_up;
         std::this_thread::sleep_for(2ms)) {
      other.RunAndWait([&] { holds = condition(); });
    }
  };
  await([&] { return stream_end.messages == 1; });
  proxy.Swallow();
  other.RunAndWait([&] {
    view->Call(to, "test.Echo/Unary", "x", 60s,
               [&](StatusOr<std::string> result) { answer = std::move(result); });
  });
  await([&] { return answer.has_value() && stream_end.status.has_value(); });
  other.RunAndWait([&] {
    ASSERT_TRUE(answer.has_value() && stream_end.status.has_value());
    EXPECT_EQ(answer->status().code(), StatusCode::kUnavailable) << answer->status();
    EXPECT_FALSE(runtime::WasNotSent(answer->status()));
    EXPECT_EQ(stream_end.status->code(), StatusCode::kUnavailable) << *stream_end.status;
    stream.reset();
    view.reset();
  });
}

// The peer's kernel accepts the connection, nobody ever speaks.
TEST(GrpcKeepalive, ABlackHoleIsNoticed) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(any);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
  ASSERT_EQ(::listen(listener, 5), 0);  // the kernel connects, nobody ever speaks
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&any), &size), 0);
  GrpcProcess client;
  runtime::RealExecutor executor("client");
  auto network = client.MakeNetwork(executor);
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<StatusOr<std::string>> answer;
  executor.Post([&] {
    network->Call(fmt::format("127.0.0.1:{}", ntohs(any.sin_port)), "a.B/C", "", 60s,
                  [&](StatusOr<std::string> result) {
                    const std::lock_guard lock(mutex);
                    answer = std::move(result);
                    changed.notify_one();
                  });
  });
  {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, 30s, [&] { return answer.has_value(); }));
  }
  EXPECT_EQ(answer->status().code(), StatusCode::kUnavailable) << answer->status();
  executor.RunAndWait([&] { network.reset(); });
  ::close(listener);
}

}  // namespace
}  // namespace tenure::rpc
