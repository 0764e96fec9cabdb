#include "catalog/refusal.h"

#include <absl/strings/cord.h>

#include <algorithm>
#include <array>

namespace tenure::catalog {
namespace {

using namespace ::tenure::v1;  // the reasons
using std::chrono::milliseconds;

constexpr std::array kRules = {
    ReasonRule{
        REASON_INVALID_ARGUMENT, "INVALID_ARGUMENT", StatusCode::kInvalidArgument, false, {}, Effect::kNone},
    ReasonRule{REASON_ALREADY_EXISTS, "ALREADY_EXISTS", StatusCode::kAlreadyExists, false, {}, Effect::kNone},
    ReasonRule{REASON_NOT_FOUND, "NOT_FOUND", StatusCode::kNotFound, false, {}, Effect::kNone},
    ReasonRule{REASON_CONDITION_FAILED,
               "CONDITION_FAILED",
               StatusCode::kFailedPrecondition,
               false,
               {},
               Effect::kNone},
    ReasonRule{REASON_STALE_EPOCH, "STALE_EPOCH", StatusCode::kAborted, true, milliseconds(20),
               Effect::kNone},
    ReasonRule{REASON_NOT_LEADER, "NOT_LEADER", StatusCode::kUnavailable, true, {}, Effect::kNone},
    ReasonRule{REASON_WARMING_UP, "WARMING_UP", StatusCode::kUnavailable, true, milliseconds(50),
               Effect::kNone},
    ReasonRule{REASON_OVERLOADED, "OVERLOADED", StatusCode::kUnavailable, true, milliseconds(50),
               Effect::kNone},
    ReasonRule{REASON_OUT_OF_SPACE, "OUT_OF_SPACE", StatusCode::kResourceExhausted, false, {}, Effect::kNone},
    ReasonRule{REASON_OUT_OF_RANGE, "OUT_OF_RANGE", StatusCode::kOutOfRange, false, {}, Effect::kNone},
    ReasonRule{REASON_NOT_ENOUGH_NODES,
               "NOT_ENOUGH_NODES",
               StatusCode::kFailedPrecondition,
               false,
               {},
               Effect::kNone},
    ReasonRule{REASON_BUSY, "BUSY", StatusCode::kAborted, true, milliseconds(100), Effect::kNone},
    ReasonRule{REASON_UNSUPPORTED_FORMAT,
               "UNSUPPORTED_FORMAT",
               StatusCode::kUnimplemented,
               false,
               {},
               Effect::kNone},
    ReasonRule{
        REASON_WRONG_CLUSTER, "WRONG_CLUSTER", StatusCode::kFailedPrecondition, false, {}, Effect::kNone},
    ReasonRule{REASON_UNKNOWN_OUTCOME, "UNKNOWN_OUTCOME", StatusCode::kUnknown, true, milliseconds(20),
               Effect::kUnknown},
    ReasonRule{REASON_DUPLICATE_EXPIRED,
               "DUPLICATE_EXPIRED",
               StatusCode::kFailedPrecondition,
               false,
               {},
               Effect::kUnknown},
    ReasonRule{REASON_UNAVAILABLE, "UNAVAILABLE", StatusCode::kUnavailable, true, milliseconds(50),
               Effect::kNone},
    ReasonRule{REASON_STALE_INCARNATION,
               "STALE_INCARNATION",
               StatusCode::kFailedPrecondition,
               false,
               {},
               Effect::kNone},
    ReasonRule{REASON_WRONG_TOKEN, "WRONG_TOKEN", StatusCode::kPermissionDenied, false, {}, Effect::kNone},
};
constexpr ReasonRule kUnknownReason{REASON_UNSPECIFIED, "UNSPECIFIED", StatusCode::kInternal, false, {},
                                    Effect::kUnknown};

// Of those that a leader waits for, in a message; its details have all.
constexpr int kNamedMissing = 5;

absl::string_view ToAbsl(std::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

std::span<const ReasonRule> ReasonTable() {
  return kRules;
}

const ReasonRule& RuleOf(Reason reason) {
  for (const ReasonRule& rule : kRules) {
    if (rule.reason == reason) return rule;
  }
  return kUnknownReason;
}

std::string_view NameOf(Reason reason) {
  return RuleOf(reason).name;
}

Status MakeRefusal(Refusal refusal) {
  const ReasonRule& rule = RuleOf(refusal.reason());
  refusal.set_retryable(rule.retryable);
  if (refusal.retry_after_ms() == 0) refusal.set_retry_after_ms(ToMillis(rule.retry_after));
  Status status(rule.code, ToAbsl(refusal.message()));
  std::string payload;
  refusal.SerializeToString(&payload);
  status.SetPayload(ToAbsl(kRefusalTypeUrl), absl::Cord(ToAbsl(payload)));
  return status;
}

Status MakeRefusal(Reason reason, std::string message) {
  Refusal refusal;
  refusal.set_reason(reason);
  refusal.set_message(std::move(message));
  return MakeRefusal(std::move(refusal));
}

Status NotLeaderRefusal(uint64_t leader_id, std::string_view leader_address) {
  Refusal refusal;
  refusal.set_reason(REASON_NOT_LEADER);
  refusal.set_message(leader_id == 0
                          ? std::string("this controller does not lead; no leader is known")
                          : fmt::format("this controller does not lead; controller {} at {} does", leader_id,
                                        leader_address.empty() ? "an unknown address" : leader_address));
  NotLeader& details = *refusal.mutable_not_leader();
  details.set_leader_id(leader_id);
  details.set_leader_address(std::string(leader_address));
  return MakeRefusal(std::move(refusal));
}

Status WarmingUpRefusal(WarmingUp details) {
  Refusal refusal;
  refusal.set_reason(REASON_WARMING_UP);
  std::string text =
      fmt::format("the leader of epoch {} is starting ({})", details.epoch(), details.reason());
  const int named = std::min(details.missing_size(), kNamedMissing);
  for (int i = 0; i < named; ++i) text += (i == 0 ? ": waits for " : ", ") + details.missing(i);
  if (named < details.missing_size()) text += fmt::format(" and {} more", details.missing_size() - named);
  if (details.remaining_ms() > 0) text += fmt::format(", at most {} ms more", details.remaining_ms());
  refusal.set_message(std::move(text));
  *refusal.mutable_warming_up() = std::move(details);
  return MakeRefusal(std::move(refusal));
}

Status AfterUnknownOutcome(Status refusal) {
  if (!IsReason(refusal, REASON_OUT_OF_SPACE) && !IsReason(refusal, REASON_NOT_ENOUGH_NODES)) return refusal;
  return Refuse(REASON_UNKNOWN_OUTCOME, "{}; it was sent before and may or may not have been done",
                MessageOf(refusal));
}

std::optional<Refusal> RefusalOf(const Status& status) {
  if (status.ok()) return std::nullopt;
  const auto payload = status.GetPayload(ToAbsl(kRefusalTypeUrl));
  if (!payload.has_value()) return std::nullopt;
  Refusal refusal;
  if (!refusal.ParseFromString(std::string(*payload))) return std::nullopt;
  return refusal;
}

Reason ReasonOf(const Status& status) {
  const auto refusal = RefusalOf(status);
  return refusal ? refusal->reason() : REASON_UNSPECIFIED;
}

Refusal ToRefusal(const Status& status) {
  if (auto refusal = RefusalOf(status)) return std::move(*refusal);
  Refusal refusal;
  refusal.set_message(std::string(MessageOf(status)));
  switch (status.code()) {
    case StatusCode::kUnavailable:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kCancelled:
      refusal.set_reason(REASON_UNAVAILABLE);
      break;
    case StatusCode::kInvalidArgument:
      refusal.set_reason(REASON_INVALID_ARGUMENT);
      break;
    case StatusCode::kNotFound:
      refusal.set_reason(REASON_NOT_FOUND);
      break;
    case StatusCode::kUnimplemented:
      refusal.set_reason(REASON_UNSUPPORTED_FORMAT);
      break;
    default:
      refusal.set_reason(REASON_UNSPECIFIED);
  }
  const ReasonRule& rule = RuleOf(refusal.reason());
  refusal.set_retryable(rule.retryable);
  refusal.set_retry_after_ms(ToMillis(rule.retry_after));
  return refusal;
}

}  // namespace tenure::catalog
