// tenure region move | add-replica | remove-replica | explain

#include "cli/invocation.h"
#include "cli/procedures.h"
#include "cli/queries.h"
#include "cli/records.h"
#include "cli/session.h"

namespace tenure::cli {
namespace {

struct ChangeOptions {
  pb::ReplicaChange change = pb::REPLICA_CHANGE_UNSPECIFIED;
  uint64_t region = 0;
  std::string from;
  std::string to;
  bool dry_run = false;
  bool wait = true;
};
struct ExplainOptions {
  uint64_t region = 0;
};

std::string WhatFor(const pb::ChangeReplicaResponse& answer) {
  if (answer.from_node() == 0) return fmt::format("a replica would be added on node {}", answer.to_node());
  if (answer.to_node() == 0)
    return fmt::format("the replica on node {} would be removed", answer.from_node());
  return fmt::format("the replica on node {} would move to node {}", answer.from_node(), answer.to_node());
}

void PrintPlan(const Invocation& invocation, uint64_t region, const pb::ChangeReplicaResponse& answer) {
  if (invocation.format == OutputFormat::kJson) {
    Json json;
    json["region"] = IdText(region);
    json["from_node"] = IdText(answer.from_node());
    json["to_node"] = IdText(answer.to_node());
    json["explanation"] = Json::array();
    for (const auto& line : answer.explanation()) json["explanation"].push_back(line);
    return PrintJson(json);
  }
  std::string text = fmt::format("region {}: {} (dry run: nothing was done)\n", region, WhatFor(answer));
  for (const auto& line : answer.explanation()) text += line + "\n";
  Print(text);
}

Status Change(const Invocation& invocation, const ChangeOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::ChangeReplicaRequest request;
  *request.mutable_id() = session->NextRequestId();
  request.set_change(options.change);
  request.set_region(options.region);
  request.set_dry_run(options.dry_run);
  if (!options.from.empty()) {
    TENURE_ASSIGN_OR_RETURN(const uint64_t node, FindNode(*session, options.from, invocation.timeout()));
    request.set_from_node(node);
  }
  if (!options.to.empty()) {
    TENURE_ASSIGN_OR_RETURN(const uint64_t node, FindNode(*session, options.to, invocation.timeout()));
    request.set_to_node(node);
  }
  TENURE_ASSIGN_OR_RETURN(const auto answer,
                          session->Call<pb::ChangeReplicaResponse>("tenure.v1.Regions/ChangeReplica", request,
                                                                   invocation.load_timeout()));
  if (options.dry_run) {
    PrintPlan(invocation, options.region, answer);
    return OkStatus();
  }
  return FinishProcedure(*session, invocation, answer.procedure(), options.wait);
}

Status Explain(const Invocation& invocation, const ExplainOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::ExplainRegionRequest request;
  request.set_region(options.region);
  TENURE_ASSIGN_OR_RETURN(const auto answer,
                          session->Call<pb::ExplainRegionResponse>("tenure.v1.Regions/Explain", request,
                                                                   invocation.load_timeout()));
  if (invocation.format == OutputFormat::kJson) {
    Json lines = Json::array();
    for (const auto& line : answer.explanation()) lines.push_back(line);
    PrintJson({{"region", IdText(options.region)}, {"explanation", lines}});
    return OkStatus();
  }
  std::string text;
  for (const auto& line : answer.explanation()) text += line + "\n";
  Print(text);
  return OkStatus();
}

}  // namespace

void AddReplicaCommands(CLI::App& family, Invocation& invocation) {
  const auto add = [&](const char* name, const char* text, pb::ReplicaChange change) {
    const auto options = std::make_shared<ChangeOptions>();
    options->change = change;
    CLI::App* command = family.add_subcommand(name, text);
    command->add_option("region", options->region, "Region id")->required();
    if (change == pb::REPLICA_MOVE)
      command->add_option("--from", options->from, "Node id or name that holds the replica")->required();
    if (change == pb::REPLICA_REMOVE)
      command->add_option("--from", options->from, "Node id or name; without it the planner chooses");
    if (change != pb::REPLICA_REMOVE)
      command->add_option("--to", options->to, "Node id or name; without it the planner chooses");
    command->add_flag("--dry-run", options->dry_run, "Say what would be done, and why");
    AddWaitFlag(command, options->wait);
    OnCommand(command, invocation, options, Change);
  };
  add("move", "Move a replica to another node", pb::REPLICA_MOVE);
  add("add-replica", "Add a replica", pb::REPLICA_ADD);
  add("remove-replica", "Remove a replica that is one too many", pb::REPLICA_REMOVE);
  const auto explain = std::make_shared<ExplainOptions>();
  CLI::App* command = family.add_subcommand("explain", "Why a region's replicas are where they are");
  command->add_option("region", explain->region, "Region id")->required();
  OnCommand(command, invocation, explain, Explain);
}

}  // namespace tenure::cli
