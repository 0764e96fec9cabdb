// tenure region list | show | transfer-leader; others are in replica_commands.cc and
// region_recover_command.cc

#include <map>

#include "cli/invocation.h"
#include "cli/queries.h"
#include "cli/records.h"
#include "cli/session.h"
#include "cli/waiting.h"

namespace tenure::cli {
namespace {

struct ListOptions {
  std::string database;
};
struct ShowOptions {
  uint64_t region = 0;
};
struct TransferOptions {
  uint64_t region = 0;
  std::string node;
  bool wait = true;
};

using Names = std::map<uint64_t, std::string>;

std::string NameOf(const Names& names, uint64_t id) {
  const auto it = names.find(id);
  return it == names.end() ? IdText(id) : it->second;
}

StatusOr<Names> DatabaseNames(Session& session, Duration timeout) {
  TENURE_ASSIGN_OR_RETURN(const auto records, ListRecords(session, pb::RECORD_DATABASE, timeout));
  Names names;
  for (const pb::Record& record : records) names[record.database().id()] = record.database().name();
  return names;
}

StatusOr<pb::RegionStatus> FindRegion(Session& session, uint64_t id, Duration timeout) {
  TENURE_ASSIGN_OR_RETURN(const auto answer, ListRegions(session, "", timeout));
  for (const pb::RegionStatus& region : answer.regions()) {
    if (region.record().id() == id) return region;
  }
  return Error(StatusCode::kNotFound, "region {} does not exist; `tenure region list` shows them", id);
}

std::string SlotsText(const pb::RegionRecord& record) {
  return fmt::format("{}-{}", record.slots().first(), record.slots().last());
}

std::string StateOf(const pb::RegionStatus& region) {
  return region.state().empty() ? StateText(region.record().state()) : region.state();
}

Status List(const Invocation& invocation, const ListOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto answer, ListRegions(*session, options.database, invocation.timeout()));
  TENURE_ASSIGN_OR_RETURN(const Names names, DatabaseNames(*session, invocation.timeout()));
  if (invocation.format == OutputFormat::kJson) {
    Json list = Json::array();
    for (const auto& region : answer.regions())
      list.push_back(ToJson(region, NameOf(names, region.record().database())));
    PrintJson(list);
    return OkStatus();
  }
  Table table({"REGION", "DATABASE", "SLOTS", "NODES", "LEADER", "TERM", "STATE", "KEYS", "BYTES"});
  for (const auto& region : answer.regions()) {
    std::string nodes;
    for (const auto& replica : region.record().replicas())
      nodes += (nodes.empty() ? "" : ",") + IdText(replica.node());
    table.AddRow({IdText(region.record().id()), NameOf(names, region.record().database()),
                  SlotsText(region.record()), nodes,
                  region.leader_node() == 0 ? "-" : IdText(region.leader_node()),
                  region.leader_term() == 0 ? "-" : IdText(region.leader_term()), StateOf(region),
                  IdText(region.keys()), FormatBytes(region.bytes())});
  }
  Print(table.ToString());
  return OkStatus();
}

std::string Details(const pb::RegionStatus& region, const std::string& database) {
  const pb::RegionRecord& record = region.record();
  Table table({"REPLICA", "NODE", "ROLE", "STATE", "APPLIED", "TERM", "LEADS"});
  for (const auto& replica : record.replicas()) {
    const auto load = std::find_if(region.replicas().begin(), region.replicas().end(),
                                   [&](const pb::RegionLoad& l) { return l.replica() == replica.id(); });
    const bool known = load != region.replicas().end();
    table.AddRow({IdText(replica.id()), IdText(replica.node()), RoleText(replica.role()),
                  ReplicaState(region, replica.id()), known ? IdText(load->applied()) : "-",
                  known ? IdText(load->term()) : "-", replica.id() == region.leader_replica() ? "yes" : ""});
  }
  return fmt::format(
             "id             {}\ndatabase       {}\nslots          {}\nstate          {}\nleader         {}\n"
             "configuration  {}\nrange version  {}\nkeys           {}\nbytes          {}\n\n",
             record.id(), database, SlotsText(record), StateOf(region),
             region.leader_node() == 0
                 ? std::string("none")
                 : fmt::format("node {}, term {}", region.leader_node(), region.leader_term()),
             record.configuration_version(), record.range_version(), region.keys(),
             FormatBytes(region.bytes())) +
         table.ToString();
}

Status Show(const Invocation& invocation, const ShowOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto region, FindRegion(*session, options.region, invocation.timeout()));
  TENURE_ASSIGN_OR_RETURN(const Names names, DatabaseNames(*session, invocation.timeout()));
  const std::string database = NameOf(names, region.record().database());
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(ToJson(region, database));
  } else {
    Print(Details(region, database));
  }
  return OkStatus();
}

Status TransferLeader(const Invocation& invocation, const TransferOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  const Deadline deadline(invocation.load_timeout());
  pb::TransferRegionRequest request;
  request.set_region(options.region);
  TENURE_ASSIGN_OR_RETURN(const uint64_t node, FindNode(*session, options.node, invocation.timeout()));
  request.set_to_node(node);
  TENURE_RETURN_IF_ERROR(session
                             ->Call<pb::TransferRegionResponse>("tenure.v1.Regions/TransferLeader", request,
                                                                deadline.remaining())
                             .status());
  if (options.wait) {
    TENURE_RETURN_IF_ERROR(WaitUntilNothingIsMissing(deadline, [&](Duration limit) -> StatusOr<std::string> {
      TENURE_ASSIGN_OR_RETURN(const auto region, FindRegion(*session, options.region, limit));
      if (region.leader_node() == node) return std::string();
      return fmt::format("region {} is led by node {}", options.region, region.leader_node());
    }));
  }
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"region", IdText(options.region)}, {"leader_node", IdText(node)}, {"done", options.wait}});
  } else {
    Print(fmt::format("region {} {} node {}\n", options.region,
                      options.wait ? "is led by" : "is being handed to", node));
  }
  return OkStatus();
}

}  // namespace

void AddRegionCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family = AddFamily(app, "region", "Regions: ranges of a database's slots");
  const auto list = std::make_shared<ListOptions>();
  CLI::App* command = family->add_subcommand("list", "All regions, or those of one database");
  command->add_option("database", list->database, "Name of the database");
  OnCommand(command, invocation, list, List);

  const auto show = std::make_shared<ShowOptions>();
  command = family->add_subcommand("show", "One region and its replicas");
  command->add_option("region", show->region, "Region id")->required();
  OnCommand(command, invocation, show, Show);

  const auto transfer = std::make_shared<TransferOptions>();
  command = family->add_subcommand("transfer-leader", "Hand a region's leadership to another of its nodes");
  command->add_option("region", transfer->region, "Region id")->required();
  // Either spelling is enough; the text keeps CLI11 from saying REQUIRED at both.
  command->add_option("node,--to", transfer->node, "Node id or name; required, as node or as --to")
      ->required()
      ->option_text("TEXT");
  AddWaitFlag(command, transfer->wait);
  OnCommand(command, invocation, transfer, TransferLeader);
  AddReplicaCommands(*family, invocation);
  AddRangeCommands(*family, invocation);
  AddRegionRecoverCommand(*family, invocation);
}

}  // namespace tenure::cli
