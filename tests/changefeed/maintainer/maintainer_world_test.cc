// A maintainer with the real gate on its nodes, over regions that split, merge and change leaders, nodes that
// restart, schema changes in between, and messages that are lost and repeated. Checked at every delivery:
// order per key, schema changes between what was before and after them, one dispatcher per span; always:
// everything up to the checkpoint is delivered. When the faults end, everything is.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/prng.h"
#include "changefeed/maintainer/maintainer.h"
#include "changefeed/protocol/owner_gate.h"

namespace tenure::changefeed {
namespace {

constexpr int kNodes = 3;
constexpr int kSlots = 8;
const OwnerEpoch kWorldEpoch{5};
const Process kMaintainer{NodeId(1), Incarnation(1)};
const Claim kClaim{LeadershipEpoch(), kWorldEpoch, kMaintainer};

struct Row {
  uint64_t at = 0;
  uint64_t table = 0;
  int slot = 0;
};

struct Region {
  RegionView view;
  std::set<int> slots;
};

struct Dispatcher {
  SpanKey key;
  uint64_t start = 0;
  uint64_t position = 0;
  uint64_t hold = 0;  // stops there; 0: does not
  uint64_t at = 0;
  uint64_t wrote = 0;
  uint64_t passed = 0;  // the last schema change it was let past
};

struct Node {
  explicit Node(Process process) : self(process), gate(process) {
    gate.OnView(kWorldEpoch, kMaintainer);
    gate.OnUnfenced();
  }
  Process self;
  OwnerGate gate;
  std::map<SpanId, Dispatcher> dispatchers;
};

class World {
 public:
  explicit World(uint64_t seed) : prng_(seed), maintainer_(kWorldEpoch, CommitTs(0)) {
    for (uint64_t i = 0; i < kNodes; ++i) nodes_.emplace_back(Process{NodeId(i + 1), Incarnation(1)});
    for (int half = 0; half < 2; ++half) {
      Region region;
      region.view = {.generation = {RegionId(++last_region_), 1}, .leader = RandomProcess()};
      for (int slot = half * 4; slot < half * 4 + 4; ++slot) region.slots.insert(slot);
      regions_.push_back(std::move(region));
    }
    followed_ = {{.table = 1, .name = "one"}, {.table = 2, .name = "two"}};
    TellNodes();
    TellSchema();
    TellRegions();
  }

  std::string Run(int steps) {
    for (int i = 0; i < steps && failure_.empty(); ++i) Step(/*faults=*/true);
    Heal();
    for (int i = 0; i < 20000 && failure_.empty() && !AtRest(); ++i) Step(/*faults=*/false);
    if (failure_.empty() && !AtRest()) {
      failure_ = fmt::format("does not come to rest at {} of {}: {}", maintainer_.checkpoint(), now_,
                             maintainer_.Explain(Instant()).text);
      for (const Node& node : nodes_) {
        for (const auto& [span, d] : node.dispatchers) {
          failure_ +=
              fmt::format("\n  span {} on {}: table {} region {}.{} at {}, hold {} at {} wrote {} passed {}",
                          span, node.self, d.key.table, d.key.generation.region,
                          d.key.generation.range_version, d.position, d.hold, d.at, d.wrote, d.passed);
        }
      }
      for (const Row& change : changes_) {
        if (!delivered_changes_.contains(change.at)) {
          failure_ += fmt::format("\n  not delivered: {} of {}", change.at, change.table);
        }
      }
    }
    return failure_;
  }
  size_t rows() const { return rows_.size(); }
  size_t changes() const { return changes_.size(); }
  size_t generations() const { return regions_.size(); }

 private:
  Process RandomProcess() { return nodes_[prng_.Below(kNodes)].self; }
  bool AtRest() const {
    return delivered_.size() == rows_.size() && delivered_changes_.size() == changes_.size() &&
           maintainer_.checkpoint().value() == now_;
  }

  void Step(bool faults) {
    const uint64_t what = prng_.Below(faults ? 60 : 24);
    if (what < 8) {
      Deliver();
    } else if (what < 16) {
      Report();
    } else if (what < 20) {
      for (int i = faults ? 1 : 8; i > 0; --i) Carry(faults);
    } else if (what < 22) {
      Resend();
    } else if (what < 24) {
      TellSchema();
    } else if (what < 34) {
      Write();
    } else if (what == 34) {
      MoveLeader();
    } else if (what == 35) {
      Restart();
    } else if (what == 36) {
      Split();
    } else if (what == 37) {
      Merge();
    } else if (what == 38) {
      ChangeSchema();
    } else if (what < 50) {
      Carry(faults);
    }
    for (auto& message : maintainer_.TakeMessages()) sent_.push_back(std::move(message));
    CheckCheckpoint();
  }

  // ---- what happens to the data ----

  void Write() {
    rows_.push_back(
        {.at = ++now_, .table = 1 + prng_.Below(2), .slot = static_cast<int>(prng_.Below(kSlots))});
  }

  Region& RandomLiving() {
    std::vector<size_t> living;
    for (size_t i = 0; i < regions_.size(); ++i) {
      if (!regions_[i].view.end) living.push_back(i);
    }
    return regions_[living[prng_.Below(living.size())]];
  }

  void MoveLeader() {
    RandomLiving().view.leader = prng_.Chance(1, 5) ? Process() : RandomProcess();
    TellRegions();
  }

  // Every log has a leader again.
  void Heal() {
    for (Region& region : regions_) {
      const bool alive = std::any_of(nodes_.begin(), nodes_.end(),
                                     [&region](const Node& node) { return node.self == region.view.leader; });
      if (!alive) region.view.leader = RandomProcess();
    }
    TellRegions();
    TellSchema();
  }

  void Restart() {
    if (!prng_.Chance(1, 3)) return;
    Node& node = nodes_[prng_.Below(kNodes)];
    const Process old = node.self;
    node = Node(Process{old.node, old.incarnation.Next()});
    for (Region& region : regions_) {
      if (region.view.leader == old) region.view.leader = prng_.Chance(1, 2) ? node.self : RandomProcess();
    }
    TellNodes();
    TellRegions();
  }

  void Split() {
    Region& old = RandomLiving();
    if (old.slots.size() < 2) return;
    ++now_;
    old.view.end = CommitTs(now_);
    Region left = old;
    Region right;
    left.view = {.generation = {old.view.generation.region, old.view.generation.range_version + 1},
                 .begin = CommitTs(now_),
                 .predecessors = {old.view.generation},
                 .leader = old.view.leader};
    right.view = left.view;
    right.view.generation = {RegionId(++last_region_), 1};
    right.view.leader = RandomProcess();
    for (int i = static_cast<int>(left.slots.size()) / 2; i > 0; --i) {
      right.slots.insert(*left.slots.rbegin());
      left.slots.erase(std::prev(left.slots.end()));
    }
    regions_.push_back(std::move(left));
    regions_.push_back(std::move(right));
    TellRegions();
  }

  void Merge() {
    const Generation first = RandomLiving().view.generation;
    const Generation second = RandomLiving().view.generation;
    if (first == second) return;
    ++now_;
    Region merged;
    for (Region& region : regions_) {
      if (region.view.generation != first && region.view.generation != second) continue;
      region.view.end = CommitTs(now_);
      merged.slots.insert(region.slots.begin(), region.slots.end());
      if (region.view.generation == first) merged.view.leader = region.view.leader;
    }
    merged.view.generation = {first.region, first.range_version + 1};
    merged.view.begin = CommitTs(now_);
    merged.view.predecessors = {first, second};
    regions_.push_back(std::move(merged));
    TellRegions();
  }

  void ChangeSchema() {
    const uint64_t table = 1 + prng_.Below(2);
    changes_.push_back({.at = ++now_, .table = table});
    TellSchema();
  }

  // ---- what the maintainer is told ----

  void TellNodes() {
    std::vector<Process> processes;
    for (const Node& node : nodes_) processes.push_back(node.self);
    maintainer_.SetNodes(processes);
  }
  void TellRegions() {
    std::vector<RegionView> views;
    for (const Region& region : regions_) views.push_back(region.view);
    maintainer_.SetRegions(views);
  }
  void TellSchema() {
    if (told_changes_ == 0 && changes_.empty()) maintainer_.SetFollowed(followed_);
    for (; told_changes_ < changes_.size(); ++told_changes_) {
      const Row& change = changes_[told_changes_];
      maintainer_.AddSchemaChange({.at = CommitTs(change.at), .table = change.table, .statement = "ALTER"});
    }
    maintainer_.SetSchemaKnown(CommitTs(now_));
  }

  // ---- the network and the nodes ----

  void Resend() {
    if (sent_.size() > 30) return;
    for (auto& message : maintainer_.Unanswered()) sent_.push_back(std::move(message));
  }

  void Carry(bool faults) {
    if (sent_.empty()) return;
    const size_t index = faults ? prng_.Below(sent_.size()) : 0;
    const Outgoing message = sent_[index];
    // With faults a message may be lost, or stay to come once more.
    if (!faults || prng_.Chance(2, 3)) sent_.erase(sent_.begin() + static_cast<std::ptrdiff_t>(index));
    if (faults && prng_.Chance(1, 10)) return;
    for (Node& node : nodes_) {
      if (node.self.node == message.to.node) Receive(node, message);
    }
  }

  void Stop(Node& node, const OwnerGate::Outcome& outcome) {
    for (const SpanId span : outcome.stop) {
      const auto it = node.dispatchers.find(span);
      if (it == node.dispatchers.end()) continue;
      final_[span] = std::max(final_[span], it->second.position);
      node.dispatchers.erase(it);
    }
  }

  void Receive(Node& node, const Outgoing& message) {
    const Incarnation meant_for = message.to.incarnation;
    switch (message.kind) {
      case Outgoing::Kind::kBootstrap: {
        const auto outcome = node.gate.OnBootstrap(kClaim);
        Stop(node, outcome);
        maintainer_.OnBootstrapped(node.self, kWorldEpoch, outcome.decision.acceptance);
        return;
      }
      case Outgoing::Kind::kPostBootstrap:
        Stop(node, node.gate.OnPlan(kClaim, meant_for, message.sequence, message.spans));
        return;
      case Outgoing::Kind::kCreate: {
        const auto outcome = node.gate.OnCreate(kClaim, meant_for, message.sequence, message.span);
        Stop(node, outcome);
        if (outcome.decision.acceptance == Acceptance::kContinue) {
          node.dispatchers[message.span] = {
              .key = message.key, .start = message.start.value(), .position = message.start.value()};
        }
        return Answer(node, outcome.decision.acceptance, message.span);
      }
      case Outgoing::Kind::kRemove: {
        const auto outcome = node.gate.OnRemove(kClaim, meant_for, message.sequence, message.span);
        Stop(node, outcome);
        return Answer(node, outcome.decision.acceptance, message.span);
      }
      case Outgoing::Kind::kHold:
      case Outgoing::Kind::kPass:
        for (const SpanId span : message.spans) {
          const auto it = node.dispatchers.find(span);
          if (it == node.dispatchers.end()) continue;
          Dispatcher& dispatcher = it->second;
          const uint64_t barrier = message.barrier.value();
          if (message.kind == Outgoing::Kind::kPass && barrier > dispatcher.passed) {
            dispatcher.passed = barrier;
            if (dispatcher.hold <= barrier) dispatcher.hold = 0;
            if (dispatcher.at <= barrier) dispatcher.at = 0;
          }
          if (message.kind == Outgoing::Kind::kHold && barrier > dispatcher.passed) dispatcher.hold = barrier;
        }
        return;
      case Outgoing::Kind::kWrite: {
        const auto it = node.dispatchers.find(message.span);
        if (it == node.dispatchers.end() || it->second.at != message.barrier.value()) return;
        WriteChange(message.barrier.value());
        it->second.wrote = message.barrier.value();
        return;
      }
    }
  }

  void Answer(const Node& node, Acceptance acceptance, SpanId span) {
    const auto it = node.dispatchers.find(span);
    const bool runs = it != node.dispatchers.end();
    maintainer_.OnScheduled(node.self, kWorldEpoch, acceptance, span, node.gate.taken(), runs,
                            CommitTs(runs ? it->second.position : final_[span]));
  }

  void Report() {
    Node& node = nodes_[prng_.Below(kNodes)];
    std::vector<DispatcherReport> reports;
    for (auto it = ended_.begin(); it != ended_.end();) {
      // Said once in a while, by whatever process is there: too late is no harm.
      if (it->first != node.self) {
        ++it;
        continue;
      }
      reports.push_back(it->second);
      it = prng_.Chance(1, 2) ? ended_.erase(it) : std::next(it);
    }
    for (const auto& [span, dispatcher] : node.dispatchers) {
      reports.push_back({.span = span,
                         .flushed = CommitTs(dispatcher.position),
                         .at_barrier = CommitTs(dispatcher.at),
                         .wrote_barrier = CommitTs(dispatcher.wrote)});
    }
    maintainer_.OnProgress(node.self, kWorldEpoch, reports, Instant());
    // An older epoch's dispatchers had the same numbers and were elsewhere.
    if (prng_.Chance(1, 4) && !reports.empty()) {
      for (auto& report : reports) report.flushed = CommitTs(now_);
      maintainer_.OnProgress(node.self, kWorldEpoch.Previous(), reports, Instant());
    }
  }

  // One step of a random dispatcher: the next row, or on to where nothing is.
  void Deliver() {
    Node& node = nodes_[prng_.Below(kNodes)];
    if (node.dispatchers.empty()) return;
    auto it = node.dispatchers.begin();
    std::advance(it, prng_.Below(node.dispatchers.size()));
    if (!node.gate.MayWrite(it->first)) return;
    Dispatcher& dispatcher = it->second;
    if (prng_.Chance(1, 60)) {
      // Its sink failed.
      const SpanId span = it->first;
      ended_.emplace_back(node.self, DispatcherReport{.span = span,
                                                      .flushed = CommitTs(dispatcher.position),
                                                      .ended = true,
                                                      .sequence = node.gate.dispatchers().at(span).sequence});
      node.gate.OnDispatcherEnded(span);
      node.dispatchers.erase(it);
      return;
    }
    for (const Node& other : nodes_) {
      for (const auto& [span, twin] : other.dispatchers) {
        if (&twin != &dispatcher && twin.key == dispatcher.key) failure_ = "M1: two dispatchers of one span";
      }
    }
    const Region* region = nullptr;
    for (const Region& each : regions_) {
      if (each.view.generation == dispatcher.key.generation) region = &each;
    }
    uint64_t limit = now_;
    if (region->view.end) limit = std::min(limit, region->view.end->value());
    // Its log says where its table's schema changes: there it stops by itself.
    uint64_t stop = 0;
    for (const Row& change : changes_) {
      if (change.table != dispatcher.key.table || change.at <= dispatcher.start ||
          change.at <= dispatcher.passed)
        continue;
      if (stop == 0) stop = change.at;
    }
    if (stop != 0) limit = std::min(limit, stop - 1);
    if (dispatcher.hold != 0) limit = std::min(limit, dispatcher.hold - 1);
    for (const Row& row : rows_) {
      if (row.at <= dispatcher.position || row.at > limit || row.table != dispatcher.key.table ||
          !region->slots.contains(row.slot)) {
        continue;
      }
      WriteRow(row);
      dispatcher.position = row.at;
      return;
    }
    dispatcher.position = std::max(dispatcher.position, limit);
    if (stop != 0 && dispatcher.position + 1 >= stop) dispatcher.at = stop;
    if (dispatcher.hold != 0 && dispatcher.position + 1 >= dispatcher.hold) dispatcher.at = dispatcher.hold;
  }

  // ---- the sink ----

  void WriteRow(const Row& row) {
    for (const Row& other : rows_) {
      if (other.at < row.at && other.table == row.table && other.slot == row.slot &&
          !delivered_.contains(other.at)) {
        failure_ = fmt::format("{} is delivered before {} of the same key", row.at, other.at);
      }
    }
    if (!delivered_.insert(row.at).second) return;
    for (const Row& change : changes_) {
      if (change.table == row.table && change.at < row.at && !delivered_changes_.contains(change.at)) {
        failure_ = fmt::format("{} is delivered before the schema change {}", row.at, change.at);
      }
    }
  }
  void WriteChange(uint64_t at) {
    uint64_t table = 0;
    for (const Row& change : changes_) {
      if (change.at == at) table = change.table;
    }
    for (const Row& row : rows_) {
      if (row.table == table && row.at < at && !delivered_.contains(row.at)) {
        failure_ = fmt::format("the schema change {} is delivered before {}", at, row.at);
      }
    }
    delivered_changes_.insert(at);
  }

  void CheckCheckpoint() {
    const uint64_t checkpoint = maintainer_.checkpoint().value();
    if (checkpoint < last_checkpoint_) failure_ = "M2: the checkpoint falls";
    for (const Row& row : rows_) {
      if (row.at > last_checkpoint_ && row.at <= checkpoint && !delivered_.contains(row.at)) {
        failure_ = fmt::format("M2: the checkpoint is {}, {} is not delivered", checkpoint, row.at);
      }
    }
    for (const Row& change : changes_) {
      if (change.at > last_checkpoint_ && change.at <= checkpoint &&
          !delivered_changes_.contains(change.at)) {
        failure_ = fmt::format("M2: the checkpoint is {}, the schema change {} is not delivered", checkpoint,
                               change.at);
      }
    }
    last_checkpoint_ = checkpoint;
  }

  Prng prng_;
  Maintainer maintainer_;
  std::vector<Node> nodes_;
  std::vector<Region> regions_;
  std::vector<Followed> followed_;
  uint64_t last_region_ = 0;
  uint64_t now_ = 0;
  std::vector<Row> rows_;
  std::vector<Row> changes_;
  size_t told_changes_ = 0;
  std::vector<Outgoing> sent_;
  std::map<SpanId, uint64_t> final_;
  std::vector<std::pair<Process, DispatcherReport>> ended_;
  std::set<uint64_t> delivered_;
  std::set<uint64_t> delivered_changes_;
  uint64_t last_checkpoint_ = 0;
  std::string failure_;
};

TEST(MaintainerWorld, DeliversEverythingInOrder) {
  const char* seeds = std::getenv("TENURE_MAINTAINER_SEEDS");
  const uint64_t count = seeds != nullptr ? std::strtoull(seeds, nullptr, 10) : 30;
  size_t rows = 0;
  size_t changes = 0;
  size_t generations = 0;
  for (uint64_t seed = 1; seed <= count; ++seed) {
    World world(seed);
    ASSERT_EQ(world.Run(1500), "") << "seed " << seed;
    rows += world.rows();
    changes += world.changes();
    generations += world.generations();
  }
  EXPECT_GT(rows, count * 100);
  EXPECT_GT(changes, count * 5);
  EXPECT_GT(generations, count * 20);
}

}  // namespace
}  // namespace tenure::changefeed
