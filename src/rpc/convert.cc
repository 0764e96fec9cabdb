#include "rpc/convert.h"

#include <grpc/support/time.h>

#include <utility>
#include <vector>

#include "rpc/framing.h"
#include "runtime/connect_failure.h"

namespace tenure::rpc {
namespace {

constexpr const char* kStatusKey = "tenure-status-bin";
constexpr size_t kCopyBelow = 4096;  // a copy is cheaper than handing over the string's memory
// Status travels in headers, which are bounded (kMaxMetadataBytes in core.cc).
constexpr size_t kMaxStatusMessage = 16 << 10;
constexpr size_t kMaxEncodedStatus = 64 << 10;

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

grpc::Status ToGrpcStatus(const Status& status, grpc::ServerContextBase& context) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message(MessageOf(status).substr(0, kMaxStatusMessage));
  std::string encoded = EncodeStatus(status);
  if (encoded.size() > kMaxEncodedStatus) {
    encoded = EncodeStatus(Status(status.code(), absl::string_view(message)));
  }
  context.AddTrailingMetadata(kStatusKey, encoded);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message);
}

Status FromGrpcStatus(const grpc::Status& status, const grpc::ClientContext& context,
                      const runtime::Endpoint& to) {
  if (status.ok()) return OkStatus();
  const auto& trailing = context.GetServerTrailingMetadata();
  if (const auto found = trailing.find(kStatusKey); found != trailing.end()) {
    return DecodeStatus({found->second.data(), found->second.size()});
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
