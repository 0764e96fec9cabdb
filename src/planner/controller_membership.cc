#include "planner/controller_membership.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "catalog/controllers.h"

namespace tenure::planner {

namespace pb = ::tenure::v1;

namespace {

using Kind = MembershipStep::Kind;
using Members = std::map<uint64_t, bool>;  // id -> voter

class Planner {
 public:
  Planner(const std::map<uint64_t, pb::Record>& controllers,
          const std::map<uint64_t, MemberEvidence>& members, uint64_t self, uint32_t target,
          const MembershipOptions& options)
      : controllers_(controllers), evidence_(members), self_(self), target_(target), options_(options) {
    for (const auto& [id, evidence] : members) {
      members_[id] = evidence.voter;
      if (evidence.voter) voters_.push_back(id);
    }
  }

  // Records first, so that people see what is; then learners, who change no majority; then voters.
  MembershipStep Plan() const {
    MembershipStep waiting{.kind = Kind::kNone};
    for (const auto part : {&Planner::Roles, &Planner::Learners, &Planner::Surplus, &Planner::Leaving,
                            &Planner::Vacancies, &Planner::Silent, &Planner::Zones}) {
      auto step = (this->*part)();
      if (!step) continue;
      if (step->kind != Kind::kNone) return *std::move(step);
      if (waiting.reason.empty()) waiting = *std::move(step);
    }
    return waiting;
  }

 private:
  using Step = std::optional<MembershipStep>;

  const pb::ControllerRecord* Find(uint64_t id) const {
    const auto found = controllers_.find(id);
    return found == controllers_.end() ? nullptr : &found->second.controller();
  }
  bool IsRemoving(uint64_t id) const {
    const pb::ControllerRecord* record = Find(id);
    return record != nullptr && catalog::IsRemoving(*record);
  }
  const MemberEvidence& EvidenceOf(uint64_t id) const { return evidence_.at(id); }
  std::string ZoneOf(uint64_t id) const {
    const pb::ControllerRecord* record = Find(id);
    return record == nullptr ? std::string() : record->zone();
  }
  // How many voters of `members` share its zone; a controller without a zone shares it with nobody.
  static size_t Neighbours(const Planner& planner, const Members& members, uint64_t id) {
    const std::string zone = planner.ZoneOf(id);
    if (zone.empty()) return 0;
    return static_cast<size_t>(std::count_if(members.begin(), members.end(), [&](const auto& member) {
      return member.second && member.first != id && planner.ZoneOf(member.first) == zone;
    }));
  }

  // The learner that should be a voter of `members` next, if any can be.
  std::optional<uint64_t> Candidate(const Members& members) const {
    std::optional<uint64_t> best;
    const auto rank = [&](uint64_t id) {
      return std::tuple(Find(id)->promote() ? 0 : 1, Neighbours(*this, members, id), id);
    };
    for (const auto& [id, voter] : members) {
      const pb::ControllerRecord* record = Find(id);
      if (voter || record == nullptr || IsRemoving(id) || catalog::IsRemoved(*record)) continue;
#ifndef TENURE_MUTANT_promote_unready_learner
      if (!EvidenceOf(id).active || !EvidenceOf(id).caught_up) continue;  // M3
#endif
      if (!best || rank(id) < rank(*best)) best = id;
    }
    return best;
  }

  // The voter that can be spared first.
  uint64_t LeastWanted() const {
    const auto rank = [this](uint64_t id) {
      return std::tuple(IsRemoving(id), !EvidenceOf(id).active, Neighbours(*this, members_, id), id != self_,
                        id);
    };
    return *std::max_element(voters_.begin(), voters_.end(),
                             [&](uint64_t a, uint64_t b) { return rank(a) < rank(b); });
  }

  // `id` is no voter any more: gone if it is being removed, else a learner.
  void Drop(Members& members, uint64_t id) const {
    if (IsRemoving(id)) {
      members.erase(id);
    } else {
      members[id] = false;
    }
  }

  // M4, and a leader that is to go leaves the office first, while it is a voter like any other.
  Step Configure(Members members, std::string reason) const {
    size_t voters = 0;
    size_t heard = 0;
    std::optional<uint64_t> successor;
    for (const auto& [id, voter] : members) {
      if (!voter) continue;
      ++voters;
      const MemberEvidence& evidence = EvidenceOf(id);
      if (id != self_ && !evidence.active) continue;
      ++heard;
      if (id == self_ || !evidence.voter || !evidence.caught_up) continue;
      if (!successor || evidence.match > EvidenceOf(*successor).match) successor = id;
    }
    if (2 * heard <= voters) {
      return MembershipStep{
          .kind = Kind::kNone,
          .reason = fmt::format("{}: waits until a majority of its voters is heard", reason)};
    }
    const auto self = members.find(self_);
    const bool stays = self != members.end() && self->second;
    if (!stays && successor) {
      return MembershipStep{.kind = Kind::kTransfer, .controller = *successor, .reason = std::move(reason)};
    }
    return MembershipStep{
        .kind = Kind::kConfigure, .members = std::move(members), .reason = std::move(reason)};
  }

  Step Roles() const {
    for (const auto& [id, record] : controllers_) {
      const pb::ControllerRecord& controller = record.controller();
      if (catalog::IsRemoved(controller)) continue;
      const auto member = members_.find(id);
      if (member == members_.end() && catalog::IsRemoving(controller)) {
        return MembershipStep{.kind = Kind::kRemoved, .controller = id, .reason = "it has left the group"};
      }
      const bool voter = member != members_.end() && member->second;
      if (voter == controller.voter()) continue;
      return MembershipStep{.kind = Kind::kRole,
                            .controller = id,
                            .voter = voter,
                            .reason = voter ? "it is a voter" : "it is no voter"};
    }
    return std::nullopt;
  }

  Step Learners() const {
    Members members = members_;
    std::string reason;
    for (const auto& [id, record] : controllers_) {
      const pb::ControllerRecord& controller = record.controller();
      const auto member = members.find(id);
      if (member == members.end() && !catalog::IsRemoved(controller) && !catalog::IsRemoving(controller)) {
        members[id] = false;
        reason += fmt::format("{}controller {} joins as a learner", reason.empty() ? "" : ", ", id);
      } else if (member != members.end() && !member->second && catalog::IsRemoving(controller)) {
        members.erase(member);
        reason += fmt::format("{}learner {} is removed", reason.empty() ? "" : ", ", id);
      }
    }
    if (members == members_) return std::nullopt;
    return MembershipStep{
        .kind = Kind::kConfigure, .members = std::move(members), .reason = std::move(reason)};
  }

  Step Surplus() const {
    if (voters_.size() <= target_) return std::nullopt;
    const uint64_t out = LeastWanted();
    Members members = members_;
    Drop(members, out);
    return Configure(std::move(members), fmt::format("{} voters are more than the target {}: {} is spared",
                                                     voters_.size(), target_, out));
  }

  Step Leaving() const {
    for (const uint64_t id : voters_) {
      if (!IsRemoving(id)) continue;
      Members members = members_;
      const auto in = Candidate(members);
      if (in) members[*in] = true;
      Drop(members, id);
      if (in) return Configure(std::move(members), fmt::format("{} replaces {}, which is removed", *in, id));
#ifdef TENURE_MUTANT_remove_without_replacement
      if (voters_.size() > 1) return Configure(std::move(members), "mutant");
#endif
      if (Find(id)->no_spare() && voters_.size() > 1) {
        return Configure(std::move(members), fmt::format("{} is removed without a replacement", id));
      }
      return MembershipStep{
          .kind = Kind::kNone,
          .reason = fmt::format("the removal of {} waits for a learner that is up and has caught up", id)};
    }
    return std::nullopt;
  }

  Step Vacancies() const {
    Members members = members_;
    std::string who;
    for (size_t voters = voters_.size(); voters < target_; ++voters) {
      const auto in = Candidate(members);
      if (!in) break;
      members[*in] = true;
      who += fmt::format("{}{}", who.empty() ? "" : ", ", *in);
    }
    if (who.empty()) return std::nullopt;
    return Configure(std::move(members), fmt::format("{} voters are fewer than the target {}: promoted {}",
                                                     voters_.size(), target_, who));
  }

  Step Silent() const {
    for (const uint64_t id : voters_) {
      const MemberEvidence& evidence = EvidenceOf(id);
      if (id == self_ || evidence.active || evidence.silence < options_.replace_after) continue;
      Members members = members_;
      const auto in = Candidate(members);
      if (!in) return std::nullopt;
      members[*in] = true;
      Drop(members, id);
      return Configure(std::move(members), fmt::format("{} replaces {}, which has been silent for {} ms", *in,
                                                       id, ToMillis(evidence.silence)));
    }
    return std::nullopt;
  }

  // A learner in a zone without voters stands in for one of several voters of a zone. Each such step makes
  // voters of one zone more, so they come to an end.
  Step Zones() const {
    const auto in = Candidate(members_);
    if (!in || ZoneOf(*in).empty() || Neighbours(*this, members_, *in) > 0) return std::nullopt;
    const uint64_t out = LeastWanted();
    if (Neighbours(*this, members_, out) == 0) return std::nullopt;
    Members members = members_;
    members[*in] = true;
    Drop(members, out);
    return Configure(std::move(members),
                     fmt::format("{} replaces {}: zone {} has no voter, zone {} more than one", *in, out,
                                 ZoneOf(*in), ZoneOf(out)));
  }

  const std::map<uint64_t, pb::Record>& controllers_;
  const std::map<uint64_t, MemberEvidence>& evidence_;
  const uint64_t self_;
  const uint32_t target_;
  const MembershipOptions& options_;
  Members members_;
  std::vector<uint64_t> voters_;
};

}  // namespace

MembershipStep PlanMembership(const std::map<uint64_t, pb::Record>& controllers,
                              const std::map<uint64_t, MemberEvidence>& members, uint64_t self,
                              uint32_t voter_target, const MembershipOptions& options) {
  return Planner(controllers, members, self, voter_target, options).Plan();
}

}  // namespace tenure::planner
