#include "recovery/plan.h"

#include <algorithm>
#include <tuple>

#include "base/format.h"
#include "base/hash.h"
#include "raft/quorum.h"
#include "recovery/intent.h"
#include "wal/inspect.h"

namespace tenure::recovery {
namespace {

constexpr auto kRefused = StatusCode::kFailedPrecondition;

GroupSurvey SurveyOf(const wal::InspectedGroup& group) {
  const raft::PersistedState& state = group.state;
  GroupSurvey survey;
  survey.term = state.hard_state.term;
  survey.vote = state.hard_state.vote;
  survey.commit = state.hard_state.commit;
  survey.first_index = state.mark.index.Next();
  survey.last_index = state.last_index;
  survey.last_term = state.terms.empty() ? state.mark.term : state.terms.back().term;
  survey.configuration = group.configuration();
  return survey;
}

Status CheckDirectory(const DirectorySurvey& directory) {
  if (directory.identity.cluster_id.empty()) {
    return Error(kRefused, "{}: this process never learned which cluster it belongs to: nothing to recover",
                 directory.path);
  }
  if (!directory.damage.empty()) {
    return Error(
        kRefused,
        "{}: its log is damaged ({}); see `tenure inspect {}`. Leave the directory out, or drop what "
        "is damaged first with `tenure repair {}`",
        directory.path, directory.damage.front(), directory.path, directory.path);
  }
  if (directory.catalog() == nullptr) {
    return Error(kRefused,
                 "{}: it holds no replica of group 0, the catalog; leave it out: a node without a controller "
                 "follows its cluster into the new incarnation by itself",
                 directory.path);
  }
  if (directory.identity.controller_id.IsNone() || directory.catalog()->configuration.members.empty()) {
    return Error(kRefused, "{}: its replica of group 0 has never been a member", directory.path);
  }
  return OkStatus();
}

Status CheckTogether(const std::vector<DirectorySurvey>& survey) {
  std::map<ControllerId, const DirectorySurvey*> seen;
  const DirectorySurvey& first = survey.front();
  for (const DirectorySurvey& directory : survey) {
    TENURE_RETURN_IF_ERROR(CheckDirectory(directory));
    if (directory.identity.cluster_id != first.identity.cluster_id) {
      return Error(kRefused,
                   "{} belongs to cluster {}, {} to cluster {}: directories of one cluster are needed",
                   first.path, first.identity.cluster_id, directory.path, directory.identity.cluster_id);
    }
    if (directory.identity.incarnation != first.identity.incarnation) {
      const bool newer = directory.identity.incarnation > first.identity.incarnation;
      const DirectorySurvey& old = newer ? first : directory;
      const DirectorySurvey& now = newer ? directory : first;
      return Error(
          kRefused,
          "{} is of incarnation {}, {} of incarnation {}: one was left behind by a recovery; leave {} "
          "out (or finish that recovery: `tenure recover {} --audit` shows its digest)",
          old.path, old.identity.incarnation, now.path, now.identity.incarnation, old.path, now.path);
    }
    const auto [it, fresh] = seen.emplace(directory.identity.controller_id, &directory);
    if (!fresh) {
      return Error(kRefused, "{} and {} both hold controller {}: one is a copy; leave the older one out",
                   it->second->path, directory.path, directory.identity.controller_id);
    }
  }
  return OkStatus();
}

bool IsBetter(const DirectorySurvey& a, const DirectorySurvey& b) {
  const auto rank = [](const DirectorySurvey& d) {
    const GroupSurvey& log = *d.catalog();
    return std::tuple(log.last_term, log.last_index,
                      log.configuration.IsVoter(ReplicaId(d.identity.controller_id.value())));
  };
  const auto rank_a = rank(a);
  const auto rank_b = rank(b);
  return rank_a != rank_b ? rank_a > rank_b : a.identity.controller_id < b.identity.controller_id;
}

// A majority that is there elects a leader by itself and loses nothing: overruling it has to be meant.
Status CheckMajority(const Plan& plan, const std::set<uint64_t>& present, const std::set<uint64_t>& forced) {
  std::set<uint64_t> voters;
  for (const raft::Member& member : plan.before.members) {
    if (plan.before.IsVoter(member.id) && present.contains(member.id.value()))
      voters.insert(member.id.value());
  }
  if (!forced.empty() && forced != voters) {
    return Error(kRefused, "--force: names controllers {}, the voters among the directories given are {}",
                 fmt::join(forced, ","), fmt::join(voters, ","));
  }
  const bool majority =
      raft::HasMajority(plan.before, [&present](ReplicaId id) { return present.contains(id.value()); });
  if (!majority || !forced.empty()) return OkStatus();
  return Error(
      kRefused,
      "the directories given are a majority: controllers {} of {}. Start them and they go on without "
      "loss; to make one of them the only voter all the same, say --force {}",
      fmt::join(voters, ","), raft::ToString(plan.before), fmt::join(voters, ","));
}

raft::Configuration ConfigurationAfter(const Plan& plan, const std::set<uint64_t>& present) {
  raft::Configuration after;
  for (const raft::Member& member : plan.before.members) {
    if (!present.contains(member.id.value())) continue;
    const bool picked = member.id.value() == plan.controller.value();
    after.members.push_back(
        {member.id, member.host, picked ? raft::MemberRole::kVoter : raft::MemberRole::kLearner});
  }
  return after;
}

std::string DigestOf(const Plan& plan, const std::vector<DirectorySurvey>& survey) {
  std::map<uint64_t, std::string> lines;
  for (const DirectorySurvey& directory : survey) {
    const GroupSurvey& log = *directory.catalog();
    lines[directory.identity.controller_id.value()] =
        fmt::format("{} {} {} {} {} {}\n", directory.identity.controller_id, log.term, log.vote,
                    log.last_term, log.last_index, raft::ToString(log.configuration));
  }
  std::string text = fmt::format("{} {} {} {}\n", plan.cluster_id, plan.from_incarnation, plan.controller,
                                 raft::ToString(plan.after));
  for (const auto& [id, line] : lines) text += line;
  return fmt::format("{:016x}", HashBytes(text));
}

}  // namespace

StatusOr<DirectorySurvey> SurveyDirectory(runtime::Disk& disk, const wal::DataDirectory& directory) {
  DirectorySurvey survey;
  survey.path = directory.path();
  TENURE_ASSIGN_OR_RETURN(const wal::Inspection log, wal::Inspect(disk, directory.log_path(), {}));
  const raft::PersistedState* catalog = nullptr;
  for (const auto& [id, group] : log.groups) {
    if (group.tombstone) continue;
    survey.groups[id] = SurveyOf(group);
    if (id == kCatalogGroup) catalog = &group.state;
  }
  for (const wal::InspectNote& note : log.notes) {
    if (note.damage) survey.damage.push_back(fmt::format("{} at {}: {}", note.path, note.offset, note.text));
  }
  TENURE_ASSIGN_OR_RETURN(survey.identity, Resolved(directory.identity(), catalog));
  return survey;
}

StatusOr<Plan> MakePlan(const std::vector<DirectorySurvey>& survey, const std::set<uint64_t>& forced) {
  if (survey.empty()) return Error(StatusCode::kInvalidArgument, "no data directory is given");
  TENURE_RETURN_IF_ERROR(CheckTogether(survey));
  Plan plan;
  std::set<uint64_t> present;
  Term highest;
  for (size_t i = 0; i < survey.size(); ++i) {
    const GroupSurvey& log = *survey[i].catalog();
    present.insert(survey[i].identity.controller_id.value());
    highest = std::max({highest, log.term, log.last_term});
    if (IsBetter(survey[i], survey[plan.picked])) plan.picked = i;
  }
  const DirectorySurvey& picked = survey[plan.picked];
  plan.cluster_id = picked.identity.cluster_id;
  plan.from_incarnation = picked.identity.incarnation;
  plan.to_incarnation = plan.from_incarnation + 1;
  plan.controller = picked.identity.controller_id;
  plan.last_term = picked.catalog()->last_term;
  plan.last_index = picked.catalog()->last_index;
  plan.new_term = highest.Next();
  plan.before = picked.catalog()->configuration;
  if (!plan.before.Contains(ReplicaId(plan.controller.value()))) {
    return Error(kRefused,
                 "{}: controller {} has the most up-to-date log but was removed from the configuration {}; "
                 "leave it out",
                 picked.path, plan.controller, raft::ToString(plan.before));
  }
  TENURE_RETURN_IF_ERROR(CheckMajority(plan, present, forced));
  plan.after = ConfigurationAfter(plan, present);
  for (const raft::Member& member : plan.before.members) {
    if (plan.before.IsVoter(member.id) && !present.contains(member.id.value())) {
      plan.lost.push_back(member.id.value());
    }
  }
  plan.digest = DigestOf(plan, survey);
  return plan;
}

}  // namespace tenure::recovery
