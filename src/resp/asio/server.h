// The Redis-protocol port of a node: accepts clients on TCP and connects each to a resp::Session.
//
// Built by daemon/. Decodes nothing: bytes go to sessions on the node's executor and come back.
// Threading: Start, Stop and the destructor from any one thread that is neither the executor nor an I/O
//            thread.
// Lifetime:  the front end and the executor outlive the server. Stop closes every connection, ends the I/O
//            threads and, on the executor, every session; when it returns nothing of the server is under way.
//            It may be called before or after the executor is stopped.
// Bounds:    max_clients connections; one more is told so and closed. Out of file descriptors: waits and
//            tries again.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "base/time.h"
#include "resp/front_end.h"
#include "runtime/executor.h"

namespace tenure::resp {

struct ServerSettings {
  std::string listen = "127.0.0.1:0";  // host:port or [v6]:port; port 0: any free one
  int io_threads = 1;
  size_t max_clients = 10000;
  Duration write_stall_timeout = std::chrono::seconds(60);
  Duration idle_timeout = Duration::zero();
  Duration linger_timeout = std::chrono::seconds(1);
  size_t read_ahead_bytes = size_t{64} << 10;
};

class Acceptor;
class Lane;

class Server {
 public:
  // UNAVAILABLE: the address cannot be listened on; the message names it and says why.
  static StatusOr<std::unique_ptr<Server>> Start(ServerSettings settings, FrontEnd& front,
                                                 runtime::Executor& executor, Logger logger);
  ~Server();
  Server(const Server&) = delete;

  uint16_t port() const { return port_; }
  size_t open_connections() const { return open_connections_.load(); }
  // Idempotent.
  void Stop();

 private:
  explicit Server(runtime::Executor& executor);

  runtime::Executor& executor_;
  std::atomic<size_t> open_connections_{0};
  std::vector<std::shared_ptr<Lane>> lanes_;
  std::unique_ptr<Acceptor> acceptor_;
  uint16_t port_ = 0;
  bool stopped_ = false;
};

}  // namespace tenure::resp
