// tenure.v1.Catalog: entries, lists, watches, the pipelined stream, databases.
//
// Threading: the controller's executor.
#pragma once

#include <memory>

#include "controller/api/call.h"
#include "controller/api/change_stream.h"
#include "controller/api/database_api.h"
#include "controller/api/watch_hub.h"
#include "controller/catalog_access.h"
#include "runtime/network.h"

namespace tenure::controller {

class CatalogService : public runtime::Service {
 public:
  static constexpr std::string_view kName = "tenure.v1.Catalog";

  CatalogService(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
                 WatchHub& watches, DatabaseApi& databases, ChangeStreamOptions stream_options);

  bool IsStream(std::string_view method) const override;
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo& info,
                                                   std::unique_ptr<runtime::Stream> stream) override;

 private:
  void GetEntry(::tenure::v1::GetEntryRequest request, Answer<::tenure::v1::GetEntryResponse> done);
  void Change(::tenure::internal::v1::CatalogCommand command, Answer<::tenure::v1::ChangeResponse> done);
  void List(::tenure::v1::ListRequest request, Answer<::tenure::v1::ListResponse> done);

  runtime::Executor& executor_;
  CatalogAccess& access_;
  const Leadership& leadership_;
  WatchHub& watches_;
  const ChangeStreamOptions stream_options_;
  CallTable calls_;
};

// What a list request is answered from `view`; INVALID_ARGUMENT naming the field.
StatusOr<::tenure::v1::ListResponse> ListRecords(const ::tenure::v1::ListRequest& request,
                                                 const CatalogView& view);

}  // namespace tenure::controller
