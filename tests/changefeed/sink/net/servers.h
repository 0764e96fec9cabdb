// Real servers for one test each, and a proxy in front of them that can stop answering or cut the connection.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace tenure::changefeed {

// A port of 127.0.0.1 that nobody listened to a moment ago.
int FreePort();
bool CanConnect(int port);

// A process of its own in a temporary folder, killed with the object.
class ServerProcess {
 public:
  // `words`: the program and its arguments; "{folder}" is the temporary one. Fails the test if nothing
  // listens to `port` within ten seconds.
  ServerProcess(std::vector<std::string> words, int port);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

 private:
  std::string folder_;
  pid_t process_ = 0;
};

// Carries bytes between its port and `to`. Threads of its own.
class Proxy {
 public:
  explicit Proxy(int to);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  int port() const { return port_; }
  // From now on nothing is carried back; connections stay.
  void Hang() { hang_ = true; }
  // Cuts what is connected.
  void Cut();

 private:
  void Accept();
  void Carry(int from, int to, bool back);

  const int to_;
  int port_ = 0;  // set by the listener, so before it
  int listener_ = -1;
  std::atomic<bool> hang_{false};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<int> sockets_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace tenure::changefeed
