// One maintainer with many dispatchers: memory, time of the bootstrap, cost of an update of the checkpoint.
//
//   ninja -C build/release changefeed_bench && build/release/bin/changefeed_bench [DISPATCHERS...]
//
// Default: 1,000, 10,000 and 100,000 dispatchers on 30 nodes.

#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>

#include "base/prng.h"
#include "changefeed/maintainer/maintainer.h"

namespace tenure::changefeed {
namespace {

using std::chrono::steady_clock;

constexpr uint64_t kNodes = 30;
const OwnerEpoch kEpoch{1};

double MillisSince(steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
}

Process NodeOf(uint64_t i) {
  return {NodeId(i % kNodes + 1), Incarnation(1)};
}

size_t HeapBytes() {
  return mallinfo2().uordblks;
}

void Run(uint64_t dispatchers) {
  const size_t before = HeapBytes();
  const auto start = steady_clock::now();
  auto maintainer = std::make_unique<Maintainer>(kEpoch, CommitTs(1));
  std::vector<Process> nodes;
  for (uint64_t i = 0; i < kNodes; ++i) nodes.push_back(NodeOf(i));
  maintainer->SetNodes(nodes);
  maintainer->SetFollowed({{.table = 1, .name = "orders"}});
  std::vector<RegionView> regions;
  for (uint64_t i = 1; i <= dispatchers; ++i) {
    regions.push_back({.generation = {RegionId(i), 1}, .begin = CommitTs(1), .leader = NodeOf(i)});
  }
  maintainer->SetRegions(regions);
  for (const Process& node : nodes) maintainer->OnBootstrapped(node, kEpoch, Acceptance::kTakeOver);
  std::vector<std::pair<Process, SpanId>> spans;
  for (const Outgoing& message : maintainer->TakeMessages()) {
    if (message.kind != Outgoing::Kind::kCreate) continue;
    spans.emplace_back(message.to, message.span);
    maintainer->OnScheduled(message.to, kEpoch, Acceptance::kContinue, message.span, message.sequence, true,
                            CommitTs());
  }
  const double boot = MillisSince(start);
  if (maintainer->running() != dispatchers) {
    fmt::print(stderr, "{} of {} dispatchers run\n", maintainer->running(), dispatchers);
    std::exit(1);
  }
  const size_t bytes = HeapBytes() - before;

  // Every node reports all of its dispatchers, a little further each time.
  maintainer->SetSchemaKnown(CommitTs(~uint64_t{0} >> 1));
  std::vector<std::vector<DispatcherReport>> reports(kNodes);
  for (const auto& [process, span] : spans) reports[process.node.value() - 1].push_back({.span = span});
  Prng prng(1);
  constexpr int kRounds = 20;
  const auto updating = steady_clock::now();
  for (uint64_t round = 1; round <= kRounds; ++round) {
    for (uint64_t node = 0; node < kNodes; ++node) {
      for (auto& report : reports[node]) report.flushed = CommitTs(round * 1000 + prng.Below(900));
      maintainer->OnProgress(NodeOf(node), kEpoch, reports[node], Instant());
    }
  }
  const double per_update = MillisSince(updating) * 1e6 / static_cast<double>(dispatchers * kRounds);
  if (maintainer->checkpoint() < CommitTs(kRounds * 1000)) {
    fmt::print(stderr, "the checkpoint is {}\n", maintainer->checkpoint());
    std::exit(1);
  }
  const auto moving = steady_clock::now();
  for (auto& region : regions) region.leader = NodeOf(region.generation.region.value() + 1);
  maintainer->SetRegions(regions);
  const double move = MillisSince(moving);
  fmt::print("{:>11} {:>10.1f} {:>12.0f} {:>15.0f} {:>17.1f}\n", dispatchers, boot,
             static_cast<double>(bytes) / static_cast<double>(dispatchers), per_update, move);
}

}  // namespace
}  // namespace tenure::changefeed

int main(int argc, char** argv) {
  fmt::print("{:>11} {:>10} {:>12} {:>15} {:>17}\n", "dispatchers", "boot ms", "bytes each", "ns per update",
             "all move, ms");
  if (argc < 2) {
    for (const uint64_t n : {1000u, 10000u, 100000u}) tenure::changefeed::Run(n);
  }
  for (int i = 1; i < argc; ++i) tenure::changefeed::Run(std::strtoull(argv[i], nullptr, 10));
  return 0;
}
