#include "runtime/network.h"

#include "runtime/connect_failure.h"

namespace tenure::runtime {
namespace {
constexpr absl::string_view kNotSentUrl = "tenure/not-sent";
constexpr absl::string_view kRefusedUrl = "tenure/refused";
}  // namespace

bool WasNotSent(const Status& status) {
  return status.GetPayload(kNotSentUrl).has_value();
}

Status MarkNotSent(Status status) {
  status.SetPayload(kNotSentUrl, absl::Cord());
  return status;
}

bool WasRefused(const Status& status) {
  return status.GetPayload(kRefusedUrl).has_value();
}

Status MarkRefused(Status status) {
  status.SetPayload(kRefusedUrl, absl::Cord());
  return MarkNotSent(std::move(status));
}

}  // namespace tenure::runtime
