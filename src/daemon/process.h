// A whole `tenured`: threads, storage, network, roles, ports. Here and nowhere else the objects meet.
//
//   Config -> Threads -> Storage -> GrpcProcess -> ControllerRole, NodeRole -> HttpServer
//
// Threading: one main thread. `on_end` is called from any thread when the process has to end by itself.
// Lifetime:  Stop for a clean end; destruction does the same if nobody did.
#pragma once

#include <functional>
#include <memory>

#include "daemon/config.h"
#include "daemon/controller_role.h"
#include "daemon/http_server.h"
#include "daemon/metrics.h"
#include "daemon/node_role.h"
#include "daemon/storage.h"
#include "daemon/threads.h"
#include "rpc/grpc_process.h"

namespace tenure::daemon {

class Process {
 public:
  struct OnEnd {
    std::function<void(Status)> storage_failed;  // nothing can be written any more: end at once
    std::function<void(Status)> refused;         // not of this cluster: end in order
  };
  Process(Config config, uint64_t seed, LogSink& sink, OnEnd on_end);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // After an error the process is destroyed.
  Status Start();
  // Leaderships are handed over, the nodes' farewell said, everything flushed and the log marked clean.
  void Stop();
  // Once a second or so, by the main thread: measures the process.
  void Measure();

 private:
  ProcessNumbers Numbers();
  Status Healthy();
  Status Ready();

  const Config config_;
  Logger logger_;
  OnEnd on_end_;
  Prng prng_;
  Threads threads_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<rpc::GrpcProcess> grpc_;
  std::unique_ptr<ControllerRole> controller_;
  std::unique_ptr<NodeRole> node_;
  std::unique_ptr<HttpServer> http_;
  std::atomic<uint64_t> disk_free_bytes_{0};
  int64_t started_at_s_ = 0;
  bool stopped_ = false;
};

}  // namespace tenure::daemon
