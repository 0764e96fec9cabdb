// Private to rpc/: between gRPC's types and ours.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>
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

// Puts payloads into the call's trailing metadata; before the call is finished.
grpc::Status ToGrpcStatus(const Status& status, grpc::ServerContextBase& context);
// A failure that did not come from the server is annotated with `to`.
Status FromGrpcStatus(const grpc::Status& status, const grpc::ClientContext& context,
                      const runtime::Endpoint& to);

gpr_timespec ToDeadline(Duration timeout);
// kFarFuture if the call has none.
Instant FromDeadline(gpr_timespec deadline, Instant now);

}  // namespace tenure::rpc
