// Private to rpc/: the port of a process, and the thread of its links (link.h). Every connection comes in
// here. One that begins with kLinkMagic is a link; all others are gRPC's, with what was read of them.
//
// Threading: Listen, Accept, StopAccepting and Shutdown from the thread that owns the process; the rest as
//            marked.
// Lifetime:  belongs to GrpcCore. The thread is started when it is needed first; Shutdown breaks the links off
//            and ends it.
// Errors:    out of file descriptors or memory: connections wait in the kernel and are tried again. Where only an
//            eighth of the descriptors is left, at most 128, connections are closed: files come first.
#pragma once

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <vector>

#include "base/status.h"
#include "rpc/grpc_process.h"
#include "rpc/name_lookups.h"
#include "runtime/network.h"

namespace tenure::rpc {

class GrpcCore;
class Link;

class Links {
 public:
  Links(GrpcCore& core, const GrpcOptions& options);
  ~Links();
  Links(const Links&) = delete;

  // Listens on every address that "host:port" stands for; connections wait for Accept. UNAVAILABLE: the
  // address cannot be had, and why.
  Status Listen(const runtime::Endpoint& endpoint);
  int port() const { return port_; }
  // Gets the descriptor of a connection that is no link, to keep, and what was read of it. (io, under a lock)
  using OnForeign = std::function<void(int descriptor, std::string_view received)>;
  void Accept(OnForeign on_foreign);
  // When it returns, no connection is handed on any more; those that have not said what they are are closed.
  void StopAccepting();
  void Shutdown();

  // Any thread. Null: the process is shutting down.
  std::shared_ptr<Link> NewLink();
  // Whether a link to `to` was answered by something else since this was asked last: gRPC alone is spoken by
  // programs from before links. Asked for each stream, so every other one tries a link again.
  bool TakeForeign(const runtime::Endpoint& to);

  // For links, any thread.
  ::asio::io_context& io() { return io_; }
  GrpcCore& core() { return core_; }
  // For a connection to be made.
  Duration connect_timeout() const { return options_.max_backoff; }
  // For a peer to do what is its turn.
  Duration patience() const { return options_.keepalive_time + options_.keepalive_timeout; }
  void Forget(const std::shared_ptr<Link>& link);
  void NoteForeign(const runtime::Endpoint& to);
  NameLookups& names() { return names_; }  // (io)
  // A connection that is made. What cannot be set is no reason to give it up.
  void Configure(::asio::ip::tcp::socket& socket) const;

 private:
  class Greeting;
  struct Listener {
    explicit Listener(::asio::io_context& io) : acceptor(io), retry(io) {}
    ::asio::ip::tcp::acceptor acceptor;
    ::asio::steady_timer retry;
  };

  void Run();
  void StartThread();  // under mutex_
  static std::error_code Open(::asio::ip::tcp::acceptor& acceptor, const ::asio::ip::tcp::endpoint& address);
  // (io)
  void HandOn(::asio::ip::tcp::socket& socket, std::string_view received);
  bool accepting();
  void AcceptNext(Listener& listener);
  void OnAccepted(Listener& listener, const std::error_code& error, ::asio::ip::tcp::socket socket);

  GrpcCore& core_;
  const GrpcOptions options_;
  const int first_too_many_;  // a connection with this descriptor or a higher one is closed
  ::asio::io_context io_{1};
  ::asio::executor_work_guard<::asio::io_context::executor_type> work_;
  NameLookups names_{io_};
  std::vector<std::unique_ptr<Listener>> listeners_;
  int port_ = 0;
  std::unordered_set<std::shared_ptr<Greeting>> greetings_;  // (io)

  std::mutex foreign_mutex_;
  OnForeign on_foreign_;  // null: nothing is accepted

  std::mutex mutex_;
  bool shut_down_ = false;
  std::thread thread_;
  std::unordered_set<std::shared_ptr<Link>> links_;
  std::set<runtime::Endpoint> foreign_;  // answered a link with something else
};

}  // namespace tenure::rpc
