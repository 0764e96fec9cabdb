// Private to rpc/: one call that came in, from the moment we ask gRPC for the next call.
//
//   Requested --> unknown: finished with UNIMPLEMENTED
//             --> unary: Reading --> in the service's inbox --> answered once: Finishing --> gone
//             --> stream: becomes the transport of a StreamEnd (stream_end.h)
//
// Threading: events on gRPC's threads; Answer from anywhere, once.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "rpc/core.h"
#include "rpc/stream_end.h"

namespace tenure::rpc {

class ServerCall final : public std::enable_shared_from_this<ServerCall>, public StreamTransport {
 public:
  // Asks for the next call on `queue`; each call asks for its successor when it comes.
  static void Request(std::shared_ptr<GrpcCore> core, grpc::ServerCompletionQueue* queue);
  ServerCall(std::shared_ptr<GrpcCore> core, grpc::ServerCompletionQueue* queue)
      : core_(std::move(core)), queue_(queue) {}

  void Answer(StatusOr<std::string> result);
  // For an answer that was forgotten.
  void AnswerDropped();

  // StreamTransport
  bool StartRead(grpc::ByteBuffer* buffer, Tag* tag) override;
  bool StartWrite(const grpc::ByteBuffer& buffer, Tag* tag) override;
  bool StartEnd(const Status& status, Tag* tag) override;
  void OnReadEnded() override {}  // a half-close, or a cancellation that OnDone reports
  void Cancel() override { context_.TryCancel(); }
  void Run(Closure start) override { core_->Start(std::move(start)); }

 private:
  void Finish(StatusOr<std::string> result);
  void OnRequested(bool ok);
  void OnRead(bool ok);
  void OnFinished(bool ok);
  void OnDone(bool ok);
  void Refuse(const Status& status);
  void DeliverUnary();
  void OpenStream();
  runtime::CallInfo MakeInfo(std::string_view method) const;

  const std::shared_ptr<GrpcCore> core_;
  grpc::ServerCompletionQueue* const queue_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  MemberTag<ServerCall> requested_tag_{&ServerCall::OnRequested};
  MemberTag<ServerCall> done_tag_{&ServerCall::OnDone};
  MemberTag<ServerCall> read_tag_{&ServerCall::OnRead};
  MemberTag<ServerCall> finish_tag_{&ServerCall::OnFinished};
  ServiceEntry entry_;
  runtime::CallInfo info_;
  grpc::ByteBuffer buffer_;
  std::atomic<bool> answered_{false};
  std::weak_ptr<StreamEnd> stream_end_;  // written before the first event that reads it can come
};

}  // namespace tenure::rpc
