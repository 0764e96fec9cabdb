// tenure node drain | resume | remove | can-stop

#include "base/duration.h"
#include "cli/invocation.h"
#include "cli/procedures.h"
#include "cli/queries.h"
#include "cli/records.h"
#include "cli/session.h"

namespace tenure::cli {
namespace {

struct DrainOptions {
  std::string node;
  bool dry_run = false;
  bool wait = true;
};
struct ResumeOptions {
  std::string node;
};
struct RemoveOptions {
  std::string node;
  std::vector<uint64_t> force_regions;
  bool gone = false;
  bool wait = true;
};
struct StopOptions {
  std::string node;
  std::string reserve;
  bool release = false;
};

StatusOr<pb::DrainNodeResponse> AskDrain(Session& session, const Invocation& invocation,
                                         const std::string& node, bool resume, bool dry_run) {
  pb::DrainNodeRequest request;
  TENURE_ASSIGN_OR_RETURN(const uint64_t id, FindNode(session, node, invocation.timeout()));
  *request.mutable_id() = session.NextRequestId();
  request.set_node(id);
  request.set_resume(resume);
  request.set_dry_run(dry_run);
  return session.Call<pb::DrainNodeResponse>("tenure.v1.Cluster/DrainNode", request,
                                             invocation.load_timeout());
}

Status Drain(const Invocation& invocation, const DrainOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto answer,
                          AskDrain(*session, invocation, options.node, false, options.dry_run));
  if (!options.dry_run) return FinishProcedure(*session, invocation, answer.procedure(), options.wait);
  if (invocation.format == OutputFormat::kJson) {
    Json plan = Json::array();
    Json stuck = Json::array();
    for (const auto& line : answer.plan()) plan.push_back(line);
    for (const auto& line : answer.stuck()) stuck.push_back(line);
    PrintJson({{"plan", plan}, {"stuck", stuck}});
    return OkStatus();
  }
  std::string text = "dry run: nothing was done\n";
  for (const auto& line : answer.plan()) text += line + "\n";
  for (const auto& line : answer.stuck()) text += "cannot be moved: " + line + "\n";
  Print(text);
  return OkStatus();
}

Status Resume(const Invocation& invocation, const ResumeOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto answer, AskDrain(*session, invocation, options.node, true, false));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"node", options.node}, {"revision", answer.revision()}});
  } else {
    Print(fmt::format("node {} takes replicas again\n", options.node));
  }
  return OkStatus();
}

Status Remove(const Invocation& invocation, const RemoveOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::RemoveNodeRequest request;
  TENURE_ASSIGN_OR_RETURN(const uint64_t id, FindNode(*session, options.node, invocation.timeout()));
  *request.mutable_id() = session->NextRequestId();
  request.set_node(id);
  request.mutable_force_regions()->Assign(options.force_regions.begin(), options.force_regions.end());
  request.set_gone(options.gone);
  TENURE_ASSIGN_OR_RETURN(const auto answer,
                          session->Call<pb::RemoveNodeResponse>("tenure.v1.Cluster/RemoveNode", request,
                                                                invocation.load_timeout()));
  return FinishProcedure(*session, invocation, answer.procedure(), options.wait);
}

// Exit 0: it can be stopped; 1: it cannot, with the reasons.
Status CanStop(const Invocation& invocation, const StopOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::CanStopRequest request;
  TENURE_ASSIGN_OR_RETURN(const uint64_t id, FindNode(*session, options.node, invocation.timeout()));
  request.set_node(id);
  request.set_release(options.release);
  if (!options.reserve.empty()) {
    const auto reserve = ParseDuration(options.reserve);
    if (!reserve.ok()) return Annotate(reserve.status(), "--reserve");
    request.set_reserve_ms(ToMillis(*reserve));
  }
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      session->Call<pb::CanStopResponse>("tenure.v1.Cluster/CanStop", request, invocation.load_timeout()));
  if (invocation.format == OutputFormat::kJson) {
    Json reasons = Json::array();
    for (const auto& reason : answer.reasons()) reasons.push_back(reason);
    PrintJson({{"node", IdText(id)},
               {"can_stop", answer.yes()},
               {"reasons", reasons},
               {"reserved_ms", answer.reserved_ms()}});
  } else if (answer.yes()) {
    Print(answer.reserved_ms() == 0
              ? fmt::format("yes: node {} can be stopped now\n", id)
              : fmt::format("yes: node {} can be stopped; this is kept true for {}\n", id,
                            FormatMillis(static_cast<double>(answer.reserved_ms()))));
  }
  if (answer.yes() || options.release) return OkStatus();
  std::string text;
  for (const auto& reason : answer.reasons()) text += fmt::format("{}{}", text.empty() ? "" : "; ", reason);
  return Error(StatusCode::kFailedPrecondition, "node {} cannot be stopped: {}", id, text);
}

}  // namespace

void AddNodeChangeCommands(CLI::App& family, Invocation& invocation) {
  const auto drain = std::make_shared<DrainOptions>();
  CLI::App* command = family.add_subcommand("drain", "Move everything off a node");
  command->add_option("node", drain->node, "Node id or name")->required();
  command->add_flag("--dry-run", drain->dry_run, "Say what would be moved where");
  AddWaitFlag(command, drain->wait);
  OnCommand(command, invocation, drain, Drain);

  const auto resume = std::make_shared<ResumeOptions>();
  command = family.add_subcommand("resume", "Let a node that was drained take replicas again");
  command->add_option("node", resume->node, "Node id or name")->required();
  OnCommand(command, invocation, resume, Resume);

  const auto remove = std::make_shared<RemoveOptions>();
  command =
      family.add_subcommand("remove", "Take a node that is drained, or gone, out of the cluster for good");
  command->add_option("node", remove->node, "Node id or name")->required();
  command
      ->add_option("--force-regions", remove->force_regions,
                   "Regions, all of them by id, whose last good copies are lost with it")
      ->delimiter(',');
  command->add_flag("--force", remove->gone,
                    "The node's process has certainly ended: do not wait until its lease has run out");
  AddWaitFlag(command, remove->wait);
  OnCommand(command, invocation, remove, Remove);

  const auto stop = std::make_shared<StopOptions>();
  command = family.add_subcommand("can-stop", "May this node's process be stopped without hurting anything?");
  command->add_option("node", stop->node, "Node id or name")->required();
  command->add_option("--reserve", stop->reserve, "Keep the answer true for that long, such as 10m");
  command->add_flag("--release", stop->release, "Give a reservation back");
  OnCommand(command, invocation, stop, CanStop);
}

}  // namespace tenure::cli
