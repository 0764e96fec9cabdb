#include "planner/leader_balance.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "base/check.h"

namespace tenure::planner {
namespace {

constexpr uint32_t kNobody = UINT32_MAX;

class Balance {
 public:
  Balance(std::vector<LedRegion>& regions, std::vector<uint32_t>& counts, const LeaderLimits& limits)
      : regions_(regions), counts_(counts), limits_(limits), led_(counts.size()), closed_(counts.size()) {
    for (uint32_t i = 0; i < regions.size(); ++i) {
      if (!regions[i].candidates.empty()) led_[regions[i].leader].push_back(i);
    }
  }

  // From the fullest node down. What a fruitless search has seen stays closed: from there nothing is reached
  // that is low enough, neither for this node nor for one that leads fewer, and no later chain changes what
  // these nodes lead, since none goes through them.
  std::vector<HandOver> Run() {
    std::set<std::pair<uint32_t, uint32_t>, std::greater<>> fullest;
    for (uint32_t node = 0; node < counts_.size(); ++node) fullest.emplace(counts_[node], node);
    const uint32_t least = counts_.empty() ? 0 : fullest.rbegin()->first;
    size_t chains = 0;
    while (!fullest.empty() && chains < limits_.chains) {
      const auto [count, node] = *fullest.begin();
      if (count <= least + limits_.slack) break;
      fullest.erase(fullest.begin());
      if (closed_[node] || counts_[node] != count) continue;
      const uint32_t end = Search(node);
      if (end == kNobody) continue;
      ++chains;
      HandOn(node, end);
      fullest.erase({counts_[end] - 1, end});
      fullest.emplace(counts_[end], end);
      fullest.emplace(counts_[node], node);
    }
    return std::move(result_);
  }

 private:
  struct Step {
    uint32_t node = 0;
    size_t before = 0;    // position of the step it was reached from
    uint32_t region = 0;  // that would be handed to it
    size_t length = 0;
  };

  // Breadth first, so that chains are short. The end of the chain, which is then the last step; kNobody:
  // there is none.
  uint32_t Search(uint32_t from) {
    steps_.assign(1, {.node = from});
    std::vector<bool> seen(counts_.size());
    seen[from] = true;
    bool cut = false;
    for (size_t at = 0; at < steps_.size(); ++at) {
      if (steps_[at].length == limits_.length) {
        cut = true;
        continue;
      }
      for (const uint32_t region : led_[steps_[at].node]) {
        for (const uint32_t to : regions_[region].candidates) {
          if (seen[to] || closed_[to]) continue;
          seen[to] = true;
          steps_.push_back({to, at, region, steps_[at].length + 1});
          if (counts_[to] + limits_.slack < counts_[from]) return to;
        }
      }
    }
    // A search that was cut short has not seen all that is reached from these nodes.
    if (cut) {
      closed_[from] = true;
    } else {
      for (const Step& step : steps_) closed_[step.node] = true;
    }
    return kNobody;
  }

  // The hand-over at the far end first: it goes to the lowest count.
  void HandOn(uint32_t from, uint32_t end) {
    for (size_t at = steps_.size() - 1; at != 0; at = steps_[at].before) {
      const Step& step = steps_[at];
      const uint32_t giver = steps_[step.before].node;
      TENURE_CHECK(regions_[step.region].leader == giver, "B1: region {} is led by {}, not by {}",
                   step.region, regions_[step.region].leader, giver);
      std::erase(led_[giver], step.region);
      led_[step.node].push_back(step.region);
      regions_[step.region].leader = step.node;
      result_.push_back({step.region, giver, step.node});
    }
    result_.back().ends_chain = true;
    --counts_[from];
    ++counts_[end];
  }

  std::vector<LedRegion>& regions_;
  std::vector<uint32_t>& counts_;
  const LeaderLimits limits_;
  std::vector<std::vector<uint32_t>> led_;  // by node, of the regions that may be handed on
  std::vector<bool> closed_;
  std::vector<Step> steps_;
  std::vector<HandOver> result_;
};

}  // namespace

std::vector<HandOver> EvenOutLeaders(std::vector<LedRegion>& regions, std::vector<uint32_t>& counts,
                                     const LeaderLimits& limits) {
  return Balance(regions, counts, limits).Run();
}

}  // namespace tenure::planner
