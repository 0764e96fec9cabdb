// Real sockets against the server with a fake node behind it.
#include "resp/asio/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "resp/front_end.h"
#include "tests/resp/asio/thread_executor.h"
#include "tests/resp/fake_data_service.h"

namespace tenure::resp {
namespace {

// A blocking socket with a deadline on every read.
class Socket {
 public:
  explicit Socket(uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  ~Socket() { Close(); }

  bool connected() const { return connected_; }
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // As many bytes as fit into the kernel's buffers within `patience_ms` of no progress.
  size_t SendWhatFits(std::string_view bytes, int patience_ms) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      pollfd waiting{fd_, POLLOUT, 0};
      if (::poll(&waiting, 1, patience_ms) <= 0) break;
      const ssize_t n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n <= 0) break;
      sent += static_cast<size_t>(n);
    }
    return sent;
  }
  // Exactly so many bytes; fewer if the stream ends or nothing comes for ten seconds.
  std::string Read(size_t size) {
    std::string out;
    while (out.size() < size && ReadSome(out, size - out.size())) {
    }
    return out;
  }
  // Everything up to the end of the stream.
  std::string ReadToEnd() {
    std::string out;
    while (ReadSome(out, 65536)) {
    }
    return out;
  }
  bool ended() const { return ended_; }
  void ShutdownSend() { ::shutdown(fd_, SHUT_WR); }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  // Closes with a reset instead of an end of stream.
  void Reset() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    Close();
  }

 private:
  bool ReadSome(std::string& out, size_t size) {
    pollfd waiting{fd_, POLLIN, 0};
    if (::poll(&waiting, 1, 10'000) <= 0) return false;
    std::string buffer(std::min<size_t>(size, 65536), '\0');
    const ssize_t n = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (n <= 0) {
      ended_ = true;
      return false;
    }
    out.append(buffer, 0, static_cast<size_t>(n));
    return true;
  }
  int fd_;
  bool connected_ = false;
  bool ended_ = false;
};

class ServerTest : public testing::Test {
 protected:
  ~ServerTest() override { Down(); }

  void Up(ServerSettings settings = {}, FrontEndSettings front_settings = {}) {
    executor_.Do([&] { front_ = std::make_unique<FrontEnd>(front_settings, service_, executor_, Logger()); });
    auto server = Server::Start(settings, *front_, executor_, Logger());
    ASSERT_TRUE(server.ok()) << MessageOf(server.status());
    server_ = std::move(*server);
  }
  void Down() {
    if (server_) server_->Stop();
    server_.reset();
    executor_.Stop();
    front_.reset();
  }
  Socket Connect(int receive_buffer = 0) { return Socket(server_->port(), receive_buffer); }
  size_t Sessions() {
    size_t count = 0;
    executor_.Do([&] { count = front_->client_count(); });
    return count;
  }
  // Until no session and no connection is left.
  bool Drained() {
    for (int i = 0; i < 1000; ++i) {
      if (server_->open_connections() == 0 && Sessions() == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  ThreadExecutor executor_;
  FakeDataService service_;
  std::unique_ptr<FrontEnd> front_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, AnswersInOrder) {
  Up();
  Socket socket = Connect();
  std::string pipeline;
  std::string expected;
  for (int i = 1; i <= 1000; ++i) {
    pipeline += "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n";
    expected += ":" + std::to_string(i) + "\r\n";
  }
  ASSERT_TRUE(socket.Send(pipeline));
  EXPECT_EQ(socket.Read(expected.size()), expected);
  socket.Close();
  EXPECT_TRUE(Drained());
}

TEST_F(ServerTest, ManyConnectionsAndThreads) {
  ServerSettings settings;
  settings.io_threads = 3;
  Up(settings);
  std::vector<Socket> sockets;
  for (int i = 0; i < 60; ++i) sockets.push_back(Connect());
  for (Socket& socket : sockets) ASSERT_TRUE(socket.Send("PING\r\nECHO hi\r\n"));
  for (Socket& socket : sockets) EXPECT_EQ(socket.Read(15), "+PONG\r\n$2\r\nhi\r\n");
  EXPECT_EQ(Sessions(), 60u);
  sockets.clear();
  EXPECT_TRUE(Drained());
}

TEST_F(ServerTest, LargeValuesBothWays) {
  Up();
  Socket socket = Connect();
  const std::string value(20 << 20, 'v');
  ASSERT_TRUE(socket.Send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$" + std::to_string(value.size()) + "\r\n"));
  ASSERT_TRUE(socket.Send(value));
  ASSERT_TRUE(socket.Send("\r\n"));
  EXPECT_EQ(socket.Read(5), "+OK\r\n");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(socket.Send("GET k\r\n"));
  const std::string expected = "$20971520\r\n" + value + "\r\n";
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(socket.Read(expected.size()) == expected);
}

TEST_F(ServerTest, OversizedValueIsRefusedAndTheConnectionLives) {
  Up();
  Socket socket = Connect();
  ASSERT_TRUE(socket.Send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108864\r\n"));
  const std::string megabyte(1 << 20, 'x');
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(socket.Send(megabyte));
  ASSERT_TRUE(socket.Send("\r\nPING\r\n"));
  const std::string expected =
      "-ERR argument of 67108864 bytes exceeds the limit of 33554432 bytes\r\n+PONG\r\n";
  EXPECT_EQ(socket.Read(expected.size()), expected);
}

TEST_F(ServerTest, GarbageGetsAnErrorAndTheEnd) {
  Up();
  for (const char* garbage : {"*abc\r\n", "*1\r\n#boo\r\n", "\"unbalanced\r\n", "*1\r\n$-5\r\n"}) {
    Socket socket = Connect();
    // More behind it than the server will read: the error arrives all the same.
    ASSERT_TRUE(socket.Send(std::string(garbage) + std::string(100'000, 'x')));
    const std::string reply = socket.ReadToEnd();
    EXPECT_TRUE(reply.starts_with("-ERR Protocol error: ")) << garbage << ": " << reply;
    EXPECT_TRUE(socket.ended());
  }
  Socket socket = Connect();
  ASSERT_TRUE(socket.Send("PING\r\n"));
  EXPECT_EQ(socket.Read(7), "+PONG\r\n");
}

TEST_F(ServerTest, BinaryNoise) {
  Up();
  uint64_t state = 1;
  for (int round = 0; round < 50; ++round) {
    Socket socket = Connect();
    std::string noise;
    for (int i = 0; i < 500; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      noise.push_back(static_cast<char>(state >> 56));
    }
    socket.Send(noise);
    socket.Close();
  }
  EXPECT_TRUE(Drained());
}

TEST_F(ServerTest, HalfRequestsAndAbruptEnds) {
  Up();
  for (const char* half : {"*", "*2\r\n$3\r\nGE", "*2\r\n$3\r\nGET\r\n$100\r\nabc", "PIN"}) {
    Socket closed = Connect();
    ASSERT_TRUE(closed.Send(half));
    closed.Close();
    Socket reset = Connect();
    ASSERT_TRUE(reset.Send(half));
    reset.Reset();
    Socket ended = Connect();
    ASSERT_TRUE(ended.Send(half));
    ended.ShutdownSend();
    EXPECT_EQ(ended.ReadToEnd(), "");
    EXPECT_TRUE(ended.ended());
  }
  EXPECT_TRUE(Drained());
}

TEST_F(ServerTest, EndOfInputStillGetsReplies) {
  Up();
  executor_.Do([&] { service_.hold = true; });
  Socket socket = Connect();
  ASSERT_TRUE(socket.Send("SET a 1\r\nGET a\r\n"));
  socket.ShutdownSend();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  executor_.Do([&] { service_.ReleaseAll(); });
  EXPECT_EQ(socket.ReadToEnd(), "+OK\r\n$1\r\n1\r\n");
  EXPECT_TRUE(Drained());
}

TEST_F(ServerTest, QuitCloses) {
  Up();
  Socket socket = Connect();
  ASSERT_TRUE(socket.Send("QUIT\r\nPING\r\n"));
  EXPECT_EQ(socket.ReadToEnd(), "+OK\r\n");
  EXPECT_TRUE(socket.ended());
  EXPECT_TRUE(Drained());
}

TEST_F(ServerTest, KilledClientIsClosed) {
  Up();
  Socket victim = Connect();
  ASSERT_TRUE(victim.Send("CLIENT ID\r\n"));
  EXPECT_EQ(victim.Read(4), ":1\r\n");
  Socket killer = Connect();
  ASSERT_TRUE(killer.Send("CLIENT KILL ID 1\r\n"));
  EXPECT_EQ(killer.Read(4), ":1\r\n");
  EXPECT_EQ(victim.ReadToEnd(), "");
  EXPECT_TRUE(victim.ended());
}

// A client that asks and does not read: the server stops reading from it, memory stays bounded, others are
// served, and after a while it is disconnected.
TEST_F(ServerTest, SlowReader) {
  ServerSettings settings;
  settings.write_stall_timeout = std::chrono::milliseconds(500);
  Up(settings);
  executor_.Do([&] { service_.Put("k", std::string(100'000, 'v')); });
  Socket slow = Connect(4096);
  std::string requests;
  for (int i = 0; i < 100'000; ++i) requests += "GET k\r\n";  // 10 GB of replies
  slow.SendWhatFits(requests, 200);
  uint64_t executed = 0;
  size_t held = 0;
  executor_.Do([&] {
    executed = service_.executed;
    held = front_->total_bytes();
  });
  EXPECT_LT(executed, 1000u);
  EXPECT_LT(held, 3u << 20);
  Socket other = Connect();
  ASSERT_TRUE(other.Send("PING\r\n"));
  EXPECT_EQ(other.Read(7), "+PONG\r\n");
  for (int i = 0; i < 500 && Sessions() > 1; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(Sessions(), 1u);
}

// The same client, reading late but reading, gets everything.
TEST_F(ServerTest, LateReader) {
  Up();
  executor_.Do([&] { service_.Put("k", std::string(100'000, 'v')); });
  Socket socket = Connect(4096);
  std::string requests;
  for (int i = 0; i < 300; ++i) requests += "GET k\r\n";
  requests += "PING\r\n";
  std::thread sender([&] { EXPECT_TRUE(socket.Send(requests)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const size_t size = 300 * (std::string("$100000\r\n\r\n").size() + 100'000);
  EXPECT_EQ(socket.Read(size).size(), size);
  EXPECT_EQ(socket.Read(7), "+PONG\r\n");
  sender.join();
}

// Many commands held by the node: the rest stays in the socket, and all are answered in the end.
TEST_F(ServerTest, BackPressureOnInput) {
  FrontEndSettings front;
  front.max_in_flight = 16;
  Up({}, front);
  executor_.Do([&] { service_.hold = true; });
  Socket socket = Connect();
  std::string requests;
  std::string expected;
  for (int i = 1; i <= 100'000; ++i) {
    requests += "INCR n\r\n";
    expected += ":" + std::to_string(i) + "\r\n";
  }
  std::thread sender([&] { EXPECT_TRUE(socket.Send(requests)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  executor_.Do([&] {
    EXPECT_EQ(service_.held.size(), 16u);
    service_.hold = false;
    service_.ReleaseAll();
  });
  EXPECT_TRUE(socket.Read(expected.size()) == expected);  // gtest's diff of so much takes minutes
  sender.join();
}

TEST_F(ServerTest, MaxClients) {
  ServerSettings settings;
  settings.max_clients = 2;
  Up(settings);
  Socket first = Connect();
  Socket second = Connect();
  ASSERT_TRUE(first.Send("PING\r\n"));
  ASSERT_TRUE(second.Send("PING\r\n"));
  EXPECT_EQ(first.Read(7) + second.Read(7), "+PONG\r\n+PONG\r\n");
  Socket third = Connect();
  EXPECT_EQ(third.ReadToEnd(), "-ERR max number of clients reached\r\n");
  first.Close();
  for (int i = 0; i < 500 && server_->open_connections() > 1; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  Socket fourth = Connect();
  ASSERT_TRUE(fourth.Send("PING\r\n"));
  EXPECT_EQ(fourth.Read(7), "+PONG\r\n");
  uint64_t rejected = 0;
  executor_.Do([&] { rejected = front_->counters().rejected_connections; });
  EXPECT_EQ(rejected, 1u);
}

TEST_F(ServerTest, IdleClients) {
  ServerSettings settings;
  settings.idle_timeout = std::chrono::milliseconds(300);
  Up(settings);
  Socket socket = Connect();
  EXPECT_EQ(socket.ReadToEnd(), "");
  EXPECT_TRUE(socket.ended());
  EXPECT_TRUE(Drained());
}

TEST_F(ServerTest, AddressInUse) {
  Up();
  ServerSettings settings;
  settings.listen = "127.0.0.1:" + std::to_string(server_->port());
  const auto second = Server::Start(settings, *front_, executor_, Logger());
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(MessageOf(second.status()),
            "cannot listen on " + settings.listen + ": bind: Address already in use");
  settings.listen = "no.such.host.invalid:1";
  EXPECT_FALSE(Server::Start(settings, *front_, executor_, Logger()).ok());
}

// Out of file descriptors: nobody is accepted, nothing spins, and it goes on when there are some again.
TEST_F(ServerTest, OutOfFileDescriptors) {
  Up();
  Socket waiting = Connect();  // its descriptor exists before there are no more
  ASSERT_TRUE(waiting.Send("PING\r\n"));
  ASSERT_EQ(waiting.Read(7), "+PONG\r\n");
  const int spare = ::socket(AF_INET, SOCK_STREAM, 0);
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{static_cast<rlim_t>(spare) + 1, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server_->port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(spare, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  timespec cpu_before{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_before);
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  timespec cpu_after{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_after);
  const auto used = std::chrono::seconds(cpu_after.tv_sec - cpu_before.tv_sec) +
                    std::chrono::nanoseconds(cpu_after.tv_nsec - cpu_before.tv_nsec);
  EXPECT_LT(ToMillis(used), 200);
  ASSERT_TRUE(waiting.Send("PING\r\n"));
  EXPECT_EQ(waiting.Read(7), "+PONG\r\n");
  ::setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_EQ(::send(spare, "PING\r\n", 6, MSG_NOSIGNAL), 6);
  char reply[8] = {};
  EXPECT_EQ(::recv(spare, reply, 7, MSG_WAITALL), 7);
  EXPECT_STREQ(reply, "+PONG\r\n");
  ::close(spare);
}

TEST_F(ServerTest, StopsWithClientsAndCommandsUnderWay) {
  Up();
  executor_.Do([&] { service_.hold = true; });
  std::vector<Socket> sockets;
  for (int i = 0; i < 20; ++i) {
    sockets.push_back(Connect());
    ASSERT_TRUE(sockets.back().Send("SET a 1\r\nGET a\r\nWATCH b\r\n"));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server_->Stop();
  EXPECT_EQ(Sessions(), 0u);
  executor_.Do([&] { service_.ReleaseAll(); });
  for (Socket& socket : sockets) EXPECT_EQ(socket.ReadToEnd(), "");
}

TEST_F(ServerTest, StopsAfterItsExecutor) {
  Up();
  Socket socket = Connect();
  ASSERT_TRUE(socket.Send("PING\r\n"));
  EXPECT_EQ(socket.Read(7), "+PONG\r\n");
  executor_.Stop();
  ASSERT_TRUE(socket.Send("PING\r\n"));
  server_->Stop();
  EXPECT_EQ(front_->client_count(), 0u);
}

// Clients that come and go while others work, from several threads.
TEST_F(ServerTest, Churn) {
  ServerSettings settings;
  settings.io_threads = 2;
  Up(settings);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 100; ++i) {
        Socket socket = Connect();
        const std::string key = "k" + std::to_string(t);
        ASSERT_TRUE(socket.Send("SET " + key + " v\r\nGET " + key + "\r\n"));
        if (i % 3 == 0) {
          socket.Reset();
        } else {
          EXPECT_EQ(socket.Read(12), "+OK\r\n$1\r\nv\r\n");
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(Drained());
}

}  // namespace
}  // namespace tenure::resp
