// Private to rpc/: one end of a stream, the same for both sides. Queues, packs, orders and bounds; the
// transport (ServerCall and ClientStream of gRPC, Link) moves buffers.
//
// Threading: methods marked (executor) on the Network's executor, (io) on the transport's thread; what both
//            touch is under mutex_. Operations are started outside the lock: at most one read and one of
//            {write, end} is under way.
// Ordering:  what is sent goes out in order. Sends of one executor batch leave together: the flush is posted,
//            unless the transport sends at once.
// Bounds:    reading stops while kMaxUndelivered bytes wait for the executor, so that a slow reader slows its
//            peer.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/function.h"
#include "rpc/core.h"
#include "rpc/network_state.h"
#include "runtime/network.h"

namespace tenure::rpc {

// Each Start returns false, without a later event, if the process is shutting down.
class StreamTransport {
 public:
  virtual ~StreamTransport() = default;
  virtual bool StartRead(grpc::ByteBuffer* buffer, Tag* tag) = 0;
  virtual bool StartWrite(const grpc::ByteBuffer& buffer, Tag* tag) = 0;
  // The last operation of the sending side.
  virtual bool StartEnd(const Status& status, Tag* tag) = 0;
  // No message will come any more; the transport finds out why and calls OnTransportEnded in time.
  virtual void OnReadEnded() = 0;
  // Breaks the stream off.
  virtual void Cancel() = 0;
  // Whether each message is written as it is sent: who sends has gathered what belongs together.
  virtual bool sends_at_once() const { return false; }
  // Runs what starts a write where it is best started.
  virtual void Run(Closure start) { start(); }
};

class StreamEnd final : public std::enable_shared_from_this<StreamEnd>, public Pending {
 public:
  enum class Side { kClient, kServer };
  StreamEnd(std::shared_ptr<NetworkState> network, std::shared_ptr<StreamTransport> transport, Side side,
            bool framed);

  // (executor) Links the end into its network; callbacks go to `handler`.
  void Attach(runtime::StreamHandler& handler);
  void Attach(std::unique_ptr<runtime::StreamHandler> owned);
  // (io or executor) The transport can carry messages from now on.
  void Start();

  // (executor)
  void Send(std::string message);
  void Close(Status status);
  void Drop();  // the owner destroyed its Stream
  size_t buffered_bytes() const { return buffered_.load(std::memory_order_relaxed); }

  // (io) The stream is over; the first reason counts.
  void OnTransportEnded(Status status);

  // Pending
  void Abandon(std::vector<Closure>& later) override;

 private:
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnEnded(bool ok);
  void StartRead();
  void ResumeRead(size_t delivered);
  // Starts the next writes, or the end, as long as none is under way.
  void Pump();
  bool PumpOne();
  void Append(std::string message);
  void Deliver(std::string bytes);
  void OnPeerClosed(Status status);
  // Reports the end to the handler, once.
  void Finish(Status status);
  // After the owner is done with it: nothing is called any more.
  void EndByOwner(Status status, bool drop_queue);

  const std::shared_ptr<NetworkState> network_;
  const std::shared_ptr<StreamTransport> transport_;
  const Side side_;
  const bool framed_;
  MemberTag<StreamEnd> read_tag_{&StreamEnd::OnRead};
  MemberTag<StreamEnd> write_tag_{&StreamEnd::OnWritten};
  MemberTag<StreamEnd> end_tag_{&StreamEnd::OnEnded};
  grpc::ByteBuffer read_buffer_;   // (io), of the read under way
  grpc::ByteBuffer write_buffer_;  // of the write under way

  // (executor)
  runtime::StreamHandler* handler_ = nullptr;  // null once no callback may follow
  std::unique_ptr<runtime::StreamHandler> owned_handler_;
  std::shared_ptr<StreamEnd> self_;  // while it is linked
  bool flush_posted_ = false;
  bool closed_ = false;  // the owner closed it, or it ended

  std::atomic<size_t> buffered_{0};
  std::atomic<size_t> undelivered_{0};

  std::mutex mutex_;
  bool started_ = false;
  bool pumping_ = false;
  bool sending_ = false;  // a write or the end is under way
  bool read_paused_ = false;
  bool ended_ = false;                  // nothing more may be started
  std::deque<std::string> queue_;       // each becomes one message of the transport
  std::optional<Status> close_status_;  // end the stream when the queue is empty
  size_t in_flight_bytes_ = 0;
};

// What the owner holds.
class GrpcStream final : public runtime::Stream {
 public:
  explicit GrpcStream(std::shared_ptr<StreamEnd> end) : end_(std::move(end)) {}
  ~GrpcStream() override { end_->Drop(); }
  void Send(std::string message) override { end_->Send(std::move(message)); }
  size_t buffered_bytes() const override { return end_->buffered_bytes(); }
  void Close(Status status) override { end_->Close(std::move(status)); }

 private:
  const std::shared_ptr<StreamEnd> end_;
};

}  // namespace tenure::rpc
