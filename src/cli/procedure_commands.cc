// tenure procedure list | show | watch | cancel: long changes, and how they stand.

#include "catalog/procedures.h"
#include "cli/invocation.h"
#include "cli/procedures.h"
#include "cli/records.h"
#include "cli/session.h"
#include "cli/waiting.h"

namespace tenure::cli {
namespace {

struct ListOptions {
  bool all = false;
  std::string type;
};
struct OneOptions {
  uint64_t id = 0;
};

Status List(const Invocation& invocation, const ListOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::ListProceduresRequest request;
  request.set_ended(options.all);
  request.set_type(options.type);
  TENURE_ASSIGN_OR_RETURN(const auto answer, session->Call<pb::ListProceduresResponse>(
                                                 "tenure.v1.Procedures/List", request, invocation.timeout()));
  if (invocation.format == OutputFormat::kJson) {
    Json list = Json::array();
    for (const auto& procedure : answer.procedures()) list.push_back(ToJson(procedure));
    PrintJson(list);
    return OkStatus();
  }
  Table table({"PROCEDURE", "TYPE", "STATE", "STEP", "ATTEMPT", "WHAT", "PROGRESS"});
  for (const auto& procedure : answer.procedures()) {
    const pb::ProcedureRecord& record = procedure.record().procedure();
    table.AddRow({IdText(record.id()), record.type(), StateText(record.state()),
                  record.step().empty() ? "-" : record.step(), fmt::format("{}", record.attempt()),
                  record.description(), ProgressText(procedure)});
  }
  Print(table.ToString());
  return OkStatus();
}

Status Show(const Invocation& invocation, const OneOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto procedure, GetProcedure(*session, options.id, invocation.timeout()));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(ToJson(procedure));
  } else {
    Print(DetailsOf(procedure));
  }
  return OkStatus();
}

Status Watch(const Invocation& invocation, const OneOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  return AwaitProcedure(*session, invocation, options.id);
}

Status Cancel(const Invocation& invocation, const OneOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::CancelProcedureRequest request;
  *request.mutable_id() = session->NextRequestId();
  request.set_procedure(options.id);
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      session->Call<pb::ChangeResponse>("tenure.v1.Procedures/Cancel", request, invocation.timeout()));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(ToJson(answer.record()));
  } else {
    Print(fmt::format("procedure {} is being cancelled; `tenure procedure watch {}` waits for its end\n",
                      options.id, options.id));
  }
  return OkStatus();
}

}  // namespace

void AddProcedureCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family = AddFamily(app, "procedure", "Long changes that survive crashes and leader changes");
  const auto list = std::make_shared<ListOptions>();
  CLI::App* command = family->add_subcommand("list", "Procedures that are under way");
  command->add_flag("--all", list->all, "Also those that have ended");
  command->add_option("--type", list->type, "Only of this type, such as MoveReplica");
  OnCommand(command, invocation, list, List);
  const auto add = [&](const char* name, const char* text, auto function) {
    const auto options = std::make_shared<OneOptions>();
    CLI::App* one = family->add_subcommand(name, text);
    one->add_option("procedure", options->id, "Procedure id")->required();
    OnCommand(one, invocation, options, function);
  };
  add("show", "One procedure with its steps and tasks", Show);
  add("watch", "Wait for a procedure's end", Watch);
  add("cancel", "End a procedure and undo what it did, where that is possible", Cancel);
}

}  // namespace tenure::cli
