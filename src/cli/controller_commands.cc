// tenure controller list | add | remove | promote | target | transfer: the members of group 0 and who leads
// them.

#include <algorithm>
#include <charconv>
#include <chrono>
#include <functional>
#include <optional>

#include "cli/invocation.h"
#include "cli/queries.h"
#include "cli/records.h"
#include "cli/session.h"
#include "cli/tables.h"
#include "cli/waiting.h"

namespace tenure::cli {
namespace {

struct NoOptions {};
struct TransferOptions {
  std::string to;
};
struct AddOptions {
  std::string what;  // ID=HOST:PORT
  std::string zone;
  std::string name;
  bool wait = false;
};
struct RemoveOptions {
  std::string controller;
  bool force = false;
  bool wait = true;
};
struct PromoteOptions {
  std::string controller;
  bool wait = true;
};
struct TargetOptions {
  std::optional<uint32_t> voters;
  bool wait = true;
};

constexpr Duration kWaitTimeout = std::chrono::seconds(60);
constexpr Duration kAttempt = std::chrono::seconds(5);

Deadline DeadlineOf(const Invocation& invocation, bool wait) {
  return Deadline(wait && !invocation.timeout_given ? kWaitTimeout : invocation.timeout());
}

Status List(const Invocation& invocation, const NoOptions&) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto answer, session->ClusterStatus(invocation.timeout()));
  if (invocation.format == OutputFormat::kTable) {
    Print(ControllersTable(answer.controllers()));
    return OkStatus();
  }
  Json list = Json::array();
  for (const auto& controller : answer.controllers()) list.push_back(ToJson(controller));
  PrintJson(list);
  return OkStatus();
}

// An id or a name.
StatusOr<uint64_t> FindController(Session& session, const std::string& wanted, Duration timeout) {
  // The leader's records: a controller that has just started may not know all of them yet.
  TENURE_ASSIGN_OR_RETURN(const auto records, ListRecords(session, pb::RECORD_CONTROLLER, timeout));
  const auto found = FindByIdOrName(
      records, wanted, [](const pb::Record& record) { return IdText(record.controller().id()); },
      [](const pb::Record& record) { return record.controller().name(); });
  if (found != records.end()) return found->controller().id();
  return Error(StatusCode::kNotFound, "controller {} does not exist; `tenure controller list` shows them",
               wanted);
}

Status Transfer(const Invocation& invocation, const TransferOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::TransferLeadershipRequest request;
  if (!options.to.empty()) {
    TENURE_ASSIGN_OR_RETURN(const uint64_t to, FindController(*session, options.to, invocation.timeout()));
    request.set_to(to);
  }
  TENURE_ASSIGN_OR_RETURN(const auto answer,
                          session->CallOnce<pb::TransferLeadershipResponse>(
                              "tenure.v1.Cluster/TransferLeadership", request, invocation.timeout()));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"leader_id", IdText(answer.leader_id())}});
  } else {
    Print(fmt::format("controller {} leads\n", answer.leader_id()));
  }
  return OkStatus();
}

const pb::ControllerStatus* Find(const pb::StatusResponse& status, uint64_t id) {
  for (const auto& controller : status.controllers()) {
    if (controller.record().id() == id) return &controller;
  }
  return nullptr;
}

// Calls `missing` with what the leader says until it returns nothing.
Status WaitFor(Session& session, const Deadline& deadline,
               const std::function<std::string(const pb::StatusResponse&)>& missing) {
  return WaitUntilNothingIsMissing(deadline, [&](Duration limit) -> StatusOr<std::string> {
    const auto status = session.LeaderStatus(limit);
    if (!status.ok()) return "asking the leader: " + std::string(MessageOf(status.status()));
    return missing(*status);
  });
}

void PrintResult(const Invocation& invocation, uint64_t id, const pb::ChangeResponse& answer, bool done,
                 const std::string& text) {
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(
        {{"id", IdText(id)}, {"revision", answer.revision()}, {"changed", answer.changed()}, {"done", done}});
  } else {
    Print(text + "\n");
  }
}

Status Add(const Invocation& invocation, const AddOptions& options) {
  const size_t equals = options.what.find('=');
  pb::AddControllerRequest request;
  uint64_t id = 0;
  const char* const end = options.what.data() + std::min(equals, options.what.size());
  const auto [rest, error] = std::from_chars(options.what.data(), end, id);
  if (equals == std::string::npos || error != std::errc() || rest != end || id == 0) {
    return Error(StatusCode::kInvalidArgument, "'{}' is not ID=HOST:PORT with an id from 1", options.what);
  }
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  const Deadline deadline = DeadlineOf(invocation, options.wait);
  *request.mutable_id() = session->NextRequestId();
  request.set_controller(id);
  request.set_address(options.what.substr(equals + 1));
  request.set_zone(options.zone);
  request.set_name(options.name);
  TENURE_ASSIGN_OR_RETURN(const auto answer,
                          session->Call<pb::ChangeResponse>("tenure.v1.Cluster/AddController", request,
                                                            invocation.timeout(), kAttempt));
  if (options.wait) {
    TENURE_RETURN_IF_ERROR(WaitFor(*session, deadline, [id](const pb::StatusResponse& status) -> std::string {
      const auto* controller = Find(status, id);
      if (controller == nullptr) return fmt::format("controller {} is not listed yet", id);
      const bool there = controller->state() == "follower" || controller->state() == "leader";
      const bool has_all =
          controller->match_index() > 0 && controller->match_index() + 100 >= status.commit_index();
      if (there && has_all) return {};
      return fmt::format("controller {} is {}, it holds the log up to {} of {}", id, controller->state(),
                         controller->match_index(), status.commit_index());
    }));
  }
  PrintResult(invocation, id, answer, options.wait,
              options.wait
                  ? fmt::format("controller {} has joined", id)
                  : fmt::format("controller {} added; start it with tenured --roles controller --id {} "
                                "--listen {} --controllers ...",
                                id, id, request.address()));
  return OkStatus();
}

Status Remove(const Invocation& invocation, const RemoveOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  const Deadline deadline = DeadlineOf(invocation, options.wait);
  TENURE_ASSIGN_OR_RETURN(const uint64_t id,
                          FindController(*session, options.controller, invocation.timeout()));
  pb::RemoveControllerRequest request;
  *request.mutable_id() = session->NextRequestId();
  request.set_controller(id);
  request.set_force(options.force);
  TENURE_ASSIGN_OR_RETURN(const auto answer,
                          session->Call<pb::ChangeResponse>("tenure.v1.Cluster/RemoveController", request,
                                                            invocation.timeout(), kAttempt));
  if (options.wait) {
    TENURE_RETURN_IF_ERROR(WaitFor(*session, deadline, [id](const pb::StatusResponse& status) -> std::string {
      const auto* controller = Find(status, id);
      if (controller == nullptr) return {};
      return fmt::format("controller {} is still a {}{}", id,
                         controller->record().voter() ? "voter" : "learner",
                         status.leader_id() == id ? ", and leads" : "");
    }));
  }
  PrintResult(invocation, id, answer, options.wait,
              fmt::format("controller {} {}", id, options.wait ? "removed" : "is being removed"));
  return OkStatus();
}

Status Promote(const Invocation& invocation, const PromoteOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  const Deadline deadline = DeadlineOf(invocation, options.wait);
  TENURE_ASSIGN_OR_RETURN(const uint64_t id,
                          FindController(*session, options.controller, invocation.timeout()));
  pb::PromoteControllerRequest request;
  *request.mutable_id() = session->NextRequestId();
  request.set_controller(id);
  TENURE_ASSIGN_OR_RETURN(const auto answer,
                          session->Call<pb::ChangeResponse>("tenure.v1.Cluster/PromoteController", request,
                                                            invocation.timeout(), kAttempt));
  if (options.wait) {
    TENURE_RETURN_IF_ERROR(WaitFor(*session, deadline, [id](const pb::StatusResponse& status) -> std::string {
      const auto* controller = Find(status, id);
      if (controller == nullptr) return fmt::format("controller {} is not listed", id);
      if (controller->record().voter()) return {};
      return fmt::format("controller {} is a learner ({}), it holds the log up to {} of {}", id,
                         controller->state(), controller->match_index(), status.commit_index());
    }));
  }
  PrintResult(invocation, id, answer, options.wait,
              fmt::format("controller {} {}", id, options.wait ? "is a voter" : "is being promoted"));
  return OkStatus();
}

Status Target(const Invocation& invocation, const TargetOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  if (!options.voters) {
    TENURE_ASSIGN_OR_RETURN(const auto status, session->LeaderStatus(invocation.timeout()));
    if (invocation.format == OutputFormat::kJson) {
      PrintJson({{"voter_target", status.voter_target()}});
    } else {
      Print(fmt::format("{}\n", status.voter_target()));
    }
    return OkStatus();
  }
  const Deadline deadline = DeadlineOf(invocation, options.wait);
  const uint32_t target = *options.voters;
  pb::SetVoterTargetRequest request;
  *request.mutable_id() = session->NextRequestId();
  request.set_target(target);
  TENURE_ASSIGN_OR_RETURN(const auto answer,
                          session->Call<pb::ChangeResponse>("tenure.v1.Cluster/SetVoterTarget", request,
                                                            invocation.timeout(), kAttempt));
  // More voters come when there are controllers for it; fewer is a thing to wait for.
  const auto voters_of = [](const pb::StatusResponse& status) {
    return std::count_if(status.controllers().begin(), status.controllers().end(),
                         [](const auto& controller) { return controller.record().voter(); });
  };
  if (options.wait) {
    TENURE_RETURN_IF_ERROR(WaitFor(*session, deadline, [&](const pb::StatusResponse& status) -> std::string {
      if (voters_of(status) <= target) return {};
      return fmt::format("{} voters, the target is {}", voters_of(status), target);
    }));
  }
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"voter_target", target}, {"revision", answer.revision()}, {"changed", answer.changed()}});
  } else {
    Print(fmt::format("the target is {} voters\n", target));
  }
  return OkStatus();
}

}  // namespace

void AddControllerCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family = AddFamily(app, "controller", "The controllers, members of group 0");
  OnCommand(family->add_subcommand("list", "Members with role, state and progress"), invocation,
            std::make_shared<NoOptions>(), List);

  const auto add = std::make_shared<AddOptions>();
  CLI::App* command = family->add_subcommand("add", "Let a new controller join, as a learner at first");
  command->add_option("controller", add->what, "ID=HOST:PORT, an id that was never used")->required();
  command->add_option("--zone", add->zone, "Failure domain");
  command->add_option("--name", add->name, "Name for people (default: what the process says)");
  AddWaitFlag(command, add->wait);
  OnCommand(command, invocation, add, Add);

  const auto remove = std::make_shared<RemoveOptions>();
  command =
      family->add_subcommand("remove", "Remove a controller; a voter as soon as another one replaces it");
  command->add_option("controller", remove->controller, "Controller id or name")->required();
  command->add_flag("--force", remove->force,
                    "Without a replacement, although fewer voters remain than the target");
  AddWaitFlag(command, remove->wait);
  OnCommand(command, invocation, remove, Remove);

  const auto promote = std::make_shared<PromoteOptions>();
  command = family->add_subcommand("promote", "Make a learner a voter before others, once it has caught up");
  command->add_option("controller", promote->controller, "Controller id or name")->required();
  AddWaitFlag(command, promote->wait);
  OnCommand(command, invocation, promote, Promote);

  const auto target = std::make_shared<TargetOptions>();
  command = family->add_subcommand("target", "How many voters there should be; prints it if none is given");
  command->add_option("voters", target->voters, "1, 3, 5 or 7");
  AddWaitFlag(command, target->wait);
  OnCommand(command, invocation, target, Target);

  const auto transfer = std::make_shared<TransferOptions>();
  command = family->add_subcommand("transfer", "Hand the leadership over");
  command->add_option("to", transfer->to, "Controller id or name (default: the most up to date other voter)");
  OnCommand(command, invocation, transfer, Transfer);
}

}  // namespace tenure::cli
