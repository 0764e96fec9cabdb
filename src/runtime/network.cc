#include "runtime/network.h"

namespace tenure::runtime {
namespace {
constexpr absl::string_view kNotSentUrl = "tenure/not-sent";
}  // namespace

bool WasNotSent(const Status& status) {
  return status.GetPayload(kNotSentUrl).has_value();
}

Status MarkNotSent(Status status) {
  status.SetPayload(kNotSentUrl, absl::Cord());
  return status;
}

}  // namespace tenure::runtime
