#include "rpc/standard_services.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <utility>

#include "tenure/internal/v1/grpc_standard.pb.h"

namespace tenure::rpc {
namespace {

namespace pb = tenure::internal::v1;
using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;

Status UnknownMethod(const runtime::CallInfo& info) {
  return Error(StatusCode::kUnimplemented, "unknown method {}", info.method);
}

// A file and all that it imports, each once, imports first.
void AddFiles(const FileDescriptor& file, std::set<std::string>& seen, pb::FileDescriptorResponse& out) {
  if (!seen.insert(file.name()).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) AddFiles(*file.dependency(i), seen, out);
  google::protobuf::FileDescriptorProto description;
  file.CopyTo(&description);
  out.add_file_descriptor_proto(description.SerializeAsString());
}

void AnswerWithFile(const FileDescriptor* file, const std::string& what,
                    pb::ServerReflectionResponse& response) {
  if (file == nullptr) {
    response.mutable_error_response()->set_error_code(static_cast<int>(StatusCode::kNotFound));
    response.mutable_error_response()->set_error_message(fmt::format("{} is not known", what));
    return;
  }
  std::set<std::string> seen;
  AddFiles(*file, seen, *response.mutable_file_descriptor_response());
}

}  // namespace

// --- health
// ----------------------------------------------------------------------------------------------------

class HealthService::Watcher final : public runtime::StreamHandler {
 public:
  Watcher(HealthService& service, std::unique_ptr<runtime::Stream> stream)
      : service_(service), id_(service.next_watcher_++), stream_(std::move(stream)) {
    service_.watchers_[id_] = this;
  }
  ~Watcher() override { service_.watchers_.erase(id_); }
  void OnMessage(std::string message) override {
    pb::HealthCheckRequest request;
    if (asked_ || !request.ParseFromString(message)) {
      return stream_->Close(Error(StatusCode::kInvalidArgument, "one HealthCheckRequest is expected"));
    }
    asked_ = true;
    known_ = service_.is_served_(request.service());
    Tell();
  }
  void OnClosed(Status) override {}
  void Tell() {
    if (!asked_) return;
    pb::HealthCheckResponse response;
    response.set_status(!known_             ? pb::HealthCheckResponse::SERVICE_UNKNOWN
                        : service_.serving_ ? pb::HealthCheckResponse::SERVING
                                            : pb::HealthCheckResponse::NOT_SERVING);
    stream_->Send(response.SerializeAsString());
  }

 private:
  HealthService& service_;
  const uint64_t id_;
  const std::unique_ptr<runtime::Stream> stream_;
  bool asked_ = false;
  bool known_ = false;
};

HealthService::HealthService(std::function<bool(std::string_view)> is_served)
    : is_served_([is_served = std::move(is_served)](std::string_view name) {
        return name.empty() || is_served(name);
      }) {}

HealthService::~HealthService() = default;

void HealthService::SetServing(bool serving) {
  if (std::exchange(serving_, serving) == serving) return;
  for (const auto& [id, watcher] : watchers_) watcher->Tell();
}

void HealthService::OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) {
  pb::HealthCheckRequest check;
  if (info.method != "Check") return reply(UnknownMethod(info));
  if (!check.ParseFromString(request))
    return reply(Error(StatusCode::kInvalidArgument, "not a HealthCheckRequest"));
  if (!is_served_(check.service())) {
    return reply(Error(StatusCode::kNotFound, "service {} is not known", check.service()));
  }
  pb::HealthCheckResponse response;
  response.set_status(serving_ ? pb::HealthCheckResponse::SERVING : pb::HealthCheckResponse::NOT_SERVING);
  reply(response.SerializeAsString());
}

std::unique_ptr<runtime::StreamHandler> HealthService::OnStream(const runtime::CallInfo&,
                                                                std::unique_ptr<runtime::Stream> stream) {
  return std::make_unique<Watcher>(*this, std::move(stream));
}

// --- reflection
// ------------------------------------------------------------------------------------------------

class ReflectionService::Session final : public runtime::StreamHandler {
 public:
  Session(const ReflectionService& service, std::unique_ptr<runtime::Stream> stream)
      : service_(service), stream_(std::move(stream)) {}
  void OnMessage(std::string message) override { stream_->Send(service_.Answer(message)); }
  void OnEndOfMessages() override { stream_->Close(OkStatus()); }
  void OnClosed(Status) override {}

 private:
  const ReflectionService& service_;
  const std::unique_ptr<runtime::Stream> stream_;
};

ReflectionService::ReflectionService(std::function<std::vector<std::string>()> service_names)
    : service_names_(std::move(service_names)) {}

void ReflectionService::OnCall(const runtime::CallInfo& info, std::string, runtime::Reply reply) {
  reply(UnknownMethod(info));
}

std::unique_ptr<runtime::StreamHandler> ReflectionService::OnStream(const runtime::CallInfo&,
                                                                    std::unique_ptr<runtime::Stream> stream) {
  return std::make_unique<Session>(*this, std::move(stream));
}

std::string ReflectionService::Answer(const std::string& bytes) const {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  pb::ServerReflectionRequest request;
  pb::ServerReflectionResponse response;
  if (request.ParseFromString(bytes)) {
    response.set_valid_host(request.host());
    *response.mutable_original_request() = request;
  }
  using Request = pb::ServerReflectionRequest;
  switch (request.message_request_case()) {
    case Request::kListServices:
      for (const std::string& name : service_names_()) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      response.mutable_list_services_response();
      break;
    case Request::kFileByFilename:
      AnswerWithFile(pool.FindFileByName(request.file_by_filename()), request.file_by_filename(), response);
      break;
    case Request::kFileContainingSymbol:
      AnswerWithFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                     request.file_containing_symbol(), response);
      break;
    default:  // extensions: there are none in proto3
      response.mutable_error_response()->set_error_code(static_cast<int>(StatusCode::kUnimplemented));
      response.mutable_error_response()->set_error_message("not supported: there are no extensions here");
  }
  return response.SerializeAsString();
}

}  // namespace tenure::rpc
