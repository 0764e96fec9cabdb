// One client's connection without its socket: bytes in, bytes out. Parses requests, answers what needs no
// data itself, submits data commands to the node and writes the replies in the order of the requests.
//
// Driven by a Transport (resp/asio/ in a daemon, the simulator's network in sim/), created by
// FrontEnd::Connect.
// Threading: the node's executor.
// Lifetime:  shared; callbacks of commands under way hold weak references, so a session may go at any time.
//
// Ordering (S1): replies leave in the order of the requests.
//          (S2): a command sees the effects of every earlier command of this session and of no later one.
//                Writes follow each other through the node in order, so many are under way together and share
//                a log write; so are many reads. A read behind an unanswered write of its slot waits, and so
//                does a write behind an unanswered read.
// Bounds:  (S3): at most settings.max_in_flight commands and max_in_flight_bytes are under way; beyond that,
//                and while the client leaves more than output_pause_bytes of replies untaken, input is kept,
//                not executed, and WantsRead() is false.
//          (S4): more than output_limit_bytes of untaken replies end the connection. What is under way is
//                answered whatever the client takes, so as many reads are, as with replies like the largest
//                of late would fill half of that.
// Errors:  a protocol error is answered behind the replies under way, then the connection ends. An oversized
//          argument costs its request only.
//
//   kOpen --QUIT, protocol error, end of input--> kFinishing --all replies taken--> (transport closes)
//     \-------- S4, CLIENT KILL, eviction --------> kAborted  (transport closes at once)
#pragma once

#include <absl/functional/function_ref.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "node/data_service.h"
#include "resp/client_state.h"
#include "resp/commands.h"
#include "resp/front_end.h"
#include "resp/parser.h"
#include "resp/reply_writer.h"
#include "resp/transaction.h"

namespace tenure::resp {

class Transport {
 public:
  virtual ~Transport() = default;
  // There is output to take, input is wanted again, or the session ended. Called on the executor, possibly
  // from inside the transport's own call, at most once until TakeOutput. Must not call back from inside: note
  // it, and look when the turn is over.
  virtual void OnSessionReady() = 0;
};

// A parsed request on its way through Session.
struct SessionRequest {
  store::Arguments arguments;
  size_t bytes = 0;
  const store::CommandSpec* data = nullptr;  // one of these two once resolved
  const FrontCommand* front = nullptr;
  uint16_t slot = 0;
  bool resolved = false;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  enum class State { kOpen, kFinishing, kAborted };

  // Use FrontEnd::Connect.
  Session(FrontEnd& front, Transport& transport, uint64_t id, std::string peer, std::string local);
  Session(const Session&) = delete;
  ~Session();

  // All bytes are taken, executed or not (see WantsRead).
  void OnBytes(std::string_view bytes);
  // The client will send nothing more but may still read: replies under way are finished first.
  void OnEndOfInput();
  // Bytes of the output taken so far that the client has not taken yet.
  void SetUnsent(size_t bytes);

  // What is to be sent now. After this, OnSessionReady may come again. A reply that must not leave any more,
  // because the node is fenced or was since the request began, is FENCED instead.
  std::string TakeOutput();
  // What was taken last may be sent until then.
  Instant output_valid_until() const { return output_valid_until_; }
  bool HasOutput() const { return !output_.empty(); }
  bool WantsRead() const;
  // True: nothing more will come. kFinishing: the connection ends when what was taken is sent; kAborted: at
  // once.
  bool IsOver() const;
  State state() const { return state_; }

  // Ends the connection at once; what is unsent is dropped (CLIENT KILL, eviction).
  void Abort();
  const ClientState& client() const { return client_; }
  // Bytes held for this client: unfinished requests, commands under way, replies, watched keys, names.
  size_t memory() const { return accounted_; }
  // One line of CLIENT LIST, without its end.
  std::string Describe(Instant now) const;

 private:
  using Request = SessionRequest;
  enum class Access : uint8_t { kNone, kRead, kWrite };
  static constexpr uint16_t kAllSlots = static_cast<uint16_t>(kSlotCount);  // a command that touches any slot
  // A request whose reply has not left yet.
  struct Pending {
    Access access = Access::kNone;
    uint16_t slot = 0;
    uint8_t protocol = 2;
    bool done = false;
    bool silent = false;
    size_t bytes = 0;
    std::string reply;  // when done before its turn
    std::optional<node::ViewTicket> ticket;
  };
  // A part of the output that was answered from the node's view of the catalog.
  struct Leaving {
    size_t from;
    size_t to;
    node::ViewTicket ticket;
    bool change;  // the request may have changed something
  };

  struct WatchCollector;

  void RunBuffered();
  // Executes what `input` holds and may proceed; consumes it.
  void Run(std::string_view& input);
  bool MayProceed() const;
  void LearnReplySize(size_t bytes);
  void OnProtocolError();
  void BeginCommand();

  // False: the request has to wait for commands under way and is dispatched again.
  bool Dispatch(Request& request);
  bool Resolve(Request& request);
  bool ResolveData(Request& request);
  void Refuse(std::string_view text, std::optional<node::ViewTicket> ticket = std::nullopt);
  bool DispatchData(Request& request);
  bool DispatchFront(Request& request);
  bool Scan(Request& request);
  bool Failover(Request& request);

  bool IsQueued(const Request& request) const;
  void Enqueue(Request& request);
  bool Multi();
  bool Exec();
  bool Discard();
  std::string CheckWatch(const Request& request, uint16_t slot) const;
  bool Watch(Request& request);
  bool Unwatch();
  bool Reset();
  void ExecuteTransaction(uint16_t slot, std::vector<QueuedCommand> queue,
                          std::vector<store::WatchedKey> watches, size_t bytes);
  void WriteTransaction(const node::Outcome& outcome, const std::vector<QueuedCommand>& queue,
                        ReplyWriter& reply);
  void RunLocally(const QueuedCommand& queued, ReplyWriter& reply);
  void OnVersion(WatchCollector& collector, size_t position, node::Outcome outcome);

  bool ConflictsWithInFlight(Access access, uint16_t slot) const;
  // None: the node is fenced, and the request was refused.
  std::optional<node::ViewTicket> Enter();
  uint64_t Submit(Access access, uint16_t slot, size_t bytes, node::ViewTicket ticket);
  Callback<node::Outcome> OutcomeCallback(uint64_t ticket);
  // Writes the reply of a submitted request now or, if others are before it, keeps it for its turn.
  void Complete(uint64_t ticket, absl::FunctionRef<void(ReplyWriter&)> write);
  // Answers the request being dispatched.
  void Answer(absl::FunctionRef<void(ReplyWriter&)> write,
              std::optional<node::ViewTicket> ticket = std::nullopt);
  // The reply that ends the output now left the view of `ticket`.
  void NoteLeaving(size_t from, std::optional<node::ViewTicket> ticket, bool change);
  void CheckLeaving();
  void ReleaseTickets();
  void CountError(const std::string& buffer, size_t from);
  void FlushDone();
  void AfterEvent();
  void Notify();
  void UpdateMemory();
  size_t HeldOutput() const { return output_.size() + held_reply_bytes_ + unsent_; }

  FrontEnd& front_;
  Transport& transport_;
  ClientState client_;
  RequestParser parser_;
  Transaction transaction_;
  State state_ = State::kOpen;

  std::string input_;    // arrived and not parsed, because commands have to wait
  size_t input_at_ = 0;  // parsed part of input_
  bool end_of_input_ = false;
  std::optional<Request> current_;  // parsed, and being dispatched or waiting
  bool running_ = false;

  std::deque<Pending> pending_;
  uint64_t first_ticket_ = 1;  // of pending_.front()
  size_t reads_in_flight_ = 0;
  size_t writes_in_flight_ = 0;
  size_t in_flight_bytes_ = 0;
  size_t held_reply_bytes_ = 0;
  size_t expected_reply_bytes_;  // the largest of late
  bool skip_current_ = false;

  std::string output_;
  std::vector<Leaving> leaving_;  // parts of output_, in order
  Instant output_valid_until_ = kFarFuture;
  size_t unsent_ = 0;
  bool notified_ = false;
  bool wanted_read_ = true;  // what the transport saw last
  size_t accounted_ = 0;
};

}  // namespace tenure::resp
