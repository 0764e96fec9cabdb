// tenure.v1.Tables: asks for schema changes. Names are looked up, a change is submitted as a procedure
// together with its intent, and answered when that is committed; the procedure goes on by itself.
//
// Threading: the controller's executor.
// Errors:    refusals name field, object and limit, and nothing has happened. A table or view that is being
//            changed takes no other change (CONDITION_FAILED with the procedure's id), but for one that is
//            identical: that joins the one under way.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "controller/api/call.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leadership.h"
#include "runtime/network.h"
#include "tenure/v1/tables.pb.h"

namespace tenure::controller {

class TablesService : public runtime::Service {
 public:
  static constexpr std::string_view kName = "tenure.v1.Tables";

  TablesService(CatalogAccess& access, const Leadership& leadership);
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }

 private:
  using Response = ::tenure::v1::SchemaChangeResponse;
  // What a request asks for, in terms of the catalog.
  struct Change {
    std::string what;  // "table app.orders"
    ::tenure::internal::v1::SchemaIntent intent;
  };

  // `resolve(request, catalog) -> StatusOr<Change>`, on a catalog that is known to be the present one.
  template <class Request, class Resolve>
  void Add(std::string_view type, Resolve resolve);
  void Submit(std::string_view type, const ::tenure::v1::RequestId& id, Change change, Answer<Response> done);
  void AnswerCommitted(std::string_view type, const ::tenure::internal::v1::CatalogResult& result,
                       Answer<Response> done) const;
  // Also from memory: the request was sent before.
  Response ResponseFor(uint64_t revision, const ::tenure::v1::Record* procedure) const;

  CatalogAccess& access_;
  const Leadership& leadership_;
  CallTable calls_;
};

}  // namespace tenure::controller
