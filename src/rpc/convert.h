// Private to rpc/: between gRPC's types and ours.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "base/status.h"
#include "base/time.h"
#include "runtime/network.h"

namespace tenure::rpc {

grpc::ByteBuffer ToBuffer(std::string bytes);
std::string ToString(const grpc::ByteBuffer& buffer);

// With a google.rpc.Status as its details, where a payload is an Any: what clients of every language can read.
grpc::Status ToGrpcStatus(const Status& status);
// A failure that did not come from a handler of the server is annotated with `to`.
Status FromGrpcStatus(const grpc::Status& status, const runtime::Endpoint& to);

gpr_timespec ToDeadline(Duration timeout);
// kFarFuture if the call has none.
Instant FromDeadline(gpr_timespec deadline, Instant now);

}  // namespace tenure::rpc
