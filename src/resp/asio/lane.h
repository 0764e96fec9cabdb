// One I/O thread with its connections, and the two queues between it and the node's executor. The thread
// reads, writes and closes sockets; sessions run on the executor. Whatever becomes ready in one turn of
// either side crosses in one batch: one Post to the executor, one wake-up of the thread.
//
//   I/O thread                                        executor
//   sockets readable -> Deliver(...) -> Flush ==Post==> OnInbound: Session::OnBytes ...
//   sockets writable <- OnOutbound  <== asio::post == FlushSessions: Session::TakeOutput
//
// Threading: see each method. Back-pressure crosses in two atomic counters of a Connection: whoever moves one
//            over its limit, and only he, stops or wakes the other side.
// Lifetime:  shared by its connections and by closures posted to the executor. Stop before the last reference
//            goes.
#pragma once

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "base/time.h"
#include "resp/front_end.h"
#include "runtime/executor.h"

namespace tenure::resp {

class Connection;

struct LaneSettings {
  Duration write_stall_timeout;  // a client that takes nothing of its replies for so long is disconnected
  Duration idle_timeout;         // a client that sends nothing for so long; zero: never
  Duration linger_timeout;       // after our end of the stream, for the client's
  size_t read_ahead_bytes;       // read from a connection and not executed yet
  size_t output_pause_bytes;     // FrontEndSettings::output_pause_bytes
};

class Lane : public std::enable_shared_from_this<Lane> {
 public:
  // `open_connections` is shared by the lanes; a connection leaves it when its socket is closed.
  Lane(LaneSettings settings, FrontEnd& front, runtime::Executor& executor,
       std::atomic<size_t>& open_connections, Logger logger);
  ~Lane();
  Lane(const Lane&) = delete;

  void Start(int index);
  // Closes every connection and ends the thread. From outside of it.
  void Stop();

  // Any thread.
  ::asio::io_context& io() { return io_; }
  const LaneSettings& settings() const { return settings_; }
  const Logger& logger() const { return logger_; }

  // I/O thread.
  void Adopt(::asio::ip::tcp::socket socket);
  enum class Event : uint8_t { kOpened, kBytes, kEndOfInput, kLost, kTaken };
  void Deliver(std::shared_ptr<Connection> connection, Event event, std::string_view bytes = {});
  void Remove(const Connection& connection);

  // Executor; or, once that has stopped, whoever stops the lane. After Stop: ends what is left of the
  // sessions.
  void EndSessions();

  // Executor.
  void OnInbound();
  void MarkDirty(std::shared_ptr<Connection> connection);

 private:
  struct InboundItem {
    std::shared_ptr<Connection> connection;
    Event event;
    size_t size;  // of `bytes`, in the order of the items
  };
  struct Inbound {
    std::vector<InboundItem> items;
    std::string bytes;
  };
  struct OutboundItem {
    std::shared_ptr<Connection> connection;
    std::string output;
    Instant valid_until;  // Session::output_valid_until
    bool resume = false;  // read on
    bool close = false;   // when all output is sent
    bool abort = false;   // now
  };

  void FlushInbound();   // I/O thread
  void OnOutbound();     // I/O thread
  void Sweep();          // I/O thread
  void ScheduleSweep();  // I/O thread
  void FlushSessions();  // executor
  void Handle(InboundItem& item, std::string_view bytes);
  bool Settle(Connection& connection);
  void HandOver();  // executor

  const LaneSettings settings_;
  FrontEnd& front_;
  runtime::Executor& executor_;
  std::atomic<size_t>& open_connections_;
  const Logger logger_;

  ::asio::io_context io_{1};
  ::asio::executor_work_guard<::asio::io_context::executor_type> work_;
  std::thread thread_;

  // I/O thread.
  std::unordered_map<const Connection*, std::shared_ptr<Connection>> connections_;
  Inbound gathered_;
  bool flush_scheduled_ = false;
  bool stopping_ = false;
  ::asio::steady_timer sweep_timer_;

  std::mutex mutex_;
  Inbound inbound_;                     // guarded by mutex_
  bool inbound_posted_ = false;         // guarded by mutex_
  std::vector<OutboundItem> outbound_;  // guarded by mutex_
  bool outbound_posted_ = false;        // guarded by mutex_

  // Executor.
  Inbound draining_;
  std::vector<std::shared_ptr<Connection>> dirty_;
  std::vector<OutboundItem> collected_;
  bool in_turn_ = false;
  bool turn_posted_ = false;

  std::vector<OutboundItem> sending_;  // I/O thread
};

}  // namespace tenure::resp
