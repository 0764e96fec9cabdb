#include "controller/api/database_api.h"

#include <algorithm>
#include <utility>

#include "catalog/refusal.h"
#include "controller/api/change_stream.h"
#include "controller/placement/cluster_view.h"
#include "controller/procedure/types/create_database.h"
#include "controller/procedure/types/remove_regions.h"
#include "planner/database_creation.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;

namespace {

// The status of a remembered answer.
StatusOr<ipb::CatalogResult> Remembered(ipb::CatalogResult result) {
  if (result.reason() == pb::REASON_UNSPECIFIED) return result;
  pb::Refusal refusal;
  refusal.set_reason(result.reason());
  refusal.set_message(result.message());
  refusal.set_revision(result.revision());
  return catalog::MakeRefusal(std::move(refusal));
}

void FillRecord(const catalog::Catalog& catalog, uint64_t database, pb::ChangeResponse& response) {
  const auto found = catalog.databases().find(database);
  if (found != catalog.databases().end()) *response.mutable_record() = found->second;
}

}  // namespace

DatabaseApi::DatabaseApi(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
                         const AgentService& agents, DatabaseApiOptions options)
    : executor_(executor),
      access_(access),
      leadership_(leadership),
      agents_(agents),
      options_(options),
      self_(std::make_shared<DatabaseApi*>(this)) {}

DatabaseApi::~DatabaseApi() {
  *self_ = nullptr;
}

void DatabaseApi::Create(Instant deadline, pb::CreateDatabaseRequest request,
                         Answer<pb::ChangeResponse> done) {
  if (const Status serving = leadership_.CheckServing(); !serving.ok()) return done(serving);
  // What was done is answered before a new placement is looked for: the nodes may be down by now.
  if (auto known = access_.catalog().FindAnswer(request.id())) {
    const auto result = Remembered(std::move(*known));
    if (!result.ok()) return done(result.status());
    return OnCreated(deadline, *result, std::move(done));
  }
  planner::DatabaseRequest wanted;
  wanted.name = request.name();
  wanted.regions = request.regions() == 0 ? options_.default_regions : request.regions();
  wanted.replicas = request.replicas() == 0 ? options_.default_replicas : request.replicas();
  wanted.strict = request.strict();
  if (wanted.regions > access_.limits().max_regions_per_database) {
    return done(Refuse(pb::REASON_INVALID_ARGUMENT, "regions: {} is not in 1..{}", wanted.regions,
                       access_.limits().max_regions_per_database));
  }
  if (access_.catalog().FindDatabase(wanted.name) != nullptr)
    return RefuseExisting(deadline, std::move(request), std::move(done));
  if (const Status ready = leadership_.CheckLoadReady(); !ready.ok()) return done(ready);
  auto plan = planner::PlanCreateDatabase(wanted, ClusterView(access_.catalog(), agents_));
  if (!plan.ok()) return done(plan.status());
  ipb::CatalogCommand command;
  if (request.has_id()) *command.mutable_id() = request.id();
  ipb::SubmitProcedure& submit = *command.mutable_submit_procedure();
  *submit.mutable_procedure() = CreateDatabase::New(wanted.name, plan->regions_size());
  *submit.mutable_effect()->mutable_create_database() = std::move(*plan);
  access_.ProposeInEpoch(
      std::move(command), leadership_.epoch(),
      [this, deadline, done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
        if (!result.ok()) return done(result.status());
        OnCreated(deadline, *result, std::move(done));
      });
}

// A leader that was replaced and does not know it yet may have missed that the name was freed: it says that
// it is taken only once it knows that it still leads.
void DatabaseApi::RefuseExisting(Instant deadline, pb::CreateDatabaseRequest request,
                                 Answer<pb::ChangeResponse> done) {
  access_.Read({}, [this, deadline, request = std::move(request),
                    done = std::move(done)](StatusOr<CatalogView> view) mutable {
    if (!view.ok()) return done(view.status());
    const pb::Record* existing = view->catalog.FindDatabase(request.name());
    if (existing == nullptr || view->catalog.FindAnswer(request.id()))
      return Create(deadline, std::move(request), std::move(done));
    done(Refuse(pb::REASON_ALREADY_EXISTS, "database '{}' exists already (id {})", request.name(),
                existing->database().id()));
  });
}

void DatabaseApi::OnCreated(Instant deadline, const ipb::CatalogResult& result,
                            Answer<pb::ChangeResponse> done) {
  pb::ChangeResponse response = ResponseOf(result);
  const uint64_t database = result.object_id();
  const Instant now = executor_.Now();
  const Instant until = deadline == kFarFuture ? now + options_.max_wait : deadline - options_.answer_margin;
  if (IsSettled(database) || until <= now || waiting_.size() >= options_.max_waiting)
    return AnswerCreation(database, std::move(response), std::move(done));
  if (!leadership_.leading()) return done(leadership_.NotLeader());
  const auto waiting =
      waiting_.insert(waiting_.end(), Waiting{database, std::move(response), std::move(done), {}});
  waiting->timer = executor_.After(until - now, [this, waiting] { Finish(waiting); });
}

bool DatabaseApi::IsSettled(uint64_t database) const {
  const auto found = access_.catalog().databases().find(database);
  return found == access_.catalog().databases().end() ||
         found->second.database().state() != pb::DATABASE_CREATING;
}

void DatabaseApi::Finish(Waitings::iterator waiting) {
  Waiting finished = std::move(*waiting);
  waiting_.erase(waiting);
  AnswerCreation(finished.database, std::move(finished.response), std::move(finished.done));
}

// A creation that has failed has dropped the database: the procedure says why.
void DatabaseApi::AnswerCreation(uint64_t database, pb::ChangeResponse response,
                                 Answer<pb::ChangeResponse> done) const {
  for (const auto& [id, record] : access_.catalog().procedures()) {
    const pb::ProcedureRecord& procedure = record.procedure();
    if (procedure.type() != CreateDatabase::kName || procedure.object() != database) continue;
    if (procedure.state() == pb::PROCEDURE_FAILED || procedure.state() == pb::PROCEDURE_CANCELLED) {
      return done(Refuse(pb::REASON_CONDITION_FAILED, "database {} was not created: {} (procedure {})",
                         database, procedure.last_error(), id));
    }
  }
  FillRecord(access_.catalog(), database, response);
  done(std::move(response));
}

void DatabaseApi::FinishSettled() {
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const auto waiting = next++;
    if (IsSettled(waiting->database)) Finish(waiting);
  }
}

void DatabaseApi::Drop(pb::DropDatabaseRequest request, Answer<pb::ChangeResponse> done) {
  if (const Status serving = leadership_.CheckServing(); !serving.ok()) return done(serving);
  const auto answer = [this](StatusOr<ipb::CatalogResult> result, Answer<pb::ChangeResponse>& reply) {
    if (!result.ok()) return reply(result.status());
    pb::ChangeResponse response = ResponseOf(*result);
    FillRecord(access_.catalog(), result->object_id(), response);
    reply(std::move(response));
  };
  if (auto known = access_.catalog().FindAnswer(request.id()))
    return answer(Remembered(std::move(*known)), done);
  const pb::Record* found = access_.catalog().FindDatabase(request.name());
  if (found == nullptr) return RefuseAbsent(std::move(request), std::move(done));
  ipb::CatalogCommand command;
  if (request.has_id()) *command.mutable_id() = request.id();
  ipb::SubmitProcedure& submit = *command.mutable_submit_procedure();
  *submit.mutable_procedure() = RemoveRegions::New(access_.catalog(), found->database().id());
  submit.mutable_effect()->mutable_drop_database()->set_database(found->database().id());
  access_.ProposeInEpoch(std::move(command), leadership_.epoch(),
                         [answer, done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
                           answer(std::move(result), done);
                         });
}

void DatabaseApi::RefuseAbsent(pb::DropDatabaseRequest request, Answer<pb::ChangeResponse> done) {
  access_.Read(
      {}, [this, request = std::move(request), done = std::move(done)](StatusOr<CatalogView> view) mutable {
        if (!view.ok()) return done(view.status());
        if (view->catalog.FindDatabase(request.name()) != nullptr || view->catalog.FindAnswer(request.id()))
          return Drop(std::move(request), std::move(done));
        done(Refuse(pb::REASON_NOT_FOUND, "there is no database '{}'", request.name()));
      });
}

void DatabaseApi::Get(const pb::GetDatabaseRequest& request, Answer<pb::GetDatabaseResponse> done) {
  access_.Read(request.read(),
               [name = request.name(), done = std::move(done)](StatusOr<CatalogView> view) mutable {
                 if (!view.ok()) return done(view.status());
                 const pb::Record* found = view->catalog.FindDatabase(name);
                 if (found == nullptr)
                   return done(Refuse(pb::REASON_NOT_FOUND, "there is no database '{}'", name));
                 pb::GetDatabaseResponse response;
                 response.set_revision(view->revision.value());
                 *response.mutable_record() = *found;
                 for (const auto& [id, region] : view->catalog.regions()) {
                   if (region.region().database() == found->database().id()) *response.add_regions() = region;
                 }
                 done(std::move(response));
               });
}

void DatabaseApi::OnCatalogChanged(const std::vector<pb::Event>&, Revision) {
  if (waiting_.empty() || std::exchange(check_posted_, true)) return;
  executor_.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->check_posted_ = false;
    (*self)->FinishSettled();
  });
}

runtime::Task<Status> DatabaseApi::Start(Term, runtime::StopToken) {
  co_return OkStatus();
}

void DatabaseApi::Stop() {
  Waitings ended = std::exchange(waiting_, {});
  for (Waiting& waiting : ended) waiting.done(leadership_.NotLeader());
}

}  // namespace tenure::controller
