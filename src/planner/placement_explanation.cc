#include "planner/placement_explanation.h"

#include <fmt/format.h>

#include "base/format.h"

namespace tenure::planner {

std::string_view NameOf(Loss loss) {
  switch (loss) {
    case Loss::kNotUp:
      return "NOT_UP";
    case Loss::kHeldBack:
      return "HELD_BACK";
    case Loss::kMissingLabel:
      return "MISSING_LABEL";
    case Loss::kFull:
      return "FULL";
    case Loss::kExcluded:
      return "EXCLUDED";
    case Loss::kHoldsReplica:
      return "HOLDS_REPLICA";
    case Loss::kSameHost:
      return "SAME_HOST";
    case Loss::kSameRack:
      return "SAME_RACK";
    case Loss::kSameZone:
      return "SAME_ZONE";
    case Loss::kDatabaseReplicas:
      return "DATABASE_REPLICAS";
    case Loss::kDomainReplicas:
      return "DOMAIN_REPLICAS";
    case Loss::kReplicas:
      return "REPLICAS";
    case Loss::kBytes:
      return "BYTES";
    case Loss::kShared:
      return "SHARED";
    case Loss::kChance:
      return "CHANCE";
    case Loss::kNotLost:
      return "NOT_LOST";
    case Loss::kNeeded:
      return "NEEDED";
    case Loss::kVoter:
      return "VOTER";
    case Loss::kSpread:
      return "SPREAD";
    case Loss::kLeads:
      return "LEADS";
  }
  return "UNKNOWN";
}

std::string_view NameOf(PlacementLevel level) {
  switch (level) {
    case PlacementLevel::kHost:
      return "host";
    case PlacementLevel::kRack:
      return "rack";
    case PlacementLevel::kZone:
      return "zone";
  }
  return "unknown";
}

std::string Explanation::Text() const {
  std::string text = subject + "\n";
  for (const GivenUp& level : given_up) {
    text += fmt::format("  not on distinct {}s: {}\n", NameOf(level.level), level.why);
  }
  for (const ChosenNode& node : chosen) {
    text += fmt::format("  node {} chosen:", node.node);
    for (const ScoreLine& score : node.scores) text += fmt::format(" {}={}", score.name, score.value);
    text += '\n';
  }
  for (const RejectedNode& node : rejected) text += fmt::format("  node {} not: {}\n", node.node, node.why);
  for (const auto& [loss, count] : omitted)
    text += fmt::format("  {} more {} not: {}\n", count, count == 1 ? "node" : "nodes", NameOf(loss));
  return text;
}

}  // namespace tenure::planner
