// Session's MULTI, EXEC, DISCARD, WATCH, UNWATCH and RESET.
#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"
#include "resp/outcome.h"
#include "resp/session.h"

namespace tenure::resp {

bool Session::IsQueued(const Request& request) const {
  if (request.data != nullptr) return true;
  using Mode = FrontCommand::Mode;
  switch (request.front->mode) {
    case Mode::kMulti:
    case Mode::kExec:
    case Mode::kDiscard:
    case Mode::kWatch:
    case Mode::kReset:
      return false;
    default:
      return request.front->name != "quit";
  }
}

void Session::Enqueue(Request& request) {
  if (request.front != nullptr && !request.front->queueable) {
    return Refuse("ERR Command not allowed inside a transaction");
  }
  const FrontEndSettings& settings = front_.settings();
  request.bytes = MemoryOf(request.arguments);
  if (transaction_.queue.size() >= settings.max_queued_commands ||
      transaction_.bytes + request.bytes > settings.parser.max_request_bytes) {
    return Refuse(fmt::format("ERR transaction exceeds the limit of {} commands or {} bytes",
                              settings.max_queued_commands, settings.parser.max_request_bytes));
  }
  if (request.data != nullptr) {
    const std::optional<uint16_t> slot = transaction_.slot ? transaction_.slot : transaction_.watch_slot;
    if (slot && *slot != request.slot) return Refuse(kCrossSlot);
    const auto view = Enter();
    if (!view) return;
    if (const std::string moved = MovedElsewhere(front_, client_, request.slot, request.arguments);
        !moved.empty()) {
      return Refuse(moved, view);
    }
    // QUEUED says nothing of the catalog; EXEC enters again.
    front_.service().Leave(*view, false);
    transaction_.slot = request.slot;
  }
  transaction_.bytes += request.bytes;
  transaction_.queue.push_back({std::move(request.arguments), request.front});
  Answer([](ReplyWriter& reply) { reply.Simple("QUEUED"); });
}

bool Session::Multi() {
  if (transaction_.open) {
    Answer([](ReplyWriter& reply) { reply.Error("ERR MULTI calls can not be nested"); });
    return true;
  }
  transaction_.open = true;
  Answer([](ReplyWriter& reply) { reply.Ok(); });
  return true;
}

bool Session::Discard() {
  if (!transaction_.open) {
    Refuse("ERR DISCARD without MULTI");
    return true;
  }
  transaction_.Close();
  transaction_.DropWatches();
  Answer([](ReplyWriter& reply) { reply.Ok(); });
  return true;
}

bool Session::Unwatch() {
  transaction_.DropWatches();
  Answer([](ReplyWriter& reply) { reply.Ok(); });
  return true;
}

bool Session::Reset() {
  transaction_.Close();
  transaction_.DropWatches();
  client_.protocol = 2;
  client_.database_name = "default";
  client_.database.reset();
  client_.readonly = false;
  client_.reply_off = false;
  client_.name.clear();
  Answer([](ReplyWriter& reply) { reply.Simple("RESET"); });
  return true;
}

struct Session::WatchCollector {
  store::Arguments keys;
  std::vector<uint64_t> versions;
  size_t missing = 0;
  std::optional<node::Outcome> failure;
  uint64_t ticket = 0;
  uint64_t generation = 0;
};

// The error's text, or empty.
std::string Session::CheckWatch(const Request& request, uint16_t slot) const {
  const FrontEndSettings& settings = front_.settings();
  bool one_slot = !transaction_.watch_slot || *transaction_.watch_slot == slot;
  std::set<std::string_view> added;
  for (size_t i = 1; i < request.arguments.size(); ++i) {
    const std::string& key = request.arguments[i];
    if (key.size() > settings.store.max_key_bytes) {
      return fmt::format("ERR key of {} bytes exceeds maximum allowed size ({} bytes)", key.size(),
                         settings.store.max_key_bytes);
    }
    one_slot = one_slot && SlotOfKey(key) == slot;
    if (!one_slot) return std::string(kCrossSlot);
    if (!transaction_.watches.contains(key)) added.insert(key);
    if (transaction_.watches.size() + added.size() > settings.max_watched_keys)
      return fmt::format("ERR more than {} watched keys", settings.max_watched_keys);
  }
  return {};
}

bool Session::Watch(Request& request) {
  if (transaction_.open) {
    Answer([](ReplyWriter& reply) { reply.Error("ERR WATCH inside MULTI is not allowed"); });
    return true;
  }
  // Whatever the reason: what the client believes to be watched is not.
  const auto refuse = [this](std::string_view text, std::optional<node::ViewTicket> view = std::nullopt) {
    transaction_.watch_failed = true;
    Refuse(text, view);
    return true;
  };
  const uint16_t slot = SlotOfKey(request.arguments[1]);
  if (const std::string error = CheckWatch(request, slot); !error.empty()) return refuse(error);
  if (ConflictsWithInFlight(Access::kRead, slot)) return false;
  const auto view = Enter();
  if (!view) {
    transaction_.watch_failed = true;
    return true;
  }
  const std::optional<DatabaseId> database = CurrentDatabase(front_, client_);
  if (!database) return refuse(NoDatabaseText(front_, client_), view);
  const auto collector = std::make_shared<WatchCollector>();
  for (size_t i = 1; i < request.arguments.size(); ++i) {
    // A key that is watched already stays as it is: what changed it since then counts.
    if (!transaction_.watches.contains(request.arguments[i])) {
      transaction_.AddWatch(request.arguments[i]);
      collector->keys.push_back(std::move(request.arguments[i]));
    }
  }
  if (collector->keys.empty()) {
    Answer([](ReplyWriter& reply) { reply.Ok(); }, view);
    return true;
  }
  // The keys of a database that was dropped, or left, have changed for sure.
  if (transaction_.watch_database.value_or(*database) != *database) transaction_.watch_failed = true;
  transaction_.watch_database = database;
  transaction_.watch_slot = slot;  // for the commands behind, which may come before the versions do
  collector->versions.resize(collector->keys.size());
  collector->missing = collector->keys.size();
  collector->generation = transaction_.watch_generation;
  collector->ticket = Submit(Access::kRead, slot, request.bytes, *view);
  for (size_t i = 0; i < collector->versions.size(); ++i) {
    front_.service().VersionOf(*database, slot, collector->keys[i],
                               [weak = weak_from_this(), collector, i](node::Outcome outcome) {
                                 const std::shared_ptr<Session> self = weak.lock();
                                 if (self) self->OnVersion(*collector, i, std::move(outcome));
                               });
  }
  return true;
}

void Session::OnVersion(WatchCollector& collector, size_t position, node::Outcome outcome) {
  const auto* reply = std::get_if<store::Reply>(&outcome);
  if (reply != nullptr && reply->kind == store::Reply::Kind::kInteger) {
    collector.versions[position] = static_cast<uint64_t>(reply->integer);
  } else {
    collector.failure = std::move(outcome);
  }
  if (--collector.missing > 0) return;
  if (collector.generation == transaction_.watch_generation) {
    if (collector.failure) {
      transaction_.watch_failed = true;
    } else {
      for (size_t i = 0; i < collector.keys.size(); ++i)
        transaction_.watches[collector.keys[i]] = collector.versions[i];
    }
  }
  Complete(collector.ticket, [&](ReplyWriter& writer) {
    if (collector.failure) return WriteOutcome(*collector.failure, writer);
    writer.Ok();
  });
}

bool Session::Exec() {
  if (!transaction_.open) {
    Refuse("ERR EXEC without MULTI");
    return true;
  }
  if (transaction_.refused) {
    transaction_.Close();
    transaction_.DropWatches();
    Answer([](ReplyWriter& reply) {
      reply.Error("EXECABORT Transaction discarded because of previous errors.");
    });
    return true;
  }
  const bool has_local = std::any_of(transaction_.queue.begin(), transaction_.queue.end(),
                                     [](const QueuedCommand& queued) { return queued.front != nullptr; });
  if (has_local && reads_in_flight_ + writes_in_flight_ > 0) return false;
  const std::optional<uint16_t> slot = transaction_.slot ? transaction_.slot : transaction_.watch_slot;
  if (slot && ConflictsWithInFlight(Access::kWrite, *slot)) return false;

  std::vector<QueuedCommand> queue = std::move(transaction_.queue);
  const size_t bytes = transaction_.bytes + transaction_.watch_bytes;
  const bool watch_failed =
      transaction_.watch_failed ||
      (transaction_.watch_database && transaction_.watch_database != CurrentDatabase(front_, client_));
  std::vector<store::WatchedKey> watches = transaction_.TakeWatches();
  transaction_.Close();
  if (watch_failed) {
    Answer([](ReplyWriter& reply) { reply.NullArray(); });
    return true;
  }
  if (!slot) {
    const bool uses_view = std::any_of(queue.begin(), queue.end(), [](const QueuedCommand& queued) {
      return queued.front != nullptr && queued.front->uses_view;
    });
    std::optional<node::ViewTicket> view;
    if (uses_view && !(view = Enter())) return true;
    Answer(
        [&](ReplyWriter& reply) {
          reply.Array(queue.size());
          for (const QueuedCommand& queued : queue) RunLocally(queued, reply);
        },
        view);
    return true;
  }
  ExecuteTransaction(*slot, std::move(queue), std::move(watches), bytes);
  return true;
}

void Session::ExecuteTransaction(uint16_t slot, std::vector<QueuedCommand> queue,
                                 std::vector<store::WatchedKey> watches, size_t bytes) {
  const auto view = Enter();
  if (!view) return;
  const std::optional<DatabaseId> database = CurrentDatabase(front_, client_);
  if (!database) return Refuse(NoDatabaseText(front_, client_), view);
  std::vector<store::Arguments> commands;
  for (QueuedCommand& queued : queue) {
    if (queued.front == nullptr) commands.push_back(std::move(queued.arguments));
  }
  const uint64_t ticket = Submit(Access::kWrite, slot, bytes, *view);
  front_.service().ExecuteTransaction(
      *database, slot, std::move(commands), std::move(watches),
      [weak = weak_from_this(), ticket, queue = std::move(queue)](node::Outcome outcome) {
        const std::shared_ptr<Session> self = weak.lock();
        if (!self) return;
        self->Complete(ticket, [&](ReplyWriter& reply) { self->WriteTransaction(outcome, queue, reply); });
      });
}

// The region's replies with those of the front end's own commands between them, in the order of the queue.
void Session::WriteTransaction(const node::Outcome& outcome, const std::vector<QueuedCommand>& queue,
                               ReplyWriter& reply) {
  const auto* result = std::get_if<store::Reply>(&outcome);
  if (result == nullptr) return WriteOutcome(outcome, reply);
  if (result->kind == store::Reply::Kind::kNull) return reply.NullArray();
  if (result->kind != store::Reply::Kind::kArray) return reply.Write(*result);
  reply.Array(queue.size());
  size_t next = 0;
  for (const QueuedCommand& queued : queue) {
    if (queued.front != nullptr) {
      RunLocally(queued, reply);
      continue;
    }
    TENURE_CHECK(next < result->elements.size(), "transaction of {} commands has {} replies", queue.size(),
                 result->elements.size());
    reply.Write(result->elements[next++]);
  }
}

void Session::RunLocally(const QueuedCommand& queued, ReplyWriter& reply) {
  if (queued.front->mode == FrontCommand::Mode::kUnwatch) return reply.Ok();  // EXEC has dropped them
  CommandContext context{front_, client_, queued.arguments, reply};
  queued.front->handler(context);
}

}  // namespace tenure::resp
