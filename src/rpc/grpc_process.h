// Tenure's network over gRPC: one per process, holding the server, the connections to other processes and the
// I/O threads. Each executor that talks gets its own `Network` from it. Streams opened `direct` are
// connections of their own, without gRPC, to the same port (link.h).
//
// Payloads are passed as bytes through gRPC's generic interface: there are no generated stubs, and any gRPC
// client can call. Streams between two Tenure processes pack what is queued into one gRPC message
// (framing.h); clients of other make get one message each.
//
// Threading: any thread, except that Listen and Shutdown are for the thread that owns this object.
// Lifetime:  executors outlive their Networks, Networks go before Shutdown (TENURE_CHECK). After Shutdown
//            nothing of this process is on the network.
// Reads first: rpc/README.md.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/executor.h"
#include "runtime/network.h"

namespace tenure::rpc {

struct GrpcOptions {
  int io_threads = 1;  // threads that decode and post; one keeps a core of two busy already
  // A peer that answers no ping for keepalive_time + keepalive_timeout is gone: its calls and streams fail.
  Duration keepalive_time = std::chrono::seconds(5);
  Duration keepalive_timeout = std::chrono::seconds(3);
  // Between two attempts to connect to a process that is down.
  Duration min_backoff = std::chrono::milliseconds(100);
  Duration max_backoff = std::chrono::seconds(1);
};

class GrpcCore;

class GrpcProcess {
 public:
  explicit GrpcProcess(GrpcOptions options = {});
  ~GrpcProcess();  // Shutdown with one second of grace
  GrpcProcess(const GrpcProcess&) = delete;
  GrpcProcess& operator=(const GrpcProcess&) = delete;

  std::unique_ptr<runtime::Network> MakeNetwork(runtime::Executor& executor);

  // Starts to serve on "host:port" what is and will be registered with Network::Serve; port 0 takes a free
  // one. Once. UNAVAILABLE if the address cannot be had: "cannot listen on 127.0.0.1:7100: Address already in
  // use".
  Status Listen(const runtime::Endpoint& endpoint);
  // The port that Listen got; 0 before.
  int port() const;
  // Full names of what is served now, sorted.
  std::vector<std::string> service_names() const;

  // Refuses new calls, lets running ones end for `grace`, cuts off the rest. Idempotent. A Reply run later
  // does nothing.
  void Shutdown(Duration grace);

 private:
  std::shared_ptr<GrpcCore> core_;
};

}  // namespace tenure::rpc
