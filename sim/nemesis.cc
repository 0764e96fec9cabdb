#include "sim/nemesis.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "sim/server.h"

namespace tenure::sim {

void Nemesis::Start() {
  ScheduleNext();
}

void Nemesis::ScheduleNext() {
  const Duration gap(prng_.Between(0, 2 * world_.options().mean_fault_gap.count()));
  next_ = world_.scheduler().At(world_.scheduler().now() + gap, "nemesis", [this] {
    if (healed_) return;
    Strike();
    ScheduleNext();
  });
}

Duration Nemesis::DrawLength() {
  // Short ones are common: many bugs live at the edge of a timeout, not far beyond it.
  const int64_t most = world_.options().max_fault_length.count();
  return Duration(prng_.Between(0, prng_.Chance(1, 2) ? most / 4 : most));
}

void Nemesis::Until(std::string what, std::function<void()> mend) {
  ++faults_;
  world_.Note("fault: " + what);
  const uint64_t id = next_mend_++;
  mends_[id] = [this, what = std::move(what), mend = std::move(mend)] {
    world_.Note("mended: " + what);
    mend();
  };
  world_.scheduler().After(DrawLength(), "mend", [this, id] {
    auto node = mends_.extract(id);
    if (!node.empty()) node.mapped()();
  });
}

void Nemesis::Heal() {
  healed_ = true;
  next_.Cancel();
  for (auto& [id, mend] : std::exchange(mends_, {})) mend();
  world_.network().HealAll();
  world_.network().SetDefaults({});
  for (size_t i = 0; i < world_.machines().size(); ++i) {
    Machine& machine = *world_.machines()[i];
    machine.disk.ReleaseSyncs();
    machine.disk.set_options({});
    world_.Resume(i);
    if (!world_.Up(i)) world_.Boot(i);
  }
}

void Nemesis::Strike() {
  const FaultWeights& weights = world_.options().faults;
  uint64_t draw = prng_.Below(weights.total());
  const auto pick = [&draw](uint32_t weight) {
    if (draw < weight) {
      draw = UINT64_MAX;
      return true;
    }
    if (draw != UINT64_MAX) draw -= weight;
    return false;
  };
  if (pick(weights.crash)) return Crash(DrawMachine(), CrashKind::kProcess);
  if (pick(weights.power_loss)) return Crash(DrawMachine(), CrashKind::kPower);
  if (pick(weights.total_loss)) return TotalLoss();
  if (pick(weights.pause)) return Pause();
  if (pick(weights.isolate)) return Isolate();
  if (pick(weights.one_way)) return OneWay();
  if (pick(weights.split)) return Split();
  if (pick(weights.hang_disk)) return HangDisk();
  if (pick(weights.reset)) return Reset();
  if (pick(weights.transfer)) return Transfer();
  if (pick(weights.rot)) return Rot();
}

void Nemesis::Crash(size_t machine, CrashKind kind) {
  if (!world_.Up(machine)) return;
  if (kind == CrashKind::kPower) world_.network().PowerOff(world_.machines()[machine]->address);
  world_.Kill(machine, kind);
  Until(fmt::format("{} of {}", kind == CrashKind::kPower ? "power loss" : "crash",
                    world_.machines()[machine]->name),
        [this, machine] {
          if (!world_.Up(machine)) world_.Boot(machine);
        });
}

void Nemesis::TotalLoss() {
  for (size_t i = 0; i < world_.machines().size(); ++i) Crash(i, CrashKind::kPower);
}

void Nemesis::Pause() {
  const size_t machine = DrawMachine();
  if (!world_.Up(machine)) return;
  world_.Pause(machine);
  Until(fmt::format("pause of {}", world_.machines()[machine]->name),
        [this, machine] { world_.Resume(machine); });
}

void Nemesis::Isolate() {
  const std::vector<Endpoint> alone = {world_.machines()[DrawMachine()]->address};
  std::vector<Endpoint> others;
  for (const Endpoint& address : world_.ServerAddresses()) {
    if (address != alone.front()) others.push_back(address);
  }
  world_.network().Partition(alone, others);
  Until("isolation of " + alone.front(), [this, alone, others] {
    for (const Endpoint& other : others) {
      world_.network().Unblock(alone.front(), other);
      world_.network().Unblock(other, alone.front());
    }
  });
}

void Nemesis::OneWay() {
  const Endpoint from = world_.machines()[DrawMachine()]->address;
  const Endpoint to = world_.machines()[DrawMachine()]->address;
  if (from == to) return;
  world_.network().Block(from, to);
  Until(fmt::format("nothing passes from {} to {}", from, to),
        [this, from, to] { world_.network().Unblock(from, to); });
}

void Nemesis::Split() {
  std::vector<Endpoint> all = world_.ServerAddresses();
  for (const Endpoint& client : world_.ClientAddresses()) all.push_back(client);
  std::vector<Endpoint> left;
  std::vector<Endpoint> right;
  for (const Endpoint& address : all) (prng_.Chance(1, 2) ? left : right).push_back(address);
  world_.network().Partition(left, right);
  Until("split of the network", [this, left, right] {
    for (const Endpoint& a : left) {
      for (const Endpoint& b : right) {
        world_.network().Unblock(a, b);
        world_.network().Unblock(b, a);
      }
    }
  });
}

void Nemesis::Rot() {
  const size_t machine = DrawMachine();
  if (rotted_ || !world_.Up(machine) || !world_.machines()[machine]->server->started()) return;
  rotted_ = true;
  ++faults_;
  world_.Note("fault: the log of " + world_.machines()[machine]->name + " rots");
  world_.RotAndRepair(machine);
}

void Nemesis::HangDisk() {
  const size_t machine = DrawMachine();
  world_.machines()[machine]->disk.HangSyncs();
  Until(fmt::format("hung disk of {}", world_.machines()[machine]->name),
        [this, machine] { world_.machines()[machine]->disk.ReleaseSyncs(); });
}

void Nemesis::Reset() {
  ++faults_;
  const Endpoint a = world_.machines()[DrawMachine()]->address;
  const Endpoint b = world_.machines()[DrawMachine()]->address;
  world_.Note(fmt::format("fault: connections between {} and {} break", a, b));
  world_.network().BreakConnections(a, b);
}

void Nemesis::Transfer() {
  ++faults_;
  const uint64_t to = prng_.Below(world_.machines().size()) + 1;
  world_.Note(fmt::format("operator: transfer the catalog to {}", to));
  world_.TransferCatalogLeadership(to);
}

}  // namespace tenure::sim
