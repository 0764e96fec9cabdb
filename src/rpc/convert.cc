#include "rpc/convert.h"

#include <grpc/support/time.h>

#include <utility>
#include <vector>

#include "base/utf8.h"
#include "runtime/connect_failure.h"
#include "tenure/internal/v1/grpc_standard.pb.h"

namespace tenure::rpc {

namespace ipb = ::tenure::internal::v1;

namespace {

constexpr size_t kCopyBelow = 4096;  // a copy is cheaper than handing over the string's memory
// Status travels in headers, which are bounded (kMaxMetadataBytes in core.cc).
constexpr size_t kMaxStatusMessage = 16 << 10;
constexpr size_t kMaxDetails = 64 << 10;

}  // namespace

grpc::ByteBuffer ToBuffer(std::string bytes) {
  if (bytes.size() < kCopyBelow) {
    const grpc::Slice slice(bytes.data(), bytes.size());
    return grpc::ByteBuffer(&slice, 1);
  }
  auto* const owned = new std::string(std::move(bytes));
  const grpc::Slice slice(
      owned->data(), owned->size(), [](void* string) { delete static_cast<std::string*>(string); }, owned);
  return grpc::ByteBuffer(&slice, 1);
}

std::string ToString(const grpc::ByteBuffer& buffer) {
  if (!buffer.Valid()) return {};
  grpc::Slice single;
  if (buffer.TrySingleSlice(&single).ok()) {
    return std::string(reinterpret_cast<const char*>(single.begin()), single.size());
  }
  std::string bytes;
  bytes.reserve(buffer.Length());
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return {};
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

grpc::Status ToGrpcStatus(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message(MessageOf(status).substr(0, kMaxStatusMessage));
  ipb::ErrorDetails details;
  details.set_code(static_cast<int32_t>(status.code()));
  if (IsValidUtf8(message)) details.set_message(message);
  status.ForEachPayload([&details](absl::string_view url, const absl::Cord& payload) {
    google::protobuf::Any& detail = *details.add_details();
    detail.set_type_url(url.data(), url.size());
    detail.set_value(std::string(payload));
  });
  if (details.ByteSizeLong() > kMaxDetails) details.clear_details();
  return {static_cast<grpc::StatusCode>(status.code()), message, details.SerializeAsString()};
}

Status FromGrpcStatus(const grpc::Status& status, const runtime::Endpoint& to) {
  if (status.ok()) return OkStatus();
  if (ipb::ErrorDetails details;
      !status.error_details().empty() && details.ParseFromString(status.error_details())) {
    Status told(static_cast<StatusCode>(status.error_code()), status.error_message());
    for (const google::protobuf::Any& detail : details.details())
      told.SetPayload(detail.type_url(), absl::Cord(detail.value()));
    return told;
  }
  const auto code = static_cast<StatusCode>(status.error_code());
  Status local = Error(code, "{}: {}", to, status.error_message());
  const bool no_connection = status.error_message().starts_with("failed to connect to all addresses") ||
                             status.error_message().starts_with("DNS resolution failed");
  if (code != StatusCode::kUnavailable || !no_connection) return local;
  // The cause is in the text only, in the words of strerror.
  const bool refused = status.error_message().find("Connection refused") != std::string::npos;
  return refused ? runtime::MarkRefused(std::move(local)) : runtime::MarkNotSent(std::move(local));
}

gpr_timespec ToDeadline(Duration timeout) {
  if (timeout == Duration::max()) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(timeout.count(), GPR_TIMESPAN));
}

Instant FromDeadline(gpr_timespec deadline, Instant now) {
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return kFarFuture;
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  const Duration duration = std::chrono::seconds(left.tv_sec) + std::chrono::nanoseconds(left.tv_nsec);
  return duration > kFarFuture - now ? kFarFuture : now + duration;
}

}  // namespace tenure::rpc
