// Random runs of the ownership protocol around the real gate: three nodes, leaders that come and go,
// maintainers that move two spans about, and a network in which everything ever sent may arrive at any time,
// any number of times. The rules are those of the ownership model (docs/changefeeds.md). Checked at every
// write: writes of a span never go back in (epoch, sequence), and none comes from an epoch below a stop that
// was reported complete.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/prng.h"
#include "changefeed/protocol/owner_gate.h"

namespace tenure::changefeed {
namespace {

constexpr int kNodes = 3;
constexpr int kSpans = 2;

struct Message {
  enum Kind { kAdd, kBoot, kBooted, kCreate, kRemove, kState } kind;
  int from = 0;
  int to = 0;
  Claim claim;
  Incarnation incarnation;  // meant for, or the sender's
  ScheduleSequence sequence;
  int span = 0;
  bool runs = false;  // kState: a dispatcher of the span
};

struct Maintainer {
  OwnerEpoch epoch;
  Process self;
  ScheduleSequence last;
  std::array<Incarnation, kNodes> met{};
  struct Place {
    int node = -1;
    ScheduleSequence made;
    bool removing = false;
  };
  std::array<Place, kSpans> places{};
};

struct Node {
  explicit Node(Process process) : self(process), gate(process) {}
  Process self;
  OwnerGate gate;
  std::optional<Maintainer> maintainer;
};

class World {
 public:
  explicit World(uint64_t seed) : prng_(seed) {
    for (int i = 0; i < kNodes; ++i) {
      nodes_.push_back(std::make_unique<Node>(Process{NodeId(static_cast<uint64_t>(i) + 1), Incarnation(1)}));
    }
  }

  // The first violation; empty if there was none.
  std::string Run(int steps) {
    for (int i = 0; i < steps && violation_.empty(); ++i) Step();
    return violation_;
  }
  int writes() const { return writes_; }
  uint64_t epochs() const { return epoch_.value(); }

 private:
  struct History {
    bool runs = false;
    Process owner;
  };
  Node& Pick() { return *nodes_[prng_.Below(kNodes)]; }
  int IndexOf(const Node& node) const { return static_cast<int>(node.self.node.value()) - 1; }

  void Step() {
    switch (prng_.Below(16)) {
      case 0:
        return Change();
      case 1:
        return Lead();
      case 2:
        return Fence();
      case 3:
        return Restart();
      case 4:
      case 5:
        return See();
      case 6:
      case 7:
        return Maintain();
      case 8:
      case 9:
      case 10:
        return Write();
      default:
        return Deliver();
    }
  }

  void Change() {
    if (!prng_.Chance(1, 40)) return;
    epoch_ = *NextOwnerEpoch(OwnerEpoch(prng_.Below(4)), epoch_);
    const Process owner = prng_.Chance(1, 4) ? Process() : Pick().self;
    history_[epoch_] = {!owner.node.IsNone(), owner};
  }

  bool Confirmed() const {
    for (const auto& node : nodes_) {
      if (!node->gate.fenced() && node->gate.view() != epoch_) return false;
    }
    return true;
  }

  void Lead() {
    if (epoch_.IsNone() || !Confirmed()) return;
    const History& now = history_[epoch_];
    if (now.runs) {
      sent_.push_back({.kind = Message::kAdd,
                       .to = static_cast<int>(now.owner.node.value()) - 1,
                       .claim = {LeadershipEpoch(1), epoch_, now.owner}});
    } else {
      stopped_ = epoch_;
    }
  }

  void Fence() {
    Node& node = Pick();
    if (node.gate.fenced()) {
      node.gate.OnView(epoch_, history_[epoch_].owner);
      node.gate.OnUnfenced();
    } else if (prng_.Chance(1, 30)) {
      node.gate.OnFenced();
      node.maintainer.reset();
    }
  }

  void Restart() {
    if (!prng_.Chance(1, 100)) return;
    auto& slot = nodes_[prng_.Below(kNodes)];
    slot = std::make_unique<Node>(Process{slot->self.node, slot->self.incarnation.Next()});
  }

  void See() {
    Node& node = Pick();
    if (node.gate.fenced() || node.gate.view() == epoch_) return;
    const auto next = history_.upper_bound(node.gate.view());
    if (node.gate.OnView(next->first, next->second.owner).stop_maintainer) node.maintainer.reset();
  }

  void Maintain() {
    Node& node = Pick();
    if (!node.maintainer) return;
    Maintainer& m = *node.maintainer;
    if (prng_.Chance(1, 100)) {
      node.gate.OnMaintainerEnded();
      node.maintainer.reset();
      return;
    }
    const Claim claim{LeadershipEpoch(), m.epoch, m.self};
    const int target = static_cast<int>(prng_.Below(kNodes));
    const int span = static_cast<int>(prng_.Below(kSpans));
    auto& place = m.places[static_cast<size_t>(span)];
    if (prng_.Chance(1, 3)) {
      sent_.push_back({.kind = Message::kBoot, .from = IndexOf(node), .to = target, .claim = claim});
    } else if (place.node < 0) {
      const Incarnation met = m.met[static_cast<size_t>(target)];
      if (met.IsNone()) return;
      m.last = m.last.Next();
      place = {.node = target, .made = m.last};
      SendSchedule(Message::kCreate, node, m, span, met);
    } else {
      m.last = m.last.Next();
      place.removing = true;
      SendSchedule(Message::kRemove, node, m, span, m.met[static_cast<size_t>(place.node)]);
    }
  }

  void SendSchedule(Message::Kind kind, const Node& node, const Maintainer& m, int span,
                    Incarnation meant_for) {
    sent_.push_back({.kind = kind,
                     .from = IndexOf(node),
                     .to = m.places[static_cast<size_t>(span)].node,
                     .claim = {LeadershipEpoch(), m.epoch, m.self},
                     .incarnation = meant_for,
                     .sequence = m.last,
                     .span = span});
  }

  void Deliver() {
    if (sent_.empty()) return;
    // Mostly what is new, sometimes what is very old.
    const uint64_t window = prng_.Chance(3, 4) ? std::min<uint64_t>(sent_.size(), 12) : sent_.size();
    const Message message = sent_[sent_.size() - 1 - prng_.Below(window)];
    Receive(*nodes_[static_cast<size_t>(message.to)], message);
  }

  void Receive(Node& node, const Message& message) {
    const SpanId span(static_cast<uint64_t>(message.span) + 1);
    switch (message.kind) {
      case Message::kAdd: {
        const auto outcome = node.gate.OnAddMaintainer(message.claim);
        if (outcome.stop_maintainer) node.maintainer.reset();
        if (outcome.decision.acceptance == Acceptance::kTakeOver ||
            outcome.decision.acceptance == Acceptance::kContinue) {
          node.maintainer = Maintainer{.epoch = message.claim.epoch, .self = node.self};
        }
        return;
      }
      case Message::kBoot:
        if (node.gate.OnBootstrap(message.claim).decision.accepted()) {
          sent_.push_back({.kind = Message::kBooted,
                           .from = message.to,
                           .to = message.from,
                           .claim = message.claim,
                           .incarnation = node.self.incarnation});
        }
        return;
      case Message::kCreate:
        node.gate.OnCreate(message.claim, message.incarnation, message.sequence, span);
        return AnswerState(node, message);
      case Message::kRemove:
        node.gate.OnRemove(message.claim, message.incarnation, message.sequence, span);
        return AnswerState(node, message);
      case Message::kBooted:
      case Message::kState:
        return Learn(node, message);
    }
  }

  void AnswerState(const Node& node, const Message& message) {
    const SpanId span(static_cast<uint64_t>(message.span) + 1);
    sent_.push_back({.kind = Message::kState,
                     .from = message.to,
                     .to = message.from,
                     .claim = message.claim,
                     .incarnation = node.self.incarnation,
                     .sequence = node.gate.taken(),
                     .span = message.span,
                     .runs = node.gate.dispatchers().contains(span)});
  }

  static void Learn(Node& node, const Message& message) {
    if (!node.maintainer || node.maintainer->epoch != message.claim.epoch ||
        node.maintainer->self != message.claim.owner) {
      return;
    }
    Maintainer& m = *node.maintainer;
    auto& met = m.met[static_cast<size_t>(message.from)];
    if (message.incarnation < met) return;
    if (message.kind == Message::kBooted && message.incarnation > met) {
      // The process before is gone, and with it what it ran.
      for (auto& place : m.places) {
        if (place.node == message.from) place = {};
      }
      met = message.incarnation;
    }
    if (message.kind != Message::kState || message.incarnation != met) return;
    auto& place = m.places[static_cast<size_t>(message.span)];
    if (place.node == message.from && !message.runs && message.sequence >= place.made) place = {};
  }

  void Write() {
    Node& node = Pick();
    for (int i = 0; i < kSpans; ++i) {
      const SpanId span(static_cast<uint64_t>(i) + 1);
      if (!node.gate.MayWrite(span)) continue;
      const auto& dispatcher = node.gate.dispatchers().at(span);
      const std::pair key{dispatcher.epoch, dispatcher.sequence};
      auto& newest = newest_[static_cast<size_t>(i)];
      if (key < newest) {
        violation_ = fmt::format("span {}: {}.{} writes after {}.{}", i, key.first, key.second, newest.first,
                                 newest.second);
      }
      if (dispatcher.epoch <= stopped_) {
        violation_ =
            fmt::format("epoch {} writes after the stop {} was complete", dispatcher.epoch, stopped_);
      }
      newest = key;
      ++writes_;
    }
  }

  Prng prng_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Message> sent_;
  OwnerEpoch epoch_;
  OwnerEpoch stopped_;
  std::map<OwnerEpoch, History> history_;
  std::array<std::pair<OwnerEpoch, ScheduleSequence>, kSpans> newest_{};
  std::string violation_;
  int writes_ = 0;
};

TEST(OwnershipWorld, WritesNeverGoBack) {
  const char* seeds = std::getenv("TENURE_OWNERSHIP_SEEDS");
  const uint64_t count = seeds != nullptr ? std::strtoull(seeds, nullptr, 10) : 80;
  int writes = 0;
  uint64_t epochs = 0;
  for (uint64_t seed = 1; seed <= count; ++seed) {
    World world(seed);
    const std::string violation = world.Run(6000);
    ASSERT_EQ(violation, "") << "seed " << seed;
    writes += world.writes();
    epochs += world.epochs();
  }
  // The runs are worth something only if they do something.
  EXPECT_GT(writes, static_cast<int>(count) * 20);
  EXPECT_GT(epochs, count * 4);
}

}  // namespace
}  // namespace tenure::changefeed
