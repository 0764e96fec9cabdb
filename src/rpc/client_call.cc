#include "rpc/client_call.h"

#include <utility>

#include "rpc/convert.h"

namespace tenure::rpc {
namespace {

Status ShutDown(const runtime::Endpoint& to) {
  return runtime::MarkNotSent(Error(StatusCode::kUnavailable, "{}: this process is shutting down", to));
}

}  // namespace

void UnaryCall::Start(GrpcCore& core, grpc::GenericStub& stub, std::shared_ptr<NetworkState> network,
                      const runtime::Endpoint& to, const std::string& path, std::string request,
                      Duration timeout, Callback<StatusOr<std::string>> done) {
  if (!core.gate().Enter()) {
    network->inbox->Push(
        [done = std::move(done), status = ShutDown(to)]() mutable { done(std::move(status)); });
    return;
  }
  NetworkState& state = *network;
  auto* const call = new UnaryCall(std::move(network), to, std::move(done));
  state.Link(*call);
  call->context_.set_deadline(ToDeadline(timeout));
  call->reader_ =
      stub.PrepareUnaryCall(&call->context_, path, ToBuffer(std::move(request)), core.NextQueue());
  call->MarkStarted();
  call->reader_->StartCall();
  call->reader_->Finish(&call->response_, &call->status_, call);
  core.gate().Leave();
}

void UnaryCall::OnEvent(bool) {
  network_->inbox->Push([self = std::unique_ptr<UnaryCall>(this)] { self->Deliver(); });
}

void UnaryCall::Deliver() {
  Unlink();
  auto done = std::move(done_);
  if (status_.ok()) {
    done(ToString(response_));
  } else {
    done(FromGrpcStatus(status_, to_));
  }
}

void UnaryCall::Abandon(std::vector<Closure>& later) {
  context_.TryCancel();
  later.push_back([done = std::move(done_)] {});
}

void ClientStream::Open(grpc::GenericStub& stub, const std::string& path, std::shared_ptr<StreamEnd> end) {
  if (!core_->gate().Enter()) return end->OnTransportEnded(ShutDown(to_));
  end_ = std::move(end);
  context_.AddMetadata("tenure-framing", "1");
  stream_ = stub.PrepareCall(&context_, path, core_->NextQueue());
  core_->AddStream(*this);
  stream_->StartCall(open_tag_.Arm(shared_from_this()));
  core_->gate().Leave();
}

void ClientStream::OnOpened(bool ok) {
  if (ok) return end_->Start();
  OnReadEnded();
}

void ClientStream::OnReadEnded() {
  if (core_->gate().Enter()) {
    stream_->Finish(&status_, finish_tag_.Arm(shared_from_this()));
    core_->gate().Leave();
  } else {
    core_->RemoveStream(*this);
    std::exchange(end_, nullptr)->OnTransportEnded(ShutDown(to_));
  }
}

void ClientStream::OnFinished(bool) {
  core_->RemoveStream(*this);
  std::exchange(end_, nullptr)->OnTransportEnded(FromGrpcStatus(status_, to_));
}

bool ClientStream::StartRead(grpc::ByteBuffer* buffer, Tag* tag) {
  if (!core_->gate().Enter()) return false;
  stream_->Read(buffer, tag);
  core_->gate().Leave();
  return true;
}

bool ClientStream::StartWrite(const grpc::ByteBuffer& buffer, Tag* tag) {
  if (!core_->gate().Enter()) return false;
  stream_->Write(buffer, tag);
  core_->gate().Leave();
  return true;
}

bool ClientStream::StartEnd(const Status&, Tag* tag) {
  if (!core_->gate().Enter()) return false;
  stream_->WritesDone(tag);  // the status went before as a close frame
  core_->gate().Leave();
  return true;
}

}  // namespace tenure::rpc
