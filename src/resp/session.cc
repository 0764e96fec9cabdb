#include "resp/session.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "resp/cluster_format.h"
#include "resp/outcome.h"

namespace tenure::resp {
namespace {

// A buffer that has grown beyond this is not kept for the next request.
constexpr size_t kKeptCapacity = size_t{64} << 10;
// After such a pause the replies of a client may be of another size.
constexpr Duration kForgetSizesAfter = std::chrono::seconds(1);

// A browser or a proxy sends HTTP here; executing the rest of its request line by line would let a web page
// run commands (Redis' securityWarningCommand).
bool IsHttp(std::string_view name) {
  return EqualsIgnoreCase(name, "post") || EqualsIgnoreCase(name, "host:");
}

}  // namespace

Session::Session(FrontEnd& front, Transport& transport, uint64_t id, std::string peer, std::string local)
    : front_(front),
      transport_(transport),
      parser_(front.settings().parser),
      expected_reply_bytes_(front.settings().store.max_value_bytes) {
  client_.id = id;
  client_.peer = std::move(peer);
  client_.local = std::move(local);
  client_.connected_at = client_.active_at = front.clock().Now();
}

Session::~Session() {
  ReleaseTickets();
  front_.AccountMemory(accounted_, 0);
  front_.Forget(client_.id);
}

// ---- Input

void Session::OnBytes(std::string_view bytes) {
  front_.counters().input_bytes += bytes.size();
  const Instant last = std::exchange(client_.active_at, front_.clock().Now());
  if (state_ != State::kOpen) return;
  if (pending_.empty() && client_.active_at - last > kForgetSizesAfter)
    expected_reply_bytes_ = front_.settings().store.max_value_bytes;
  if (input_at_ == input_.size() && !current_) {
    Run(bytes);
    if (state_ == State::kOpen && !bytes.empty()) input_.assign(bytes);
  } else {
    input_.erase(0, std::exchange(input_at_, 0));
    input_.append(bytes);
    RunBuffered();
  }
  AfterEvent();
  wanted_read_ = WantsRead();
}

void Session::OnEndOfInput() {
  end_of_input_ = true;
  if (state_ != State::kOpen) return;
  RunBuffered();
  AfterEvent();
}

bool Session::MayProceed() const {
  const FrontEndSettings& settings = front_.settings();
  return state_ == State::kOpen && pending_.size() < settings.max_in_flight &&
         in_flight_bytes_ < settings.max_in_flight_bytes && HeldOutput() < settings.output_pause_bytes &&
         reads_in_flight_ * expected_reply_bytes_ < settings.output_limit_bytes / 2;
}

void Session::LearnReplySize(size_t bytes) {
  expected_reply_bytes_ = std::max(bytes, expected_reply_bytes_ - expected_reply_bytes_ / 8);
}

bool Session::WantsRead() const {
  return !end_of_input_ && !current_ && input_at_ == input_.size() && MayProceed();
}

void Session::RunBuffered() {
  if (running_) return;
  std::string_view rest = std::string_view(input_).substr(input_at_);
  Run(rest);
  if (rest.empty() || state_ != State::kOpen) {
    input_.clear();
    input_at_ = 0;
    if (input_.capacity() > kKeptCapacity) std::string().swap(input_);
  } else {
    input_at_ = input_.size() - rest.size();
  }
  if (end_of_input_ && state_ == State::kOpen && input_.empty() && !current_) state_ = State::kFinishing;
}

void Session::Run(std::string_view& input) {
  running_ = true;
  while (MayProceed()) {
    if (!current_) {
      const RequestParser::Result result = parser_.Next(input);
      if (result == RequestParser::Result::kNeedMore) break;
      if (result == RequestParser::Result::kProtocolError) {
        OnProtocolError();
        break;
      }
      if (result == RequestParser::Result::kTooLarge) {
        BeginCommand();
        Refuse(parser_.error());
        continue;
      }
      current_.emplace();
      current_->arguments = parser_.TakeArguments();
    }
    if (!Dispatch(*current_)) break;
    current_.reset();
  }
  running_ = false;
}

void Session::OnProtocolError() {
  ++front_.counters().protocol_errors;
  front_.logger().Info("client {}: {}", client_.peer, parser_.error());
  Answer([this](ReplyWriter& reply) { reply.Error(parser_.error()); });
  state_ = State::kFinishing;
}

// ---- Dispatch

void Session::BeginCommand() {
  ++front_.counters().commands;
  skip_current_ = std::exchange(client_.skip_next, false);
}

bool Session::Dispatch(Request& request) {
  if (!request.resolved && !Resolve(request)) return true;
  if (transaction_.open && IsQueued(request)) {
    Enqueue(request);
    return true;
  }
  return request.data != nullptr ? DispatchData(request) : DispatchFront(request);
}

// False: the request was answered with an error.
bool Session::Resolve(Request& request) {
  request.resolved = true;
  BeginCommand();
  const store::CommandSpec* spec = store::FindCommand(request.arguments[0]);
  if (spec != nullptr && spec->first_key > 0) {
    request.data = spec;
    client_.last_command = spec->name;
    return ResolveData(request);
  }
  request.front = FindFrontCommand(request.arguments);
  if (request.front == nullptr) {
    if (IsHttp(request.arguments[0])) {
      front_.logger().Warn("client {} speaks HTTP: disconnected", client_.peer);
      Abort();
      return false;
    }
    Refuse(fmt::format("ERR {}", UnknownCommandText(request.arguments)));
    return false;
  }
  // COMMAND is a command as well.
  const bool container =
      request.front->mode == FrontCommand::Mode::kContainer || request.front->name == "command";
  if (container && request.arguments.size() > 1) {
    Refuse(fmt::format("ERR {}", UnknownSubcommandText(request.arguments)));
    return false;
  }
  if (!ArityFits(request.front->arity, request.arguments.size())) {
    Refuse(fmt::format("ERR {}", WrongArityText(request.front->name)));
    return false;
  }
  client_.last_command = request.front->name;
  request.bytes = MemoryOf(request.arguments);
  return true;
}

bool Session::ResolveData(Request& request) {
  const store::CommandSpec& spec = *request.data;
  if (!ArityFits(spec.arity, request.arguments.size())) {
    Refuse(fmt::format("ERR {}", WrongArityText(spec.name)));
    return false;
  }
  const KeySlot keys = SlotOfArguments(spec, request.arguments);
  if (keys.crosses) {
    Refuse(kCrossSlot);
    return false;
  }
  request.slot = keys.slot;
  // Between MULTI and EXEC, Redis finds wrong values only when it executes, and so does the region.
  const store::Limits& limits = front_.settings().store;
  const Status valid = transaction_.open ? store::ValidateQueued(request.arguments, limits)
                                         : store::Validate(request.arguments, limits);
  if (!valid.ok()) {
    Refuse(MessageOf(valid));
    return false;
  }
  request.bytes = MemoryOf(request.arguments);
  return true;
}

void Session::Refuse(std::string_view text, std::optional<node::ViewTicket> ticket) {
  if (transaction_.open) transaction_.refused = true;
  Answer([text](ReplyWriter& reply) { reply.Error(text); }, ticket);
}

std::optional<node::ViewTicket> Session::Enter() {
  const std::optional<node::ViewTicket> ticket = front_.service().Enter();
  if (!ticket) Refuse(fmt::format("FENCED {}", front_.service().FencedText()));
  return ticket;
}

bool Session::DispatchData(Request& request) {
  const Access access = request.data->write ? Access::kWrite : Access::kRead;
  if (ConflictsWithInFlight(access, request.slot)) return false;
  const auto view = Enter();
  if (!view) return true;
  const std::optional<DatabaseId> database = CurrentDatabase(front_, client_);
  if (!database) {
    Refuse(NoDatabaseText(front_, client_), view);
    return true;
  }
  const bool replica = client_.readonly && access == Access::kRead;
  const uint64_t ticket = Submit(access, request.slot, request.bytes, *view);
  front_.service().Execute(*database, request.slot, std::move(request.arguments),
                           replica ? node::ReadMode::kReplica : node::ReadMode::kLinearizable,
                           OutcomeCallback(ticket));
  return true;
}

bool Session::DispatchFront(Request& request) {
  using Mode = FrontCommand::Mode;
  switch (request.front->mode) {
    case Mode::kMulti:
      return Multi();
    case Mode::kExec:
      return Exec();
    case Mode::kDiscard:
      return Discard();
    case Mode::kWatch:
      return Watch(request);
    case Mode::kUnwatch:
      return Unwatch();
    case Mode::kReset:
      return Reset();
    case Mode::kScan:
      return Scan(request);
    case Mode::kFailover:
      return Failover(request);
    case Mode::kBarrier:
      if (reads_in_flight_ + writes_in_flight_ > 0) return false;
      break;
    case Mode::kImmediate:
    case Mode::kContainer:
      break;
  }
  std::optional<node::ViewTicket> view;
  if (request.front->uses_view && !(view = Enter())) return true;
  Answer(
      [&](ReplyWriter& reply) {
        CommandContext context{front_, client_, request.arguments, reply};
        request.front->handler(context);
      },
      view);
  if (client_.quit && state_ == State::kOpen) state_ = State::kFinishing;
  return true;
}

bool Session::Scan(Request& request) {
  ScanRequest scan;
  if (const std::string error = ParseScan(request.arguments, scan); !error.empty()) {
    Refuse(error);
    return true;
  }
  if (ConflictsWithInFlight(Access::kRead, kAllSlots)) return false;
  const auto view = Enter();
  if (!view) return true;
  const std::optional<DatabaseId> database = CurrentDatabase(front_, client_);
  if (!database) {
    Refuse(NoDatabaseText(front_, client_), view);
    return true;
  }
  const uint64_t ticket = Submit(Access::kRead, kAllSlots, request.bytes, *view);
  front_.service().Scan(*database, scan.cursor, scan.count, std::move(scan.match), std::move(scan.type),
                        OutcomeCallback(ticket));
  return true;
}

bool Session::Failover(Request& request) {
  if (request.arguments.size() == 3 && !EqualsIgnoreCase(request.arguments[2], "force") &&
      !EqualsIgnoreCase(request.arguments[2], "takeover")) {
    Refuse("ERR syntax error");
    return true;
  }
  const auto view = Enter();
  if (!view) return true;
  const std::optional<DatabaseId> database = CurrentDatabase(front_, client_);
  if (!database) {
    Refuse(NoDatabaseText(front_, client_), view);
    return true;
  }
  const uint64_t ticket = Submit(Access::kNone, kAllSlots, 0, *view);
  front_.service().TakeLeaderships(*database, OutcomeCallback(ticket));
  return true;
}

// ---- Replies in order (S1) and what is under way (S2)

bool Session::ConflictsWithInFlight(Access access, uint16_t slot) const {
  const Access other = access == Access::kWrite ? Access::kRead : Access::kWrite;
  if ((other == Access::kRead ? reads_in_flight_ : writes_in_flight_) == 0) return false;
  for (const Pending& pending : pending_) {
    if (!pending.done && pending.access == other &&
        (slot == kAllSlots || pending.slot == kAllSlots || pending.slot == slot)) {
      return true;
    }
  }
  return false;
}

uint64_t Session::Submit(Access access, uint16_t slot, size_t bytes, node::ViewTicket ticket) {
  Pending& pending = pending_.emplace_back();
  pending.ticket = ticket;
  pending.access = access;
  pending.slot = slot;
  pending.bytes = bytes;
  pending.protocol = static_cast<uint8_t>(client_.protocol);
  pending.silent = client_.reply_off || skip_current_;
  in_flight_bytes_ += bytes;
  if (access == Access::kRead) ++reads_in_flight_;
  if (access == Access::kWrite) ++writes_in_flight_;
  return first_ticket_ + pending_.size() - 1;
}

Callback<node::Outcome> Session::OutcomeCallback(uint64_t ticket) {
  return [weak = weak_from_this(), ticket](node::Outcome outcome) {
    const std::shared_ptr<Session> self = weak.lock();
    if (!self) return;
    self->Complete(ticket, [&](ReplyWriter& reply) { WriteOutcome(outcome, reply); });
  };
}

void Session::Complete(uint64_t ticket, absl::FunctionRef<void(ReplyWriter&)> write) {
  if (ticket < first_ticket_) return;  // aborted meanwhile
  TENURE_CHECK(ticket - first_ticket_ < pending_.size(), "S1: ticket {} beyond {} + {}", ticket,
               first_ticket_, pending_.size());
  Pending& pending = pending_[ticket - first_ticket_];
  TENURE_CHECK(!pending.done, "S1: request {} answered twice", ticket);
  pending.done = true;
  in_flight_bytes_ -= pending.bytes;
  if (pending.access == Access::kRead) --reads_in_flight_;
  if (pending.access == Access::kWrite) --writes_in_flight_;
  if (!pending.silent) {
    const bool its_turn = ticket == first_ticket_;
    std::string& target = its_turn ? output_ : pending.reply;
    const size_t from = target.size();
    ReplyWriter reply(target, pending.protocol);
    write(reply);
    CountError(target, from);
    LearnReplySize(target.size() - from);
    if (its_turn) {
      NoteLeaving(from, std::exchange(pending.ticket, std::nullopt), pending.access != Access::kRead);
    } else {
      held_reply_bytes_ += pending.reply.size();
    }
  }
  FlushDone();
  if (!running_) {
    if (current_ || input_at_ < input_.size() || end_of_input_) RunBuffered();
    AfterEvent();
  }
}

void Session::Answer(absl::FunctionRef<void(ReplyWriter&)> write, std::optional<node::ViewTicket> ticket) {
  const bool now = pending_.empty();
  Pending waiting;
  std::string& target = now ? output_ : waiting.reply;
  const size_t from = target.size();
  ReplyWriter reply(target, client_.protocol);
  write(reply);
  if (state_ == State::kAborted) {  // nobody takes it any more
    if (ticket) front_.service().Leave(*ticket, false);
    return output_.clear();
  }
  // CLIENT REPLY changes the rule for its own reply already.
  if (client_.reply_off || skip_current_) target.resize(from);
  CountError(target, from);
  if (now) return NoteLeaving(from, ticket, false);
  waiting.done = true;
  waiting.ticket = ticket;
  held_reply_bytes_ += waiting.reply.size();
  pending_.push_back(std::move(waiting));
}

void Session::CountError(const std::string& buffer, size_t from) {
  if (from < buffer.size() && buffer[from] == '-') ++front_.counters().error_replies;
}

void Session::FlushDone() {
  while (!pending_.empty() && pending_.front().done) {
    Pending& front = pending_.front();
    std::string& reply = front.reply;
    const size_t from = output_.size();
    held_reply_bytes_ -= reply.size();
    if (output_.empty() && reply.size() > kKeptCapacity) {
      output_ = std::move(reply);
    } else {
      output_.append(reply);
    }
    NoteLeaving(from, front.ticket, front.access != Access::kRead);
    pending_.pop_front();
    ++first_ticket_;
  }
}

// ---- Output

void Session::NoteLeaving(size_t from, std::optional<node::ViewTicket> ticket, bool change) {
  if (!ticket) return;
  if (from == output_.size()) return front_.service().Leave(*ticket, false);  // a reply nobody wants
  leaving_.push_back({from, output_.size(), *ticket, change});
}

// The last moment at which a result can be held back: the process may have stood still since it was computed.
void Session::CheckLeaving() {
  output_valid_until_ = kFarFuture;
  if (leaving_.empty()) return;
  node::DataService& service = front_.service();
  const Instant now = front_.clock().Now();
  const auto may_leave = [&](const Leaving& part) { return service.MayLeave(part.ticket, now); };
  if (std::all_of(leaving_.begin(), leaving_.end(), may_leave)) {
    for (const Leaving& part : leaving_) service.Leave(part.ticket, true);
    output_valid_until_ = service.ServesUntil();
    return leaving_.clear();
  }
  std::string output;
  size_t copied = 0;
  for (const Leaving& part : leaving_) {
    const bool left = may_leave(part);
    if (left) output_valid_until_ = service.ServesUntil();
    if (!left) {
      output.append(output_, copied, part.from - copied);
      ReplyWriter(output, client_.protocol)
          .Error(part.change ? ErrorText(node::Unknown{"this node was fenced before the answer left"})
                             : std::string("FENCED lease expired before the answer left"));
      copied = part.to;
    }
    service.Leave(part.ticket, left);
  }
  output.append(output_, copied);
  output_ = std::move(output);
  leaving_.clear();
}

void Session::ReleaseTickets() {
  for (const Leaving& part : leaving_) front_.service().Leave(part.ticket, false);
  leaving_.clear();
  for (Pending& pending : pending_) {
    if (pending.ticket) front_.service().Leave(*std::exchange(pending.ticket, std::nullopt), false);
  }
}

void Session::AfterEvent() {
  if (state_ != State::kAborted && HeldOutput() > front_.settings().output_limit_bytes) {
    ++front_.counters().output_limit_clients;
    front_.logger().Warn("client {} leaves {} bytes of replies untaken, limit {}: disconnected", client_.peer,
                         HeldOutput(), front_.settings().output_limit_bytes);
    Abort();
  }
  UpdateMemory();
  if (!output_.empty() || IsOver() || (!wanted_read_ && WantsRead())) Notify();
}

void Session::Notify() {
  if (std::exchange(notified_, true)) return;
  transport_.OnSessionReady();
}

void Session::SetUnsent(size_t bytes) {
  if (bytes == unsent_) return;
  unsent_ = bytes;
  if (current_ || input_at_ < input_.size()) RunBuffered();
  AfterEvent();
}

std::string Session::TakeOutput() {
  notified_ = false;
  CheckLeaving();
  front_.counters().output_bytes += output_.size();
  unsent_ += output_.size();
  wanted_read_ = WantsRead();
  return std::exchange(output_, {});
}

bool Session::IsOver() const {
  return state_ == State::kAborted || (state_ == State::kFinishing && pending_.empty());
}

void Session::Abort() {
  if (state_ == State::kAborted) return;
  state_ = State::kAborted;
  ReleaseTickets();
  first_ticket_ += pending_.size();
  pending_.clear();
  reads_in_flight_ = writes_in_flight_ = in_flight_bytes_ = held_reply_bytes_ = 0;
  std::string().swap(output_);
  unsent_ = 0;
  transaction_.Close();
  transaction_.DropWatches();
  if (!running_) {
    // While a request is being dispatched its parts are still in use; then Run ends and the destructor frees
    // them.
    std::string().swap(input_);
    input_at_ = 0;
    current_.reset();
  }
  UpdateMemory();
  Notify();
}

void Session::UpdateMemory() {
  size_t now = parser_.memory() + input_.size() + in_flight_bytes_ + HeldOutput() + transaction_.bytes +
               transaction_.watch_bytes + client_.name.size() + client_.library_name.size() +
               client_.library_version.size();
  if (current_) now += current_->bytes;
  if (state_ == State::kAborted) now = 0;
  const size_t before = std::exchange(accounted_, now);
  front_.AccountMemory(before, now);
}

std::string Session::Describe(Instant now) const {
  std::string flags;
  if (transaction_.open) flags += 'x';
  if (client_.readonly) flags += 'r';
  if (client_.no_evict) flags += 'e';
  if (state_ == State::kFinishing) flags += 'c';
  if (flags.empty()) flags = "N";
  const auto seconds = [now](Instant since) {
    return std::chrono::duration_cast<std::chrono::seconds>(now - since).count();
  };
  return fmt::format(
      "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={} db={} sub=0 psub=0 ssub=0 multi={} "
      "qbuf={} "
      "qbuf-free=0 argv-mem={} multi-mem={} rbs=0 rbp=0 obl={} oll=0 omem={} tot-mem={} events=r cmd={} "
      "user=default redir=-1 resp={} lib-name={} lib-ver={}",
      client_.id, client_.peer, client_.local, client_.name, seconds(client_.connected_at),
      seconds(client_.active_at), flags, client_.database_name == "default" ? "0" : client_.database_name,
      transaction_.open ? static_cast<int64_t>(transaction_.queue.size()) : -1,
      parser_.memory() + input_.size(), in_flight_bytes_, transaction_.bytes, output_.size(), HeldOutput(),
      accounted_, client_.last_command, client_.protocol, client_.library_name, client_.library_version);
}

}  // namespace tenure::resp
