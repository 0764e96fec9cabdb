#include "rpc/server_call.h"

#include <utility>

#include "rpc/convert.h"

namespace tenure::rpc {
namespace {

// The right to answer a call, and the duty: an answer that is dropped is still one.
class ReplyToken {
 public:
  explicit ReplyToken(std::shared_ptr<ServerCall> call) : call_(std::move(call)) {}
  ReplyToken(ReplyToken&&) noexcept = default;
  ReplyToken& operator=(ReplyToken&&) = delete;
  ~ReplyToken() {
    if (call_) call_->AnswerDropped();
  }
  void operator()(StatusOr<std::string> result) {
    if (const auto call = std::move(call_)) call->Answer(std::move(result));
  }

 private:
  std::shared_ptr<ServerCall> call_;
};

bool WantsFraming(const grpc::ServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("tenure-framing");
  return found != metadata.end() && found->second == "1";
}

}  // namespace

void ServerCall::Request(std::shared_ptr<GrpcCore> core, grpc::ServerCompletionQueue* queue) {
  if (!core->gate().Enter()) return;
  const auto call = std::make_shared<ServerCall>(core, queue);
  call->context_.AsyncNotifyWhenDone(call->done_tag_.Arm(call));
  core->generic_service().RequestCall(&call->context_, &call->stream_, queue, queue,
                                      call->requested_tag_.Arm(call));
  core->gate().Leave();
}

void ServerCall::OnRequested(bool ok) {
  if (!ok) {  // the server shuts down; gRPC then does not report "done" either
    done_tag_.Disarm();
    return;
  }
  Request(core_, queue_);
  std::string_view method;
  bool is_stream = false;
  StatusOr<ServiceEntry> entry = core_->Find(context_.method(), method, is_stream);
  if (!entry.ok()) return Refuse(entry.status());
  entry_ = *std::move(entry);
  info_ = MakeInfo(method);
  if (is_stream) return OpenStream();
  if (WantsFraming(context_)) {
    return Refuse(Error(StatusCode::kUnimplemented, "{} is not a stream", context_.method()));
  }
  if (!StartRead(&buffer_, read_tag_.Arm(shared_from_this()))) read_tag_.Disarm();
}

runtime::CallInfo ServerCall::MakeInfo(std::string_view method) const {
  runtime::CallInfo info;
  info.method = std::string(method);
  info.peer = context_.peer();
  return info;
}

void ServerCall::OnRead(bool ok) {
  if (!ok)
    return Refuse(Error(StatusCode::kInvalidArgument, "{} was called without a request", context_.method()));
  DeliverUnary();
}

void ServerCall::DeliverUnary() {
  ReplyToken token(shared_from_this());
  entry_.network->inbox->Push([this, token = std::move(token)]() mutable {
    info_.deadline = FromDeadline(context_.raw_deadline(), entry_.network->executor.Now());
    entry_.service->OnCall(info_, ToString(buffer_), runtime::Reply(std::move(token)));
  });
}

void ServerCall::Answer(StatusOr<std::string> result) {
  if (answered_.exchange(true)) return;
  if (result.ok() && result->size() > runtime::kMaxMessageBytes) {
    result = Error(StatusCode::kResourceExhausted, "the answer has {} bytes, the limit is {}", result->size(),
                   runtime::kMaxMessageBytes);
  }
  core_->Start(
      [self = shared_from_this(), result = std::move(result)]() mutable { self->Finish(std::move(result)); });
}

void ServerCall::Finish(StatusOr<std::string> result) {
  if (!core_->gate().Enter()) return;
  Tag* const tag = finish_tag_.Arm(shared_from_this());
  if (result.ok()) {
    buffer_ = ToBuffer(*std::move(result));
    stream_.WriteAndFinish(buffer_, grpc::WriteOptions(), grpc::Status::OK, tag);
  } else {
    stream_.Finish(ToGrpcStatus(result.status()), tag);
  }
  core_->gate().Leave();
}

void ServerCall::AnswerDropped() {
  if (entry_.network->inbox->closed()) {
    Answer(Error(StatusCode::kUnavailable, "the service of {} has stopped", context_.method()));
  } else {
    Answer(Error(StatusCode::kInternal, "{} was not answered", context_.method()));
  }
}

void ServerCall::Refuse(const Status& status) {
  Answer(status);
}

void ServerCall::OnFinished(bool) {}

void ServerCall::OnDone(bool) {
  if (!context_.IsCancelled()) return;
  if (const auto end = stream_end_.lock()) {
    end->OnTransportEnded(Error(StatusCode::kCancelled, "the client of {} is gone", context_.method()));
  }
}

// --- as a stream's transport
// -----------------------------------------------------------------------------------

void ServerCall::OpenStream() {
  // The token refuses the stream if the service is gone before it is opened.
  ReplyToken token(shared_from_this());
  const auto end = std::make_shared<StreamEnd>(entry_.network, shared_from_this(), StreamEnd::Side::kServer,
                                               WantsFraming(context_));
  stream_end_ = end;
  entry_.network->inbox->Push([this, end, token = std::move(token)]() mutable {
    info_.deadline = FromDeadline(context_.raw_deadline(), entry_.network->executor.Now());
    auto handler = entry_.service->OnStream(info_, std::make_unique<GrpcStream>(end));
    if (handler == nullptr) {
      token(Error(StatusCode::kUnimplemented, "unknown stream {}", context_.method()));
      return;
    }
    answered_.store(true);
    end->Attach(std::move(handler));
    end->Start();
  });
}

bool ServerCall::StartRead(grpc::ByteBuffer* buffer, Tag* tag) {
  if (!core_->gate().Enter()) return false;
  stream_.Read(buffer, tag);
  core_->gate().Leave();
  return true;
}

bool ServerCall::StartWrite(const grpc::ByteBuffer& buffer, Tag* tag) {
  if (!core_->gate().Enter()) return false;
  stream_.Write(buffer, tag);
  core_->gate().Leave();
  return true;
}

bool ServerCall::StartEnd(const Status& status, Tag* tag) {
  if (!core_->gate().Enter()) return false;
  stream_.Finish(ToGrpcStatus(status), tag);
  core_->gate().Leave();
  return true;
}

}  // namespace tenure::rpc
