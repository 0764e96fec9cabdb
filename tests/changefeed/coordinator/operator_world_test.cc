// Every operator, with the loss of origin, target and leader before and after each of its steps: alone, and
// every pair of losses. All events that ever happened are told again before each step: what is late must do
// no harm.
#include <gtest/gtest.h>

#include "changefeed/coordinator/bootstrap.h"

namespace tenure::changefeed {
namespace {

using Kind = Operator::Action::Kind;
constexpr ChangefeedId kWorldFeed{1};
constexpr size_t kOrigin = 0;
constexpr size_t kTarget = 1;

enum class Loss { kOrigin, kTarget, kLeader };

struct Injection {
  int step = 0;
  bool after = false;  // the action was done, but nobody was told yet
  Loss loss = Loss::kOrigin;
};

class World {
 public:
  World(OperatorKind kind, std::vector<Injection> injections)
      : kind_(kind), injections_(std::move(injections)) {
    for (uint64_t i = 0; i < 3; ++i) nodes_.push_back({.process = {NodeId(i + 1), Incarnation(10)}});
    if (kind != OperatorKind::kAdd) {
      record_.epoch = OwnerEpoch(3);
      record_.owner = nodes_[kOrigin].process;
      nodes_[kOrigin].runs = OwnerEpoch(3);
      nodes_[kOrigin].ended.insert(OwnerEpoch(3));
      nodes_[kOrigin].checkpoint = CommitTs(70);
    }
    Request();
  }

  std::string Run() {
    for (int i = 0; i < 80 && failure_.empty(); ++i) {
      if (!slot_.busy() && !Continue()) return Verdict();
      Advance();
    }
    return failure_.empty() ? "does not come to an end" : failure_;
  }

 private:
  struct Node {
    Process process;
    OwnerEpoch runs;             // none: nothing
    std::set<OwnerEpoch> ended;  // epochs in which a maintainer was started here
    CommitTs checkpoint;         // of what runs or ran last
  };
  struct Record {
    bool exists = true;
    bool wanted = true;  // neither paused nor removed
    bool removing = false;
    OwnerEpoch epoch;
    Process owner;
    CommitTs checkpoint{50};
  };

  void Request() {
    std::optional<Running> running;
    if (!record_.owner.node.IsNone()) running = Running{record_.owner, record_.epoch};
    slot_.Begin({kind_, nodes_[kTarget].process}, running, record_.epoch);
  }

  // What the coordinator begins by itself when nothing is under way. False: all is as it should be.
  bool Continue() {
    if (!record_.exists) return false;
    std::optional<Running> running;
    if (!record_.owner.node.IsNone()) running = Running{record_.owner, record_.epoch};
    if (record_.removing) {
      slot_.Begin({OperatorKind::kRemove, {}}, running, record_.epoch);
      return true;
    }
    if (!record_.wanted) return false;
    if (running && IndexOf(running->process) >= 0 && At(running->process).runs == record_.epoch) return false;
    slot_.Begin({OperatorKind::kAdd, Process()}, running, record_.epoch);
    return true;
  }

  int IndexOf(const Process& process) const {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].process == process) return static_cast<int>(i);
    }
    return -1;
  }
  Node& At(const Process& process) { return nodes_[static_cast<size_t>(IndexOf(process))]; }

  void Tell(std::function<void(Operator&)> event) {
    events_.push_back(std::move(event));
    if (Operator* now = slot_.current()) events_.back()(*now);
  }

  void Advance() {
    Inject(false);
    for (const auto& event : events_) {
      if (Operator* now = slot_.current()) event(*now);
    }
    Operator* now = slot_.current();
    if (now == nullptr) {
      ++step_;
      return;
    }
    const auto action = now->Next();
    auto event = Perform(*now, action);
    Inject(true);
    ++step_;
    if (event) Tell(std::move(event));
  }

  void Inject(bool after) {
    for (const Injection& injection : injections_) {
      if (injection.step != step_ || injection.after != after) continue;
      switch (injection.loss) {
        case Loss::kOrigin:
          Die(kOrigin);
          break;
        case Loss::kTarget:
          Die(kTarget);
          break;
        case Loss::kLeader:
          LoseLeader();
          break;
      }
    }
  }

  void Die(size_t index) {
    Node& node = nodes_[index];
    const Process old = node.process;
    node = Node{.process = {old.node, old.incarnation.Next()}};
    lost_ = true;
    Tell([old](Operator& op) { op.OnProcessGone(old); });
  }

  // A new one knows the record and what nodes report; everything that was under way is forgotten.
  void LoseLeader() {
    lost_ = true;
    leader_lost_ = true;
    slot_ = OperatorSlot();
    events_.clear();
    if (!record_.exists) return;
    BootstrapEvidence evidence;
    for (const Node& node : nodes_) {
      evidence.heard.push_back(node.process);
      if (!node.runs.IsNone())
        evidence.reports.push_back({kWorldFeed, {node.process, node.runs}, node.checkpoint});
    }
    const auto plan = PlanBootstrap({kWorldFeed, record_.epoch, record_.owner}, evidence);
    for (const Running& stop : plan.stop) At(stop.process).runs = OwnerEpoch();
    // A process that is none any more is gone for certain.
    if (plan.needs_owner && IndexOf(record_.owner) < 0) {
      const Process old = record_.owner;
      Tell([old](Operator& op) { op.OnProcessGone(old); });
    }
  }

  std::function<void(Operator&)> Perform(Operator& now, const Operator::Action& action) {
    const uint64_t id = now.id();
    switch (action.kind) {
      case Kind::kNone:
        failure_ = "nothing to do, and not done";
        return {};
      case Kind::kChooseTarget:
        now.Retarget(nodes_[2].process);
        return {};
      case Kind::kSendRemove: {
        const Process process = action.process;
        if (IndexOf(process) < 0) return [process](Operator& op) { op.OnProcessGone(process); };
        Node& node = At(process);
        const OwnerEpoch epoch = node.runs.IsNone() ? action.epoch : node.runs;
        const CommitTs final_checkpoint = node.checkpoint;
        if (node.runs > action.epoch) failure_ = "a remove of a lower epoch";
        node.runs = OwnerEpoch();
        return [=](Operator& op) { op.OnEnded({process, epoch}, final_checkpoint); };
      }
      case Kind::kCommit: {
        if (action.epoch <= record_.epoch) {
          const OwnerEpoch stored = record_.epoch;
          return [stored](Operator& op) { op.OnCommitConflict(stored); };
        }
        record_.epoch = *NextOwnerEpoch(action.epoch, record_.epoch);
        record_.owner = action.process;
        record_.checkpoint = std::max(record_.checkpoint, action.checkpoint);
        if (action.process.node.IsNone()) record_.wanted = false;
        record_.removing = record_.removing || action.removing;
        const OwnerEpoch epoch = record_.epoch;
        const Process owner = action.process;
        return [id, epoch, owner](Operator& op) {
          if (op.id() == id) op.OnCommitted(epoch, owner);
        };
      }
      case Kind::kAwaitBarrier: {
        barrier_ = action.epoch;
        // Every node has the new epoch in its view by now.
        for (Node& node : nodes_) {
          if (node.runs < action.epoch) node.runs = OwnerEpoch();
        }
        const OwnerEpoch epoch = action.epoch;
        return [epoch](Operator& op) { op.OnBarrierPassed(epoch); };
      }
      case Kind::kSendAdd:
        return Add(action);
      case Kind::kDropRecord:
        for (const Node& node : nodes_) {
          if (!node.runs.IsNone()) failure_ = "the record is dropped while a maintainer runs";
        }
        record_.exists = false;
        return [](Operator& op) { op.OnRecordDropped(); };
    }
    return {};
  }

  std::function<void(Operator&)> Add(const Operator::Action& action) {
    const Running running{action.process, action.epoch};
    if (barrier_ != action.epoch) failure_ = "O1: add before the barrier";
    if (record_.epoch != action.epoch || record_.owner != action.process) failure_ = "add without record";
    if (IndexOf(action.process) < 0) return [running](Operator& op) { op.OnProcessGone(running.process); };
    Node& node = At(action.process);
    if (node.runs == action.epoch) return [running](Operator& op) { op.OnStarted(running); };
    if (!node.ended.insert(action.epoch).second) {
      return [running](Operator& op) { op.OnStartRefused(running, running.epoch); };
    }
    for (const Node& other : nodes_) {
      if (!other.runs.IsNone()) failure_ = "O2: two maintainers";
    }
    node.runs = action.epoch;
    node.checkpoint = record_.checkpoint;
    return [running](Operator& op) { op.OnStarted(running); };
  }

  // At rest: what runs is what the record says, and the request was done or, the leader lost, not begun.
  std::string Verdict() {
    if (!failure_.empty()) return failure_;
    std::vector<Running> running;
    for (const Node& node : nodes_) {
      if (!node.runs.IsNone()) running.push_back({node.process, node.runs});
    }
    const bool stops = kind_ == OperatorKind::kStop || kind_ == OperatorKind::kRemove;
    if (!record_.exists || !record_.wanted) {
      if (!running.empty()) return "runs although it is stopped or removed";
      if (!stops) return "stopped by nobody";
      if ((kind_ == OperatorKind::kRemove) == record_.exists) return "half removed";
      return "";
    }
    if (stops && !leader_lost_) return "the request was forgotten";
    if (running.size() != 1) return fmt::format("{} maintainers at rest", running.size());
    if (running[0] != Running{record_.owner, record_.epoch}) return "another maintainer than the record's";
    if (!lost_ && running[0].process != nodes_[kTarget].process) return "not on its target";
    if (!lost_ && kind_ == OperatorKind::kMove && record_.checkpoint != CommitTs(70)) {
      return "the origin's final checkpoint is lost";
    }
    return "";
  }

  const OperatorKind kind_;
  const std::vector<Injection> injections_;
  std::vector<Node> nodes_;
  Record record_;
  OwnerEpoch barrier_;
  OperatorSlot slot_;
  std::vector<std::function<void(Operator&)>> events_;
  int step_ = 0;
  bool lost_ = false;
  bool leader_lost_ = false;
  std::string failure_;
};

std::vector<Injection> AllInjections() {
  std::vector<Injection> all;
  for (int step = 0; step <= 12; ++step) {
    for (bool after : {false, true}) {
      for (Loss loss : {Loss::kOrigin, Loss::kTarget, Loss::kLeader}) all.push_back({step, after, loss});
    }
  }
  return all;
}

std::string Describe(const std::vector<Injection>& injections) {
  std::string text;
  for (const auto& i : injections) {
    text +=
        fmt::format(" {} {} is lost: {};", i.after ? "after" : "before", i.step, static_cast<int>(i.loss));
  }
  return text;
}

class OperatorWorld : public testing::TestWithParam<OperatorKind> {};

TEST_P(OperatorWorld, ComesToRestWithoutFaults) {
  EXPECT_EQ(World(GetParam(), {}).Run(), "");
}

TEST_P(OperatorWorld, ComesToRestWhateverIsLostAtAnyStep) {
  for (const Injection& one : AllInjections()) {
    EXPECT_EQ(World(GetParam(), {one}).Run(), "") << Describe({one});
  }
}

TEST_P(OperatorWorld, ComesToRestWhateverTwoThingsAreLost) {
  const auto all = AllInjections();
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = i + 1; j < all.size(); ++j) {
      ASSERT_EQ(World(GetParam(), {all[i], all[j]}).Run(), "") << Describe({all[i], all[j]});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, OperatorWorld,
                         testing::Values(OperatorKind::kAdd, OperatorKind::kMove, OperatorKind::kStop,
                                         OperatorKind::kRemove),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

// ---- the slot ----

const Process kFirst{NodeId(1), Incarnation(1)};
const Process kSecond{NodeId(2), Incarnation(1)};
const Process kThird{NodeId(3), Incarnation(1)};
using Verdict = OperatorSlot::Verdict;

TEST(OperatorSlot, RemoveBeatsStopBeatsMoveBeatsAdd) {
  const std::vector<OperatorKind> kinds{OperatorKind::kAdd, OperatorKind::kMove, OperatorKind::kStop,
                                        OperatorKind::kRemove};
  for (OperatorKind first : kinds) {
    for (OperatorKind second : kinds) {
      OperatorSlot slot;
      slot.Begin({first, kSecond}, Running{kFirst, OwnerEpoch(3)}, OwnerEpoch(3));
      const Verdict verdict = slot.Begin({second, kThird}, Running{kFirst, OwnerEpoch(3)}, OwnerEpoch(3));
      const bool starts = second == OperatorKind::kAdd || second == OperatorKind::kMove;
      Verdict expected = Verdict::kReplaced;
      if (second < first) expected = Verdict::kRefused;
      if (second == first) expected = starts ? Verdict::kRetargeted : Verdict::kJoined;
      if (first == OperatorKind::kAdd && second == OperatorKind::kMove) expected = Verdict::kRetargeted;
      EXPECT_EQ(verdict, expected) << NameOf(first) << " then " << NameOf(second);
      if (verdict == Verdict::kReplaced) {
        EXPECT_EQ(slot.current()->kind(), second);
      }
    }
  }
}

TEST(OperatorSlot, AStopOfAnAddThatMayHaveStartedClosesItsTarget) {
  OperatorSlot slot;
  slot.Begin({OperatorKind::kAdd, kSecond}, std::nullopt, OwnerEpoch(3));
  const uint64_t add = slot.current()->id();
  slot.current()->OnCommitted(OwnerEpoch(4), kSecond);
  slot.current()->OnBarrierPassed(OwnerEpoch(4));
  ASSERT_EQ(slot.current()->Next().kind, Kind::kSendAdd);
  slot.Begin({OperatorKind::kStop, {}}, std::nullopt, OwnerEpoch(4));
  EXPECT_EQ(slot.WithId(add), nullptr);
  Operator& stop = *slot.current();
  EXPECT_EQ(stop.Next().kind, Kind::kCommit);
  EXPECT_EQ(stop.Next().epoch, OwnerEpoch(5));
  stop.OnCommitted(OwnerEpoch(5), Process());
  stop.OnBarrierPassed(OwnerEpoch(5));
  EXPECT_EQ(stop.Next(),
            (Operator::Action{.kind = Kind::kSendRemove, .process = kSecond, .epoch = OwnerEpoch(5)}));
  stop.OnEnded({kSecond, OwnerEpoch(4)}, CommitTs(88));
  EXPECT_TRUE(stop.done());
  EXPECT_EQ(stop.final_checkpoint(), CommitTs(88));
}

TEST(OperatorSlot, ALateReportOfTheOldTargetDoesNotFinishARetargetedMove) {
  OperatorSlot slot;
  slot.Begin({OperatorKind::kMove, kSecond}, Running{kFirst, OwnerEpoch(3)}, OwnerEpoch(3));
  Operator& move = *slot.current();
  move.OnEnded({kFirst, OwnerEpoch(3)}, CommitTs(9));
  move.OnCommitted(OwnerEpoch(4), kSecond);
  move.OnBarrierPassed(OwnerEpoch(4));
  slot.Begin({OperatorKind::kMove, kThird}, std::nullopt, OwnerEpoch(4));
  // `add` may have reached B: it ends before C begins, under a new epoch.
  EXPECT_EQ(move.Next(),
            (Operator::Action{.kind = Kind::kSendRemove, .process = kSecond, .epoch = OwnerEpoch(4)}));
  move.OnStarted({kSecond, OwnerEpoch(4)});
  EXPECT_FALSE(move.done());
  move.OnEnded({kSecond, OwnerEpoch(4)}, CommitTs(12));
  EXPECT_EQ(move.Next().epoch, OwnerEpoch(5));
  EXPECT_EQ(move.Next().checkpoint, CommitTs(12));
  move.OnCommitted(OwnerEpoch(5), kThird);
  move.OnBarrierPassed(OwnerEpoch(5));
  move.OnStarted({kSecond, OwnerEpoch(4)});
  move.OnStarted({kThird, OwnerEpoch(4)});
  EXPECT_FALSE(move.done());
  move.OnStarted({kThird, OwnerEpoch(5)});
  EXPECT_TRUE(move.done());
}

}  // namespace
}  // namespace tenure::changefeed
