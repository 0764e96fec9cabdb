// tenure status: what the cluster looks like now, also while it has no leader.

#include "cli/invocation.h"
#include "cli/records.h"
#include "cli/session.h"
#include "cli/tables.h"

namespace tenure::cli {
namespace {

struct StatusOptions {};

std::string Headline(const pb::StatusResponse& status) {
  std::string text = fmt::format(
      "cluster   {}{}\nphase     {}\nrevision  {}\n", status.cluster_id().empty() ? "-" : status.cluster_id(),
      status.incarnation() > 1 ? fmt::format(", incarnation {}", status.incarnation()) : "", status.phase(),
      status.revision());
  if (status.leader_id() == 0) return text + "leader    none\n";
  text += fmt::format("leader    {} at {}, epoch {}, for {}\n", status.leader_name(), status.leader_address(),
                      status.leader_epoch(), FormatMillis(static_cast<double>(status.leader_since_ms())));
  if (!status.warm_up_reason().empty()) {
    std::string missing;
    for (const std::string& name : status.warm_up_missing()) missing += (missing.empty() ? " " : ", ") + name;
    text +=
        fmt::format("warm-up   {}{}", status.warm_up_reason(), missing.empty() ? "" : ", without" + missing);
    if (status.warm_up_remaining_ms() > 0) {
      text +=
          fmt::format(", at most {} more", FormatMillis(static_cast<double>(status.warm_up_remaining_ms())));
    }
    text += "\n";
  }
  if (status.unsampled_size() > 0) text += fmt::format("unheard   {}\n", fmt::join(status.unsampled(), ", "));
  return text;
}

std::string BarriersTable(const pb::StatusResponse& status) {
  Table table({"BARRIER", "WAITS", "FOR NODE"});
  for (const auto& barrier : status.barriers()) {
    table.AddRow({IdText(barrier.revision()), FormatMillis(static_cast<double>(barrier.waiting_ms())),
                  fmt::format("{}", fmt::join(barrier.waiting_for(), ", "))});
  }
  return table.ToString();
}

std::string AlarmsTable(const pb::StatusResponse& status) {
  Table table({"ALARM", "OBJECT", "TEXT"});
  for (const auto& alarm : status.alarms()) table.AddRow({alarm.kind(), alarm.object(), alarm.text()});
  return table.ToString();
}

std::string ServicesTable(const pb::StatusResponse& status) {
  Table table({"SERVICE", "STATE", "ERROR"});
  for (const auto& service : status.services())
    table.AddRow({service.name(), service.state(), service.error()});
  return table.ToString();
}

std::string TransitionsTable(const pb::StatusResponse& status) {
  Table table({"AT", "EPOCH", "FROM", "TO", "TOOK", "REASON"});
  for (const auto& transition : status.transitions()) {
    table.AddRow({FormatTime(transition.at_ms()), IdText(transition.epoch()), transition.from(),
                  transition.to(), FormatMillis(static_cast<double>(transition.duration_ms())),
                  transition.reason()});
  }
  return table.ToString();
}

Status ShowStatus(const Invocation& invocation, const StatusOptions&) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const pb::StatusResponse status, session->ClusterStatus(invocation.timeout()));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(ToJson(status));
    return OkStatus();
  }
  std::string text = Headline(status) + "\n" + ControllersTable(status.controllers());
  if (status.nodes_size() > 0) text += "\n" + NodesTable(status.nodes());
  if (status.barriers_size() > 0) text += "\n" + BarriersTable(status);
  if (status.alarms_size() > 0) text += "\n" + AlarmsTable(status);
  if (status.services_size() > 0) text += "\n" + ServicesTable(status);
  if (status.transitions_size() > 0) text += "\n" + TransitionsTable(status);
  Print(text);
  return OkStatus();
}

}  // namespace

void AddStatusCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("status", "Controllers, nodes and leadership");
  OnCommand(command, invocation, std::make_shared<StatusOptions>(), ShowStatus);
}

}  // namespace tenure::cli
