// One maintainer with many dispatchers: memory, time of the bootstrap, cost of an update of the checkpoint.
//
//   ninja -C build/release changefeed_bench && build/release/bin/changefeed_bench [DISPATCHERS...]
//
// Default: 1,000, 10,000 and 100,000 dispatchers on 30 nodes; the second table, with 1,000 and 10,000.
//
// First the maintainer alone. Then the agents of all nodes in one thread: every message between the
// maintainer and the nodes is encoded, carried and decoded, only dispatchers and the coordinator are
// stand-ins. Times are those of all nodes together.

#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

#include "base/prng.h"
#include "changefeed/agent/changefeed_agent.h"
#include "changefeed/maintainer/maintainer.h"
#include "tests/node/fake_surroundings.h"
#include "tests/runtime/manual_executor.h"

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

// ---- with agents and messages ----

namespace pb = ::tenure::v1;

constexpr uint64_t kFeed = 7;
constexpr Duration kRound = std::chrono::seconds(1);

uint64_t IncarnationOf(uint64_t node) {
  return 100 + node;
}

// What all nodes see; which node leads a region is said by its number, and by who took over from whom.
struct World {
  node::CatalogView view;
  std::map<uint64_t, uint64_t> heirs;
  NodeId LeaderOf(RegionId region) const {
    const uint64_t node = region.value() % kNodes + 1;
    const auto heir = heirs.find(node);
    return NodeId(heir == heirs.end() ? node : heir->second);
  }
};

class Facts final : public node::NodeFacts {
 public:
  Facts(const World& world, uint64_t number) : world_(world), number_(number) {}
  const node::CatalogView& catalog() const override { return world_.view; }
  NodeId self() const override { return NodeId(number_); }
  uint64_t registration_epoch() const override { return IncarnationOf(number_); }
  Instant owns_until() const override { return kFarFuture; }
  uint64_t lease_recoveries() const override { return 1; }
  NodeId LeaderOf(RegionId region) const override { return world_.LeaderOf(region); }
  const std::string& cluster_id() const override { return cluster_; }
  uint64_t cluster_incarnation() const override { return 1; }

 private:
  const World& world_;
  const uint64_t number_;
  const std::string cluster_ = "cluster";
};

// A coordinator that heeds whatever is reported.
class Coordinator final : public node::ClusterLink {
 public:
  explicit Coordinator(runtime::Executor& executor) : executor_(executor) {}
  void Call(std::string_view, std::string request, Duration, Callback<StatusOr<std::string>> done) override {
    ipb::ChangefeedEnvelope envelope;
    envelope.ParseFromString(request);
    checkpoint = CommitTs(envelope.message().maintainer_progress().checkpoint_ts());
    ipb::ChangefeedMessage message;
    message.mutable_answer()->set_acceptance(ipb::CHANGEFEED_CONTINUED);
    executor_.Post([done = std::move(done), bytes = message.SerializeAsString()]() mutable { done(bytes); });
  }
  std::unique_ptr<runtime::Stream> OpenStream(std::string_view, runtime::StreamHandler&,
                                              runtime::Endpoint*) override {
    return nullptr;
  }
  void OnStreamFailed(const runtime::Endpoint&, const Status&) override {}
  void SetControllers(const std::vector<runtime::Endpoint>&) override {}
  CommitTs checkpoint;

 private:
  runtime::Executor& executor_;
};

// Dispatchers that have delivered whatever is resolved.
class Dispatchers final : public DispatcherFactory {
 public:
  explicit Dispatchers(const CommitTs& resolved) : resolved_(resolved) {}
  std::unique_ptr<Dispatcher> Make(DispatcherSpec spec, WritePermit) override {
    ++running;
    return std::make_unique<One>(*this, std::move(spec));
  }
  size_t running = 0;

 private:
  class One final : public Dispatcher {
   public:
    One(Dispatchers& all, DispatcherSpec spec) : all_(all), spec_(std::move(spec)) {}
    void Hold(const SchemaChange&) override {}
    void Write(const SchemaChange&) override {}
    void Pass(CommitTs) override {}
    void CheckpointAdvanced(CommitTs) override {}
    void SetEnd(CommitTs) override {}
    void Stop() override { --all_.running; }
    DispatcherReport report() const override {
      return {.span = spec_.span, .flushed = resolved(), .sequence = spec_.sequence};
    }
    CommitTs resolved() const override { return std::max(spec_.start, all_.resolved_); }
    uint64_t rows_per_second() const override { return 0; }
    uint64_t rows_behind() const override { return 0; }
    const DispatcherSpec& spec() const override { return spec_; }

   private:
    Dispatchers& all_;
    const DispatcherSpec spec_;
  };
  const CommitTs& resolved_;
};

class Cluster {
 public:
  explicit Cluster(uint64_t regions) {
    Publish(regions);
    for (uint64_t number = 1; number <= kNodes; ++number)
      hosts_.push_back(std::make_unique<Host>(*this, number));
    for (const auto& host : hosts_) host->agent->OnNodeChanged();
    executor_.Drain();
  }
  ~Cluster() {
    // A closure that is still there may hold what belongs to a host.
    executor_.Stop();
  }

  void AddMaintainer() {
    ipb::ChangefeedEnvelope envelope;
    envelope.set_cluster_id("cluster");
    envelope.set_incarnation(1);
    auto& add = *envelope.mutable_message()->mutable_add_maintainer();
    add.mutable_sender()->set_leadership_epoch(1);
    add.set_owner_epoch(kEpoch.value());
    add.set_changefeed(kFeed);
    add.set_node(1);
    add.set_incarnation(IncarnationOf(1));
    hosts_.front()->agent->OnCall({.method = "Deliver", .peer = "coordinator", .deadline = kFarFuture},
                                  envelope.SerializeAsString(), [](const StatusOr<std::string>&) {});
    executor_.Drain();
  }
  void LoseNode(uint64_t node, uint64_t heir) { world_.heirs[node] = heir; }
  void Resolve(CommitTs ts) { resolved_ = ts; }
  // Lets time go by until `done`, at most a minute of it; says how long.
  template <class Done>
  Duration Until(Done done) {
    constexpr Duration kStep = std::chrono::milliseconds(50);
    for (Duration passed{}; passed < std::chrono::minutes(1); passed += kStep) {
      if (done()) return passed;
      executor_.Advance(kStep);
    }
    fmt::print(stderr, "not within a minute\n");
    std::exit(1);
  }
  void Advance(Duration time) { executor_.Advance(time); }
  size_t RunningOn(uint64_t node) const { return hosts_[node - 1]->dispatchers.running; }
  size_t running() const {
    size_t all = 0;
    for (const auto& host : hosts_) all += host->dispatchers.running;
    return all;
  }
  CommitTs checkpoint() const { return hosts_.front()->coordinator.checkpoint; }

 private:
  struct Host {
    Host(Cluster& cluster, uint64_t number)
        : network(cluster.fabric_, fmt::format("node{}:1", number)),
          coordinator(cluster.executor_),
          facts(cluster.world_, number),
          dispatchers(cluster.resolved_) {
      ChangefeedAgent::Dependencies parts{
          .executor = cluster.executor_,
          .dispatchers = cluster.executor_,
          .network = network,
          .link = coordinator,
          .node = facts,
          .factory = dispatchers,
          .check_sink = [](const SinkAddress&, Callback<std::optional<FeedError>> done) { done({}); },
          .follow = [](node::FollowedDatabases) {},
          .on_view = [](const node::CatalogView&) {},
          .logger = Logger()};
      agent = std::make_unique<ChangefeedAgent>(std::move(parts), ChangefeedAgent::Options());
      agent->Start();
    }
    node::FabricNetwork network;
    Coordinator coordinator;
    Facts facts;
    Dispatchers dispatchers;
    std::unique_ptr<ChangefeedAgent> agent;
  };

  void Publish(uint64_t regions) {
    std::map<pb::RecordKind, std::vector<pb::Record>> lists;
    for (uint64_t number = 1; number <= kNodes; ++number) {
      pb::NodeRecord& node = *lists[pb::RECORD_NODE].emplace_back().mutable_node();
      node.set_id(number);
      node.set_uuid(fmt::format("node{}", number));
      node.set_address(fmt::format("node{}:1", number));
      node.set_state(pb::NODE_UP);
      node.set_registration_epoch(IncarnationOf(number));
    }
    pb::DatabaseRecord& database = *lists[pb::RECORD_DATABASE].emplace_back().mutable_database();
    database.set_id(1);
    database.set_name("default");
    for (uint64_t id = 1; id <= regions; ++id) {
      pb::RegionRecord& region = *lists[pb::RECORD_REGION].emplace_back().mutable_region();
      region.set_id(id);
      region.set_database(1);
      region.set_state(pb::REGION_SERVING);
      region.set_range_version(1);
    }
    pb::ChangefeedRecord& feed = *lists[pb::RECORD_CHANGEFEED].emplace_back().mutable_changefeed();
    feed.set_id(kFeed);
    feed.set_name("feed");
    feed.set_database(1);
    feed.set_filter("prefix:");
    feed.set_sink("stdout:");
    feed.set_state(pb::CHANGEFEED_NORMAL);
    feed.set_start_ts(1);
    feed.set_checkpoint_ts(1);
    feed.set_owner_epoch(kEpoch.value());
    feed.set_owner_node(1);
    feed.set_owner_incarnation(IncarnationOf(1));
    for (const pb::RecordKind kind : node::kKeptKinds) {
      if (const Status status = world_.view.Replace(kind, lists[kind], Revision(1)); !status.ok()) {
        fmt::print(stderr, "{}\n", std::string(MessageOf(status)));
        std::exit(1);
      }
    }
  }

  runtime::ManualExecutor executor_;
  node::Fabric fabric_{executor_};
  World world_;
  CommitTs resolved_{1};
  std::vector<std::unique_ptr<Host>> hosts_;
};

void RunWithAgents(uint64_t regions) {
  Cluster cluster(regions);
  cluster.Advance(kRound);
  const size_t before = HeapBytes();

  cluster.Resolve(CommitTs(1000));
  auto start = steady_clock::now();
  cluster.AddMaintainer();
  const Duration first = cluster.Until([&] { return cluster.checkpoint() == CommitTs(1000); });
  const double boot = MillisSince(start);
  const size_t bytes = HeapBytes() - before;

  // The checkpoint goes on in each of them.
  constexpr int kRounds = 20;
  start = steady_clock::now();
  for (int round = 1; round <= kRounds; ++round) {
    cluster.Resolve(CommitTs(static_cast<uint64_t>(1000 + round)));
    cluster.Advance(kRound);
  }
  const double second = MillisSince(start) / kRounds;

  // All of a node's regions are led by the next one.
  start = steady_clock::now();
  cluster.LoseNode(7, 8);
  const Duration moving =
      cluster.Until([&] { return cluster.RunningOn(7) == 0 && cluster.running() == regions; });
  fmt::print("{:>11} {:>10.0f} {:>12} {:>12.0f} {:>15.1f} {:>13.1f} {:>12}\n", regions, boot, ToMillis(first),
             static_cast<double>(bytes) / static_cast<double>(regions), second, MillisSince(start),
             ToMillis(moving));
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
  fmt::print("\n{:>11} {:>10} {:>12} {:>12} {:>15} {:>13} {:>12}\n", "with agents", "boot, ms",
             "by the clock", "bytes each", "ms in a second", "a node left, ms", "by the clock");
  if (argc < 2) {
    for (const uint64_t n : {1000u, 10000u}) tenure::changefeed::RunWithAgents(n);
  }
  for (int i = 1; i < argc; ++i) tenure::changefeed::RunWithAgents(std::strtoull(argv[i], nullptr, 10));
  return 0;
}
