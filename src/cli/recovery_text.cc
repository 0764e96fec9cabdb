#include "cli/recovery_text.h"

#include <algorithm>

#include "base/format.h"

namespace tenure::cli {
namespace {

std::string Ids(const std::vector<uint64_t>& ids) {
  return ids.empty() ? "none" : fmt::format("{}", fmt::join(ids, ", "));
}

std::string GroupText(GroupId id) {
  return id == kCatalogGroup ? "0 (catalog)" : IdText(id.value());
}

// What the plan cannot keep, as far as it can be told from here.
std::string LossText(const recovery::Plan& plan, const std::vector<recovery::DirectorySurvey>& survey) {
  std::string text = fmt::format(
      "kept         everything up to index {} of term {}, which includes all that a survivor knows to be "
      "committed\n",
      plan.last_index, plan.last_term);
  text += fmt::format(
      "unknown      whether the lost controllers ({}) had acknowledged more after that; if so, it is lost\n",
      Ids(plan.lost));
  for (const recovery::DirectorySurvey& directory : survey) {
    const recovery::GroupSurvey& log = *directory.catalog();
    if (log.last_term < plan.last_term && log.last_index > plan.last_index) {
      text += fmt::format(
          "dropped      entries {}-{} of controller {}, of the older term {}: not committed\n",
          plan.last_index.Next(), log.last_index, directory.identity.controller_id, log.last_term);
    }
  }
  return text;
}

std::string RegionsText(const recovery::DirectorySurvey& picked) {
  const size_t regions = picked.groups.size() - picked.groups.count(kCatalogGroup);
  if (regions == 0) return "";
  return fmt::format(
      "regions      {} replicas in {} are left as they are; once the catalog is served again,\n"
      "             `tenure region recover` shows which regions have lost their majority\n",
      regions, picked.path);
}

}  // namespace

std::string SurveyText(const std::vector<recovery::DirectorySurvey>& survey,
                       const std::vector<std::map<GroupId, LogIndex>>& applied) {
  std::string text;
  for (size_t i = 0; i < survey.size(); ++i) {
    const recovery::DirectorySurvey& directory = survey[i];
    const wal::Identity& identity = directory.identity;
    text += fmt::format("directory    {}\ncluster      {}, incarnation {}\nprocess      {}, controller {}\n",
                        directory.path, identity.cluster_id.empty() ? "not known" : identity.cluster_id,
                        identity.incarnation, identity.name,
                        identity.controller_id.IsNone() ? "-" : IdText(identity.controller_id.value()));
    for (const std::string& damage : directory.damage) text += fmt::format("DAMAGE       {}\n", damage);
    Table table({"GROUP", "TERM", "LAST TERM", "FIRST", "LAST", "COMMIT", "APPLIED", "CONFIGURATION"});
    for (const auto& [id, group] : directory.groups) {
      const auto found = applied[i].find(id);
      table.AddRow({GroupText(id), IdText(group.term.value()), IdText(group.last_term.value()),
                    IdText(group.first_index.value()), IdText(group.last_index.value()),
                    IdText(group.commit.value()),
                    found == applied[i].end() ? "-" : IdText(found->second.value()),
                    raft::ToString(group.configuration)});
    }
    text += table.ToString() + (i + 1 < survey.size() ? "\n" : "");
  }
  return text;
}

std::string PlanText(const recovery::Plan& plan, const std::vector<recovery::DirectorySurvey>& survey) {
  const recovery::DirectorySurvey& picked = survey[plan.picked];
  std::string directories;
  for (const recovery::DirectorySurvey& directory : survey) directories += " " + Quoted(directory.path);
  std::vector<uint64_t> present;
  for (const raft::Member& member : plan.before.members) {
    const bool lost = std::find(plan.lost.begin(), plan.lost.end(), member.id.value()) != plan.lost.end();
    if (plan.before.IsVoter(member.id) && !lost) present.push_back(member.id.value());
  }
  // A majority that is there was overruled for this plan, and has to be for its execution.
  const std::string force =
      present.size() > plan.lost.size() ? fmt::format(" --force {}", fmt::join(present, ",")) : "";
  return fmt::format(
             "plan         {}\ncluster      {}: incarnation {} becomes {}\npicked       {} (controller {}): "
             "its log "
             "ends at index {} of term {}\nvoters       {} -> {}\n",
             plan.digest, plan.cluster_id, plan.from_incarnation, plan.to_incarnation, picked.path,
             plan.controller, plan.last_index, plan.last_term, raft::ToString(plan.before),
             raft::ToString(plan.after)) +
         LossText(plan, survey) + RegionsText(picked) +
         fmt::format(
             "\nNothing was changed. Whatever is not among these directories will be refused by the cluster "
             "from then "
             "on.\nTo do it: tenure recover{}{} --execute {}\n",
             directories, force, plan.digest);
}

std::string AuditText(const recovery::DirectorySurvey& directory,
                      const std::vector<recovery::Intent>& history) {
  std::string text = fmt::format("{}: cluster {}, incarnation {}\n", directory.path,
                                 directory.identity.cluster_id, directory.identity.incarnation);
  if (history.empty()) return text + "no recoveries\n";
  Table table(
      {"AT", "INCARNATION", "BY", "DIGEST", "CONTROLLER", "TERM", "INDEX", "VOTERS BEFORE", "CARRIED"});
  for (const recovery::Intent& intent : history) {
    table.AddRow({FormatTime(intent.at_ms), IdText(intent.incarnation), intent.by, intent.digest,
                  IdText(intent.controller.value()), IdText(intent.term.value()),
                  IdText(intent.index.value()), Ids(intent.voters), Ids(intent.carried)});
  }
  return text + table.ToString();
}

std::string DoneText(const recovery::Intent& intent) {
  return fmt::format(
      "recovered: incarnation {}, controller {} is the only voter{}\nStart the processes of these "
      "directories now; "
      "then see `tenure status` and `tenure region recover`.\n",
      intent.incarnation, intent.controller,
      intent.carried.empty() ? "" : fmt::format(", controllers {} are learners", Ids(intent.carried)));
}

}  // namespace tenure::cli
