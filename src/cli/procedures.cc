#include "cli/procedures.h"

#include <chrono>
#include <utility>

#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "cli/records.h"
#include "cli/waiting.h"

namespace tenure::cli {

namespace {

constexpr Duration kNoLimit = std::chrono::hours(24 * 365);

}  // namespace

StatusOr<pb::ProcedureStatus> GetProcedure(Session& session, uint64_t id, Duration timeout) {
  pb::GetProcedureRequest request;
  request.set_id(id);
  TENURE_ASSIGN_OR_RETURN(
      auto answer, session.Call<pb::GetProcedureResponse>("tenure.v1.Procedures/Get", request, timeout));
  return std::move(*answer.mutable_procedure());
}

std::string ProgressText(const pb::ProcedureStatus& procedure) {
  const pb::ProcedureRecord& record = procedure.record().procedure();
  std::string text = procedure.progress();
  for (const pb::LockWait& wait : procedure.waits()) {
    text = fmt::format("waits for {}, held by", catalog::NameOf(wait.lock()));
    for (const uint64_t holder : wait.holders()) text += fmt::format(" {}", holder);
    break;
  }
  if (!record.last_error().empty())
    text += fmt::format("{}{}", text.empty() ? "" : "; ", record.last_error());
  return text.empty() ? "-" : text;
}

std::string DetailsOf(const pb::ProcedureStatus& procedure) {
  const pb::ProcedureRecord& record = procedure.record().procedure();
  std::string locks;
  for (const auto& lock : record.locks())
    locks += fmt::format("{}{}{}", locks.empty() ? "" : ", ", catalog::NameOf(lock),
                         lock.shared() ? " (shared)" : "");
  std::string text = fmt::format(
      "id           {}\ntype         {}\nwhat         {}\nstate        {}{}\nstep         {}\nattempt      "
      "{}\n"
      "parent       {}\nlocks        {}\ncreated      {}\nlast error   {}\nprogress     {}\n",
      record.id(), record.type(), record.description(), StateText(record.state()),
      record.cancel_requested() ? ", to be cancelled"
      : record.cancellable()    ? ", can be cancelled"
                                : "",
      record.step().empty() ? "-" : record.step(), record.attempt(),
      record.parent() == 0 ? std::string("-") : IdText(record.parent()), locks.empty() ? "-" : locks,
      FormatTime(record.created_at_ms()), record.last_error().empty() ? "-" : record.last_error(),
      ProgressText(procedure));
  if (!record.steps().empty()) {
    Table table({"STEP", "TOOK", "FAILED ATTEMPTS"});
    for (const auto& step : record.steps())
      table.AddRow({step.name(), FormatMillis(static_cast<double>(step.duration_ms())),
                    fmt::format("{}", step.attempts())});
    text += "\n" + table.ToString();
  }
  if (!procedure.tasks().empty()) {
    Table table({"NODE", "ATTEMPT", "STATE", "DONE", "LAST ERROR"});
    for (const auto& task : procedure.tasks()) {
      table.AddRow({IdText(task.node()), fmt::format("{}", task.attempt()), task.state(),
                    fmt::format("{} of {}", task.done(), task.total()),
                    task.last_error().empty() ? "-" : task.last_error()});
    }
    text += "\n" + table.ToString();
  }
  return text;
}

Json ToJson(const pb::ProcedureStatus& procedure) {
  Json json = ToJson(procedure.record().procedure());
  json["progress"] = procedure.progress();
  json["waits"] = Json::array();
  for (const auto& wait : procedure.waits()) {
    Json holders = Json::array();
    for (const uint64_t holder : wait.holders()) holders.push_back(IdText(holder));
    json["waits"].push_back({{"object", catalog::NameOf(wait.lock())}, {"holders", holders}});
  }
  json["tasks"] = Json::array();
  for (const auto& task : procedure.tasks()) {
    json["tasks"].push_back({{"node", IdText(task.node())},
                             {"attempt", task.attempt()},
                             {"state", task.state()},
                             {"done", task.done()},
                             {"total", task.total()},
                             {"last_error", task.last_error()}});
  }
  json["children"] = Json::array();
  for (const uint64_t child : procedure.children()) json["children"].push_back(IdText(child));
  return json;
}

Status AwaitProcedure(Session& session, const Invocation& invocation, uint64_t id) {
  // A drain takes hours: as long as it takes, unless told otherwise.
  const Deadline deadline(invocation.timeout_given ? invocation.timeout() : kNoLimit);
  pb::ProcedureStatus last;
  TENURE_RETURN_IF_ERROR(WaitUntilNothingIsMissing(deadline, [&](Duration limit) -> StatusOr<std::string> {
    auto answer = GetProcedure(session, id, limit);
    if (catalog::IsReason(answer.status(), pb::REASON_NOT_FOUND)) return answer.status();
    // Nobody may lead for a while: the procedure goes on without being asked.
    if (!answer.ok())
      return fmt::format("asking for procedure {}: {}", id, std::string(MessageOf(answer.status())));
    last = *std::move(answer);
    const pb::ProcedureRecord& record = last.record().procedure();
    if (catalog::IsEnded(record.state())) return std::string();
    return fmt::format("procedure {} ({}): {} {}: {}", id, record.description(), StateText(record.state()),
                       record.step(), ProgressText(last));
  }));
  const pb::ProcedureRecord& record = last.record().procedure();
  if (record.state() != pb::PROCEDURE_SUCCEEDED) {
    return Error(StatusCode::kFailedPrecondition, "procedure {} ({}): {}: {}", id, record.description(),
                 StateText(record.state()), record.last_error());
  }
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(ToJson(last));
  } else {
    Print(fmt::format("procedure {} ({}): {} in {}\n", id, record.description(), StateText(record.state()),
                      FormatMillis(static_cast<double>(record.ended_at_ms() - record.created_at_ms()))));
  }
  return OkStatus();
}

Status FinishProcedure(Session& session, const Invocation& invocation, const pb::Record& record, bool wait) {
  const uint64_t id = record.procedure().id();
  if (wait) return AwaitProcedure(session, invocation, id);
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(ToJson(record.procedure()));
  } else {
    Print(fmt::format("procedure {} ({}) has been submitted; `tenure procedure watch {}` waits for its end\n",
                      id, record.procedure().description(), id));
  }
  return OkStatus();
}

}  // namespace tenure::cli
