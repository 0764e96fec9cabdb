// Collects one Effects value and knows what is durable: which persistence a message waits for, and how far
// the log on disk agrees with the log in memory. All order rules about persistence come down to three calls
// here - Send, SendWhenDurable, OnPersisted.
//
// Driven by RaftCore. A value is handed out by Take with a token; tokens become durable in order. Messages
// that wait for something that was handed out earlier are held and leave when OnPersisted covers them.
//
// Invariants: R1, R2, R3 of raft_core.h; persisted() never counts an entry that memory has since truncated.
// Threading: one owner.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "raft/effects.h"

namespace tenure::raft {

class Outbox {
 public:
  Outbox(const HardState& durable, LogIndex persisted)
      : written_commit_(durable.commit), persisted_(persisted), handed_(persisted) {}

  // The value being collected, for effects that need no order.
  Effects& effects() { return effects_; }
  bool HasEffects() const;
  // `hard_state` is the current one; it goes along when its commit is worth writing.
  Effects Take(const HardState& hard_state);

  // Leaves at any time.
  void Send(ReplicaId to, Message message) { effects_.messages.push_back({to, std::move(message)}); }
  // Leaves when the current term and vote and the log up to `upto` are durable.
  void SendWhenDurable(ReplicaId to, Message message, LogIndex upto = LogIndex());
  // Forgets messages that wait for durability: they belong to a term that is over.
  void DropWaiting();

  void SetHardState(const HardState& hard_state);
  void AppendEntry(const Entry& entry) { effects_.entries.push_back(entry); }
  void TruncateFrom(LogIndex index);
  // The log on disk was replaced by a snapshot at `mark`.
  void OnLogReplaced(LogIndex mark);

  // Returns false for a token that was known to be durable.
  bool OnPersisted(uint64_t token);
  // The log in memory is durable up to here.
  LogIndex persisted() const { return persisted_; }
  // What is added to the value being collected will be durable with this token.
  uint64_t next_token() const { return last_token_ + 1; }
  bool IsDurable(uint64_t token) const { return token <= durable_token_; }

 private:
  struct InFlight {
    uint64_t token;
    LogIndex upto;  // the log is durable up to here with this token; falls when memory truncates
  };
  struct Held {
    uint64_t token;
    Outgoing outgoing;
  };

  uint64_t TokenCovering(LogIndex index) const;

  Effects effects_;
  LogIndex written_commit_;
  LogIndex persisted_;
  LogIndex handed_;  // entries up to here are durable or on their way
  uint64_t last_token_ = 0;
  uint64_t durable_token_ = 0;
  uint64_t hard_state_token_ = 0;  // of the last change of term or vote
  std::deque<InFlight> in_flight_;
  std::vector<Held> held_;  // by token
};

}  // namespace tenure::raft
