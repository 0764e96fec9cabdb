// Why a plan is as it is: for every chosen node its scores in the order in which they count, for every other
// node the first reason for which it lost.
//
// Made by the planning functions of placement.h; a structured form for programs, Text() for people.
// Threading:  values.
// Limits:     ExplanationLimits bound its size; what is left out is counted by reason.
// Reference:  docs/placement.md.
//
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace tenure::planner {

// Why a node was not chosen. Those of the first group make it no candidate at all; the others, in the order
// in which they are looked at, are what it lost against a chosen node by.
enum class Loss : uint8_t {
  kNotUp,
  kHeldBack,
  kMissingLabel,
  kFull,
  kExcluded,
  kHoldsReplica,
  kSameHost,
  kSameRack,
  kSameZone,
  kDatabaseReplicas,
  kDomainReplicas,
  kReplicas,
  kBytes,
  kShared,
  kChance,
  kNotLost,  // it is the better one: the chosen node is there from before
  // Which replica to give up: why this one is kept.
  kNeeded,  // without it there is no majority
  kVoter,
  kSpread,  // the others would share more failure domains
  kLeads,
};
std::string_view NameOf(Loss loss);  // "SAME_HOST"

enum class PlacementLevel : uint8_t { kHost, kRack, kZone };
std::string_view NameOf(PlacementLevel level);  // "host"

// Replicas of a region share a host, a rack or a zone although there are labels that tell them apart.
struct GivenUp {
  PlacementLevel level = PlacementLevel::kHost;
  uint32_t regions = 0;  // of the plan
  std::string why;       // "3 replicas, but 2 zones have candidates"
};

struct ScoreLine {
  std::string name;  // "same_host", "database_replicas" ...
  std::string value;
};

struct ChosenNode {
  NodeId node;
  std::vector<ScoreLine> scores;  // in the order in which they count
};

struct RejectedNode {
  NodeId node;
  Loss loss = Loss::kChance;
  std::string why;
};

struct Explanation {
  std::string subject;  // "region 7 of database 'orders': a replica instead of the one on node 3"
  std::vector<ChosenNode> chosen;
  std::vector<RejectedNode> rejected;
  std::map<Loss, uint32_t> omitted;  // nodes that were rejected as well, beyond the limit
  std::vector<GivenUp> given_up;

  // Several lines, each ended by a newline.
  std::string Text() const;
};

struct ExplanationLimits {
  size_t decisions = 1;  // of a plan, the first ones
  size_t nodes = 64;     // rejected ones per decision that are named
};

}  // namespace tenure::planner
