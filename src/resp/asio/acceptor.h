// Takes new connections off the listening socket and hands them to the lanes in turn.
//
// Threading: Open before the lanes start; Close on the thread of the first lane; the rest runs there.
#pragma once

#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "base/time.h"
#include "resp/asio/lane.h"

namespace tenure::resp {

class Acceptor {
 public:
  Acceptor(std::vector<std::shared_ptr<Lane>> lanes, size_t max_clients,
           std::atomic<size_t>& open_connections, FrontEnd& front, runtime::Executor& executor,
           Logger logger);

  Status Open(const std::string& address);
  uint16_t port() const { return port_; }
  void Accept();
  void Close();

 private:
  void OnAccept(const std::error_code& error, ::asio::ip::tcp::socket socket, size_t lane);
  void Configure(::asio::ip::tcp::socket& socket);
  void Reject(::asio::ip::tcp::socket socket);
  void RetryLater(const std::error_code& error);

  std::vector<std::shared_ptr<Lane>> lanes_;
  const size_t max_clients_;
  std::atomic<size_t>& open_connections_;
  FrontEnd& front_;
  runtime::Executor& executor_;
  const Logger logger_;
  ::asio::ip::tcp::acceptor acceptor_;
  ::asio::steady_timer retry_;
  uint16_t port_ = 0;
  size_t next_lane_ = 0;
  Instant complained_at_{};
  bool closed_ = false;
};

}  // namespace tenure::resp
