// tenure repair DIR: a stopped process whose log is damaged goes on without the replicas that lost data.

#include "base/format.h"
#include "cli/directory_repair.h"
#include "cli/invocation.h"

namespace tenure::cli {
namespace {

struct RepairOptions {
  std::string directory;
  bool execute = false;
  bool drop_controller = false;
};

std::string KindOf(GroupId group) {
  return group == kCatalogGroup ? "catalog" : "region";
}

std::string LostText(const DirectoryRepair& repair, GroupId group, const wal::DamagedGroup& damage) {
  const auto reason = repair.other_reasons().find(group);
  if (reason != repair.other_reasons().end()) return reason->second;
  std::string text;
  if (!damage.first.IsNone()) text = fmt::format("entries {}-{}", damage.first, damage.last);
  if (!damage.state_lost) return text;
  if (repair.plan().everything && damage.first.IsNone())
    return "perhaps a vote: part of the log cannot be read at all";
  return text + (text.empty() ? "" : " and ") + "term, vote or mark";
}

std::vector<std::string> NextSteps(const DirectoryRepair& repair, const RepairOptions& options) {
  std::vector<std::string> steps;
  // A repair that was cut off had taken the id out already.
  const std::string id = repair.controller_id().IsNone() ? "ID, of the controller that was here"
                                                         : fmt::format("{}", repair.controller_id());
  const std::string remove = fmt::format(
      "tenure controller remove {}: it lost votes or entries and must not return "
      "under this id; then add a controller under a new id with an empty directory",
      id);
  if (repair.NothingLeft()) {
    steps.push_back(
        "put the directory aside: nothing in it can be used; start with an empty one, as a new node");
    if (!repair.controller_id().IsNone()) steps.push_back(remove);
    return steps;
  }
  if (!options.execute) {
    steps.push_back(fmt::format("tenure repair {} --execute{}", Quoted(repair.path()),
                                repair.DropsController() ? " --drop-controller" : ""));
  }
  if (repair.DropsController()) {
    steps.push_back("start the process with --roles node: it is no controller any more");
    steps.push_back(remove);
  } else {
    steps.push_back("start the process: the other groups go on");
  }
  return steps;
}

Json DocumentOf(const DirectoryRepair& repair, const RepairOptions& options, const std::string& aside) {
  const wal::RepairPlan& plan = repair.plan();
  Json json;
  json["directory"] = repair.path();
  json["executed"] = options.execute;
  json["unfinished"] = repair.unfinished();
  json["damage"] = nullptr;
  if (plan.damage) {
    json["damage"] = {{"path", plan.damage->path},
                      {"offset", plan.damage->offset},
                      {"text", plan.damage->what},
                      {"affected", plan.damage->affected.Describe()}};
  }
  json["everything"] = plan.everything;
  json["drops_controller"] = repair.DropsController();
  json["dropped"] = Json::array();
  for (const auto& [group, damage] : plan.dropped) {
    Json dropped = {{"group", IdText(group.value())},
                    {"kind", KindOf(group)},
                    {"first_lost", damage.first.IsNone() ? Json(nullptr) : Json(damage.first.value())},
                    {"last_lost", damage.first.IsNone() ? Json(nullptr) : Json(damage.last.value())},
                    {"state_lost", damage.state_lost},
                    {"text", LostText(repair, group, damage)}};
    if (const auto remains = plan.remains.find(group); remains != plan.remains.end()) {
      dropped["term"] = remains->second.hard_state.term.value();
      dropped["last_index"] = remains->second.last_index.value();
    }
    json["dropped"].push_back(std::move(dropped));
  }
  json["kept"] = Json::array();
  for (const auto& [group, state] : plan.kept) {
    json["kept"].push_back({{"group", IdText(group.value())},
                            {"kind", KindOf(group)},
                            {"term", state.hard_state.term.value()},
                            {"last_index", state.last_index.value()}});
  }
  json["damaged_log"] = aside.empty() ? Json(nullptr) : Json(aside);
  json["next"] = NextSteps(repair, options);
  return json;
}

std::string TextOf(const DirectoryRepair& repair, const RepairOptions& options, const std::string& aside) {
  const wal::RepairPlan& plan = repair.plan();
  if (repair.unfinished()) {
    return options.execute
               ? fmt::format("the repair that was begun is finished; the damaged log is in {}\n", aside)
               : fmt::format("a repair was begun and has not ended: tenure repair {} --execute\n",
                             Quoted(repair.path()));
  }
  std::string text =
      plan.damage ? fmt::format("damage    {} at offset {}: {}\naffected  {}\n", plan.damage->path,
                                plan.damage->offset, plan.damage->what, plan.damage->affected.Describe())
                  : std::string("the log is whole\n");
  if (plan.everything)
    text +=
        "all replicas here are dropped: part of what is gone cannot be read, and any of them may have voted "
        "in it\n";
  Table table({"GROUP", "KIND", "PLAN", "TERM", "LAST", "LOST"});
  for (const auto& [group, damage] : plan.dropped) {
    const auto remains = plan.remains.find(group);
    const bool known = remains != plan.remains.end();
    table.AddRow({IdText(group.value()), KindOf(group), "drop",
                  known ? IdText(remains->second.hard_state.term.value()) : "-",
                  known ? IdText(remains->second.last_index.value()) : "-", LostText(repair, group, damage)});
  }
  for (const auto& [group, state] : plan.kept) {
    table.AddRow({IdText(group.value()), KindOf(group), "keep", IdText(state.hard_state.term.value()),
                  IdText(state.last_index.value()), ""});
  }
  text += "\n" + table.ToString() + "\n";
  text += options.execute ? fmt::format("done; the damaged log is in {}\n", aside)
                          : std::string("nothing was changed\n");
  for (const std::string& step : NextSteps(repair, options)) text += "next      " + step + "\n";
  return text;
}

Status Repair(const Invocation& invocation, const RepairOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto repair, DirectoryRepair::Open(options.directory));
  std::string aside;
  if (options.execute) {
    TENURE_ASSIGN_OR_RETURN(aside, repair->Execute(options.drop_controller));
  }
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(DocumentOf(*repair, options, aside));
  } else {
    Print(TextOf(*repair, options, aside));
  }
  return OkStatus();
}

}  // namespace

void AddRepairCommand(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<RepairOptions>();
  CLI::App* command =
      app.add_subcommand("repair", "Drop the replicas that a stopped process's damaged log lost data of");
  command->add_option("directory", options->directory, "A process's data directory, such as tenure-data/1")
      ->required();
  command->add_flag("--execute", options->execute, "Do it; without, the plan is shown and nothing changed");
  command->add_flag("--drop-controller", options->drop_controller,
                    "Even if the catalog's replica is lost: the process goes on as a node only");
  OnCommand(command, invocation, options, Repair);
}

}  // namespace tenure::cli
