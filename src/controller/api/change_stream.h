// One Catalog.Stream: many outstanding puts, deletes and gets on one stream. The requests of one message are
// decoded together and proposed in order; answers leave in order of completion, those of one executor turn in
// one message.
//
// Threading: the controller's executor.
// Lifetime:  owned by the network; answers that come after the stream's end are dropped.
// Bounds:    requests under way per stream by count and bytes (beyond: OVERLOADED); a client that does not
//            take its answers is cut off.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "controller/catalog_access.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::controller {

struct ChangeStreamOptions {
  size_t max_requests = 16384;  // under way on one stream
  size_t max_request_bytes = 32 << 20;
  size_t max_answer_bytes = 16 << 20;  // buffered in the stream
  size_t message_bytes = 1 << 20;      // of one message of answers, about
};

class ChangeStream : public runtime::StreamHandler {
 public:
  ChangeStream(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
               ChangeStreamOptions options, std::unique_ptr<runtime::Stream> stream);
  ~ChangeStream() override;
  void OnMessage(std::string message) override;
  void OnClosed(Status status) override;

 private:
  class Session;
  std::shared_ptr<Session> session_;
};

// The command of a change request; moves key and value.
::tenure::internal::v1::CatalogCommand CommandOf(::tenure::v1::PutEntryRequest& request);
::tenure::internal::v1::CatalogCommand CommandOf(::tenure::v1::DeleteEntryRequest& request);
::tenure::v1::ChangeResponse ResponseOf(const ::tenure::internal::v1::CatalogResult& result);
::tenure::v1::GetEntryResponse ReadEntry(std::string_view key, const CatalogView& view);
Status CheckReadKey(std::string_view key, const catalog::CatalogLimits& limits);

}  // namespace tenure::controller
