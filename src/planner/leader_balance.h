// Evens out who leads which region by handing leaderships on along chains: where no replica of what the
// fullest node leads is on the emptiest one, a third node takes one and gives one.
//
// Called by creation and by the rebalancer.
// Threading:  pure function. Determinism: inputs alone.
// Invariants: B1 when it ends by itself, no chain brings a node that leads more than `slack` above another
//             nearer to it.
//             B2 a chain lowers the sum of the squared counts; its hand-overs come in such an order that no
//             beginning of it raises that sum above what it was before the chain.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tenure::planner {

struct LedRegion {
  uint32_t leader = 0;               // a node; must be one of the counted ones
  std::vector<uint32_t> candidates;  // nodes that may lead it instead; empty: it stays as it is
};

struct HandOver {
  uint32_t region = 0;  // index
  uint32_t from = 0;
  uint32_t to = 0;
  bool ends_chain = false;
};

struct LeaderLimits {
  uint32_t slack = 1;        // at least 1: two nodes whose counts differ by no more are left alone
  size_t chains = SIZE_MAX;  // that are planned at most
  size_t length = SIZE_MAX;  // hand-overs of one chain at most
};

// `regions` are changed as planned. `counts[node]`: leaderships of each node, those of `regions` included.
std::vector<HandOver> EvenOutLeaders(std::vector<LedRegion>& regions, std::vector<uint32_t>& counts,
                                     const LeaderLimits& limits);

}  // namespace tenure::planner
