#include "planner/placement_choice.h"

#include <algorithm>
#include <array>
#include <set>
#include <tuple>
#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"

namespace tenure::planner {
namespace {

namespace pb = ::tenure::v1;

// Nodes named in a refusal; more are counted.
constexpr size_t kMaxNamedNodes = 16;

const PlacementLabel* MissingLabel(const PlacementNode& node, const DatabaseConstraints& constraints) {
  for (const PlacementLabel& label : constraints.required_labels) {
    if (std::find(node.labels.begin(), node.labels.end(), label) == node.labels.end()) return &label;
  }
  return nullptr;
}

std::string PerNode(const DomainLoad& load) {
  return fmt::format("{:.2f}", static_cast<double>(load.per_node) / 65536);
}

}  // namespace

bool HasLabels(const PlacementNode& node, const DatabaseConstraints& constraints) {
  return MissingLabel(node, constraints) == nullptr;
}

bool IsAlive(const PlacementNode& node) {
  return node.state == pb::NODE_UP || node.state == pb::NODE_DRAINING || node.state == pb::NODE_REMOVING;
}

bool IsCandidate(const PlacementState& state, uint32_t database, uint32_t index) {
  const PlacementNode& node = *state.nodes()[index].node;
  return node.state == pb::NODE_UP && node.held_back.empty() &&
         HasLabels(node, state.database(database).constraints);
}

std::string SubjectOf(const PlacementState& state, uint32_t region) {
  const PlacementState::Region& of = state.regions()[region];
  return fmt::format("region {} of database '{}'", of.id, state.database(of.database).name);
}

std::string SubjectOfAdded(const PlacementState& state, uint32_t region, NodeId replaces) {
  if (replaces.IsNone()) return SubjectOf(state, region) + ": one replica more";
  return fmt::format("{}: a replica instead of the one on node {}", SubjectOf(state, region), replaces);
}

std::vector<uint32_t> LeaderCandidates(const PlacementState& state, uint32_t region) {
  const std::string& zone =
      state.database(state.regions()[region].database).constraints.preferred_leader_zone;
  std::vector<uint32_t> candidates;
  std::vector<uint32_t> preferred;
  for (const PlacementState::Member& member : state.regions()[region].members) {
    const PlacementNode& node = *state.nodes()[member.node].node;
    if (member.learner || node.state != pb::NODE_UP || !node.held_back.empty()) continue;
    candidates.push_back(member.node);
    if (!zone.empty() && node.zone == zone) preferred.push_back(member.node);
  }
  return preferred.empty() ? candidates : preferred;
}

uint32_t ChooseLeader(const PlacementState& state, uint32_t region, uint32_t from) {
  const uint32_t database = state.regions()[region].database;
  // A replica that goes is no candidate even if it is the only one in the preferred zone.
  const std::string& zone = state.database(database).constraints.preferred_leader_zone;
  uint32_t best = PlacementState::kNone;
  const auto rank = [&](uint32_t node) {
    return std::tuple(zone.empty() || state.nodes()[node].node->zone == zone ? 0 : 1,
                      state.LeadersOf(node, database), state.nodes()[node].leaders, node);
  };
  for (const PlacementState::Member& member : state.regions()[region].members) {
    const PlacementNode& node = *state.nodes()[member.node].node;
    if (member.node == from || member.learner || node.state != pb::NODE_UP || !node.held_back.empty())
      continue;
    if (best == PlacementState::kNone || rank(member.node) < rank(best)) best = member.node;
  }
  return best;
}

PlacementChoice::PlacementChoice(const PlacementState& state, uint32_t database,
                                 std::vector<uint32_t> excluded, Prng prng)
    : state_(state),
      database_(database),
      excluded_(std::move(excluded)),
      tree_(state, database, FitNodes(state, database, excluded_), prng) {
  std::sort(excluded_.begin(), excluded_.end());
  std::set<uint32_t> hosts;
  std::set<uint32_t> racks;
  std::set<uint32_t> zones;
  for (uint32_t i = 0; i < state.nodes().size(); ++i) {
    if (!Contains(i)) continue;
    hosts.insert(state.nodes()[i].host);
    racks.insert(state.nodes()[i].rack);
    zones.insert(state.nodes()[i].zone);
  }
  hosts_ = hosts.size();
  racks_ = racks.size();
  zones_ = zones.size();
}

std::vector<bool> PlacementChoice::FitNodes(const PlacementState& state, uint32_t database,
                                            const std::vector<uint32_t>& excluded) {
  std::vector<bool> fit(state.nodes().size());
  for (uint32_t i = 0; i < fit.size(); ++i) fit[i] = IsCandidate(state, database, i);
  for (const uint32_t node : excluded) fit[node] = false;
  return fit;
}

uint32_t PlacementChoice::Best(std::span<const uint32_t> beside, uint64_t bytes,
                               std::span<const uint32_t> excluded) {
  return tree_.Best({.beside = beside, .excluded = excluded, .bytes = bytes});
}

std::optional<RejectedNode> PlacementChoice::Unfit(uint32_t index, std::span<const uint32_t> beside,
                                                   uint64_t bytes) const {
  const PlacementNode& node = *state_.nodes()[index].node;
  if (node.state != pb::NODE_UP)
    return RejectedNode{node.id, Loss::kNotUp, fmt::format("is {}", catalog::NameOf(node.state))};
  if (!node.held_back.empty()) return RejectedNode{node.id, Loss::kHeldBack, node.held_back};
  if (const auto* label = MissingLabel(node, state_.database(database_).constraints)) {
    return RejectedNode{
        node.id, Loss::kMissingLabel,
        fmt::format("lacks the label {}={} that the database requires", label->key, label->value)};
  }
  if (std::binary_search(excluded_.begin(), excluded_.end(), index))
    return RejectedNode{node.id, Loss::kExcluded, "excluded by the request"};
  if (std::find(beside.begin(), beside.end(), index) != beside.end())
    return RejectedNode{node.id, Loss::kHoldsReplica, "holds a replica of the region already"};
  if (!state_.HasRoomFor(index, bytes))
    return RejectedNode{node.id, Loss::kFull, state_.NoRoomFor(index, bytes)};
  return std::nullopt;
}

// "the replica on node 3"
std::string PlacementChoice::Neighbours(uint32_t node, std::span<const uint32_t> beside,
                                        uint32_t PlacementState::Node::* domain) const {
  std::vector<NodeId> ids;
  for (const uint32_t other : beside) {
    if (state_.nodes()[other].*domain == state_.nodes()[node].*domain) ids.push_back(state_.IdOf(other));
  }
  return fmt::format("{} {}", ids.size() == 1 ? "the replica on node" : "the replicas on nodes",
                     fmt::join(ids, ", "));
}

std::optional<RejectedNode> PlacementChoice::LostBySpread(uint32_t index, uint32_t winner,
                                                          std::span<const uint32_t> beside) const {
  const PlacementNode& node = *state_.nodes()[index].node;
  const Conflicts mine = state_.ConflictsOf(index, beside);
  const Conflicts best = state_.ConflictsOf(winner, beside);
  if (mine <= best) return std::nullopt;
  const auto same = [&](Loss loss, const char* level, const std::string& name, auto domain) {
    return RejectedNode{node.id, loss,
                        fmt::format("same {} '{}' as {}", level, name, Neighbours(index, beside, domain))};
  };
  if (mine.host != best.host) return same(Loss::kSameHost, "host", node.host, &PlacementState::Node::host);
  if (mine.rack != best.rack) return same(Loss::kSameRack, "rack", node.rack, &PlacementState::Node::rack);
  return same(Loss::kSameZone, "zone", node.zone, &PlacementState::Node::zone);
}

RejectedNode PlacementChoice::Lost(uint32_t index, uint32_t winner, std::span<const uint32_t> beside) const {
  const PlacementNode& node = *state_.nodes()[index].node;
  const PlacementScore mine = tree_.ScoreOf(index, beside);
  const PlacementScore best = tree_.ScoreOf(winner, beside);
  const NodeId other = state_.IdOf(winner);
  const auto lost = [&](Loss loss, std::string why) { return RejectedNode{node.id, loss, std::move(why)}; };
  const auto more = [&](Loss loss, std::string_view what, auto a, auto b) {
    return lost(loss, fmt::format("more {} than node {} ({} > {})", what, other, a, b));
  };
  PlacementScore unshared = mine;
  unshared.shared = best.shared;
  // Sharing is compared among a few of the nodes that are equal up to there: to be better in that alone is
  // luck.
  if (unshared == best && mine.shared <= best.shared)
    return lost(Loss::kChance, fmt::format("as good as node {}; the seed decided", other));
  if (mine < best) return lost(Loss::kNotLost, fmt::format("would be better than node {}", other));
  if (auto spread = LostBySpread(index, winner, beside)) return *std::move(spread);
  if (mine.database_replicas != best.database_replicas) {
    return more(Loss::kDatabaseReplicas, "replicas of the database", mine.database_replicas,
                best.database_replicas);
  }
  static constexpr std::array<std::string_view, 3> kDomains{"zone", "rack", "host"};
  for (size_t level = 0; level < kDomains.size(); ++level) {
    const DomainLoad& my_domain = mine.domains[level];
    const DomainLoad& best_domain = best.domains[level];
    if (my_domain == best_domain) continue;
    if (my_domain.per_node == best_domain.per_node) {
      return lost(Loss::kDomainReplicas,
                  fmt::format("its {} has fewer nodes to fill than that of node {} ({} < {})",
                              kDomains[level], other, my_domain.nodes, best_domain.nodes));
    }
    return lost(
        Loss::kDomainReplicas,
        fmt::format("its {} has more replicas of the database per node than that of node {} ({} > {})",
                    kDomains[level], other, PerNode(my_domain), PerNode(best_domain)));
  }
  if (mine.replicas != best.replicas)
    return more(Loss::kReplicas, "replicas of all databases", mine.replicas, best.replicas);
  if (mine.byte_steps != best.byte_steps)
    return more(Loss::kBytes, "bytes", state_.nodes()[index].bytes, state_.nodes()[winner].bytes);
  return more(Loss::kShared, "regions shared with the other replicas' nodes", mine.shared, best.shared);
}

void PlacementChoice::ExplainRejected(std::span<const uint32_t> chosen, std::span<const uint32_t> beside,
                                      uint64_t bytes, size_t limit, Explanation& explanation) const {
  for (uint32_t i = 0; i < state_.nodes().size(); ++i) {
    if (std::find(chosen.begin(), chosen.end(), i) != chosen.end()) continue;
    auto verdict = Unfit(i, beside, bytes);
    if (!verdict) verdict = Lost(i, chosen.back(), beside);
    if (explanation.rejected.size() < limit) {
      explanation.rejected.push_back(*std::move(verdict));
    } else {
      ++explanation.omitted[verdict->loss];
    }
  }
}

ChosenNode PlacementChoice::ExplainChosen(uint32_t node, std::span<const uint32_t> beside) const {
  const PlacementScore score = tree_.ScoreOf(node, beside);
  ChosenNode chosen{.node = state_.IdOf(node)};
  const auto line = [&](const char* name, std::string value) {
    chosen.scores.push_back({name, std::move(value)});
  };
  line("same_host", fmt::to_string(score.conflicts.host));
  if (state_.racks_known()) line("same_rack", fmt::to_string(score.conflicts.rack));
  if (state_.zones_known()) line("same_zone", fmt::to_string(score.conflicts.zone));
  line("database_replicas", fmt::to_string(score.database_replicas));
  if (state_.zones_known()) line("zone_replicas_per_node", PerNode(score.domains[0]));
  if (state_.racks_known()) line("rack_replicas_per_node", PerNode(score.domains[1]));
  line("host_replicas_per_node", PerNode(score.domains[2]));
  line("replicas", fmt::to_string(score.replicas));
  line("bytes", fmt::to_string(state_.nodes()[node].bytes));
  line("shared_regions", fmt::to_string(score.shared));
  return chosen;
}

std::vector<GivenUp> PlacementChoice::GivenUpBy(std::span<const uint32_t> members) const {
  const Conflicts conflicts = state_.ConflictsOf(members);
  std::vector<GivenUp> given_up;
  const auto look = [&](PlacementLevel level, uint32_t count, size_t domains) {
    if (count == 0) return;
    given_up.push_back({level, 1,
                        fmt::format("{} replicas, and {} {}{} with a candidate", members.size(), domains,
                                    NameOf(level), domains == 1 ? "" : "s")});
  };
  look(PlacementLevel::kHost, conflicts.host, hosts_);
  look(PlacementLevel::kRack, conflicts.rack, racks_);
  look(PlacementLevel::kZone, conflicts.zone, zones_);
  return given_up;
}

Status PlacementChoice::NotEnough(std::string_view what, size_t needed, std::span<const uint32_t> beside,
                                  uint64_t bytes) const {
  size_t candidates = 0;
  std::vector<std::string> others;
  for (uint32_t i = 0; i < state_.nodes().size(); ++i) {
    if (const auto verdict = Unfit(i, beside, bytes)) {
      others.push_back(fmt::format("node {} {}", verdict->node, verdict->why));
    } else {
      ++candidates;
    }
  }
  std::string why;
  if (!others.empty()) {
    const size_t named = std::min(others.size(), kMaxNamedNodes);
    why = fmt::format(": {}",
                      fmt::join(others.begin(), others.begin() + static_cast<std::ptrdiff_t>(named), "; "));
    if (named < others.size()) why += fmt::format("; and {} more", others.size() - named);
  }
  return catalog::Refuse(pb::REASON_NOT_ENOUGH_NODES,
                         "{} needs {} {} that can take a replica; {} of {} can{}", what, needed,
                         needed == 1 ? "node" : "nodes", candidates, state_.nodes().size(), why);
}

}  // namespace tenure::planner
