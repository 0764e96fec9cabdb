// tenure.v1.Procedures: what is under way, how it stands, and the wish to end it. Served by the leader.
//
// Threading: the controller's executor.
#pragma once

#include <memory>

#include "controller/api/call.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leadership.h"
#include "controller/procedure/procedure_engine.h"
#include "runtime/network.h"
#include "tenure/v1/procedures.pb.h"

namespace tenure::controller {

class ProceduresService : public runtime::Service {
 public:
  static constexpr std::string_view kName = "tenure.v1.Procedures";

  ProceduresService(CatalogAccess& access, const Leadership& leadership, const ProcedureEngine& engine);
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }

 private:
  void List(const ::tenure::v1::ListProceduresRequest& request,
            Answer<::tenure::v1::ListProceduresResponse> done);
  void Get(const ::tenure::v1::GetProcedureRequest& request, Answer<::tenure::v1::GetProcedureResponse> done);
  void Cancel(const ::tenure::v1::CancelProcedureRequest& request, Answer<::tenure::v1::ChangeResponse> done);

  CatalogAccess& access_;
  const Leadership& leadership_;
  const ProcedureEngine& engine_;
  CallTable calls_;
};

}  // namespace tenure::controller
