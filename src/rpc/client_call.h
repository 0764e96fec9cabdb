// Private to rpc/: calls and streams that this process starts.
//
// Threading: made and abandoned on the Network's executor, events on gRPC's threads.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <memory>
#include <string>

#include "rpc/core.h"
#include "rpc/stream_end.h"

namespace tenure::rpc {

// One unary call: owned by the completion queue, then by the inbox.
class UnaryCall final : public Tag, public Pending {
 public:
  static void Start(GrpcCore& core, grpc::GenericStub& stub, std::shared_ptr<NetworkState> network,
                    const runtime::Endpoint& to, const std::string& path, std::string request,
                    Duration timeout, Callback<StatusOr<std::string>> done);
  void Abandon(std::vector<Closure>& later) override;

 private:
  void OnEvent(bool ok) override;
  UnaryCall(std::shared_ptr<NetworkState> network, runtime::Endpoint to, Callback<StatusOr<std::string>> done)
      : network_(std::move(network)), to_(std::move(to)), done_(std::move(done)) {}
  void Deliver();

  const std::shared_ptr<NetworkState> network_;
  const runtime::Endpoint to_;
  Callback<StatusOr<std::string>> done_;  // (executor)
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;
  grpc::ByteBuffer response_;
  grpc::Status status_;
};

// The client's transport of a StreamEnd.
class ClientStream final : public std::enable_shared_from_this<ClientStream>, public StreamTransport {
 public:
  ClientStream(std::shared_ptr<GrpcCore> core, runtime::Endpoint to)
      : core_(std::move(core)), to_(std::move(to)) {}
  // Connects in the background and starts `end`, or reports to it why not.
  void Open(grpc::GenericStub& stub, const std::string& path, std::shared_ptr<StreamEnd> end);

  bool StartRead(grpc::ByteBuffer* buffer, Tag* tag) override;
  bool StartWrite(const grpc::ByteBuffer& buffer, Tag* tag) override;
  bool StartEnd(const Status& status, Tag* tag) override;
  void OnReadEnded() override;
  void Cancel() override { context_.TryCancel(); }
  void Run(Closure start) override { core_->Start(std::move(start)); }

 private:
  void OnOpened(bool ok);
  void OnFinished(bool ok);

  const std::shared_ptr<GrpcCore> core_;
  const runtime::Endpoint to_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  std::shared_ptr<StreamEnd> end_;  // until the call is finished
  grpc::Status status_;
  MemberTag<ClientStream> open_tag_{&ClientStream::OnOpened};
  MemberTag<ClientStream> finish_tag_{&ClientStream::OnFinished};
};

}  // namespace tenure::rpc
