// The error type of every fallible operation, and the two macros that pass it on.
//
// An error says what happened, to which object, beyond which limit, and names the field.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace tenure {

using absl::Status;
using absl::StatusCode;
using absl::StatusOr;

inline Status OkStatus() {
  return absl::OkStatus();
}

// Error(StatusCode::kNotFound, "node {} does not exist", id)
template <class... Args>
Status Error(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  const std::string message = fmt::format(format, std::forward<Args>(args)...);
  return Status(code, absl::string_view(message.data(), message.size()));
}

// The status' message as a std type (absl's string_view is its own type here).
inline std::string_view MessageOf(const Status& status) {
  const auto message = status.message();
  return {message.data(), message.size()};
}

// The same error with "context: " before its message.
Status Annotate(const Status& status, std::string_view context);

}  // namespace tenure

#define TENURE_STATUS_CONCAT_INNER(a, b) a##b
#define TENURE_STATUS_CONCAT(a, b) TENURE_STATUS_CONCAT_INNER(a, b)

#define TENURE_RETURN_IF_ERROR(expression)           \
  do {                                               \
    ::tenure::Status tenure_status_ = (expression);  \
    if (!tenure_status_.ok()) return tenure_status_; \
  } while (false)

#define TENURE_ASSIGN_OR_RETURN(target, expression) \
  TENURE_ASSIGN_OR_RETURN_INNER(TENURE_STATUS_CONCAT(status_or_, __LINE__), target, expression)
#define TENURE_ASSIGN_OR_RETURN_INNER(name, target, expression) \
  auto name = (expression);                                     \
  if (!name.ok()) return name.status();                         \
  target = std::move(*name)
