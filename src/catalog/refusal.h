// Why something was not done, as one table: reason -> status code -> may the same request be sent again, and
// when. A refusal travels as an absl::Status that carries a tenure.v1.Refusal as payload; gRPC clients find
// it in the status' details.
//
// A caller of a change needs one fact: applied (OK), refused (nothing happened) or unknown.
// Threading:  pure functions.
// Reference:  docs/errors.md, which the test compares with the table.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "base/time.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::catalog {

inline constexpr std::string_view kRefusalTypeUrl = "type.googleapis.com/tenure.v1.Refusal";

// What the outcome of a refused change is.
enum class Effect : uint8_t { kNone, kUnknown };

struct ReasonRule {
  ::tenure::v1::Reason reason;
  std::string_view name;  // "NOT_LEADER"
  StatusCode code;
  bool retryable;        // the same request (same RequestId) may succeed when sent again as it is
  Duration retry_after;  // the shortest sensible wait; zero: at once, elsewhere
  Effect effect;
};

// Every reason but UNSPECIFIED, in order of their numbers.
std::span<const ReasonRule> ReasonTable();
// Total: a number this binary does not know is ruled like REASON_UNSPECIFIED (INTERNAL, not retryable).
const ReasonRule& RuleOf(::tenure::v1::Reason reason);
std::string_view NameOf(::tenure::v1::Reason reason);

// Retry rule and code come from the table; details (not_leader, warming_up, revision) from `refusal`.
Status MakeRefusal(::tenure::v1::Refusal refusal);
Status MakeRefusal(::tenure::v1::Reason reason, std::string message);
// Refusal(REASON_NOT_FOUND, "there is no database '{}'", name)
template <class... Args>
Status Refuse(::tenure::v1::Reason reason, fmt::format_string<Args...> format, Args&&... args) {
  return MakeRefusal(reason, fmt::format(format, std::forward<Args>(args)...));
}

Status NotLeaderRefusal(uint64_t leader_id, std::string_view leader_address);
Status WarmingUpRefusal(::tenure::v1::WarmingUp details);

// The refusal of a request that was sent before with an unknown outcome. What the state machine says of a
// request it knows is the outcome of both. A leader without space, or without nodes, says nothing of what an
// earlier one took, or of what it took itself and has not applied yet: that becomes UNKNOWN_OUTCOME.
Status AfterUnknownOutcome(Status refusal);

// The payload, if there is one.
std::optional<::tenure::v1::Refusal> RefusalOf(const Status& status);
// UNSPECIFIED for OK and for a status that is no refusal.
::tenure::v1::Reason ReasonOf(const Status& status);
inline bool IsReason(const Status& status, ::tenure::v1::Reason reason) {
  return !status.ok() && ReasonOf(status) == reason;
}
// The refusal of any error: its payload, else one made from the code (transport errors become UNAVAILABLE).
::tenure::v1::Refusal ToRefusal(const Status& status);

}  // namespace tenure::catalog
