#include "sim/lease_checker.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/format.h"
#include "sim/server.h"
#include "sim/world.h"

namespace tenure::sim {

namespace {

constexpr char kInvariant[] = "no node serves from a view older than a barrier that has proceeded";

// Null if the machine has none that runs.
node::Node* NodeOf(const Machine& machine) {
  if (!machine.server || !machine.server->process().alive()) return nullptr;
  return machine.server->node();
}

}  // namespace

class LeaseChecker::Trace final : public node::FenceTrace {
 public:
  Trace(LeaseChecker& checker, uint64_t machine) : checker_(checker), machine_(machine) {}
  void OnResult(Revision view) override { checker_.OnResult(machine_, view); }

 private:
  LeaseChecker& checker_;
  const uint64_t machine_;
};

LeaseChecker::LeaseChecker(World& world) : world_(world) {}
LeaseChecker::~LeaseChecker() = default;

node::FenceTrace* LeaseChecker::TraceOf(uint64_t machine) {
  auto& trace = traces_[machine];
  if (!trace) trace = std::make_unique<Trace>(*this, machine);
  return trace.get();
}

void LeaseChecker::OnProceeded(Revision revision) {
  ++count_;
  proceeded_ = std::max(proceeded_, revision);
  Check();
}

void LeaseChecker::OnResult(uint64_t machine, Revision view) {
  ++results_;
  if (view >= proceeded_) return;
  world_.Fail(kInvariant, fmt::format("a result leaves s{} that was computed from revision {}; a barrier for "
                                      "revision {} has proceeded",
                                      machine, view, proceeded_));
}

void LeaseChecker::Check() {
  for (const auto& machine : world_.machines()) {
    node::Node* const node = NodeOf(*machine);
    if (node == nullptr || !node->fence().lease().Serves(machine->clock.Now())) continue;
    if (node->fence().present() >= proceeded_) continue;
    world_.Fail(kInvariant, fmt::format("{} serves from revision {}; a barrier for revision {} has proceeded",
                                        machine->name, node->fence().present(), proceeded_));
  }
}

std::string LeaseChecker::NotServing() const {
  for (const auto& machine : world_.machines()) {
    if (machine->lost || !machine->node) continue;
    node::Node* const node = NodeOf(*machine);
    // One that was removed from the cluster never serves again.
    if (node == nullptr || !node->registered() || node->fence().lease().Serves(machine->clock.Now()))
      continue;
    return fmt::format("the node on {} to serve: {}", machine->name,
                       node->fence().lease().FencedReason(machine->clock.Now()));
  }
  return {};
}

}  // namespace tenure::sim
