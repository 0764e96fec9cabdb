#include "rpc/link.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <asio/buffer.hpp>
#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/ip/address.hpp>
#include <asio/post.hpp>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/host_port.h"
#include "rpc/convert.h"
#include "rpc/core.h"
#include "rpc/framing.h"
#include "rpc/links.h"
#include "runtime/connect_failure.h"

namespace tenure::rpc {
namespace {

using ::asio::ip::tcp;

constexpr size_t kChunkBytes = 64 << 10;
constexpr size_t kSizeBytes = 4;
constexpr size_t kMaxPath = 1 << 10;
constexpr size_t kMaxRecord = runtime::kMaxMessageBytes + (1 << 20);  // and the frames in it
constexpr size_t kKeptCapacity = 1 << 20;

struct RecordSize {
  explicit RecordSize(size_t size) {
    for (size_t i = 0; i < kSizeBytes; ++i) bytes[i] = static_cast<char>(size >> (8 * i));
  }
  static size_t Read(std::string_view bytes) {
    size_t size = 0;
    for (size_t i = 0; i < kSizeBytes; ++i) {
      size |= static_cast<size_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    }
    return size;
  }
  char bytes[kSizeBytes];
};

iovec Part(const void* bytes, size_t size) {
  return {const_cast<void*>(bytes), size};
}

Status ShuttingDown(const runtime::Endpoint& to) {
  return runtime::MarkNotSent(Error(StatusCode::kUnavailable, "{}: this process is shutting down", to));
}

}  // namespace

// Says so if the service goes before it has taken the stream.
class Link::Refusal {
 public:
  explicit Refusal(std::shared_ptr<Link> link) : link_(std::move(link)) {}
  Refusal(Refusal&&) noexcept = default;
  Refusal& operator=(Refusal&&) = delete;
  ~Refusal() {
    if (link_) Run(Error(StatusCode::kUnavailable, "the service of {} has stopped", link_->path_));
  }
  void Run(Status status) {
    ::asio::io_context& io = link_->links_.io();
    ::asio::post(io, [link = std::move(link_), status = std::move(status)] { link->Refuse(status); });
  }
  void Disarm() { link_.reset(); }

 private:
  std::shared_ptr<Link> link_;
};

Link::Link(Links& links) : links_(links), timer_(links.io()), socket_(links.io()) {}

Link::~Link() = default;

// --- opening, as a client

void Link::Connect(const runtime::Endpoint& to, std::string path, std::shared_ptr<StreamEnd> end) {
  ::asio::post(links_.io(), [self = shared_from_this(), to, path = std::move(path), end = std::move(end)] {
    if (self->state_ == State::kClosed) return end->OnTransportEnded(ShuttingDown(to));
    self->is_client_ = true;
    self->to_ = to;
    self->path_ = path;
    self->end_ = end;
    // A lookup that takes longer goes on, for the next link.
    const Duration limit = self->links_.connect_timeout();
    self->CloseAfter(limit, runtime::MarkNotSent(Error(StatusCode::kUnavailable,
                                                       "{}: no address within {} ms", to, ToMillis(limit))));
    const StatusOr<HostPort> name = ParseHostPort(to);
    if (!name.ok()) return self->OnFound(Error(StatusCode::kUnavailable, "{}", MessageOf(name.status())));
    self->links_.names().Find(
        *name, [self](const StatusOr<NameLookups::Addresses>& found) { self->OnFound(found); });
  });
}

void Link::OnFound(const StatusOr<NameLookups::Addresses>& found) {
  if (state_ == State::kClosed) return;
  if (!found.ok()) return Break(runtime::MarkNotSent(Annotate(found.status(), to_)));
  addresses_ = *found;
  std::reverse(addresses_.begin(), addresses_.end());
  ConnectNext();
}

void Link::ConnectNext() {
  const tcp::endpoint address = addresses_.back();
  addresses_.pop_back();
  std::error_code ignored;
  socket_->close(ignored);  // of the address before
  After(links_.connect_timeout(), [self = shared_from_this()] {
    std::error_code ignored_too;
    self->socket_->close(ignored_too);
  });
  socket_->async_connect(address,
                         [self = shared_from_this()](const std::error_code& e) { self->OnConnected(e); });
}

void Link::OnConnected(const std::error_code& error) {
  if (state_ == State::kClosed) return;
  if (error) {
    if (!addresses_.empty()) return ConnectNext();
    Status status = error == ::asio::error::operation_aborted
                        ? Error(StatusCode::kUnavailable, "{}: no connection within {} ms", to_,
                                ToMillis(links_.connect_timeout()))
                        : Error(StatusCode::kUnavailable, "{}: {}", to_, error.message());
    const bool refused = error == ::asio::error::connection_refused;
    return Break(refused ? runtime::MarkRefused(std::move(status)) : runtime::MarkNotSent(std::move(status)));
  }
  CloseAfter(links_.patience(), Error(StatusCode::kUnavailable, "{} does not greet", to_));
  links_.Configure(*socket_);
  state_ = State::kOpen;
  chunk_ = std::make_unique<char[]>(kChunkBytes);
  const RecordSize size(path_.size());
  iovec greeting[] = {Part(kLinkMagic.data(), kLinkMagic.size()), Part(size.bytes, kSizeBytes),
                      Part(path_.data(), path_.size())};
  Write(greeting, std::size(greeting), /*last=*/false, nullptr);
  end_->Start();
}

bool Link::CheckGreeting() {
  const std::string_view begun = input_.substr(0, kLinkMagic.size());
  if (!kLinkMagic.starts_with(begun)) {
    links_.NoteForeign(to_);
    Break(Error(StatusCode::kUnimplemented, "{} answers with something that is no link", to_));
    return false;
  }
  if (begun.size() < kLinkMagic.size()) return false;
  input_.remove_prefix(kLinkMagic.size());
  greeted_ = true;
  if (state_ == State::kOpen) StayOpen();
  return true;
}

// --- opening, as a server

void Link::Serve(tcp::socket socket) {
  socket_ = std::move(socket);
  state_ = State::kGreeted;
  chunk_ = std::make_unique<char[]>(kChunkBytes);
  iovec greeting = Part(kLinkMagic.data(), kLinkMagic.size());
  Write(&greeting, 1, /*last=*/false, nullptr);
  CloseAfter(links_.patience(), Error(StatusCode::kDeadlineExceeded, "no method was named"));
  Advance();
}

void Link::OpenStream(std::string path) {
  StayOpen();
  path_ = std::move(path);
  state_ = State::kOpen;
  std::string_view method;
  bool is_stream = false;
  StatusOr<ServiceEntry> entry = links_.core().Find(path_, method, is_stream);
  if (!entry.ok()) return Refuse(entry.status());
  if (!is_stream) return Refuse(Error(StatusCode::kUnimplemented, "{} is not a stream", path_));
  std::error_code ignored;
  const tcp::endpoint peer = socket_->remote_endpoint(ignored);
  runtime::CallInfo info{.method = std::string(method),
                         .peer = HostPort{peer.address().to_string(), peer.port()}.ToString(),
                         .deadline = kFarFuture};
  end_ = std::make_shared<StreamEnd>(entry->network, shared_from_this(), StreamEnd::Side::kServer,
                                     /*framed=*/true);
  entry->network->inbox->Push([self = shared_from_this(), end = end_, service = entry->service,
                               info = std::move(info), refusal = Refusal(shared_from_this())]() mutable {
    auto handler = service->OnStream(info, std::make_unique<GrpcStream>(end));
    if (handler == nullptr) {
      return refusal.Run(Error(StatusCode::kUnimplemented, "unknown stream {}", self->path_));
    }
    refusal.Disarm();
    end->Attach(std::move(handler));
    end->Start();
  });
}

void Link::Refuse(const Status& status) {
  if (state_ == State::kClosed) return;
  end_.reset();
  StartEnd(status, nullptr);
  Advance();
}

// --- reading

bool Link::StartRead(grpc::ByteBuffer* buffer, Tag* tag) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    read_buffer_ = buffer;
    read_tag_ = tag;
  }
  ::asio::dispatch(links_.io(), [self = shared_from_this()] { self->Advance(); });
  return true;
}

void Link::Advance() {
  if (std::exchange(advancing_, true)) return;
  while (state_ != State::kClosed) {
    const bool discard = end_ == nullptr && state_ != State::kGreeted;  // refused
    if (!discard && state_ != State::kGreeted) {
      const std::lock_guard lock(mutex_);
      if (read_tag_ == nullptr) break;
    }
    const auto record = is_client_ && !greeted_ && !CheckGreeting() ? std::nullopt : NextRecord();
    if (!record) {
      if (state_ != State::kClosed) Receive();
      break;
    }
    if (discard) continue;
    if (state_ == State::kGreeted) {
      OpenStream(std::string(*record));
      continue;
    }
    const grpc::Slice slice(record->data(), record->size());
    Tag* tag = nullptr;
    {
      const std::lock_guard lock(mutex_);
      *read_buffer_ = grpc::ByteBuffer(&slice, 1);
      tag = std::exchange(read_tag_, nullptr);
    }
    tag->Complete(true);
  }
  advancing_ = false;
}

std::optional<std::string_view> Link::NextRecord() {
  if (input_.size() < kSizeBytes) return std::nullopt;
  const size_t size = RecordSize::Read(input_);
  const size_t limit = state_ == State::kGreeted ? kMaxPath : kMaxRecord;
  if (size > limit) {
    Break(Error(StatusCode::kInternal, "a record of {} bytes, the limit is {}", size, limit));
    return std::nullopt;
  }
  if (input_.size() < kSizeBytes + size) return std::nullopt;
  const std::string_view record = input_.substr(kSizeBytes, size);
  input_.remove_prefix(kSizeBytes + size);
  return record;
}

void Link::Receive() {
  if (std::exchange(receiving_, true)) return;
  if (input_.empty()) {
    pending_.clear();
    if (pending_.capacity() > kKeptCapacity) pending_ = {};
  } else if (pending_.empty()) {
    pending_.assign(input_);
  } else {
    pending_.erase(0, pending_.size() - input_.size());
  }
  input_ = {};
  socket_->async_read_some(
      ::asio::buffer(chunk_.get(), kChunkBytes),
      [self = shared_from_this()](const std::error_code& e, size_t size) { self->OnReceived(e, size); });
}

void Link::OnReceived(const std::error_code& error, size_t size) {
  receiving_ = false;
  if (state_ == State::kClosed) return;
  if (error) return Break(PeerGone(error));
  if (pending_.empty()) {
    input_ = {chunk_.get(), size};
  } else {
    pending_.append(chunk_.get(), size);
    input_ = pending_;
  }
  Advance();
}

Status Link::PeerGone(const std::error_code& error) const {
  if (!is_client_) return Error(StatusCode::kCancelled, "the client of {} is gone", path_);
  const bool ended = error == ::asio::error::eof;
  return Error(StatusCode::kUnavailable, "{}: {}", to_,
               ended ? "the connection was closed" : error.message());
}

// --- writing

bool Link::StartWrite(const grpc::ByteBuffer& buffer, Tag* tag) {
  const RecordSize size(buffer.Length());
  std::vector<grpc::Slice> slices;
  (void)buffer.Dump(&slices);
  std::vector<iovec> parts{Part(size.bytes, kSizeBytes)};
  for (const grpc::Slice& slice : slices) parts.push_back(Part(slice.begin(), slice.size()));
  return Write(parts.data(), parts.size(), /*last=*/false, tag);
}

bool Link::StartEnd(const Status& status, Tag* tag) {
  ::asio::post(links_.io(), [self = shared_from_this()] {
    if (self->state_ == State::kClosed) return;
    self->state_ = State::kEnding;
    self->CloseAfter(self->links_.patience(),
                     Error(StatusCode::kUnavailable, "the peer did not close the connection"));
  });
  if (is_client_) return Write(nullptr, 0, /*last=*/true, tag);  // the status went before as a close frame
  std::string batch;
  AppendCloseFrame(batch, status);
  const RecordSize size(batch.size());
  iovec parts[] = {Part(size.bytes, kSizeBytes), Part(batch.data(), batch.size())};
  return Write(parts, std::size(parts), /*last=*/true, tag);
}

bool Link::Write(iovec* parts, size_t count, bool last, Tag* tag) {
  int error = 0;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || cancelled_) return false;
    last_written_ = last;
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    ssize_t sent = 0;
    // A greeting may still wait.
    if (rest_.empty() && count > 0) {
      sent = ::sendmsg(socket_->native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) error = errno;
      sent = std::max<ssize_t>(sent, 0);
    }
    if (error == 0) {
      auto skip = static_cast<size_t>(sent);
      const bool waiting = !rest_.empty();
      for (size_t i = 0; i < count; ++i) {
        const size_t skipped = std::min(skip, parts[i].iov_len);
        skip -= skipped;
        rest_.append(static_cast<const char*>(parts[i].iov_base) + skipped, parts[i].iov_len - skipped);
      }
      if (!rest_.empty()) {
        write_tag_ = tag;
        if (!waiting) {
          ::asio::post(links_.io(), [self = shared_from_this()] { self->WaitWritable(); });
        }
        return true;
      }
      if (last) ::shutdown(socket_->native_handle(), SHUT_WR);
    }
  }
  if (error != 0) OnWriteFailed(error);
  if (tag != nullptr) tag->Complete(error == 0);
  return true;
}

// What the peer said last may tell more: reading breaks off sooner, unless nobody reads.
void Link::OnWriteFailed(int error) {
  ::asio::post(links_.io(), [self = shared_from_this(), error] {
    if (self->state_ == State::kClosed || self->state_ == State::kEnding) return;
    self->CloseAfter(self->links_.patience(), self->PeerGone({error, std::generic_category()}));
  });
}

void Link::WaitWritable() {
  if (state_ == State::kClosed) return;
  socket_->async_wait(tcp::socket::wait_write,
                      [self = shared_from_this()](const std::error_code&) { self->OnWritable(); });
}

void Link::OnWritable() {
  Tag* tag = nullptr;
  int error = 0;
  bool done = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    const ssize_t sent = ::send(socket_->native_handle(), rest_.data() + rest_sent_,
                                rest_.size() - rest_sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) rest_sent_ += static_cast<size_t>(sent);
    if (sent < 0 && errno != EAGAIN) error = errno;
    done = error != 0 || rest_sent_ == rest_.size();
    if (done) {
      rest_ = {};
      rest_sent_ = 0;
      tag = std::exchange(write_tag_, nullptr);
      if (last_written_ && error == 0) ::shutdown(socket_->native_handle(), SHUT_WR);
    }
  }
  if (!done) return WaitWritable();
  if (error != 0) OnWriteFailed(error);
  if (tag != nullptr) tag->Complete(error == 0);
}

// --- the end

void Link::Cancel() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  ::asio::post(links_.io(), [self = shared_from_this()] {
    self->Break(Error(StatusCode::kCancelled, "the stream was dropped"));
  });
}

void Link::After(Duration limit, Closure closure) {
  timer_->expires_after(limit);
  timer_->async_wait([self = shared_from_this(), number = ++limits_,
                      closure = std::move(closure)](const std::error_code& cancelled) mutable {
    if (!cancelled && self->state_ != State::kClosed && self->limits_ == number) closure();
  });
}

void Link::CloseAfter(Duration limit, Status status) {
  After(limit, [self = shared_from_this(), status = std::move(status)] { self->Break(status); });
}

void Link::StayOpen() {
  ++limits_;
  timer_->cancel();
}

void Link::Break(Status status) {
  if (std::exchange(state_, State::kClosed) == State::kClosed) return;
  Tag* read_tag = nullptr;
  Tag* write_tag = nullptr;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    read_tag = std::exchange(read_tag_, nullptr);
    write_tag = std::exchange(write_tag_, nullptr);
    socket_.reset();
  }
  timer_.reset();
  if (const auto end = std::move(end_)) end->OnTransportEnded(std::move(status));
  if (read_tag != nullptr) read_tag->Complete(false);
  if (write_tag != nullptr) write_tag->Complete(false);
  links_.Forget(shared_from_this());
}

}  // namespace tenure::rpc
