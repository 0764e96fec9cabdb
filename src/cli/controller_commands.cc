// tenure controller list | transfer: the members of group 0 and who leads them.

#include "cli/invocation.h"
#include "cli/records.h"
#include "cli/session.h"
#include "cli/tables.h"

namespace tenure::cli {
namespace {

struct NoOptions {};
struct TransferOptions {
  std::string to;
};

Status List(const Invocation& invocation, const NoOptions&) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto answer, session->ClusterStatus(invocation.timeout()));
  if (invocation.format == OutputFormat::kTable) {
    Print(ControllersTable(answer.controllers()));
    return OkStatus();
  }
  Json list = Json::array();
  for (const auto& controller : answer.controllers()) list.push_back(ToJson(controller));
  PrintJson(list);
  return OkStatus();
}

// An id or a name.
StatusOr<uint64_t> FindController(Session& session, const std::string& wanted, Duration timeout) {
  TENURE_ASSIGN_OR_RETURN(const auto answer, session.ClusterStatus(timeout));
  const auto& controllers = answer.controllers();
  const auto found = FindByIdOrName(
      controllers, wanted, [](const auto& controller) { return IdText(controller.record().id()); },
      [](const auto& controller) { return controller.record().name(); });
  if (found != controllers.end()) return found->record().id();
  return Error(StatusCode::kNotFound, "controller {} does not exist; `tenure controller list` shows them",
               wanted);
}

Status Transfer(const Invocation& invocation, const TransferOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::TransferLeadershipRequest request;
  if (!options.to.empty()) {
    TENURE_ASSIGN_OR_RETURN(const uint64_t to, FindController(*session, options.to, invocation.timeout()));
    request.set_to(to);
  }
  TENURE_ASSIGN_OR_RETURN(
      const auto answer, session->Call<pb::TransferLeadershipResponse>("tenure.v1.Cluster/TransferLeadership",
                                                                       request, invocation.timeout()));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"leader_id", IdText(answer.leader_id())}});
  } else {
    Print(fmt::format("controller {} leads\n", answer.leader_id()));
  }
  return OkStatus();
}

}  // namespace

void AddControllerCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family = AddFamily(app, "controller", "The controllers, members of group 0");
  OnCommand(family->add_subcommand("list", "Members with role, state and progress"), invocation,
            std::make_shared<NoOptions>(), List);
  const auto transfer = std::make_shared<TransferOptions>();
  CLI::App* command = family->add_subcommand("transfer", "Hand the leadership over");
  command->add_option("to", transfer->to, "Controller id or name (default: the most up to date other voter)");
  OnCommand(command, invocation, transfer, Transfer);
}

}  // namespace tenure::cli
