// One client's socket, and the place where its session hangs.
//
// Threading:  the socket half on the lane's I/O thread, the session half on the executor; the two counters on
//             both.
// Lifetime:   shared by the lane, by the operations under way and by the queues.
//
//   kOpen --all replies sent, session over--> kLingering --client's end of stream, or time--> kClosed
//     \-- error, abort, stall, lane stops ------------------------------------------------------^
//
// Lingering: closing a socket with unread input resets it, and the client would lose the last reply ("-ERR
// Protocol error"). So our direction is shut first, and input is read and dropped for a moment.
#pragma once

#include <asio/ip/tcp.hpp>
#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>

#include "base/time.h"
#include "resp/asio/lane.h"
#include "resp/session.h"

namespace tenure::resp {

class Connection : public Transport, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Lane> lane, ::asio::ip::tcp::socket socket);

  // I/O thread.
  void Open(Instant now);
  void Resume();
  void Send(std::string bytes);
  void CloseWhenSent();
  void Drop();
  // Looks at timeouts.
  void Check(Instant now);

  const std::string& peer() const { return peer_; }
  const std::string& local() const { return local_; }

  // Executor.
  void OnSessionReady() override;

  // Executor's own part.
  std::shared_ptr<Session> session;
  size_t owed = 0;  // bytes given to the session and not yet taken off `unread`
  bool dirty = false;
  bool resume = false;  // the I/O thread is to be told to read on
  bool end_sent = false;

  // Bytes handed to the executor and not executed; the I/O thread stops reading at settings.read_ahead_bytes.
  std::atomic<size_t> unread{0};
  // Bytes of replies not taken by the client; below settings.output_pause_bytes the executor hears of it.
  std::atomic<size_t> unsent{0};

 private:
  enum class State { kOpen, kLingering, kClosed };

  void StartRead();
  void OnRead(const std::error_code& error, size_t size);
  void Flush();
  void OnSent(size_t size);
  void AfterFlush();

  const std::shared_ptr<Lane> lane_;
  ::asio::ip::tcp::socket socket_;
  std::string peer_;
  std::string local_;
  State state_ = State::kOpen;
  std::unique_ptr<char[]> buffer_;
  size_t buffer_size_ = 0;
  bool reading_ = false;
  bool end_of_input_ = false;
  std::deque<std::string> outgoing_;
  size_t front_sent_ = 0;  // of outgoing_.front()
  bool waiting_writable_ = false;
  bool close_when_sent_ = false;
  Instant read_at_;
  Instant progress_at_;  // of sending, or when there began to be something to send
  Instant linger_until_;
};

// The monotonic clock of this process's I/O threads.
Instant IoNow();

}  // namespace tenure::resp
