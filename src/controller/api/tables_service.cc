#include "controller/api/tables_service.h"

#include <fmt/format.h>

#include <utility>

#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "controller/procedure/types/schema_change.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;
using runtime::CallInfo;
using runtime::Reply;

namespace {

StatusOr<uint64_t> FindDatabase(const catalog::Catalog& catalog, const std::string& name) {
  if (name.empty()) return Refuse(pb::REASON_INVALID_ARGUMENT, "database: must not be empty");
  const pb::Record* found = catalog.FindDatabase(name);
  if (found == nullptr) return Refuse(pb::REASON_NOT_FOUND, "database: there is no '{}'", name);
  return found->database().id();
}

// The id of a table, or of a view.
StatusOr<uint64_t> FindObject(const catalog::Catalog& catalog, const std::string& database,
                              const std::string& name, bool view, std::string_view field = "name") {
  TENURE_ASSIGN_OR_RETURN(const uint64_t id, FindDatabase(catalog, database));
  const std::string_view kind = view ? "view" : "table";
  const pb::Record* found = catalog.FindTableOrView(id, name);
  if (found == nullptr)
    return Refuse(pb::REASON_NOT_FOUND, "{}: database '{}' has no {} '{}'", field, database, kind, name);
  if (found->has_view() != view) {
    return Refuse(pb::REASON_INVALID_ARGUMENT, "{}: '{}' of database '{}' is a {}, not a {}", field, name,
                  database, view ? "table" : "view", kind);
  }
  return found->has_view() ? found->view().id() : found->table().id();
}

// The change under way that was asked for in the same words.
const pb::Record* FindSame(const catalog::Catalog& catalog, std::string_view type,
                           const ipb::SchemaIntent& intent) {
  for (const auto& [id, record] : catalog.procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (procedure.type() != type || catalog::IsEnded(procedure.state()) || procedure.cancel_requested())
      continue;
    if (SchemaChange::HasIntent(procedure, intent)) return &record;
  }
  return nullptr;
}

template <class Request>
std::string Describe(const Request& request, std::string_view kind) {
  return fmt::format("{} '{}.{}'", kind, request.database(), request.name());
}

}  // namespace

template <class Request, class Resolve>
void TablesService::Add(std::string_view type, Resolve resolve) {
  // A method and the procedure that it submits have the same name.
  calls_[type] = [this, type, resolve](const CallInfo&, std::string bytes, Reply reply) {
    Serve<Request, Response>(bytes, std::move(reply), [this, type, resolve](Request request, auto done) {
      if (const Status serving = leadership_.CheckServing(); !serving.ok()) return done(serving);
      // Names are looked up in what is certainly the present catalog: a leader that was replaced and does not
      // know it yet must not say that something does not exist.
      access_.Read({}, [this, type, resolve, request = std::move(request),
                        done = std::move(done)](StatusOr<CatalogView> view) mutable {
        if (!view.ok()) return done(view.status());
        auto change = resolve(request, view->catalog);
        // What was done is known, even if the names mean something else by now.
        if (!change.ok() && !view->catalog.FindAnswer(request.id())) return done(change.status());
        Submit(type, request.id(), change.ok() ? *std::move(change) : Change(), std::move(done));
      });
    });
  };
}

TablesService::TablesService(CatalogAccess& access, const Leadership& leadership)
    : access_(access), leadership_(leadership) {
  using catalog::Catalog;
  Add<pb::CreateTableRequest>(
      SchemaChange::kCreateTable,
      [](const pb::CreateTableRequest& request, const Catalog& catalog) -> StatusOr<Change> {
        Change change{Describe(request, "table"), {}};
        auto& create = *change.intent.mutable_create_table();
        TENURE_ASSIGN_OR_RETURN(const uint64_t database, FindDatabase(catalog, request.database()));
        create.set_database(database);
        create.set_name(request.name());
        *create.mutable_columns() = request.columns();
        create.set_ttl_ms(request.ttl_ms());
        create.set_key_type(request.key_type());
        return change;
      });
  Add<pb::AlterTableRequest>(
      SchemaChange::kAlterTable,
      [](const pb::AlterTableRequest& request, const Catalog& catalog) -> StatusOr<Change> {
        Change change{Describe(request, "table"), {}};
        TENURE_ASSIGN_OR_RETURN(const uint64_t id,
                                FindObject(catalog, request.database(), request.name(), /*view=*/false));
        change.intent.set_object(id);
        *change.intent.mutable_alter_table() = request.alteration();
        return change;
      });
  const auto rename = [](const auto& request, const Catalog& catalog, bool view) -> StatusOr<Change> {
    Change change{fmt::format("{} to '{}'", Describe(request, view ? "view" : "table"), request.to()), {}};
    TENURE_ASSIGN_OR_RETURN(const uint64_t id, FindObject(catalog, request.database(), request.name(), view));
    change.intent.set_object(id);
    change.intent.set_rename(request.to());
    return change;
  };
  Add<pb::RenameTableRequest>(SchemaChange::kRenameTable,
                              [rename](const pb::RenameTableRequest& request, const Catalog& c) {
                                return rename(request, c, false);
                              });
  Add<pb::RenameViewRequest>(
      SchemaChange::kRenameView,
      [rename](const pb::RenameViewRequest& request, const Catalog& c) { return rename(request, c, true); });
  const auto drop = [](const auto& request, const Catalog& catalog, bool view) -> StatusOr<Change> {
    Change change{Describe(request, view ? "view" : "table"), {}};
    TENURE_ASSIGN_OR_RETURN(const uint64_t id, FindObject(catalog, request.database(), request.name(), view));
    change.intent.set_object(id);
    change.intent.set_drop(true);
    return change;
  };
  Add<pb::DropTableRequest>(
      SchemaChange::kDropTable,
      [drop](const pb::DropTableRequest& request, const Catalog& c) { return drop(request, c, false); });
  Add<pb::DropViewRequest>(
      SchemaChange::kDropView,
      [drop](const pb::DropViewRequest& request, const Catalog& c) { return drop(request, c, true); });
  Add<pb::CreateViewRequest>(
      SchemaChange::kCreateView,
      [](const pb::CreateViewRequest& request, const Catalog& catalog) -> StatusOr<Change> {
        Change change{Describe(request, "view"), {}};
        auto& create = *change.intent.mutable_create_view();
        TENURE_ASSIGN_OR_RETURN(const uint64_t table, FindObject(catalog, request.database(), request.table(),
                                                                 /*view=*/false, "table"));
        create.set_database(catalog.tables().at(table).table().database());
        create.set_name(request.name());
        create.set_table(table);
        *create.mutable_columns() = request.columns();
        return change;
      });
  Add<pb::AlterViewRequest>(
      SchemaChange::kAlterView,
      [](const pb::AlterViewRequest& request, const Catalog& catalog) -> StatusOr<Change> {
        Change change{Describe(request, "view"), {}};
        TENURE_ASSIGN_OR_RETURN(const uint64_t id,
                                FindObject(catalog, request.database(), request.name(), /*view=*/true));
        change.intent.set_object(id);
        *change.intent.mutable_alter_view()->mutable_columns() = request.columns();
        return change;
      });
}

void TablesService::OnCall(const CallInfo& info, std::string request, Reply reply) {
  Route(calls_, info, std::move(request), std::move(reply));
}

TablesService::Response TablesService::ResponseFor(uint64_t revision, const pb::Record* procedure) const {
  Response response;
  response.set_revision(revision);
  if (procedure == nullptr) return response;
  *response.mutable_procedure() = *procedure;
  if (const pb::Record* object = access_.catalog().FindTableOrView(procedure->procedure().object()))
    *response.mutable_record() = *object;
  return response;
}

void TablesService::AnswerCommitted(std::string_view type, const ipb::CatalogResult& result,
                                    Answer<Response> done) const {
  if (result.reason() != pb::REASON_UNSPECIFIED) {
    pb::Refusal refusal;
    refusal.set_reason(result.reason());
    refusal.set_message(result.message());
    refusal.set_revision(result.revision());
    return done(catalog::MakeRefusal(std::move(refusal)));
  }
  // A creation answers with the id of the object, others with that of the procedure.
  const auto& procedures = access_.catalog().procedures();
  const pb::Record* found = nullptr;
  for (const auto& [id, record] : procedures) {
    const bool creates = type == SchemaChange::kCreateTable || type == SchemaChange::kCreateView;
    if (record.procedure().type() != type) continue;
    if ((creates ? record.procedure().object() : id) == result.object_id()) found = &record;
  }
  done(ResponseFor(result.revision(), found));
}

void TablesService::Submit(std::string_view type, const pb::RequestId& id, Change change,
                           Answer<Response> done) {
  const catalog::Catalog& catalog = access_.catalog();
  if (const auto known = catalog.FindAnswer(id)) return AnswerCommitted(type, *known, std::move(done));
  if (const pb::Record* same = FindSame(catalog, type, change.intent)) {
    Response response = ResponseFor(same->modify_revision(), same);
    response.set_joined(true);
    return done(std::move(response));
  }
  ipb::CatalogCommand command;
  if (id.client_id() != 0) *command.mutable_id() = id;
  ipb::SubmitProcedure& submit = *command.mutable_submit_procedure();
  *submit.mutable_procedure() = SchemaChange::New(type, change.what, change.intent);
  *submit.mutable_effect()->mutable_schema_intent() = std::move(change.intent);
  access_.ProposeInEpoch(std::move(command), leadership_.epoch(),
                         [this, type, done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
                           if (!result.ok()) return done(result.status());
                           AnswerCommitted(type, *result, std::move(done));
                         });
}

}  // namespace tenure::controller
