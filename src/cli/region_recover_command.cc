// tenure region recover: regions that have lost the majority of their replicas for good go on with the best
// replica that lives. Without --execute nothing is changed: the plan with its digest.

#include "cli/invocation.h"
#include "cli/queries.h"
#include "cli/records.h"
#include "cli/session.h"
#include "cli/waiting.h"

namespace tenure::cli {
namespace {

namespace pb = ::tenure::v1;

struct RecoverOptions {
  std::vector<uint64_t> regions;
  std::string execute;
  std::string by = Operator();
  bool wait = true;
};

Json PlansJson(const pb::RecoverRegionsResponse& answer) {
  Json json;
  json["digest"] = answer.digest().empty() ? Json(nullptr) : Json(answer.digest());
  json["executed"] = answer.executed();
  json["regions"] = Json::array();
  for (const auto& plan : answer.plans()) {
    Json item;
    item["region"] = IdText(plan.region());
    item["database"] = IdText(plan.database());
    item["replica"] = IdText(plan.replica());
    item["node"] = IdText(plan.node());
    item["last_term"] = plan.term();
    item["last_index"] = plan.index();
    item["nodes"] = Json::array();
    for (const uint64_t node : plan.nodes()) item["nodes"].push_back(IdText(node));
    item["lost_nodes"] = Json::array();
    for (const uint64_t node : plan.lost_nodes()) item["lost_nodes"].push_back(IdText(node));
    json["regions"].push_back(std::move(item));
  }
  json["unrecoverable"] =
      std::vector<std::string>(answer.unrecoverable().begin(), answer.unrecoverable().end());
  return json;
}

std::string PlansText(const pb::RecoverRegionsResponse& answer, const std::vector<uint64_t>& regions) {
  std::string text;
  if (answer.plans_size() > 0) {
    Table table({"REGION", "DATABASE", "NODES", "LOST", "GOES ON WITH", "NODE", "LAST TERM", "LAST INDEX"});
    for (const auto& plan : answer.plans()) {
      table.AddRow(
          {IdText(plan.region()), IdText(plan.database()), fmt::format("{}", fmt::join(plan.nodes(), ",")),
           fmt::format("{}", fmt::join(plan.lost_nodes(), ",")), fmt::format("replica {}", plan.replica()),
           IdText(plan.node()), IdText(plan.term()), IdText(plan.index())});
    }
    text += table.ToString();
  }
  for (const std::string& why : answer.unrecoverable()) text += fmt::format("left out: {}\n", why);
  if (answer.plans_size() == 0) return text + "no region is to be recovered\n";
  if (answer.executed()) return text + fmt::format("{} regions recovered\n", answer.plans_size());
  // The digest is of the plan for these regions.
  return text + fmt::format(
                    "plan {0}\nWhat only the lost nodes had acknowledged is lost; their replicas are refused "
                    "from then "
                    "on.\nNothing was changed. To do it: tenure region recover {1}{2}--execute {0}\n",
                    answer.digest(), fmt::join(regions, " "), regions.empty() ? "" : " ");
}

Status WaitUntilLed(Session& session, const pb::RecoverRegionsResponse& answer, Deadline deadline) {
  return WaitUntilNothingIsMissing(deadline, [&](Duration limit) -> StatusOr<std::string> {
    // Done it is: that nobody says so at present only means to wait.
    const auto regions = ListRegions(session, "", limit);
    if (!regions.ok()) return "asking for the regions: " + std::string(MessageOf(regions.status()));
    for (const pb::RegionStatus& region : regions->regions()) {
      for (const auto& plan : answer.plans()) {
        if (region.record().id() == plan.region() && region.leader_node() != plan.node()) {
          return fmt::format("region {} is not led by node {} yet", plan.region(), plan.node());
        }
      }
    }
    return std::string();
  });
}

Status Recover(const Invocation& invocation, const RecoverOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  const Deadline deadline(invocation.load_timeout());
  pb::RecoverRegionsRequest request;
  for (const uint64_t region : options.regions) request.add_regions(region);
  request.set_digest(options.execute);
  request.set_by(options.by);
  constexpr std::string_view kMethod = "tenure.v1.Regions/Recover";
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      options.execute.empty()
          ? session->Call<pb::RecoverRegionsResponse>(kMethod, request, deadline.remaining())
          : session->CallOnce<pb::RecoverRegionsResponse>(kMethod, request, deadline.remaining()));
  if (answer.executed() && options.wait) TENURE_RETURN_IF_ERROR(WaitUntilLed(*session, answer, deadline));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(PlansJson(answer));
  } else {
    Print(PlansText(answer, options.regions));
  }
  return OkStatus();
}

}  // namespace

void AddRegionRecoverCommand(CLI::App& family, Invocation& invocation) {
  const auto options = std::make_shared<RecoverOptions>();
  CLI::App* command = family.add_subcommand(
      "recover", "Go on with one replica where the majority of a region's replicas is lost for good");
  command->add_option("region", options->regions, "Region ids (default: all that have lost their majority)");
  command->add_option("--execute", options->execute,
                      "Do what the plan with this digest says; without it the plan is shown");
  command->add_option("--by", options->by, "Who decided, for the record")->capture_default_str();
  AddWaitFlag(command, options->wait);
  OnCommand(command, invocation, options, Recover);
}

}  // namespace tenure::cli
