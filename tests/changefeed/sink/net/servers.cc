#include "tests/changefeed/sink/net/servers.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>

extern char** environ;

namespace tenure::changefeed {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int Listen(int& port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::listen(listener, 16), 0);
  EXPECT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  port = ntohs(address.sin_port);
  return listener;
}

int Connect(int port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = Loopback(port);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return socket;
  ::close(socket);
  return -1;
}

}  // namespace

int FreePort() {
  int port = 0;
  ::close(Listen(port));
  return port;
}

bool CanConnect(int port) {
  const int socket = Connect(port);
  if (socket >= 0) ::close(socket);
  return socket >= 0;
}

ServerProcess::ServerProcess(std::vector<std::string> words, int port) {
  std::string name = (std::filesystem::temp_directory_path() / "tenure-sink-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    ADD_FAILURE() << "no temporary folder " << name;
    return;
  }
  folder_ = name;
  std::vector<char*> argv;
  for (std::string& word : words) {
    if (const size_t at = word.find("{folder}"); at != std::string::npos) word.replace(at, 8, folder_);
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  if (posix_spawn(&process_, words[0].c_str(), nullptr, nullptr, argv.data(), environ) != 0) {
    ADD_FAILURE() << words[0] << " cannot be started";
    process_ = 0;
    return;
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!CanConnect(port)) {
    if (std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << words[0] << " does not listen to " << port;
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

ServerProcess::~ServerProcess() {
  if (process_ > 0) {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

Proxy::Proxy(int to) : to_(to), listener_(Listen(port_)), acceptor_([this] { Accept(); }) {}

Proxy::~Proxy() {
  stopping_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  Cut();
  for (auto& thread : threads_) thread.join();
  for (const int socket : sockets_) ::close(socket);
  ::close(listener_);
}

void Proxy::Cut() {
  const std::lock_guard lock(mutex_);
  for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
}

void Proxy::Accept() {
  while (!stopping_) {
    const int client = ::accept(listener_, nullptr, nullptr);
    if (client < 0) return;
    const int server = Connect(to_);
    const std::lock_guard lock(mutex_);
    sockets_.push_back(client);
    if (server < 0) {
      ::shutdown(client, SHUT_RDWR);
      continue;
    }
    sockets_.push_back(server);
    threads_.emplace_back([this, client, server] { Carry(client, server, false); });
    threads_.emplace_back([this, client, server] { Carry(server, client, true); });
  }
}

void Proxy::Carry(int from, int to, bool back) {
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t size = ::recv(from, buffer.data(), buffer.size(), 0);
    if (size <= 0) break;
    if (back && hang_) continue;
    for (ssize_t sent = 0; sent < size;) {
      const ssize_t now = ::send(to, buffer.data() + sent, static_cast<size_t>(size - sent), MSG_NOSIGNAL);
      if (now <= 0) break;
      sent += now;
    }
  }
  ::shutdown(to, SHUT_RDWR);
}

}  // namespace tenure::changefeed
