#include "rpc/stream_end.h"

#include <utility>

#include "rpc/convert.h"
#include "rpc/framing.h"

namespace tenure::rpc {
namespace {

constexpr size_t kBatchBytes = 64 << 10;     // a packed message is written when it has grown this big
constexpr size_t kMaxUndelivered = 4 << 20;  // received and not yet taken by the executor

}  // namespace

StreamEnd::StreamEnd(std::shared_ptr<NetworkState> network, std::shared_ptr<StreamTransport> transport,
                     Side side, bool framed)
    : network_(std::move(network)), transport_(std::move(transport)), side_(side), framed_(framed) {}

void StreamEnd::Attach(runtime::StreamHandler& handler) {
  handler_ = &handler;
  self_ = shared_from_this();
  network_->Link(*this);
}

void StreamEnd::Attach(std::unique_ptr<runtime::StreamHandler> owned) {
  if (closed_) return;  // by the service, before it returned the handler
  owned_handler_ = std::move(owned);
  Attach(*owned_handler_);
}

void StreamEnd::Start() {
  const auto self = shared_from_this();  // who calls may let go of it meanwhile
  {
    const std::lock_guard lock(mutex_);
    started_ = true;
  }
  StartRead();
  Pump();
}

// --- sending
// ---------------------------------------------------------------------------------------------------

void StreamEnd::Send(std::string message) {
  if (closed_) return;
  if (message.size() > runtime::kMaxMessageBytes) {
    transport_->Cancel();
    OnTransportEnded(Error(StatusCode::kResourceExhausted,
                           "a message of {} bytes is larger than the limit of {}", message.size(),
                           runtime::kMaxMessageBytes));
    return;
  }
  bool idle = false;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    Append(std::move(message));
    idle = started_ && !sending_;
  }
  if (!idle) return;
  if (transport_->sends_at_once()) return Pump();
  // What else this executor batch sends goes into the same write.
  if (std::exchange(flush_posted_, true)) return;
  network_->executor.Post([self = shared_from_this()] {
    self->flush_posted_ = false;
    self->transport_->Run([self] { self->Pump(); });
  });
}

void StreamEnd::Append(std::string message) {
  if (!framed_) {
    buffered_ += message.size();
    queue_.push_back(std::move(message));
    return;
  }
  if (queue_.empty() || queue_.back().size() + message.size() + kMaxFrameHeader > kBatchBytes) {
    queue_.emplace_back().reserve(message.size() + kMaxFrameHeader);
  }
  const size_t before = queue_.back().size();
  AppendMessageFrame(queue_.back(), message);
  buffered_ += queue_.back().size() - before;
}

void StreamEnd::Pump() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(pumping_, true)) return;  // by the write that was done at once, or another thread
  }
  while (PumpOne()) {
  }
}

// False, with pumping_ reset, if there is nothing that can be started.
bool StreamEnd::PumpOne() {
  std::optional<std::string> next;
  Status status;
  {
    const std::lock_guard lock(mutex_);
    if (!started_ || sending_ || ended_ || (queue_.empty() && !close_status_)) {
      pumping_ = false;
      return false;
    }
    if (!queue_.empty()) {
      next = std::move(queue_.front());
      queue_.pop_front();
      in_flight_bytes_ = next->size();
    } else {
      status = *std::move(close_status_);
      ended_ = true;
      in_flight_bytes_ = 0;
    }
    sending_ = true;
  }
  if (next) {
    write_buffer_ = ToBuffer(*std::move(next));
    if (!transport_->StartWrite(write_buffer_, write_tag_.Arm(shared_from_this()))) write_tag_.Disarm();
  } else {
    if (!transport_->StartEnd(status, end_tag_.Arm(shared_from_this()))) end_tag_.Disarm();
  }
  return true;
}

void StreamEnd::OnWritten(bool ok) {
  {
    const std::lock_guard lock(mutex_);
    sending_ = false;
    buffered_ -= in_flight_bytes_;
    if (!ok) {
      ended_ = true;  // why, the reading side learns
      queue_.clear();
    }
  }
  Pump();
}

void StreamEnd::OnEnded(bool) {}

// --- receiving
// -------------------------------------------------------------------------------------------------

void StreamEnd::StartRead() {
  if (!transport_->StartRead(&read_buffer_, read_tag_.Arm(shared_from_this()))) read_tag_.Disarm();
}

void StreamEnd::OnRead(bool ok) {
  const auto self = shared_from_this();
  if (!ok) {
    transport_->OnReadEnded();
    if (side_ == Side::kServer && !framed_) {
      network_->inbox->Push([self] {
        if (self->handler_ != nullptr) self->handler_->OnEndOfMessages();
      });
    }
    return;
  }
  std::string bytes = ToString(read_buffer_);
  read_buffer_.Clear();
  bool more = true;
  {
    const std::lock_guard lock(mutex_);
    undelivered_ += bytes.size();
    if (undelivered_ > kMaxUndelivered) {
      read_paused_ = true;
      more = false;
    }
  }
  network_->inbox->Push([self, bytes = std::move(bytes)]() mutable { self->Deliver(std::move(bytes)); });
  if (more) StartRead();
}

void StreamEnd::ResumeRead(size_t delivered) {
  {
    const std::lock_guard lock(mutex_);
    undelivered_ -= delivered;
    if (!read_paused_ || undelivered_ > kMaxUndelivered / 2) return;
    read_paused_ = false;
  }
  StartRead();
}

void StreamEnd::Deliver(std::string bytes) {
  const size_t size = bytes.size();
  if (!framed_) {
    if (handler_ != nullptr) handler_->OnMessage(std::move(bytes));
  } else {
    FrameReader frames(bytes);
    while (const auto message = frames.Next()) {
      if (handler_ == nullptr) break;  // it closed the stream meanwhile
      handler_->OnMessage(std::string(*message));
    }
    if (frames.closed()) OnPeerClosed(*frames.closed());
  }
  ResumeRead(size);
}

// --- the end
// ---------------------------------------------------------------------------------------------------

void StreamEnd::OnPeerClosed(Status status) {
  if (side_ == Side::kClient) {  // over a link; over gRPC only damage: the call's status says it
    transport_->Cancel();
  } else {
    {
      const std::lock_guard lock(mutex_);
      queue_.clear();
      close_status_ = OkStatus();
    }
    Pump();
  }
  Finish(std::move(status));
}

void StreamEnd::OnTransportEnded(Status status) {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    queue_.clear();
    buffered_ = sending_ ? in_flight_bytes_ : 0;
  }
  network_->inbox->Push([self = shared_from_this(), status = std::move(status)] { self->Finish(status); });
}

void StreamEnd::Finish(Status status) {
  closed_ = true;
  Unlink();
  const auto self = std::move(self_);
  const auto owned = std::move(owned_handler_);
  if (auto* handler = std::exchange(handler_, nullptr)) handler->OnClosed(std::move(status));
}

void StreamEnd::Close(Status status) {
  if (closed_) return;
  const auto self = std::move(self_);
  auto owned = std::move(owned_handler_);
  Unlink();
  EndByOwner(std::move(status), false);
  // The handler may be what called: it goes later.
  if (owned) network_->executor.Post([owned = std::move(owned)] {});
}

void StreamEnd::Drop() {
  if (closed_) return;
  const auto self = std::move(self_);
  auto owned = std::move(owned_handler_);
  Unlink();
  if (side_ == Side::kClient) transport_->Cancel();
  EndByOwner(Error(StatusCode::kCancelled, "the stream was dropped"), true);
  if (owned) network_->executor.Post([owned = std::move(owned)] {});
}

void StreamEnd::Abandon(std::vector<Closure>& later) {
  if (side_ == Side::kClient) transport_->Cancel();
  EndByOwner(Error(StatusCode::kUnavailable, "the service has stopped"), side_ == Side::kClient);
  later.push_back([self = std::move(self_), owned = std::move(owned_handler_)] {});
}

void StreamEnd::EndByOwner(Status status, bool drop_queue) {
  closed_ = true;
  handler_ = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (drop_queue) queue_.clear();
    if (side_ == Side::kClient && framed_ && !ended_) {
      if (queue_.empty()) queue_.emplace_back();
      AppendCloseFrame(queue_.back(), status);
      buffered_ += 1;
    }
    close_status_ = std::move(status);
  }
  Pump();
}

}  // namespace tenure::rpc
