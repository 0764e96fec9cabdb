#include "resp/asio/connection.h"

#include <array>
#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <chrono>
#include <utility>

#include "base/check.h"

namespace tenure::resp {
namespace {

using ::asio::ip::tcp;

constexpr size_t kFirstBufferBytes = size_t{16} << 10;
constexpr size_t kMaxBufferBytes = size_t{64} << 10;
constexpr size_t kBuffersPerWrite = 16;

std::string ToString(const tcp::endpoint& endpoint) {
  const std::string address = endpoint.address().to_string();
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", address, endpoint.port())
                                    : fmt::format("{}:{}", address, endpoint.port());
}

}  // namespace

Instant IoNow() {
  return Instant(std::chrono::steady_clock::now().time_since_epoch());
}

Connection::Connection(std::shared_ptr<Lane> lane, tcp::socket socket)
    : lane_(std::move(lane)), socket_(std::move(socket)) {
  std::error_code error;
  const tcp::endpoint peer = socket_.remote_endpoint(error);
  peer_ = error ? "?" : ToString(peer);
  const tcp::endpoint local = socket_.local_endpoint(error);
  local_ = error ? "?" : ToString(local);
}

void Connection::Open(Instant now) {
  read_at_ = progress_at_ = now;
  lane_->Deliver(shared_from_this(), Lane::Event::kOpened);
  StartRead();
}

// ---- Reading

void Connection::StartRead() {
  if (reading_ || end_of_input_ || state_ == State::kClosed) return;
  if (!buffer_) {
    buffer_size_ = kFirstBufferBytes;
    buffer_.reset(new char[buffer_size_]);
  }
  reading_ = true;
  socket_.async_read_some(::asio::buffer(buffer_.get(), buffer_size_),
                          [self = shared_from_this()](const std::error_code& error, size_t size) {
                            self->reading_ = false;
                            self->OnRead(error, size);
                          });
}

void Connection::OnRead(const std::error_code& error, size_t size) {
  if (state_ == State::kClosed) return;
  if (error == ::asio::error::eof) {
    end_of_input_ = true;
    if (state_ == State::kLingering) return Drop();
    lane_->Deliver(shared_from_this(), Lane::Event::kEndOfInput);
    return;
  }
  if (error) return Drop();
  if (state_ == State::kLingering) return StartRead();  // dropped
  read_at_ = IoNow();
  lane_->Deliver(shared_from_this(), Lane::Event::kBytes, std::string_view(buffer_.get(), size));
  if (size == buffer_size_ && buffer_size_ < kMaxBufferBytes) {
    buffer_size_ *= 2;
    buffer_.reset(new char[buffer_size_]);
  }
  const size_t unread_now = unread.fetch_add(size) + size;
  // At the limit reading stops here; who takes it below the limit again sends Resume.
  if (unread_now < lane_->settings().read_ahead_bytes) StartRead();
}

void Connection::Resume() {
  if (state_ == State::kOpen) StartRead();
}

// ---- Writing

void Connection::Send(std::string bytes) {
  if (state_ != State::kOpen || bytes.empty()) return;
  if (outgoing_.empty()) progress_at_ = IoNow();
  outgoing_.push_back(std::move(bytes));
  if (!waiting_writable_) Flush();
}

void Connection::Flush() {
  while (!outgoing_.empty()) {
    std::array<::asio::const_buffer, kBuffersPerWrite> buffers;
    const size_t count = std::min(outgoing_.size(), buffers.size());
    for (size_t i = 0; i < count; ++i) buffers[i] = ::asio::buffer(outgoing_[i]);
    buffers[0] += front_sent_;
    std::error_code error;
    const size_t size = socket_.write_some(buffers, error);
    if (error == ::asio::error::would_block || error == ::asio::error::try_again) {
      waiting_writable_ = true;
      socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this()](const std::error_code& failed) {
        self->waiting_writable_ = false;
        if (self->state_ != State::kOpen) return;
        if (failed) return self->Drop();
        self->Flush();
      });
      return;
    }
    if (error) return Drop();
    OnSent(size);
  }
  AfterFlush();
}

void Connection::OnSent(size_t size) {
  progress_at_ = IoNow();
  size_t left = size;
  while (left > 0) {
    const size_t of_front = std::min(left, outgoing_.front().size() - front_sent_);
    left -= of_front;
    front_sent_ += of_front;
    if (front_sent_ < outgoing_.front().size()) break;
    outgoing_.pop_front();
    front_sent_ = 0;
  }
  const size_t limit = lane_->settings().output_pause_bytes;
  const size_t before = unsent.fetch_sub(size);
  if (before >= limit && before - size < limit) lane_->Deliver(shared_from_this(), Lane::Event::kTaken);
}

void Connection::CloseWhenSent() {
  close_when_sent_ = true;
  if (state_ == State::kOpen && outgoing_.empty()) AfterFlush();
}

void Connection::AfterFlush() {
  if (!close_when_sent_ || state_ != State::kOpen) return;
  std::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  if (end_of_input_ || ignored) return Drop();
  state_ = State::kLingering;
  linger_until_ = IoNow() + lane_->settings().linger_timeout;
  StartRead();
}

// ---- The end

void Connection::Drop() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  std::error_code ignored;
  socket_.close(ignored);
  outgoing_.clear();
  const std::shared_ptr<Connection> self = shared_from_this();  // Remove may drop the last other reference
  lane_->Deliver(self, Lane::Event::kLost);
  lane_->Remove(*this);
}

void Connection::Check(Instant now) {
  const LaneSettings& settings = lane_->settings();
  if (state_ == State::kLingering) {
    if (now >= linger_until_) Drop();
    return;
  }
  if (!outgoing_.empty() && now - progress_at_ >= settings.write_stall_timeout) {
    lane_->logger().Warn("client {} has taken none of its replies for {} ms: disconnected", peer_,
                         ToMillis(settings.write_stall_timeout));
    return Drop();
  }
  if (settings.idle_timeout > Duration::zero() && outgoing_.empty() &&
      now - read_at_ >= settings.idle_timeout)
    Drop();
}

void Connection::OnSessionReady() {
  lane_->MarkDirty(shared_from_this());
}

}  // namespace tenure::resp
