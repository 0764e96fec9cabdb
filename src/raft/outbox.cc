#include "raft/outbox.h"

#include <algorithm>

#include "base/check.h"
#include "base/format.h"

namespace tenure::raft {
namespace {

// The commit index on disk only shortens a restart: it is refreshed with every so many entries.
constexpr uint64_t kCommitStride = 256;

// Whether who gets `later` needs `earlier` no more. A disk may hang for long, and every heartbeat and every
// probe is answered: the last word is all that is kept.
bool Supersedes(const Message& later, const Message& earlier) {
  if (const auto* const append = std::get_if<AppendResponse>(&later)) {
    const auto* const before = std::get_if<AppendResponse>(&earlier);
    return before != nullptr && append->accepted && before->accepted && append->term == before->term &&
           append->index >= before->index;
  }
  const auto* const heartbeat = std::get_if<HeartbeatResponse>(&later);
  const auto* const before = std::get_if<HeartbeatResponse>(&earlier);
  return heartbeat != nullptr && before != nullptr && heartbeat->term == before->term &&
         heartbeat->round >= before->round;
}

}  // namespace

bool Outbox::HasEffects() const {
  const Effects& e = effects_;
  return e.NeedsPersist() || !e.messages.empty() || !e.messages_after_persist.empty() || e.commit ||
         !e.reads.empty() || !e.failed_reads.empty() || e.role_change || e.configuration ||
         !e.fetches.empty() || !e.snapshots_needed.empty() || e.install_snapshot;
}

Effects Outbox::Take(const HardState& hard_state) {
  const bool commit_is_worth_it = hard_state.commit.value() >= written_commit_.value() + kCommitStride;
  if (effects_.hard_state || (!effects_.entries.empty() && commit_is_worth_it)) {
    effects_.hard_state = hard_state;
    written_commit_ = hard_state.commit;
  }
  if (effects_.NeedsPersist()) {
    effects_.persist_token = ++last_token_;
    if (!effects_.entries.empty()) handed_ = effects_.entries.back().index;
    in_flight_.push_back({last_token_, handed_});
  }
  TENURE_CHECK(effects_.NeedsPersist() || effects_.messages_after_persist.empty(),
               "R1-R3: {} messages wait for a persistence that is not asked for",
               effects_.messages_after_persist.size());
  Effects taken = std::move(effects_);
  effects_ = Effects();
  return taken;
}

void Outbox::SendWhenDurable(ReplicaId to, Message message, LogIndex upto) {
  uint64_t needed = IsDurable(hard_state_token_) ? 0 : hard_state_token_;
  if (upto > persisted_) needed = std::max(needed, TokenCovering(upto));
  if (needed == 0) {
    Send(to, std::move(message));
  } else if (effects_.NeedsPersist()) {
    effects_.messages_after_persist.push_back({to, std::move(message)});
  } else {
    TENURE_CHECK(needed <= last_token_, "R2: nothing is asked for that would make {} durable", upto);
    const auto after = std::upper_bound(held_.begin(), held_.end(), needed,
                                        [](uint64_t token, const Held& held) { return token < held.token; });
    const auto same = std::find_if(held_.begin(), after, [&](const Held& held) {
      return held.token == needed && held.outgoing.to == to && Supersedes(message, held.outgoing.message);
    });
    if (same != after) {
      same->outgoing.message = std::move(message);
      return;
    }
    held_.insert(after, {needed, {to, std::move(message)}});
  }
}

void Outbox::DropWaiting() {
  effects_.messages_after_persist.clear();
  held_.clear();
}

void Outbox::SetHardState(const HardState& hard_state) {
  effects_.hard_state = hard_state;
  hard_state_token_ = next_token();
}

void Outbox::TruncateFrom(LogIndex index) {
  auto& entries = effects_.entries;
  while (!entries.empty() && entries.back().index >= index) entries.pop_back();
  if (handed_ >= index) {
    effects_.truncate_from = effects_.truncate_from ? std::min(*effects_.truncate_from, index) : index;
    handed_ = index.Previous();
  }
  // What is in flight will be written and then cut off: it is no longer part of this log.
  for (InFlight& record : in_flight_) record.upto = std::min(record.upto, index.Previous());
  persisted_ = std::min(persisted_, index.Previous());
}

void Outbox::OnLogReplaced(LogIndex mark) {
  TENURE_CHECK(effects_.entries.empty() && !effects_.truncate_from,
               "the log is replaced by a snapshot at {} while {} entries wait", mark,
               effects_.entries.size());
  for (InFlight& record : in_flight_) record.upto = LogIndex();
  persisted_ = handed_ = mark;
}

bool Outbox::OnPersisted(uint64_t token) {
  TENURE_CHECK(token <= last_token_, "token {} was never handed out, the last is {}", token, last_token_);
  if (token <= durable_token_) return false;
  durable_token_ = token;
  while (!in_flight_.empty() && in_flight_.front().token <= token) {
    persisted_ = std::max(persisted_, in_flight_.front().upto);
    in_flight_.pop_front();
  }
  auto held = held_.begin();
  for (; held != held_.end() && held->token <= token; ++held)
    effects_.messages.push_back(std::move(held->outgoing));
  held_.erase(held_.begin(), held);
  return true;
}

uint64_t Outbox::TokenCovering(LogIndex index) const {
  for (const InFlight& record : in_flight_) {
    if (record.upto >= index) return record.token;
  }
  return next_token();
}

}  // namespace tenure::raft
