// What this machine alone asks for one replicated put at a time: three processes that each write 512 bytes past
// the page cache and fdatasync them, bare TCP between them, no Raft, no gRPC, nothing decoded or applied. The
// leader answers when its own disk and one other have it (it may not apply what its own log lacks: R5 of
// raft_core.h). run-kv's median at one outstanding put stands beside it.
//
//   client --request--> leader --> two followers     each: pwrite, fdatasync
//          <--answer---        <-- first of them, and its own disk
//
//   bin/put_floor [--seconds 5] [--directory DIR]     prints one JSON object
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"

namespace tenure::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

// As large as those of a put of 16 and 256 bytes.
constexpr size_t kRequestBytes = 300;
constexpr size_t kAppendBytes = 356;
constexpr size_t kAckBytes = 60;
constexpr size_t kAnswerBytes = 24;
constexpr size_t kSectorBytes = 512;
constexpr size_t kFileBytes = 64 << 20;

// Blocking, exact sizes; false when the other side has ended.
bool Receive(int fd, size_t size) {
  std::array<char, 1024> buffer;
  for (size_t got = 0; got < size;) {
    const ssize_t n = ::recv(fd, buffer.data(), size - got, 0);
    if (n <= 0) return false;
    got += static_cast<size_t>(n);
  }
  return true;
}
bool Send(int fd, size_t size) {
  static constexpr std::array<char, 1024> kBytes{};
  return ::send(fd, kBytes.data(), size, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}
// Of the three processes: it is over when the client, or another one of them, has ended.
void EndUnless(bool connected) {
  if (!connected) ::_exit(0);
}

struct Listener {
  Listener() : fd(::socket(AF_INET, SOCK_STREAM, 0)) {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    TENURE_CHECK(::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(fd, 1) == 0 &&
                     ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0,
                 "no loopback port: {}", std::strerror(errno));
  }
  static int Prompt(int connection) {
    const int on = 1;
    ::setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return connection;
  }
  int Accept() const { return Prompt(::accept(fd, nullptr, nullptr)); }
  int Connect() const {
    const int connection = ::socket(AF_INET, SOCK_STREAM, 0);
    TENURE_CHECK(::connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0,
                 "connect: {}", std::strerror(errno));
    return Prompt(connection);
  }
  // Where it is not listened at, it must be closed: who connects is refused then once the one that does has ended.
  void Close() const { ::close(fd); }
  const int fd;
  sockaddr_in address{};
};

// A file of zeros that are on the disk, written from its beginning sector after sector.
class Log {
 public:
  explicit Log(const std::string& path) {
    const int plain = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    const std::vector<char> zeros(1 << 20);
    for (size_t at = 0; at < kFileBytes; at += zeros.size()) {
      TENURE_CHECK(::write(plain, zeros.data(), zeros.size()) == static_cast<ssize_t>(zeros.size()), "{}: {}",
                   path, std::strerror(errno));
    }
    ::fsync(plain);
    ::close(plain);
    fd_ = ::open(path.c_str(), O_WRONLY | O_DIRECT);
    TENURE_CHECK(fd_ >= 0, "{} cannot be written past the page cache: {}", path, std::strerror(errno));
    sector_ = static_cast<char*>(std::aligned_alloc(4096, kSectorBytes));
    std::fill_n(sector_, kSectorBytes, 'x');
  }
  void Append() {
    TENURE_CHECK(::pwrite(fd_, sector_, kSectorBytes, static_cast<off_t>(at_)) == kSectorBytes &&
                     ::fdatasync(fd_) == 0,
                 "write: {}", std::strerror(errno));
    at_ = (at_ + kSectorBytes) % kFileBytes;
  }

 private:
  int fd_ = -1;
  char* sector_ = nullptr;
  size_t at_ = 0;
};

pid_t Fork() {
  const pid_t pid = ::fork();
  TENURE_CHECK(pid >= 0, "fork: {}", std::strerror(errno));
  if (pid == 0) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  return pid;
}

[[noreturn]] void RunFollower(const Listener& listener, const std::string& path) {
  Log log(path);
  const int leader = listener.Accept();
  for (;;) {
    EndUnless(Receive(leader, kAppendBytes));
    log.Append();
    EndUnless(Send(leader, kAckBytes));
  }
}

// The thread that has the connections sends first; the disk's own thread writes meanwhile. A put is answered by
// whoever makes it durable in the second of the places that count.
class Leader {
 public:
  Leader(const std::array<Listener, 2>& followers, const std::string& path) : log_(path) {
    for (size_t i = 0; i < followers_.size(); ++i) followers_[i] = followers[i].Connect();
  }
  [[noreturn]] void Run(const Listener& listener) {
    client_ = listener.Accept();
    std::thread([this] { WriteLog(); }).detach();
    std::array<pollfd, 3> ready{pollfd{followers_[0], POLLIN, 0}, pollfd{followers_[1], POLLIN, 0},
                                pollfd{client_, POLLIN, 0}};
    std::array<uint64_t, 2> acks{};
    for (uint64_t put = 0;;) {
      ::poll(ready.data(), ready.size(), -1);
      for (size_t i = 0; i < followers_.size(); ++i) {
        if (ready[i].revents == 0) continue;
        EndUnless(Receive(followers_[i], kAckBytes));
        Durable(i, ++acks[i]);
      }
      if (ready[2].revents == 0) continue;
      EndUnless(Receive(client_, kRequestBytes));
      for (const int follower : followers_) EndUnless(Send(follower, kAppendBytes));
      {
        const std::lock_guard lock(mutex_);
        to_write_ = ++put;
      }
      wake_.notify_one();
    }
  }

 private:
  void WriteLog() {
    for (uint64_t put = 1;; ++put) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return to_write_ >= put; });
      }
      log_.Append();
      Durable(followers_.size(), put);
    }
  }
  void Durable(size_t place, uint64_t put) {
    const std::lock_guard lock(mutex_);
    durable_[place] = put;
    const uint64_t done = std::min(std::max(durable_[0], durable_[1]), durable_[2]);
    if (done <= answered_) return;
    answered_ = done;
    EndUnless(Send(client_, kAnswerBytes));
  }

  Log log_;
  std::array<int, 2> followers_{};
  int client_ = -1;
  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  uint64_t to_write_ = 0;
  uint64_t answered_ = 0;
  std::array<uint64_t, 3> durable_{};  // up to which put; the leader's own place is the last
};

// False if one of the three has ended; it has said why.
bool Run(double seconds, const std::filesystem::path& directory) {
  const Listener for_client;
  const std::array<Listener, 2> for_leader;
  const auto close_all_but = [&](const Listener* mine) {
    for (const Listener* listener : {&for_client, &for_leader[0], &for_leader[1]}) {
      if (listener != mine) listener->Close();
    }
  };
  for (size_t i = 0; i < for_leader.size(); ++i) {
    if (Fork() != 0) continue;
    close_all_but(&for_leader[i]);
    RunFollower(for_leader[i], directory / fmt::format("follower-{}", i));
  }
  if (Fork() == 0) {
    close_all_but(&for_client);
    Leader(for_leader, directory / "leader").Run(for_client);
  }
  const int leader = for_client.Connect();
  close_all_but(nullptr);
  std::vector<int64_t> latencies;
  const auto begin = SteadyClock::now();
  // The first second warms up: the others make their files, clocks and caches find their pace.
  if (!Send(leader, kRequestBytes) || !Receive(leader, kAnswerBytes)) return false;
  const auto warm = SteadyClock::now() + std::chrono::seconds(1);
  const auto end = warm + std::chrono::duration<double>(seconds);
  for (auto now = begin; now < end;) {
    const auto sent = SteadyClock::now();
    if (!Send(leader, kRequestBytes) || !Receive(leader, kAnswerBytes)) return false;
    now = SteadyClock::now();
    if (sent < warm) continue;
    latencies.push_back(std::chrono::duration_cast<std::chrono::microseconds>(now - sent).count());
  }
  ::close(leader);
  std::sort(latencies.begin(), latencies.end());
  const auto quantile = [&](double q) {
    return static_cast<double>(
               latencies[static_cast<size_t>(q * static_cast<double>(latencies.size() - 1))]) /
           1000;
  };
  std::cout << nlohmann::json{{"puts", latencies.size()},
                              {"p50_ms", quantile(0.5)},
                              {"p99_ms", quantile(0.99)}}
            << "\n";
  return true;
}

}  // namespace
}  // namespace tenure::bench

int main(int argc, char** argv) {
  CLI::App app("The time one replicated put takes on this machine without any of Tenure's code.");
  double seconds = 5;
  std::filesystem::path parent = std::filesystem::temp_directory_path();
  app.add_option("--seconds", seconds)->check(CLI::Range(0.1, 600.0));
  app.add_option("--directory", parent, "where the three files are, on the disk that is meant")
      ->check(CLI::ExistingDirectory);
  CLI11_PARSE(app, argc, argv);
  const std::filesystem::path directory = parent / fmt::format("put_floor.{}", ::getpid());
  std::filesystem::create_directory(directory);
  const bool done = tenure::bench::Run(seconds, directory);
  std::filesystem::remove_all(directory);
  if (!done) std::cerr << "put_floor: one of its processes in " << parent << " has ended\n";
  return done ? 0 : 1;
}
