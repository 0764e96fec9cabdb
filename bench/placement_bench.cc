// The placement planner at size, and beside a greedy planner: time and memory of creating regions, of a look
// by the rebalancer and of a drain; spread of counts and leaders, and scatter width, on 3 to 100 nodes.
//
//   cmake --preset release && ninja -C build/release placement_bench && build/release/bin/placement_bench
//
// Options: --nodes N --regions N (default 1000 and 100000).

#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <string_view>

#include "planner/placement.h"
#include "tests/planner/placement_views.h"

namespace tenure::planner {
namespace {

using std::chrono::steady_clock;

rusage Usage() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage;
}

double CpuMs(const rusage& usage) {
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

void Measure(const std::string& what, const std::function<std::string()>& run) {
  const auto start = steady_clock::now();
  const double cpu = CpuMs(Usage());
  const std::string result = run();
  const double ms = std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
  const rusage after = Usage();
  fmt::print("{:<58} {:>7.0f} ms {:>7.0f} ms CPU  peak {:>4} MiB  {}\n", what, ms, CpuMs(after) - cpu,
             after.ru_maxrss / 1024, result);
}

std::string SpreadsOf(const PlacementView& view) {
  return fmt::format("spread: replicas {}, leaders {}", SpreadOf(view, &NodeCounts::replicas).width(),
                     SpreadOf(view, &NodeCounts::leaders).width());
}

void Create(PlacementView& view, DatabaseId database, uint32_t regions) {
  const CreateRegionsRequest request{.database = "d", .regions = regions, .replicas = 3, .seed = 7};
  const auto plan = PlanCreateRegions(view, request);
  if (!plan.ok()) {
    fmt::print(stderr, "{}\n", plan.status().ToString());
    std::exit(1);
  }
  AddRegions(view, database, *plan, uint64_t{1} << 30);
}

std::string StepsOf(const RebalancePlan& plan) {
  return fmt::format("{} moves, {} transfers{}", plan.moves.size(), plan.transfers.size(),
                     plan.limited ? ", limited" : "");
}

void AtSize(uint32_t nodes, uint32_t regions) {
  fmt::print("{} nodes, {} regions of 3 replicas\n", nodes, regions);
  PlacementView view;
  for (const uint32_t zones : {0u, 5u}) {
    view = NodesView(nodes, zones);
    Measure(fmt::format("create all in one database, {} zones", zones), [&] {
      Create(view, DatabaseId(1), regions);
      return SpreadsOf(view);
    });
  }
  Measure("rebalance: a look that finds nothing", [&] { return StepsOf(*PlanRebalance(view, {})); });
  PlacementView grown = view;
  for (uint32_t i = nodes + 1; i <= nodes + nodes / 10; ++i) {
    grown.nodes.push_back(NodesView(1).nodes[0]);
    grown.nodes.back().id = NodeId(i);
    grown.nodes.back().host = fmt::format("h{}", i);
    grown.nodes.back().zone = fmt::format("z{}", i % 5);
  }
  Measure("rebalance: a look with a tenth of the nodes new and empty",
          [&] { return StepsOf(*PlanRebalance(grown, {.max_moves = 100, .max_transfers = 100})); });
  Measure("drain of one node", [&] {
    const auto plan = PlanDrain(view, {.node = NodeId(1)});
    return fmt::format("{} moves, {} transfers", plan->moves.size(), plan->transfers.size());
  });
  Measure("one replica more for a region", [&] {
    return fmt::format("node {}", PlanAddReplica(view, {.region = RegionId(1)})->node.value());
  });
  // One of three zones has a tenth of the nodes and a replica of everything: they are too full for ever.
  view = NodesView(nodes);
  for (PlacementNode& node : view.nodes)
    node.zone = node.id.value() % 10 == 0 ? "small" : node.id.value() % 2 == 0 ? "a" : "b";
  Measure("create all in three zones of which one is small", [&] {
    Create(view, DatabaseId(1), regions);
    return SpreadsOf(view);
  });
  Measure("rebalance: a look at that, which cannot be even",
          [&] { return StepsOf(*PlanRebalance(view, {})); });
  // Many small databases: nothing within one of them is ever uneven.
  view = NodesView(nodes, 5);
  const uint32_t databases = 1000;
  for (uint32_t id = 1; id <= databases; ++id) {
    for (uint32_t i = 0; i < std::max(1u, regions / databases); ++i) {
      const uint64_t first = (id * 31 + i * 7) % nodes;
      AddRegion(view, id, {first + 1, (first + 1) % nodes + 1, (first + 2) % nodes + 1}, uint64_t{1} << 30);
    }
  }
  Measure(fmt::format("rebalance: a look at {} databases", databases),
          [&] { return StepsOf(*PlanRebalance(view, {.max_moves = 100, .max_transfers = 100})); });
}

// One node of few is lost: most of the regions want another replica, and few or none can have one now.
void AfterALoss(uint32_t nodes, uint32_t regions) {
  PlacementView view = NodesView(nodes);
  Create(view, DatabaseId(1), regions);
  view.nodes.back().state = ::tenure::v1::NODE_DOWN;
  const NodeId lost = view.nodes.back().id;
  RepairRequest request;
  for (const PlacementRegion& region : view.regions) {
    for (const PlacementReplica& replica : region.replicas) {
      if (replica.node == lost) request.wanted.push_back({region.id, lost});
    }
  }
  Measure(fmt::format("repairs: {} nodes, {} regions, one node lost", nodes, regions), [&] {
    const RepairPlan plan = PlanRepairs(view, request);
    return fmt::format("{} repairs, {} queued, {} stuck", plan.repairs.size(), plan.queued.size(),
                       plan.stuck.size());
  });
}

void BesideGreedy() {
  fmt::print(
      "\nbeside a greedy planner (fewest replicas, chance among equals): 8 regions per node and 5 more, 3 "
      "replicas, "
      "worst of 20 seeds\n");
  fmt::print("{:>6} {:>6} | {:^17} | {:^17} | {:^21}\n", "nodes", "zones", "spread of replicas",
             "spread of leaders", "scatter width (mean)");
  fmt::print("{:>6} {:>6} | {:>8} {:>9} | {:>7} {:>9} | {:>10} {:>10}\n", "", "", "planner", "greedy",
             "planner", "greedy", "planner", "greedy");
  for (const uint32_t zones : {0u, 3u}) {
    for (const uint32_t nodes : {3u, 6u, 9u, 12u, 30u, 60u, 99u}) {
      std::array<uint64_t, 4> worst{};
      std::array<double, 2> scatter{};
      for (uint64_t seed = 1; seed <= 20; ++seed) {
        PlacementView mine = NodesView(nodes, zones);
        PlacementView greedy = mine;
        const CreateRegionsRequest request{
            .database = "d", .regions = nodes * 8 + 5, .replicas = 3, .seed = seed};
        AddRegions(mine, DatabaseId(1), *PlanCreateRegions(mine, request));
        AddRegions(greedy, DatabaseId(1), PlanGreedily(greedy, nodes * 8 + 5, 3, seed));
        worst[0] = std::max(worst[0], SpreadOf(mine, &NodeCounts::replicas).width());
        worst[1] = std::max(worst[1], SpreadOf(greedy, &NodeCounts::replicas).width());
        worst[2] = std::max(worst[2], SpreadOf(mine, &NodeCounts::leaders).width());
        worst[3] = std::max(worst[3], SpreadOf(greedy, &NodeCounts::leaders).width());
        scatter[0] += ScatterWidthOf(mine) / 20;
        scatter[1] += ScatterWidthOf(greedy) / 20;
      }
      fmt::print("{:>6} {:>6} | {:>8} {:>9} | {:>7} {:>9} | {:>10.1f} {:>10.1f}\n", nodes, zones, worst[0],
                 worst[1], worst[2], worst[3], scatter[0], scatter[1]);
    }
  }
  fmt::print("With zones the greedy planner ignores them: its replicas are not spread, the planner's are.\n");
}

}  // namespace
}  // namespace tenure::planner

int main(int count, char** arguments) {
  uint32_t nodes = 1'000;
  uint32_t regions = 100'000;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = arguments[i];
    const auto value = static_cast<uint32_t>(std::strtoul(arguments[i + 1], nullptr, 10));
    if (name == "--nodes" && value >= 10) {
      nodes = value;
    } else if (name == "--regions" && value >= 1) {
      regions = value;
    } else {
      fmt::print(stderr, "usage: placement_bench [--nodes N (at least 10)] [--regions N]\n");
      return 2;
    }
  }
  tenure::planner::AtSize(nodes, regions);
  for (const uint32_t few : {3u, 4u}) {
    tenure::planner::AfterALoss(few, 5'000);
    tenure::planner::AfterALoss(few, regions);
  }
  tenure::planner::AfterALoss(nodes, regions);
  tenure::planner::BesideGreedy();
  return 0;
}
