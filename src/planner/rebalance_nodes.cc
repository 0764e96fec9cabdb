// Stages 3 and 4 of the rebalancer: even counts and even bytes over all databases, with moves that leave the
// counts within each database as even as they are.

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/format.h"
#include "planner/rebalance.h"

namespace tenure::planner {
namespace {

using Measure = Rebalance::Measure;

// Pairs of nodes that one plan looks at per stage; beyond, the plan says that it was limited.
constexpr size_t kMaxPairs = 10'000;
// Emptiest nodes of each rack, and in all, that a full one is compared with. Where failure domains do not
// stand in the way the very first one can take something.
constexpr size_t kMaxTakersPerRack = 4;
constexpr size_t kMaxTakers = 64;
// Replicas of a node that are looked at for bytes: the largest of the full one, the smallest of the other.
constexpr size_t kMaxSwapped = 128;

class Nodes {
 public:
  explicit Nodes(Rebalance& rebalance) : rebalance_(rebalance), state_(rebalance.state()) {
    for (uint32_t i = 0; i < state_.nodes().size(); ++i) {
      if (rebalance.IsCounted(i)) nodes_.push_back(i);
    }
  }

  void EvenOutReplicas() {
    const auto replicas = [this](uint32_t node) -> uint64_t { return state_.nodes()[node].replicas; };
    Run(rebalance_.request().total_replicas, replicas,
        [this](uint32_t from, uint32_t to) { return MoveOne(from, to); });
  }

  void EvenOutBytes() {
    const auto bytes = [this](uint32_t node) -> uint64_t { return state_.nodes()[node].bytes; };
    Run(rebalance_.request().bytes, bytes,
        [this](uint32_t from, uint32_t to) { return MoveBytes(from, to); });
  }

 private:
  // From the fullest node: to the emptiest of which `step` does something. A node for which nothing can be
  // done is left aside.
  template <class Measured, class Step>
  void Run(const Slack& slack, Measured measure, Step step) {
    uint64_t sum = 0;
    for (const uint32_t node : nodes_) sum += measure(node);
    const uint64_t tolerance = Rebalance::Tolerance(slack, sum, nodes_.size());
    std::vector<bool> stuck(state_.nodes().size());
    size_t pairs = 0;
    for (;;) {
      std::vector<uint32_t> order = nodes_;
      std::sort(order.begin(), order.end(),
                [&](uint32_t a, uint32_t b) { return std::pair(measure(a), a) < std::pair(measure(b), b); });
      uint32_t from = PlacementState::kNone;
      for (auto node = order.rbegin(); node != order.rend() && from == PlacementState::kNone; ++node) {
        if (!stuck[*node]) from = *node;
      }
      if (from == PlacementState::kNone || measure(from) <= measure(order.front()) + tolerance) return;
      if (rebalance_.moves_left() == 0) return rebalance_.SetLimited();
      if (!rebalance_.MayGive(from)) rebalance_.SetLimited();
      bool moved = false;
      size_t looked = 0;
      std::map<uint32_t, size_t> looked_in;  // by rack; without labels all are in one
      largest_.clear();
      for (const uint32_t to : order) {
        if (moved || !rebalance_.MayGive(from) || looked == kMaxTakers) break;
        if (looked_in[state_.nodes()[to].rack] == kMaxTakersPerRack || !state_.HasRoomFor(to, 0)) continue;
        if (measure(from) <= measure(to) + tolerance) break;
        if (!rebalance_.MayTake(to)) {
          rebalance_.SetLimited();
          continue;
        }
        if (++pairs > kMaxPairs) return rebalance_.SetLimited();
        ++looked;
        ++looked_in[state_.nodes()[to].rack];
        moved = step(from, to);
      }
      stuck[from] = !moved;
    }
  }

  // The region's replica may go from one to the other without worsening what counts more than bytes do. Not
  // the counts: those are the caller's.
  bool CanGo(uint32_t region, uint32_t from, uint32_t to) const {
    const PlacementState::Region& of = state_.regions()[region];
    if (rebalance_.IsBusy(region) || state_.IsMember(region, to) || !rebalance_.IsFor(to, of.database))
      return false;
    const std::vector<uint32_t> beside = state_.OthersOf(region, from);
    return state_.ConflictsOf(to, beside) <= state_.ConflictsOf(from, beside);
  }
  bool CountsAllow(uint32_t region, uint32_t from, uint32_t to) const {
    const uint32_t database = state_.regions()[region].database;
    return state_.ReplicasOf(from, database) > state_.ReplicasOf(to, database);
  }

  bool MoveOne(uint32_t from, uint32_t to) {
    uint32_t best = PlacementState::kNone;
    for (const uint32_t region : state_.nodes()[from].regions) {
      if (!CountsAllow(region, from, to) || !CanGo(region, from, to)) continue;
      if (!state_.HasRoomFor(to, state_.regions()[region].bytes)) continue;
      if (best == PlacementState::kNone || state_.regions()[best].leader == from) best = region;
      if (state_.regions()[best].leader != from) break;
    }
    if (best == PlacementState::kNone) return false;
    rebalance_.Move(best, from, to, Measure::kReplicas,
                    fmt::format("node {} has {} replicas of all databases, node {} has {}", state_.IdOf(from),
                                state_.nodes()[from].replicas, state_.IdOf(to), state_.nodes()[to].replicas));
    return true;
  }

  struct Exchange {
    uint64_t off = UINT64_MAX;  // from even, after it
    uint32_t given = PlacementState::kNone;
    uint32_t taken = PlacementState::kNone;  // PlacementState::kNone: a move
  };

  // By how far the two are from even if so many bytes go; none: not worth it, or too many.
  static std::optional<uint64_t> Off(uint64_t difference, uint64_t bytes) {
    const uint64_t least = difference / 16;
    if (bytes == 0 || bytes < least || bytes + least >= difference) return std::nullopt;
    return bytes * 2 > difference ? bytes * 2 - difference : difference - bytes * 2;
  }

  // The largest or smallest replicas of a node that are not busy.
  std::vector<uint32_t> ReplicasBySize(uint32_t node, bool largest) const {
    std::vector<uint32_t> regions;
    for (const uint32_t region : state_.nodes()[node].regions) {
      if (!rebalance_.IsBusy(region)) regions.push_back(region);
    }
    std::sort(regions.begin(), regions.end(), [&](uint32_t a, uint32_t b) {
      const uint64_t size_a = state_.regions()[a].bytes;
      const uint64_t size_b = state_.regions()[b].bytes;
      if (size_a != size_b) return largest ? size_a > size_b : size_a < size_b;
      return a < b;
    });
    if (regions.size() > kMaxSwapped) regions.resize(kMaxSwapped);
    return regions;
  }

  bool MoveBytes(uint32_t from, uint32_t to) {
    const uint64_t difference = state_.nodes()[from].bytes - state_.nodes()[to].bytes;
    const bool counts_allow = state_.nodes()[from].replicas > state_.nodes()[to].replicas;
    const bool may_swap = rebalance_.moves_left() >= 2 && rebalance_.MayGive(to) && rebalance_.MayTake(from);
    const std::vector<uint32_t> small = may_swap ? ReplicasBySize(to, false) : std::vector<uint32_t>{};
    if (largest_.empty()) largest_ = ReplicasBySize(from, true);
    Exchange best;
    for (const uint32_t given : largest_) {
      const PlacementState::Region& of = state_.regions()[given];
      if (!CanGo(given, from, to) || !state_.HasRoomFor(to, of.bytes)) continue;
      if (counts_allow && CountsAllow(given, from, to)) {
        if (const auto off = Off(difference, of.bytes); off && *off < best.off)
          best = {*off, given, PlacementState::kNone};
      }
      for (const uint32_t taken : small) {
        if (state_.regions()[taken].database != of.database || state_.regions()[taken].bytes >= of.bytes)
          continue;
        const auto off = Off(difference, of.bytes - state_.regions()[taken].bytes);
        if (!off || *off >= best.off) continue;
        if (!CanGo(taken, to, from) || !state_.HasRoomFor(from, state_.regions()[taken].bytes)) continue;
        best = {*off, given, taken};
      }
    }
    if (best.given == PlacementState::kNone) return false;
    const std::string why =
        fmt::format("node {} has {} bytes, node {} has {}", state_.IdOf(from), state_.nodes()[from].bytes,
                    state_.IdOf(to), state_.nodes()[to].bytes);
    rebalance_.Move(best.given, from, to, Measure::kBytes, why);
    if (best.taken != PlacementState::kNone) {
      rebalance_.Move(
          best.taken, to, from, Measure::kBytes,
          fmt::format("changes places with the larger region {}", state_.regions()[best.given].id));
    }
    return true;
  }

  Rebalance& rebalance_;
  const PlacementState& state_;
  std::vector<uint32_t> nodes_;
  std::vector<uint32_t> largest_;  // replicas of the node that gives, while it is compared with others
};

}  // namespace

void EvenOutReplicas(Rebalance& rebalance) {
  Nodes(rebalance).EvenOutReplicas();
}

void EvenOutBytes(Rebalance& rebalance) {
  Nodes(rebalance).EvenOutBytes();
}

}  // namespace tenure::planner
