#include "recovery/execution.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/format.h"
#include "tenure/internal/v1/command.pb.h"

namespace tenure::recovery {
namespace {

namespace ipb = ::tenure::internal::v1;

// Of each kind. More than one database has regions.
constexpr uint64_t kLeftOutIds = 100'000;

std::vector<uint64_t> VotersOf(const raft::Configuration& configuration) {
  std::vector<uint64_t> voters;
  for (const raft::Member& member : configuration.members) {
    if (configuration.IsVoter(member.id)) voters.push_back(member.id.value());
  }
  return voters;
}

// What applying the decision does to the catalog.
std::string CommandOf(const Plan& plan, const Intent& intent) {
  ipb::CatalogCommand command;
  command.set_now_ms(intent.at_ms);
  ipb::RecoverCluster& recover = *command.mutable_recover_cluster();
  recover.set_cluster_id(plan.cluster_id);
  recover.set_from_incarnation(plan.from_incarnation);
  recover.set_voter(plan.controller.value());
  for (const uint64_t id : intent.carried) recover.add_learners(id);
  command.set_version(catalog::TypeOf(command)->since);
  auto& record = *recover.mutable_recovery();
  record.set_incarnation(plan.to_incarnation);
  record.set_at_ms(intent.at_ms);
  record.set_by(intent.by);
  record.set_digest(intent.digest);
  record.set_controller(plan.controller.value());
  record.set_term(plan.last_term.value());
  record.set_index(plan.last_index.value());
  record.set_left_out(kLeftOutIds);
  for (const uint64_t id : intent.voters) record.add_voters(id);
  for (const uint64_t id : intent.carried) record.add_carried(id);
  return command.SerializeAsString();
}

// As if the picked controller had led `new_term` with the votes of the new configuration, its own: no other
// replica can have led that term, whose number no survivor has seen, and the others' messages are refused.
wal::Write DecisionOf(const Plan& plan, const Intent& intent, LogIndex commit) {
  wal::Write write;
  write.group = kCatalogGroup;
  write.entries.push_back({plan.last_index.Next(), plan.new_term, raft::EntryType::kConfiguration,
                           Bytes(raft::EncodeConfiguration(plan.after))});
  write.entries.push_back(
      {plan.last_index.Plus(2), plan.new_term, raft::EntryType::kCommand, Bytes(CommandOf(plan, intent))});
  // What is committed stays as it was: a single voter commits when it leads.
  write.hard_state = raft::HardState{plan.new_term, ReplicaId(plan.controller.value()), commit};
  return write;
}

}  // namespace

Survivors::~Survivors() = default;

StatusOr<std::unique_ptr<Survivors>> Survivors::Open(runtime::Disk& disk, runtime::Executor& executor,
                                                     const std::vector<std::string>& paths, Logger logger) {
  if (paths.empty()) return Error(StatusCode::kInvalidArgument, "no data directory is given");
  std::unique_ptr<Survivors> survivors(new Survivors(disk, executor, std::move(logger)));
  for (const std::string& path : paths) {
    if (std::count(paths.begin(), paths.end(), path) > 1) {
      return Error(StatusCode::kInvalidArgument, "{} is given twice", path);
    }
    TENURE_ASSIGN_OR_RETURN(auto directory, wal::DataDirectory::Open(disk, path));
    TENURE_ASSIGN_OR_RETURN(DirectorySurvey survey, SurveyDirectory(disk, *directory));
    survivors->directories_.push_back(std::move(directory));
    survivors->survey_.push_back(std::move(survey));
  }
  return survivors;
}

// A recovery with this digest that one of the directories has been through already; null if there is none.
StatusOr<const Intent*> Survivors::FindDecided(const std::string& digest) {
  for (const DirectorySurvey& directory : survey_) {
    TENURE_ASSIGN_OR_RETURN(const std::vector<Intent> history, HistoryOf(directory.identity));
    if (history.empty() || history.back().digest != digest) continue;
    intent_ = history.back();
    return &intent_;
  }
  return nullptr;
}

void Survivors::Execute(Request request, Callback<StatusOr<Intent>> done) {
  const auto decided = FindDecided(request.digest);
  if (!decided.ok()) return done(decided.status());
  if (*decided != nullptr) {
    const Status finished = Finish(**decided);
    return finished.ok() ? done(intent_) : done(finished);
  }
  const auto plan = MakePlan(survey_, request.forced);
  if (!plan.ok()) return done(plan.status());
  if (plan->digest != request.digest) {
    return done(
        Error(StatusCode::kFailedPrecondition,
              "digest {}: the plan for these directories as they are now has digest {}; look at it and "
              "decide again",
              request.digest, plan->digest));
  }
  if (const Status begun = Begin(*plan, request); !begun.ok()) return done(begun);
  wal::DataDirectory& picked = *directories_[plan->picked];
  auto log = wal::Wal::Open(disk_, executor_, picked.log_path(), request.log, logger_, [](Status) {});
  if (!log.ok()) return done(log.status());
  log_ = *std::move(log);
  AppendDecision(*plan, [this, done = std::move(done)](Status status) mutable {
    // The writer calls this from within: it is destroyed in a turn of its own.
    executor_.Post([log = std::shared_ptr<wal::Wal>(std::move(log_))] {});
    if (status.ok()) status = Finish(intent_);
    if (!status.ok()) return done(status);
    done(intent_);
  });
}

Status Survivors::Begin(const Plan& plan, const Request& request) {
  intent_ = {.incarnation = plan.to_incarnation,
             .digest = plan.digest,
             .at_ms = ToMillis(executor_.WallNow()),
             .controller = plan.controller,
             .term = plan.new_term,
             .index = plan.last_index.Next(),
             .voters = VotersOf(plan.before),
             .carried = {},
             .by = request.by};
  for (const raft::Member& member : plan.after.members) {
    if (member.id.value() != plan.controller.value()) intent_.carried.push_back(member.id.value());
  }
  wal::Identity identity = survey_[plan.picked].identity;
  identity.pending = EncodeIntent(intent_);
  return directories_[plan.picked]->Update(identity);
}

void Survivors::AppendDecision(const Plan& plan, Callback<Status> done) {
  std::vector<wal::Write> writes;
  writes.push_back(DecisionOf(plan, intent_, survey_[plan.picked].catalog()->commit));
  log_->Append(std::move(writes), [this, done = std::move(done)](Status status) mutable {
    if (!status.ok()) return done(Annotate(status, "the log of the picked directory"));
    log_->Close(std::move(done));
  });
}

Status Survivors::Finish(const Intent& intent) {
  const auto took_part = [&intent](ControllerId id) {
    return id == intent.controller ||
           std::find(intent.carried.begin(), intent.carried.end(), id.value()) != intent.carried.end();
  };
  // The picked one first: what it says is decided, the others follow.
  for (const bool picked : {true, false}) {
    for (size_t i = 0; i < directories_.size(); ++i) {
      const wal::Identity& identity = survey_[i].identity;
      if ((identity.controller_id == intent.controller) != picked) continue;
      if (identity.incarnation >= intent.incarnation) {
        // Done before, as the log tells; what the file says may be behind.
        if (identity != directories_[i]->identity()) {
          TENURE_RETURN_IF_ERROR(directories_[i]->EnterIncarnation(identity));
        }
        continue;
      }
      if (!took_part(identity.controller_id) || identity.incarnation + 1 != intent.incarnation) {
        return Error(StatusCode::kFailedPrecondition,
                     "{}: controller {} of incarnation {} had no part in recovery {}; leave it out",
                     survey_[i].path, identity.controller_id, identity.incarnation, intent.digest);
      }
      survey_[i].identity = After(identity, intent);
      TENURE_RETURN_IF_ERROR(directories_[i]->EnterIncarnation(survey_[i].identity));
    }
  }
  return OkStatus();
}

}  // namespace tenure::recovery
