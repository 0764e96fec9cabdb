// Stages 5 and 6 of the rebalancer: leaderships.

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/format.h"
#include "planner/leader_balance.h"
#include "planner/rebalance.h"

namespace tenure::planner {
namespace {

// The leadership may be handed on, if the limits of both nodes allow it.
bool MayTransfer(Rebalance& rebalance, uint32_t from, uint32_t to) {
  if (rebalance.MayTransfer(from) && rebalance.MayTransfer(to)) return true;
  rebalance.SetLimited();
  return false;
}

bool Contains(const std::vector<uint32_t>& nodes, uint32_t node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

// Leaders outside of the preferred zone although a voter is in it.
void ToPreferredZone(Rebalance& rebalance, uint32_t database, const std::vector<uint32_t>& regions) {
  const PlacementState& state = rebalance.state();
  const std::string& zone = state.database(database).constraints.preferred_leader_zone;
  if (zone.empty()) return;
  for (const uint32_t region : regions) {
    const uint32_t leader = state.regions()[region].leader;
    if (rebalance.IsBusy(region) || leader == PlacementState::kNone ||
        state.nodes()[leader].node->zone == zone)
      continue;
    const uint32_t to = ChooseLeader(state, region, leader);
    if (to == PlacementState::kNone || state.nodes()[to].node->zone != zone) continue;
    if (rebalance.transfers_left() == 0) return rebalance.SetLimited();
    if (MayTransfer(rebalance, leader, to))
      rebalance.Transfer(region, to, fmt::format("leaders of the database are preferred in zone '{}'", zone));
  }
}

// The limits have room for all of it, and none of its regions is handed over already.
bool Fits(const Rebalance& rebalance, const std::vector<uint32_t>& regions,
          const std::vector<HandOver>& chain) {
  std::map<uint32_t, uint32_t> transfers;
  for (const HandOver& link : chain) {
    if (rebalance.IsBusy(regions[link.region])) return false;
    ++transfers[link.from];
    ++transfers[link.to];
  }
  return chain.size() <= rebalance.transfers_left() &&
         std::all_of(transfers.begin(), transfers.end(),
                     [&](const auto& entry) { return rebalance.MayTransfer(entry.first, entry.second); });
}

}  // namespace

void EvenOutDatabaseLeaders(Rebalance& rebalance, uint32_t database, const std::vector<uint32_t>& regions) {
  ToPreferredZone(rebalance, database, regions);
  const PlacementState& state = rebalance.state();
  uint64_t sum = 0;
  uint32_t most = 0;
  uint32_t least = PlacementState::kNone;
  size_t nodes = 0;
  std::vector<uint32_t> counts = rebalance.CountLeaders(regions);
  for (uint32_t i = 0; i < counts.size(); ++i) {
    if (!rebalance.IsFor(i, database)) continue;
    ++nodes;
    sum += counts[i];
    most = std::max(most, counts[i]);
    least = std::min(least, counts[i]);
  }
  const uint64_t slack = Rebalance::Tolerance(rebalance.request().leaders, sum, nodes);
  if (nodes == 0 || most <= least + slack) return;
  if (rebalance.transfers_left() == 0) return rebalance.SetLimited();
  std::vector<LedRegion> led(regions.size());
  for (size_t i = 0; i < regions.size(); ++i) {
    const uint32_t leader = state.regions()[regions[i]].leader;
    if (leader == PlacementState::kNone || !rebalance.IsCounted(leader) || rebalance.IsBusy(regions[i]))
      continue;
    led[i].leader = leader;
    led[i].candidates = LeaderCandidates(state, regions[i]);
    // Led from outside of the preferred zone, because a limit has stopped it from going there: left as it is.
    if (!Contains(led[i].candidates, leader)) led[i].candidates.clear();
  }
  const LeaderLimits limits{.slack = static_cast<uint32_t>(std::min<uint64_t>(slack, PlacementState::kNone)),
                            .chains = rebalance.transfers_left(),
                            .length = rebalance.transfers_left()};
  // Whole chains: the beginning of one would leave the counts of the database as they are and might make
  // those over all databases less even.
  std::vector<HandOver> chain;
  for (const HandOver& hand_over : EvenOutLeaders(led, counts, limits)) {
    chain.push_back(hand_over);
    if (!hand_over.ends_chain) continue;
    if (!Fits(rebalance, regions, chain)) return rebalance.SetLimited();
    for (const HandOver& link : chain) {
      rebalance.Transfer(
          regions[link.region], link.to,
          fmt::format("node {} leads {} regions of database '{}', node {} leads {}", state.IdOf(link.from),
                      state.LeadersOf(link.from, database), state.database(database).name,
                      state.IdOf(link.to), state.LeadersOf(link.to, database)));
    }
    chain.clear();
  }
}

void EvenOutAllLeaders(Rebalance& rebalance) {
  const PlacementState& state = rebalance.state();
  std::vector<uint32_t> nodes;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < state.nodes().size(); ++i) {
    if (!rebalance.IsCounted(i)) continue;
    nodes.push_back(i);
    sum += state.nodes()[i].leaders;
  }
  const uint64_t tolerance = Rebalance::Tolerance(rebalance.request().total_leaders, sum, nodes.size());
  std::sort(nodes.begin(), nodes.end(), [&](uint32_t a, uint32_t b) {
    return std::pair(state.nodes()[b].leaders, a) < std::pair(state.nodes()[a].leaders, b);
  });
  for (const uint32_t from : nodes) {
    const std::vector<uint32_t> regions = state.nodes()[from].regions;
    for (const uint32_t region : regions) {
      const PlacementState::Region& of = state.regions()[region];
      if (of.leader != from || rebalance.IsBusy(region)) continue;
      const std::vector<uint32_t> candidates = LeaderCandidates(state, region);
      if (!Contains(candidates, from)) continue;
      uint32_t to = PlacementState::kNone;
      for (const uint32_t node : candidates) {
        if (state.LeadersOf(from, of.database) <= state.LeadersOf(node, of.database)) continue;
        if (state.nodes()[from].leaders <= state.nodes()[node].leaders + tolerance) continue;
        if (to == PlacementState::kNone || state.nodes()[node].leaders < state.nodes()[to].leaders) to = node;
      }
      if (to == PlacementState::kNone) continue;
      if (rebalance.transfers_left() == 0) return rebalance.SetLimited();
      if (!MayTransfer(rebalance, from, to)) continue;
      rebalance.Transfer(
          region, to,
          fmt::format("node {} leads {} regions of all databases, node {} leads {}", state.IdOf(from),
                      state.nodes()[from].leaders, state.IdOf(to), state.nodes()[to].leaders));
    }
  }
}

}  // namespace tenure::planner
