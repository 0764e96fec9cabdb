// What all sessions of one node share: the service behind them, settings, the list of clients and the
// counters of INFO. Bounds the memory of all clients together by disconnecting the largest, as Redis'
// maxmemory-clients does.
//
// Built by daemon/ and sim/; must outlive every session's use. Knows nothing of sockets.
// Threading: the node's executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/time.h"
#include "node/data_service.h"
#include "resp/parser.h"
#include "runtime/clock.h"
#include "store/region_store.h"

namespace tenure::resp {

class Session;
class Transport;

struct FrontEndSettings {
  ParserLimits parser;
  store::Limits store;
  // Per connection.
  size_t max_in_flight = 1024;                    // commands submitted and not answered
  size_t max_in_flight_bytes = size_t{64} << 20;  // of their arguments
  size_t output_pause_bytes = size_t{1} << 20;    // replies not taken by the client: read no more commands
  size_t output_limit_bytes = size_t{1} << 30;    // and beyond this: disconnect
  size_t max_queued_commands = size_t{64} << 10;  // between MULTI and EXEC
  size_t max_watched_keys = size_t{64} << 10;
  // All connections together.
  size_t max_total_bytes = size_t{2} << 30;
  size_t max_clients = 10000;  // told by CONFIG GET and INFO; the server enforces it

  std::string version = "0.1.0";
  uint16_t port = 0;  // told by INFO and CONFIG GET
};

struct FrontEndCounters {
  uint64_t connections = 0;
  uint64_t rejected_connections = 0;
  uint64_t commands = 0;
  uint64_t input_bytes = 0;
  uint64_t output_bytes = 0;
  uint64_t error_replies = 0;
  uint64_t protocol_errors = 0;
  uint64_t evicted_clients = 0;       // disconnected for the memory of all
  uint64_t output_limit_clients = 0;  // disconnected for their own output
};

class FrontEnd {
 public:
  FrontEnd(FrontEndSettings settings, node::DataService& service, const runtime::Clock& clock, Logger logger);
  FrontEnd(const FrontEnd&) = delete;
  ~FrontEnd();

  // A client connected. The session ends when the last reference to it goes; `transport` must outlive it.
  std::shared_ptr<Session> Connect(Transport& transport, std::string peer, std::string local);

  node::DataService& service() { return service_; }
  const FrontEndSettings& settings() const { return settings_; }
  FrontEndCounters& counters() { return counters_; }
  const runtime::Clock& clock() const { return clock_; }
  const Logger& logger() const { return logger_; }
  Instant started_at() const { return started_at_; }
  size_t client_count() const { return sessions_.size(); }
  size_t total_bytes() const { return total_bytes_; }
  // By id, which is the order of connecting.
  std::vector<Session*> Clients() const;

  // From sessions: what one holds changed from `before` to `after` bytes.
  void AccountMemory(size_t before, size_t after);
  void Forget(uint64_t id) { sessions_.erase(id); }

 private:
  void EvictLargest();

  FrontEndSettings settings_;
  node::DataService& service_;
  const runtime::Clock& clock_;
  Logger logger_;
  Instant started_at_;
  FrontEndCounters counters_;
  std::map<uint64_t, Session*> sessions_;
  uint64_t next_id_ = 1;
  size_t total_bytes_ = 0;
  bool evicting_ = false;
};

}  // namespace tenure::resp
