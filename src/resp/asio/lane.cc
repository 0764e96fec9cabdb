#include "resp/asio/lane.h"

#include <pthread.h>

#include <asio/post.hpp>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "resp/asio/connection.h"
#include "resp/session.h"
#include "runtime/helper.h"

namespace tenure::resp {
namespace {

constexpr std::chrono::milliseconds kSweepInterval{250};
constexpr size_t kKeptCapacity = size_t{1} << 20;

}  // namespace

Lane::Lane(LaneSettings settings, FrontEnd& front, runtime::Executor& executor,
           std::atomic<size_t>& open_connections, Logger logger)
    : settings_(settings),
      front_(front),
      executor_(executor),
      open_connections_(open_connections),
      logger_(std::move(logger)),
      work_(::asio::make_work_guard(io_)),
      sweep_timer_(io_) {}

Lane::~Lane() {
  TENURE_CHECK(!thread_.joinable(), "an I/O thread is still running");
}

void Lane::Start(int index) {
  ::asio::post(io_, [this] { ScheduleSweep(); });
  thread_ = std::thread([this] { io_.run(); });
  pthread_setname_np(thread_.native_handle(), fmt::format("resp-io-{}", index).c_str());
}

void Lane::Stop() {
  if (!thread_.joinable()) return;
  ::asio::post(io_, [this] {
    stopping_ = true;
    sweep_timer_.cancel();
    work_.reset();
    while (!connections_.empty()) {
      const std::shared_ptr<Connection> connection = connections_.begin()->second;
      connection->Drop();  // removes it
    }
    FlushInbound();
  });
  thread_.join();  // every operation was cancelled, so run() returns
}

// ---- I/O thread

void Lane::Adopt(::asio::ip::tcp::socket socket) {
  if (stopping_) {
    open_connections_.fetch_sub(1);
    return;
  }
  auto connection = std::make_shared<Connection>(shared_from_this(), std::move(socket));
  connections_.emplace(connection.get(), connection);
  connection->Open(IoNow());
}

void Lane::Remove(const Connection& connection) {
  if (connections_.erase(&connection) > 0) open_connections_.fetch_sub(1);
}

void Lane::Deliver(std::shared_ptr<Connection> connection, Event event, std::string_view bytes) {
  gathered_.items.push_back({std::move(connection), event, bytes.size()});
  gathered_.bytes.append(bytes);
  if (std::exchange(flush_scheduled_, true)) return;
  // Queued behind the handlers of everything else that became ready in the same turn of epoll.
  ::asio::post(io_, [this] { FlushInbound(); });
}

void Lane::FlushInbound() {
  flush_scheduled_ = false;
  if (gathered_.items.empty()) return;
  bool post = false;
  {
    const std::lock_guard lock(mutex_);
    if (inbound_.items.empty()) {
      std::swap(inbound_, gathered_);
    } else {
      std::move(gathered_.items.begin(), gathered_.items.end(), std::back_inserter(inbound_.items));
      inbound_.bytes.append(gathered_.bytes);
    }
    post = !std::exchange(inbound_posted_, true);
  }
  gathered_.items.clear();
  gathered_.bytes.clear();
  if (!post) return;
  runtime::Helper helper;
  executor_.Post([self = shared_from_this()] { self->OnInbound(); });
  helper.Run();
}

void Lane::OnOutbound() {
  {
    const std::lock_guard lock(mutex_);
    outbound_posted_ = false;
    std::swap(sending_, outbound_);
  }
  for (OutboundItem& item : sending_) {
    // The process stood still between the executor and here: what may not leave any more, does not.
    const bool stale = item.valid_until != kFarFuture && front_.clock().Now() >= item.valid_until;
    if (item.abort || stale) {
      item.connection->Drop();
      continue;
    }
    item.connection->Send(std::move(item.output));
    if (item.close) item.connection->CloseWhenSent();
    if (item.resume) item.connection->Resume();
  }
  sending_.clear();
}

void Lane::ScheduleSweep() {
  sweep_timer_.expires_after(kSweepInterval);
  sweep_timer_.async_wait([this](const std::error_code& error) {
    if (error || stopping_) return;
    Sweep();
    ScheduleSweep();
  });
}

void Lane::Sweep() {
  const Instant now = IoNow();
  std::vector<std::shared_ptr<Connection>> all;  // Check may remove
  all.reserve(connections_.size());
  for (const auto& [key, connection] : connections_) all.push_back(connection);
  for (const std::shared_ptr<Connection>& connection : all) connection->Check(now);
}

// ---- Executor

void Lane::OnInbound() {
  {
    const std::lock_guard lock(mutex_);
    inbound_posted_ = false;
    std::swap(draining_, inbound_);
  }
  in_turn_ = true;
  std::string_view bytes = draining_.bytes;
  for (InboundItem& item : draining_.items) {
    Handle(item, bytes.substr(0, item.size));
    bytes.remove_prefix(item.size);
  }
  draining_.items.clear();
  draining_.bytes.clear();
  if (draining_.bytes.capacity() > kKeptCapacity) std::string().swap(draining_.bytes);
  in_turn_ = false;
  FlushSessions();
}

void Lane::Handle(InboundItem& item, std::string_view bytes) {
  Connection& connection = *item.connection;
  if (item.event == Event::kOpened) {
    connection.session = front_.Connect(connection, connection.peer(), connection.local());
    return;
  }
  if (!connection.session) return;
  switch (item.event) {
    case Event::kOpened:
      break;
    case Event::kBytes:
      connection.owed += bytes.size();
      connection.session->SetUnsent(connection.unsent.load());
      connection.session->OnBytes(bytes);
      if (Settle(connection)) MarkDirty(std::move(item.connection));
      break;
    case Event::kEndOfInput:
      connection.session->OnEndOfInput();
      break;
    case Event::kTaken:
      connection.session->SetUnsent(connection.unsent.load());
      break;
    case Event::kLost:
      connection.session.reset();
      break;
  }
}

// Takes what the session has executed off `unread`. True: the I/O thread stopped at the limit and is to read
// on.
bool Lane::Settle(Connection& connection) {
  if (connection.owed == 0 || !connection.session->WantsRead()) return false;
  const size_t owed = std::exchange(connection.owed, 0);
  const size_t before = connection.unread.fetch_sub(owed);
  const size_t limit = settings_.read_ahead_bytes;
  connection.resume = connection.resume || (before >= limit && before - owed < limit);
  return connection.resume;
}

void Lane::MarkDirty(std::shared_ptr<Connection> connection) {
  if (!std::exchange(connection->dirty, true)) dirty_.push_back(std::move(connection));
  if (in_turn_ || std::exchange(turn_posted_, true)) return;
  executor_.Post([self = shared_from_this()] {
    self->turn_posted_ = false;
    self->FlushSessions();
  });
}

void Lane::FlushSessions() {
  in_turn_ = true;
  // SetUnsent may let a session go on and get dirty again; the pause limit ends that.
  while (!dirty_.empty()) {
    std::vector<std::shared_ptr<Connection>> round = std::exchange(dirty_, {});
    for (std::shared_ptr<Connection>& connection : round) {
      connection->dirty = false;
      if (!connection->session || connection->end_sent) continue;
      Session& session = *connection->session;
      OutboundItem item;
      item.output = session.TakeOutput();
      item.valid_until = item.output.empty() ? kFarFuture : session.output_valid_until();
      session.SetUnsent(connection->unsent.fetch_add(item.output.size()) + item.output.size());
      item.abort = session.state() == Session::State::kAborted;
      item.close = session.IsOver() && !session.HasOutput();
      connection->end_sent = item.abort || item.close;
      Settle(*connection);
      item.resume = std::exchange(connection->resume, false);
      if (item.output.empty() && !item.close && !item.abort && !item.resume) continue;
      item.connection = std::move(connection);
      collected_.push_back(std::move(item));
    }
  }
  in_turn_ = false;
  if (!collected_.empty()) HandOver();
}

// The queues hold connections and those hold this lane: the circle is cut here.
void Lane::EndSessions() {
  OnInbound();
  const std::lock_guard lock(mutex_);
  outbound_.clear();
}

void Lane::HandOver() {
  bool post = false;
  {
    const std::lock_guard lock(mutex_);
    if (outbound_.empty()) {
      std::swap(outbound_, collected_);
    } else {
      std::move(collected_.begin(), collected_.end(), std::back_inserter(outbound_));
    }
    post = !std::exchange(outbound_posted_, true);
  }
  collected_.clear();
  if (post) ::asio::post(io_, [this] { OnOutbound(); });
}

}  // namespace tenure::resp
