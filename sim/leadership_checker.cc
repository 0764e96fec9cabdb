#include "sim/leadership_checker.h"

#include <fmt/format.h>

#include "base/format.h"
#include "catalog/controllers.h"
#include "controller/controller.h"
#include "sim/server.h"
#include "sim/world.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

// More than any turn takes that is not held up.
constexpr Duration kTurn = std::chrono::milliseconds(50);
// In which a node with sound links notices that its leader is gone, and finds the next one: an unanswered
// heartbeat, some wrong addresses, the longest pause between two attempts. Less than the tolerance of a
// warm-up.
constexpr Duration kFindsLeader = std::chrono::seconds(12);
constexpr Duration kSoundDelay = std::chrono::milliseconds(100);

// Clocks drift, and what is looked at may have happened since the last look.
bool Lasted(Duration at_most, Duration limit) {
  return at_most >= limit - limit / 50;
}

}  // namespace

void LeadershipChecker::Check() {
  for (const auto& machine : world_.machines()) {
    if (!machine->server || !machine->server->started() || !machine->server->process().alive()) continue;
    controller::Controller* const controller = machine->server->controller();
    if (controller == nullptr) continue;
    const controller::Leadership& leadership = controller->leadership();
    if (!leadership.leading()) {
      seen_.erase(machine->number);
      wrong_since_.erase(machine->number);
      continue;
    }
    CheckEpoch(*machine, *controller);
    CheckHeartbeats(*machine, *controller);
    Seen& seen = seen_[machine->number];
    if (seen.epoch != leadership.epoch() || seen.boot != machine->boots || !seen.started) {
      // Samples are taken from when the services start, for which those of the epoch before have to stop.
      // Views of others are taken until it leads, and none afterwards.
      const auto age = controller->standby_view().Age();
      seen = {.boot = machine->boots,
              .epoch = leadership.epoch(),
              .not_before = last_look_,
              .fresh_view = age && *age <= controller::WarmUpOptions().view_age + std::chrono::seconds(1),
              .started = leadership.started_epoch() == leadership.epoch()};
    }
    if (!leadership.load_ready() || seen.ready) continue;
    seen.ready = true;
    ++ready_;
    CheckReady(*machine, *controller, seen);
  }
  NoteExpected();
  last_look_ = world_.scheduler().now();
}

// By the newest catalog that any controller has; while there is none, what was known.
void LeadershipChecker::NoteExpected() {
  const catalog::Catalog* newest = nullptr;
  const auto age = [](const catalog::Catalog& catalog) {
    return std::pair(catalog.cluster() == nullptr ? 0 : catalog.cluster()->incarnation(), catalog.applied());
  };
  for (const auto& machine : world_.machines()) {
    if (!machine->server || !machine->server->started() || !machine->server->process().alive()) continue;
    if (const controller::Controller* const controller = machine->server->controller()) {
      const catalog::Catalog& catalog = controller->catalog();
      if (newest == nullptr || age(catalog) > age(*newest)) newest = &catalog;
    }
  }
  if (newest == nullptr) return;
  expected_.clear();
  for (const auto& [id, record] : newest->nodes()) {
    const pb::NodeState state = record.node().state();
    if (state == pb::NODE_JOINING || state == pb::NODE_UP || state == pb::NODE_SUSPECT) expected_.insert(id);
  }
}

void LeadershipChecker::CheckEpoch(const Machine& machine, controller::Controller& controller) {
  if (controller.leadership().token().stop_requested()) {
    world_.Fail("an epoch and its token end in the same moment",
                fmt::format("{} leads epoch {}, whose token is stopped", machine.name,
                            controller.leadership().epoch()));
  }
  const controller::Leadership& leadership = controller.leadership();
  if (leadership.heard_enough() && leadership.started_epoch() != leadership.epoch()) {
    world_.Fail(
        "load ready by what was heard in that epoch",
        fmt::format("{} leads epoch {}, the services of epoch {} have not ended, and it has heard enough",
                    machine.name, leadership.epoch(), leadership.started_epoch()));
  }
  const auto status = controller.host().StatusOf(kCatalogGroup);
  const Term epoch = controller.leadership().epoch();
  Instant& wrong_since = wrong_since_[machine.number];
  const Instant now = world_.scheduler().now();
  if (status && status->role == raft::Role::kLeader && status->term == epoch && status->serving) {
    wrong_since = {};
    return;
  }
  // What the core knows reaches the others at the end of its turn, which an executor that stands still
  // delays.
  if (machine.server->stands_still() || wrong_since == Instant()) {
    wrong_since = now;
    return;
  }
  if (now - wrong_since < kTurn) return;
  world_.Fail("who leads is the group's leader and has applied an entry of its term",
              fmt::format("{} leads epoch {}, its replica is {}", machine.name, epoch,
                          status ? fmt::format("at term {}, {}", status->term,
                                               status->serving ? "serving" : "not serving")
                                 : "gone"));
}

void LeadershipChecker::CheckHeartbeats(const Machine& machine, controller::Controller& controller) {
  const Instant now = world_.scheduler().now();
  const SimNetwork& network = world_.network();
  const auto sound = [&](const Endpoint& from, const Endpoint& to) {
    return !network.blocked(from, to) && network.OptionsOf(from, to).max_delay <= kSoundDelay;
  };
  for (const auto& other : world_.machines()) {
    Unheard& unheard = unheard_[{machine.number, other->number}];
    const bool runs = other->server && other->server->started() && other->server->process().alive() &&
                      other->server->node() != nullptr && !other->server->any_stands_still();
    const bool in_the_way = !runs || machine.server->any_stands_still() ||
                            !other->server->node()->registered() || !sound(machine.address, other->address) ||
                            !sound(other->address, machine.address);
    const Unheard current{machine.boots + other->boots, controller.leadership().epoch(), unheard.since};
    bool connected = false;
    for (const auto& [id, record] : controller.catalog().nodes()) {
      if (record.node().address() != other->address) continue;
      const controller::NodeLoad* const load = controller.load().Find(NodeId(id));
      connected = connected || (load != nullptr && load->connected);
    }
    if (in_the_way || connected || unheard.boots != current.boots || unheard.epoch != current.epoch) {
      unheard = current;
      unheard.since = now;
    } else if (now - unheard.since > kFindsLeader) {
      world_.Fail("a leader hears every node, ready or not",
                  fmt::format("{} leads epoch {} and has not heard {} for {} ms, with nothing in the way",
                              machine.name, current.epoch, other->name, ToMillis(now - unheard.since)));
    }
  }
}

void LeadershipChecker::CheckReady(const Machine& machine, controller::Controller& controller,
                                   const Seen& seen) {
  const controller::WarmUpOptions options;
  const Duration at_most = world_.scheduler().now() - seen.not_before;
  if (Lasted(at_most, options.tolerance)) return;
  if (seen.fresh_view && Lasted(at_most, options.warm_round)) return;
  for (const auto& other : world_.machines()) {
    // Whoever was down since then may have refused a connection.
    const bool was_up = other->server && other->server->started() && other->server->process().alive() &&
                        other->booted_at <= seen.not_before;
    if (!was_up || other.get() == &machine || other->server->node() == nullptr) continue;
    for (const auto& [id, record] : controller.catalog().nodes()) {
      const pb::NodeState state = record.node().state();
      if (record.node().address() != other->address || (state != pb::NODE_UP && state != pb::NODE_SUSPECT))
        continue;
      // One that was resumed just now was not waited for.
      if (!expected_.contains(id)) continue;
      const controller::NodeLoad* load = controller.load().Find(NodeId(id));
      if (load != nullptr && load->full) continue;
      if (seen.fresh_view && !controller.standby_view().Find(NodeId(id))->connected) continue;
      world_.Fail("load ready with a sample of everybody, or after a while",
                  fmt::format("{} decides by load at most {} ms after epoch {} began, without node {} on {}",
                              machine.name, ToMillis(at_most), seen.epoch, id, other->name));
    }
  }
}

}  // namespace tenure::sim
