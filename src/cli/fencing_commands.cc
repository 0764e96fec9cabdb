// tenure fencing show | set: how long nodes' leases are, and what they do without one. tenure barrier: is a
// change known everywhere?

#include <algorithm>

#include "base/duration.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "cli/records.h"
#include "cli/session.h"

namespace tenure::cli {
namespace {

constexpr Duration kAnswerMargin = std::chrono::seconds(1);

struct NoOptions {};
struct SetOptions {
  std::string mode;
  std::string lease;
};
struct BarrierOptions {
  uint64_t revision = 0;
  std::string budget;
};

std::string_view ModeName(pb::FencingMode mode) {
  return mode == pb::FENCING_AVAILABLE ? "available" : "strict";
}

void PrintFencing(const Invocation& invocation, const pb::FencingResponse& answer) {
  const pb::FencingSettings& settings = answer.settings();
  if (invocation.format == OutputFormat::kJson) {
    Json unconfirmed = Json::array();
    for (const uint64_t node : answer.unconfirmed()) unconfirmed.push_back(IdText(node));
    PrintJson({{"mode", ModeName(settings.mode())},
               {"lease_ms", settings.fence_ms()},
               {"version", settings.version()},
               {"bound_ms", settings.bound_ms()},
               {"bound_available", settings.bound_available()},
               {"proceed_ms", answer.proceed_ms() == 0 ? Json(nullptr) : Json(answer.proceed_ms())},
               {"unconfirmed", unconfirmed}});
    return;
  }
  const auto millis = [](int64_t ms) { return FormatMillis(static_cast<double>(ms)); };
  std::string text = fmt::format("mode       {}\nlease      {}\nversion    {}\n", ModeName(settings.mode()),
                                 millis(settings.fence_ms()), settings.version());
  text += answer.proceed_ms() == 0
              ? "lost node  holds barriers up until it is back, or removed\n"
              : fmt::format("lost node  passed by barriers after {}\n", millis(answer.proceed_ms()));
  if (!answer.unconfirmed().empty()) {
    text += fmt::format("unconfirmed node {}: may still go by earlier settings, of leases of up to {}{}\n",
                        fmt::join(answer.unconfirmed(), ", "), millis(settings.bound_ms()),
                        settings.bound_available() ? ", or by `available`" : "");
  }
  Print(text);
}

Status Ask(const Invocation& invocation, const pb::FencingRequest& request) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::FencingRequest identified = request;
  if (request.set()) *identified.mutable_id() = session->NextRequestId();
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      session->Call<pb::FencingResponse>("tenure.v1.Cluster/Fencing", identified, invocation.timeout()));
  PrintFencing(invocation, answer);
  return OkStatus();
}

Status Show(const Invocation& invocation, const NoOptions&) {
  return Ask(invocation, {});
}

Status Set(const Invocation& invocation, const SetOptions& options) {
  if (options.mode.empty() && options.lease.empty())
    return Error(StatusCode::kInvalidArgument, "give --mode, --lease or both");
  pb::FencingRequest request;
  request.set_set(true);
  if (options.mode.empty()) {
    TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
    TENURE_ASSIGN_OR_RETURN(
        const auto now, session->Call<pb::FencingResponse>("tenure.v1.Cluster/Fencing", pb::FencingRequest(),
                                                           invocation.timeout()));
    request.set_mode(now.settings().mode());
  } else {
    request.set_mode(options.mode == "available" ? pb::FENCING_AVAILABLE : pb::FENCING_STRICT);
  }
  if (!options.lease.empty()) {
    const auto lease = ParseDuration(options.lease);
    if (!lease.ok()) return Annotate(lease.status(), "--lease");
    if (ToMillis(*lease) == 0) return Error(StatusCode::kInvalidArgument, "--lease: must be at least 2s");
    request.set_fence_ms(ToMillis(*lease));
  }
  return Ask(invocation, request);
}

Status Barrier(const Invocation& invocation, const BarrierOptions& options) {
  pb::BarrierRequest request;
  request.set_revision(options.revision);
  Duration limit = invocation.load_timeout();
  if (!options.budget.empty()) {
    const auto budget = ParseDuration(options.budget);
    if (!budget.ok()) return Annotate(budget.status(), "--budget");
    request.set_budget_ms(std::max<int64_t>(ToMillis(*budget), 1));
    if (!invocation.timeout_given) limit = std::max(limit, *budget + kAnswerMargin);
  }
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto answer, session->Call<pb::BarrierResponse>("tenure.v1.Cluster/Barrier",
                                                                                request, limit, limit));
  std::string unsafe;
  Table table({"NODE", "NAME", "DISPOSITION", "ACKNOWLEDGED", "SILENT"});
  Json nodes = Json::array();
  for (const pb::BarrierNode& node : answer.nodes()) {
    table.AddRow({IdText(node.node()), node.name(), node.disposition(),
                  node.acknowledged() == 0 ? "-" : IdText(node.acknowledged()),
                  FormatMillis(static_cast<double>(node.silence_ms()))});
    nodes.push_back({{"id", IdText(node.node())},
                     {"name", node.name()},
                     {"disposition", node.disposition()},
                     {"acknowledged", node.acknowledged()},
                     {"silence_ms", node.silence_ms()}});
    if (node.disposition() != "UNSAFE") continue;
    unsafe += fmt::format("{}{} ({})", unsafe.empty() ? "" : ", ", node.node(), node.name());
  }
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"proceeded", answer.proceeded()},
               {"revision", answer.revision()},
               {"waited_ms", answer.waited_ms()},
               {"nodes", nodes}});
  } else {
    Print(fmt::format("revision {}: {} after {}\n\n{}", answer.revision(),
                      answer.proceeded() ? "known everywhere" : "not known everywhere",
                      FormatMillis(static_cast<double>(answer.waited_ms())), table.ToString()));
  }
  if (answer.proceeded()) return OkStatus();
  return Error(StatusCode::kDeadlineExceeded,
               "the barrier for revision {} has not passed within {} ms: node {}", answer.revision(),
               answer.waited_ms(), unsafe.empty() ? "none is unsafe now" : unsafe);
}

}  // namespace

void AddFencingCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family = AddFamily(app, "fencing", "Leases of nodes, and what they do without one");
  OnCommand(family->add_subcommand("show", "The settings"), invocation, std::make_shared<NoOptions>(), Show);
  const auto set = std::make_shared<SetOptions>();
  CLI::App* command = family->add_subcommand("set", "Change the settings");
  command
      ->add_option("--mode", set->mode,
                   "strict: without a lease a node serves nothing; available: it goes on")
      ->check(CLI::IsMember({"strict", "available"}));
  command->add_option("--lease", set->lease, "How long a lease lasts, 2s to 1h");
  OnCommand(command, invocation, set, Set);

  const auto barrier = std::make_shared<BarrierOptions>();
  command = app.add_subcommand("barrier", "Wait until no node serves from an older catalog");
  command->add_option("--revision", barrier->revision, "Of the catalog (default: the present one)");
  command->add_option("--budget", barrier->budget, "How long to wait, such as 30s");
  OnCommand(command, invocation, barrier, Barrier);
}

}  // namespace tenure::cli
