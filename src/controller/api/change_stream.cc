#include "controller/api/change_stream.h"

#include <utility>
#include <vector>

#include "catalog/refusal.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;

ipb::CatalogCommand CommandOf(pb::PutEntryRequest& request) {
  ipb::CatalogCommand command;
  if (request.has_id()) *command.mutable_id() = request.id();
  ipb::PutEntry& put = *command.mutable_put_entry();
  put.set_key(std::move(*request.mutable_key()));
  put.set_value(std::move(*request.mutable_value()));
  put.set_if_revision(request.if_revision());
  put.set_if_absent(request.if_absent());
  return command;
}

ipb::CatalogCommand CommandOf(pb::DeleteEntryRequest& request) {
  ipb::CatalogCommand command;
  if (request.has_id()) *command.mutable_id() = request.id();
  ipb::DeleteEntry& erase = *command.mutable_delete_entry();
  erase.set_key(std::move(*request.mutable_key()));
  erase.set_if_revision(request.if_revision());
  return command;
}

pb::ChangeResponse ResponseOf(const ipb::CatalogResult& result) {
  pb::ChangeResponse response;
  response.set_revision(result.revision());
  response.set_changed(result.changed());
  return response;
}

pb::GetEntryResponse ReadEntry(std::string_view key, const CatalogView& view) {
  pb::GetEntryResponse response;
  response.set_revision(view.revision.value());
  response.set_age_ms(view.age_ms);
  if (auto record = catalog::Catalog::GetEntry(key, view.entries))
    *response.mutable_record() = std::move(*record);
  return response;
}

Status CheckReadKey(std::string_view key, const catalog::CatalogLimits& limits) {
  if (!key.empty() && key.size() <= limits.max_entry_key_bytes) return OkStatus();
  return Refuse(pb::REASON_INVALID_ARGUMENT, "key: has {} bytes, it must have 1..{}", key.size(),
                limits.max_entry_key_bytes);
}

class ChangeStream::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
          ChangeStreamOptions options, std::unique_ptr<runtime::Stream> stream)
      : executor_(executor),
        access_(access),
        leadership_(leadership),
        options_(options),
        stream_(std::move(stream)) {}

  void OnRequests(const std::string& message) {
    if (closed_) return;
    pb::StreamRequests requests;
    if (!requests.ParseFromString(message)) {
      return Close(Refuse(pb::REASON_INVALID_ARGUMENT, "the message is not a valid StreamRequests"));
    }
    const Status serving = leadership_.CheckServing();
    std::vector<Get> gets;
    for (pb::StreamRequest& request : *requests.mutable_requests()) {
      const size_t bytes = SizeOf(request);
      if (requests_ >= options_.max_requests || request_bytes_ + bytes > options_.max_request_bytes) {
        RefuseTag(request.tag(),
                  Refuse(pb::REASON_OVERLOADED, "{} requests ({} bytes) are under way on this stream",
                         requests_, request_bytes_));
      } else if (request.has_get()) {
        AddGet(request, bytes, gets);
      } else if (!serving.ok()) {
        RefuseTag(request.tag(), serving);
      } else if (request.has_put()) {
        Change(request.tag(), bytes, CommandOf(*request.mutable_put()));
      } else if (request.has_delete_()) {
        Change(request.tag(), bytes, CommandOf(*request.mutable_delete_()));
      } else {
        RefuseTag(request.tag(),
                  Refuse(pb::REASON_UNSUPPORTED_FORMAT, "the request's type is not known here"));
      }
    }
    if (!gets.empty()) ReadAll(std::move(gets));
  }

  void Close(const Status& status) {
    if (std::exchange(closed_, true)) return;
    stream_->Close(status);
  }
  void OnGone() { closed_ = true; }
  void Drop() {
    closed_ = true;
    stream_.reset();
  }

 private:
  struct Get {
    uint64_t tag;
    size_t bytes;
    std::string key;
  };

  static size_t SizeOf(const pb::StreamRequest& request) {
    if (request.has_put()) return request.put().key().size() + request.put().value().size();
    if (request.has_get()) return request.get().key().size();
    return request.delete_().key().size();
  }

  void Begin(size_t bytes) {
    ++requests_;
    request_bytes_ += bytes;
  }
  void End(size_t bytes) {
    --requests_;
    request_bytes_ -= bytes;
  }

  void Change(uint64_t tag, size_t bytes, ipb::CatalogCommand command) {
    Begin(bytes);
    access_.Propose(std::move(command),
                    [self = shared_from_this(), tag, bytes](StatusOr<ipb::CatalogResult> result) {
                      self->End(bytes);
                      if (!result.ok()) return self->RefuseTag(tag, result.status());
                      pb::StreamResponse& response = self->Add(tag);
                      *response.mutable_change() = ResponseOf(*result);
                      self->Added(16);
                    });
  }

  void AddGet(pb::StreamRequest& request, size_t bytes, std::vector<Get>& gets) {
    pb::GetEntryRequest& get = *request.mutable_get();
    const Status valid = CheckReadKey(get.key(), access_.limits());
    if (!valid.ok()) return RefuseTag(request.tag(), valid);
    Begin(bytes);
    Get item{request.tag(), bytes, std::move(*get.mutable_key())};
    if (!get.read().stale()) {
      gets.push_back(std::move(item));
      return;
    }
    std::vector<Get> alone;
    alone.push_back(std::move(item));
    ReadAll(std::move(alone), true);
  }

  // One confirmation for all of them.
  void ReadAll(std::vector<Get> gets, bool stale = false) {
    pb::ReadOptions read;
    read.set_stale(stale);
    access_.Read(read, [self = shared_from_this(), gets = std::move(gets)](StatusOr<CatalogView> view) {
      for (const Get& get : gets) {
        self->End(get.bytes);
        if (!view.ok()) {
          self->RefuseTag(get.tag, view.status());
          continue;
        }
        pb::StreamResponse& response = self->Add(get.tag);
        *response.mutable_get() = ReadEntry(get.key, *view);
        self->Added(response.get().record().entry().value().size() + get.key.size() + 32);
      }
    });
  }

  void RefuseTag(uint64_t tag, const Status& status) {
    *Add(tag).mutable_refusal() = catalog::ToRefusal(status);
    Added(MessageOf(status).size() + 32);
  }

  pb::StreamResponse& Add(uint64_t tag) {
    pb::StreamResponse& response = *answers_.add_responses();
    response.set_tag(tag);
    return response;
  }
  void Added(size_t bytes) {
    answer_bytes_ += bytes;
    if (answer_bytes_ >= options_.message_bytes) return Flush();
    if (std::exchange(flush_posted_, true)) return;
    executor_.Post([self = shared_from_this()] {
      self->flush_posted_ = false;
      self->Flush();
    });
  }
  void Flush() {
    if (!closed_ && answers_.responses_size() != 0) {
      stream_->Send(answers_.SerializeAsString());
      if (stream_->buffered_bytes() > options_.max_answer_bytes) {
        Close(Refuse(pb::REASON_OVERLOADED, "the client does not take its answers: {} bytes wait",
                     stream_->buffered_bytes()));
      }
    }
    answers_.Clear();
    answer_bytes_ = 0;
  }

  runtime::Executor& executor_;
  CatalogAccess& access_;
  const Leadership& leadership_;
  const ChangeStreamOptions options_;
  std::unique_ptr<runtime::Stream> stream_;
  bool closed_ = false;
  size_t requests_ = 0;
  size_t request_bytes_ = 0;
  pb::StreamResponses answers_;
  size_t answer_bytes_ = 0;
  bool flush_posted_ = false;
};

ChangeStream::ChangeStream(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
                           ChangeStreamOptions options, std::unique_ptr<runtime::Stream> stream)
    : session_(std::make_shared<Session>(executor, access, leadership, options, std::move(stream))) {}
ChangeStream::~ChangeStream() {
  session_->Drop();
}
void ChangeStream::OnMessage(std::string message) {
  session_->OnRequests(message);
}
void ChangeStream::OnClosed(Status) {
  session_->OnGone();
}

}  // namespace tenure::controller
