#include "controller/api/procedures_service.h"

#include <utility>

#include "catalog/procedures.h"
#include "controller/api/change_stream.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;
using runtime::CallInfo;
using runtime::Reply;

ProceduresService::ProceduresService(CatalogAccess& access, const Leadership& leadership,
                                     const ProcedureEngine& engine)
    : access_(access), leadership_(leadership), engine_(engine) {
  calls_["List"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::ListProceduresRequest, pb::ListProceduresResponse>(
        bytes, std::move(reply), [this](auto request, auto done) { List(request, std::move(done)); });
  };
  calls_["Get"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::GetProcedureRequest, pb::GetProcedureResponse>(
        bytes, std::move(reply), [this](auto request, auto done) { Get(request, std::move(done)); });
  };
  calls_["Cancel"] = [this](const CallInfo&, std::string bytes, Reply reply) {
    Serve<pb::CancelProcedureRequest, pb::ChangeResponse>(
        bytes, std::move(reply), [this](auto request, auto done) { Cancel(request, std::move(done)); });
  };
}

void ProceduresService::OnCall(const CallInfo& info, std::string request, Reply reply) {
  Route(calls_, info, std::move(request), std::move(reply));
}

void ProceduresService::List(const pb::ListProceduresRequest& request,
                             Answer<pb::ListProceduresResponse> done) {
  if (const Status leading = leadership_.CheckLeading(); !leading.ok()) return done(leading);
  access_.Read({}, [this, request, done = std::move(done)](StatusOr<CatalogView> view) mutable {
    if (!view.ok()) return done(view.status());
    pb::ListProceduresResponse response;
    response.set_revision(view->revision.value());
    for (const auto& [id, record] : view->catalog.procedures()) {
      const pb::ProcedureRecord& procedure = record.procedure();
      if (!request.ended() && catalog::IsEnded(procedure.state())) continue;
      if (request.parent() != 0 && procedure.parent() != request.parent()) continue;
      if (!request.type().empty() && procedure.type() != request.type()) continue;
      *response.add_procedures() = engine_.StatusOf(record);
    }
    done(std::move(response));
  });
}

void ProceduresService::Get(const pb::GetProcedureRequest& request, Answer<pb::GetProcedureResponse> done) {
  if (const Status leading = leadership_.CheckLeading(); !leading.ok()) return done(leading);
  access_.Read({}, [this, id = request.id(), done = std::move(done)](StatusOr<CatalogView> view) mutable {
    if (!view.ok()) return done(view.status());
    const auto found = view->catalog.procedures().find(id);
    if (found == view->catalog.procedures().end())
      return done(Refuse(pb::REASON_NOT_FOUND, "id: there is no procedure {}", id));
    pb::GetProcedureResponse response;
    response.set_revision(view->revision.value());
    *response.mutable_procedure() = engine_.StatusOf(found->second);
    done(std::move(response));
  });
}

void ProceduresService::Cancel(const pb::CancelProcedureRequest& request, Answer<pb::ChangeResponse> done) {
  if (const Status serving = leadership_.CheckServing(); !serving.ok()) return done(serving);
  ipb::CatalogCommand command;
  if (request.has_id()) *command.mutable_id() = request.id();
  command.mutable_cancel_procedure()->set_procedure(request.procedure());
  access_.Propose(std::move(command), [this, id = request.procedure(),
                                       done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
    if (!result.ok()) return done(result.status());
    pb::ChangeResponse response = ResponseOf(*result);
    const auto found = access_.catalog().procedures().find(id);
    if (found != access_.catalog().procedures().end()) *response.mutable_record() = found->second;
    done(std::move(response));
  });
}

}  // namespace tenure::controller
