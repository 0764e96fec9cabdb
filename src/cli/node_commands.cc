// tenure node list | show (others are in node_change_commands.cc): the data nodes as the leading controller
// sees them.

#include "cli/invocation.h"
#include "cli/records.h"
#include "cli/session.h"
#include "cli/tables.h"

namespace tenure::cli {
namespace {

struct NoOptions {};
struct ShowOptions {
  std::string node;
};

Status List(const Invocation& invocation, const NoOptions&) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto answer, session->LeaderStatus(invocation.timeout()));
  if (invocation.format == OutputFormat::kTable) {
    Print(NodesTable(answer.nodes()));
    return OkStatus();
  }
  Json list = Json::array();
  for (const auto& node : answer.nodes()) list.push_back(ToJsonInFull(node));
  PrintJson(list);
  return OkStatus();
}

std::string Details(const pb::NodeStatus& node) {
  const pb::NodeRecord& record = node.record();
  std::string labels;
  for (const auto& label : record.labels()) labels += fmt::format(" {}={}", label.key(), label.value());
  return fmt::format(
      "id         {}\nname       {}\nuuid       {}\naddress    {}\nresp       {}\nzone       {}\nlabels    "
      "{}\n"
      "state      {}\nheard      {} ago\nlease      {}{}\nserves     {}\nrevision   {}\nregions    {}, leads "
      "{}\nepoch      {}\nversion    "
      "{}\n"
      "disk       {} free, fsync p99 {}\nmemory     {}\n",
      record.id(), record.name(), record.uuid(), record.address(), record.resp_address(),
      record.zone().empty() ? "-" : record.zone(), labels.empty() ? " -" : labels, StateWithDetail(node),
      FormatMillis(static_cast<double>(node.last_heard_ms())), LeaseText(node),
      node.fenced_reason().empty() ? "" : fmt::format(" ({})", node.fenced_reason()),
      node.serving_revision() == 0 ? "nothing"
                                   : fmt::format("from revision {} or later", node.serving_revision()),
      node.revision(), node.regions(), node.leaders(), record.registration_epoch(), record.software_version(),
      FormatBytes(node.disk_free_bytes()), FormatMillis(static_cast<double>(node.fsync_p99_us()) / 1000),
      FormatBytes(node.memory_bytes()));
}

Status Show(const Invocation& invocation, const ShowOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto answer, session->LeaderStatus(invocation.timeout()));
  const auto found = FindByIdOrName(
      answer.nodes(), options.node, [](const auto& node) { return IdText(node.record().id()); },
      [](const auto& node) { return node.record().name(); });
  if (found == answer.nodes().end()) {
    return Error(StatusCode::kNotFound, "node {} does not exist; `tenure node list` shows them",
                 options.node);
  }
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(ToJsonInFull(*found));
  } else {
    Print(Details(*found));
  }
  return OkStatus();
}

}  // namespace

void AddNodeCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family = AddFamily(app, "node", "The data nodes");
  OnCommand(family->add_subcommand("list", "All nodes"), invocation, std::make_shared<NoOptions>(), List);
  const auto show = std::make_shared<ShowOptions>();
  CLI::App* command = family->add_subcommand("show", "One node");
  command->add_option("node", show->node, "Node id or name")->required();
  OnCommand(command, invocation, show, Show);
  AddNodeChangeCommands(*family, invocation);
}

}  // namespace tenure::cli
