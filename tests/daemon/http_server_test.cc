// The pages answer whoever else is connected, and stopping waits for no client.
#include "daemon/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace tenure::daemon {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr auto kSoon = std::chrono::seconds(3);

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int FreePort() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = Loopback(0);
  EXPECT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  socklen_t size = sizeof(address);
  EXPECT_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

class Client {
 public:
  explicit Client(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const sockaddr_in address = Loopback(port);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  Client(Client&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}
  ~Client() {
    if (socket_ >= 0) ::close(socket_);
  }
  void Send(std::string_view text) { ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL); }
  std::string ReadAll() {
    std::string all;
    char part[4096];
    for (ssize_t n = 0; (n = ::recv(socket_, part, sizeof(part), 0)) > 0;)
      all.append(part, static_cast<size_t>(n));
    return all;
  }

 private:
  int socket_;
};

class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    HttpPages pages{.metrics = [] { return std::string(1 << 20, 'm'); },
                    .health = [] { return OkStatus(); },
                    .ready = [] { return Error(StatusCode::kUnavailable, "not yet"); }};
    auto started = HttpServer::Start({"127.0.0.1", static_cast<uint16_t>(port_)}, std::move(pages));
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
  }
  std::string Get(const std::string& path) {
    Client client(port_);
    client.Send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n");
    return client.ReadAll();
  }

  const int port_ = FreePort();
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, Pages) {
  EXPECT_THAT(Get("/healthz"), AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Connection: close"),
                                     EndsWith("\r\n\r\nok\n")));
  EXPECT_THAT(Get("/readyz"), AllOf(StartsWith("HTTP/1.1 503 "), EndsWith("\r\n\r\nnot yet\n")));
  EXPECT_THAT(Get("/metrics"), EndsWith(std::string(1 << 20, 'm')));
  EXPECT_THAT(Get("/other"), StartsWith("HTTP/1.1 404 "));
}

TEST_F(HttpServerTest, ClientsThatAreSlowHoldUpNeitherOthersNorTheEnd) {
  std::vector<Client> slow;
  for (int i = 0; i < 4; ++i) slow.emplace_back(port_).Send("GET /healthz HTTP/1.1\r\nX: ");
  std::jthread trickle([&slow](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      for (Client& client : slow) client.Send("y");
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(Get("/healthz"), EndsWith("ok\n"));
  server_->Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kSoon);
}

TEST_F(HttpServerTest, ARequestEndsInTime) {
  Client client(port_);
  client.Send("GET /healthz HTTP/1.1\r\nX: ");
  std::jthread trickle([&client](const std::stop_token& stop) {
    for (int i = 0; i < 200 && !stop.stop_requested(); ++i) {
      client.Send("y");
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  client.ReadAll();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST_F(HttpServerTest, StopsWhateverItsStateIs) {
  server_->Stop();
  server_->Stop();
  for (int i = 0; i < 20; ++i) {
    auto again = HttpServer::Start({"127.0.0.1", static_cast<uint16_t>(port_)}, {});
    ASSERT_TRUE(again.ok()) << again.status();
    (*again)->Stop();
  }
}

}  // namespace
}  // namespace tenure::daemon
