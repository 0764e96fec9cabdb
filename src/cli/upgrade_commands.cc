// tenure upgrade status | finalize: what the programs of the members can read, and raising the cluster's
// format.

#include "cli/invocation.h"
#include "cli/records.h"
#include "cli/session.h"

namespace tenure::cli {
namespace {

struct NoOptions {};

StatusOr<pb::UpgradeResponse> Ask(const Invocation& invocation, bool finalize) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::UpgradeRequest request;
  request.set_finalize(finalize);
  return session->Call<pb::UpgradeResponse>("tenure.v1.Cluster/Upgrade", request, invocation.timeout());
}

Json ToJson(const pb::UpgradeResponse& upgrade) {
  Json json = {{"format", upgrade.format()}, {"possible", upgrade.possible()}, {"raised", upgrade.raised()}};
  json["members"] = Json::array();
  for (const pb::UpgradeMember& member : upgrade.members()) {
    json["members"].push_back({{"kind", member.kind()},
                               {"id", IdText(member.id())},
                               {"name", member.name()},
                               {"newest_format", member.newest_format()},
                               {"software_version", member.software_version()}});
  }
  json["features"] = Json::array();
  for (const pb::UpgradeFeature& feature : upgrade.features()) {
    json["features"].push_back({{"name", feature.name()},
                                {"since", feature.since()},
                                {"enabled", feature.since() <= upgrade.format()}});
  }
  return json;
}

std::string Summary(const pb::UpgradeResponse& upgrade) {
  if (upgrade.possible() > upgrade.format()) {
    return fmt::format("format {}; all members read {}: `tenure upgrade finalize` raises it\n",
                       upgrade.format(), upgrade.possible());
  }
  return fmt::format("format {}, the newest that all members read\n", upgrade.format());
}

Status Show(const Invocation& invocation, const NoOptions&) {
  TENURE_ASSIGN_OR_RETURN(const auto upgrade, Ask(invocation, /*finalize=*/false));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(ToJson(upgrade));
    return OkStatus();
  }
  Table members({"MEMBER", "ID", "NAME", "READS FORMATS UP TO", "VERSION"});
  for (const pb::UpgradeMember& member : upgrade.members()) {
    members.AddRow({member.kind(), IdText(member.id()), member.name(),
                    fmt::format("{}", member.newest_format()), member.software_version()});
  }
  Table features({"FEATURE", "SINCE FORMAT", "ENABLED"});
  for (const pb::UpgradeFeature& feature : upgrade.features()) {
    features.AddRow({feature.name(), fmt::format("{}", feature.since()),
                     feature.since() <= upgrade.format() ? "yes" : "no"});
  }
  Print(Summary(upgrade) + "\n" + members.ToString() + "\n" + features.ToString());
  return OkStatus();
}

Status Finalize(const Invocation& invocation, const NoOptions&) {
  TENURE_ASSIGN_OR_RETURN(const auto upgrade, Ask(invocation, /*finalize=*/true));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(ToJson(upgrade));
  } else if (upgrade.raised()) {
    Print(fmt::format("format raised to {}\n", upgrade.format()));
  } else {
    Print(Summary(upgrade));
  }
  return OkStatus();
}

}  // namespace

void AddUpgradeCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family =
      AddFamily(app, "upgrade", "The cluster's format, after all processes run a newer program");
  OnCommand(family->add_subcommand("status", "The format, and what each member's program reads"), invocation,
            std::make_shared<NoOptions>(), Show);
  OnCommand(family->add_subcommand("finalize", "Raise the format; older programs cannot join afterwards"),
            invocation, std::make_shared<NoOptions>(), Finalize);
}

}  // namespace tenure::cli
