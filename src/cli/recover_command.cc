// tenure recover DIR...: the catalog goes on with what the survivors of a lost majority hold
// (docs/recovery.md). Without --execute nothing is changed: what each directory holds, and the plan with its
// digest.

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <set>

#include "cli/inspection.h"
#include "cli/invocation.h"
#include "cli/recovery_text.h"
#include "recovery/execution.h"
#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"

namespace tenure::cli {
namespace {

struct RecoverOptions {
  std::vector<std::string> directories;
  std::string execute;
  std::vector<uint64_t> force;
  bool audit = false;
  std::string by = Operator();
};

// Dir -> group -> applied index of the stored state; a directory that is not readable as a whole has none.
using Applied = std::vector<std::map<GroupId, LogIndex>>;

Json PlanJson(const recovery::Plan& plan, const recovery::DirectorySurvey& picked) {
  Json json;
  json["digest"] = plan.digest;
  json["directory"] = picked.path;
  json["controller_id"] = IdText(plan.controller.value());
  json["from_incarnation"] = plan.from_incarnation;
  json["to_incarnation"] = plan.to_incarnation;
  json["last_term"] = plan.last_term.value();
  json["last_index"] = plan.last_index.value();
  json["new_term"] = plan.new_term.value();
  json["configuration_before"] = raft::ToString(plan.before);
  json["configuration_after"] = raft::ToString(plan.after);
  json["lost_controllers"] = Json::array();
  for (const uint64_t id : plan.lost) json["lost_controllers"].push_back(IdText(id));
  return json;
}

Json SurveyJson(const recovery::DirectorySurvey& survey, const std::map<GroupId, LogIndex>& applied) {
  Json json;
  json["directory"] = survey.path;
  json["cluster_id"] = survey.identity.cluster_id;
  json["incarnation"] = survey.identity.incarnation;
  json["name"] = survey.identity.name;
  json["controller_id"] = survey.identity.controller_id.IsNone()
                              ? Json(nullptr)
                              : Json(IdText(survey.identity.controller_id.value()));
  json["damage"] = survey.damage;
  json["groups"] = Json::array();
  for (const auto& [id, group] : survey.groups) {
    const auto found = applied.find(id);
    json["groups"].push_back({{"group", IdText(id.value())},
                              {"term", group.term.value()},
                              {"commit", group.commit.value()},
                              {"applied", found == applied.end() ? 0 : found->second.value()},
                              {"first_index", group.first_index.value()},
                              {"last_index", group.last_index.value()},
                              {"last_term", group.last_term.value()},
                              {"configuration", raft::ToString(group.configuration)}});
  }
  return json;
}

Json AuditJson(const recovery::DirectorySurvey& survey, const std::vector<recovery::Intent>& history) {
  Json json;
  json["directory"] = survey.path;
  json["cluster_id"] = survey.identity.cluster_id;
  json["incarnation"] = survey.identity.incarnation;
  json["recoveries"] = Json::array();
  for (const recovery::Intent& intent : history) {
    json["recoveries"].push_back({{"incarnation", intent.incarnation},
                                  {"at", FormatTime(intent.at_ms)},
                                  {"by", intent.by},
                                  {"digest", intent.digest},
                                  {"controller_id", IdText(intent.controller.value())},
                                  {"term", intent.term.value()},
                                  {"index", intent.index.value()},
                                  {"voters_before", fmt::format("{}", fmt::join(intent.voters, ","))},
                                  {"carried", fmt::format("{}", fmt::join(intent.carried, ","))}});
  }
  return json;
}

Status Audit(const Invocation& invocation, const std::vector<recovery::DirectorySurvey>& survey) {
  Json list = Json::array();
  std::string text;
  for (const recovery::DirectorySurvey& directory : survey) {
    TENURE_ASSIGN_OR_RETURN(const auto history, recovery::HistoryOf(directory.identity));
    list.push_back(AuditJson(directory, history));
    text += AuditText(directory, history);
  }
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(list);
  } else {
    Print(text);
  }
  return OkStatus();
}

Status ShowPlan(const Invocation& invocation, const std::vector<recovery::DirectorySurvey>& survey,
                const Applied& applied, const std::set<uint64_t>& forced) {
  const auto plan = recovery::MakePlan(survey, forced);
  if (invocation.format == OutputFormat::kJson) {
    Json json;
    json["directories"] = Json::array();
    for (size_t i = 0; i < survey.size(); ++i)
      json["directories"].push_back(SurveyJson(survey[i], applied[i]));
    json["plan"] = plan.ok() ? PlanJson(*plan, survey[plan->picked]) : Json(nullptr);
    PrintJson(json);
  } else {
    std::string text = SurveyText(survey, applied);
    if (plan.ok()) text += "\n" + PlanText(*plan, survey);
    Print(text);
  }
  return plan.ok() ? OkStatus() : plan.status();
}

Status Execute(const Invocation& invocation, recovery::Survivors& survivors, runtime::RealExecutor& executor,
               const RecoverOptions& options) {
  std::promise<StatusOr<recovery::Intent>> promise;
  executor.Post([&] {
    recovery::Survivors::Request request;
    request.digest = options.execute;
    request.forced.insert(options.force.begin(), options.force.end());
    request.by = options.by;
    survivors.Execute(std::move(request),
                      [&promise](StatusOr<recovery::Intent> done) { promise.set_value(std::move(done)); });
  });
  TENURE_ASSIGN_OR_RETURN(const recovery::Intent intent, promise.get_future().get());
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"incarnation", intent.incarnation},
               {"controller_id", IdText(intent.controller.value())},
               {"digest", intent.digest},
               {"done", true}});
  } else {
    Print(DoneText(intent));
  }
  return OkStatus();
}

Status Recover(const Invocation& invocation, const RecoverOptions& options) {
  Applied applied;
  // Before the directories are locked for good: the inspection locks them itself.
  for (const std::string& directory : options.directories) {
    const auto found = InspectDirectory(directory, /*with_entries=*/false, std::nullopt);
    if (!found.ok()) return found.status();
    applied.push_back(found->applied);
  }
  runtime::RealExecutor executor("recover", runtime::RealExecutor::Work::kBlocking);
  runtime::RealDisk disk(executor);
  auto survivors = recovery::Survivors::Open(disk, executor, options.directories, Logger());
  if (!survivors.ok()) return survivors.status();
  Status status;
  if (options.audit) {
    status = Audit(invocation, (*survivors)->survey());
  } else if (options.execute.empty()) {
    status = ShowPlan(invocation, (*survivors)->survey(), applied,
                      std::set<uint64_t>(options.force.begin(), options.force.end()));
  } else {
    status = Execute(invocation, **survivors, executor, options);
  }
  executor.Stop();
  return status;
}

}  // namespace

// user@host, for the record.
std::string Operator() {
  const passwd* user = getpwuid(geteuid());
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  return fmt::format("{}@{}", user == nullptr ? fmt::format("{}", geteuid()) : std::string(user->pw_name),
                     host);
}

void AddRecoverCommand(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<RecoverOptions>();
  CLI::App* command = app.add_subcommand(
      "recover", "Go on after a majority of the controllers is lost for good, with what survivors hold");
  command
      ->add_option("directory", options->directories, "Data directories of the surviving, stopped processes")
      ->required();
  auto* execute = command->add_option("--execute", options->execute,
                                      "Do what the plan with this digest says; without it the plan is shown");
  command->add_option("--force", options->force, "Controllers whose present majority is overruled: 1,2")
      ->delimiter(',');
  command->add_option("--by", options->by, "Who decided, for the record")->capture_default_str();
  command->add_flag("--audit", options->audit, "What recoveries these directories went through")
      ->excludes(execute);
  OnCommand(command, invocation, options, Recover);
}

}  // namespace tenure::cli
