#include "sim/nemesis.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "sim/server.h"

namespace tenure::sim {
namespace {

std::string_view FilesOf(const Fault& fault) {
  constexpr std::array<std::string_view, 3> kParts = {"/wal", "/snapshots", ""};
  return kParts.at(static_cast<size_t>(fault.value));
}

bool HoldsMessagesUp(FaultKind kind) {
  switch (kind) {
    case FaultKind::kPause:
    case FaultKind::kPauseExecutor:
    case FaultKind::kIsolate:
    case FaultKind::kSplit:
    case FaultKind::kOneWay:
    case FaultKind::kPartial:
    case FaultKind::kFlap:
    case FaultKind::kSlowLink:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Nemesis::Start() {
  for (const Fault& fault : plan_) {
    world_.scheduler().After(fault.at, "nemesis", [this, &fault] {
      if (!healed_) Strike(fault);
    });
  }
}

void Nemesis::Struck(const Fault& fault, std::function<void()> mend, std::optional<Duration> length) {
  ++faults_;
  world_.Note("fault: " + Describe(fault));
  // What was sent before may be handled when it is mended; on a link that is slow, at any time.
  if (HoldsMessagesUp(fault.kind)) {
    world_.groups().ExcuseUntil(world_.scheduler().now() + fault.length + GroupChecker::kRecent);
  }
  if (!mend) return;
  const uint64_t id = next_mend_++;
  mends_[id] = [this, &fault, mend = std::move(mend)] {
    world_.Note("mended: " + Describe(fault));
    mend();
  };
  world_.scheduler().After(length.value_or(fault.length), "mend", [this, id] {
    auto node = mends_.extract(id);
    if (!node.empty()) node.mapped()();
  });
}

void Nemesis::Heal() {
  healed_ = true;
  // A process that dies from now on, or has died in this very moment, comes back.
  world_.Supervise();
  for (size_t i = 0; i < world_.machines().size(); ++i) world_.CrashAtDisk(i, 0, CrashKind::kProcess);
  for (auto& [id, mend] : std::exchange(mends_, {})) mend();
  world_.network().HealAll();
  world_.network().SetDefaults({});
  for (size_t i = 0; i < world_.machines().size(); ++i) {
    Machine& machine = *world_.machines()[i];
    machine.disk.ReleaseSyncs();
    machine.disk.set_options({});
    machine.disk.FailSyncs(0);
    machine.disk.FailWrites(0);
    world_.Resume(i);
    if (!world_.Up(i)) world_.Boot(i);
  }
}

void Nemesis::Strike(const Fault& planned) {
  using enum FaultKind;
  if (planned.machine == kLeaderMachine) {
    const auto leader = world_.ServerOf(kCatalogGroup);
    if (!leader) return;
    // Kept until the end: whoever mends refers to it.
    const auto resolved = std::make_shared<Fault>(planned);
    resolved->machine = static_cast<uint32_t>(*leader);
    resolved_.push_back(resolved);
    return Strike(*resolved);
  }
  const Fault& fault = planned;
  Machine& machine = *world_.machines()[fault.machine];
  switch (fault.kind) {
    case kCrash:
      return Crash(fault, fault.machine, CrashKind::kProcess);
    case kPowerLoss:
      return Crash(fault, fault.machine, CrashKind::kPower);
    case kTotalLoss:
      for (uint32_t i = 0; i < world_.machines().size(); ++i) Crash(fault, i, CrashKind::kPower);
      return;
    case kCrashAtWrite:
      return CrashAtWrite(fault, CrashKind::kProcess);
    case kPowerLossAtWrite:
      return CrashAtWrite(fault, CrashKind::kPower);
    case kPause:
    case kPauseExecutor:
    case kRot:
    case kTransfer:
      return StrikeProcess(fault, machine);
    case kIsolate:
    case kSplit:
    case kOneWay:
    case kPartial:
    case kFlap:
    case kSlowLink:
    case kReset:
      return StrikeNetwork(fault);
    case kHangDisk:
    case kSlowDisk:
    case kFailSync:
    case kFailWrite:
    case kFullDisk:
      return StrikeDisk(fault, machine);
    case kDrift:
    case kWallJump:
      return StrikeClock(fault, machine);
  }
}

// ---- processes ----

void Nemesis::Crash(const Fault& fault, uint32_t index, CrashKind kind) {
  if (!world_.Up(index)) return;
  if (kind == CrashKind::kPower) world_.network().PowerOff(AddressOf(index));
  world_.Kill(index, kind);
  // Of all machines that lost power together, one comes back after the other.
  const auto machines = static_cast<int64_t>(world_.machines().size());
  const int64_t turn = (ToMillis(fault.at) + index) % machines + 1;
  Struck(
      fault,
      [this, index] {
        if (!world_.Up(index)) world_.Boot(index);
      },
      fault.kind == FaultKind::kTotalLoss ? fault.length * turn / machines : fault.length);
}

void Nemesis::CrashAtWrite(const Fault& fault, CrashKind kind) {
  world_.CrashAtDisk(fault.machine, fault.value, kind);
  Struck(fault, [this, index = fault.machine] {
    world_.CrashAtDisk(index, 0, CrashKind::kProcess);
    if (!world_.Up(index)) world_.Boot(index);
  });
}

void Nemesis::StrikeProcess(const Fault& fault, Machine& machine) {
  if (!world_.Up(fault.machine)) return;
  if (fault.kind == FaultKind::kPause) {
    world_.Pause(fault.machine);
    Struck(fault, [this, index = fault.machine] { world_.Resume(index); });
  } else if (fault.kind == FaultKind::kPauseExecutor) {
    PauseExecutor(fault);
  } else if (fault.kind == FaultKind::kTransfer) {
    Struck(fault);
    world_.TransferCatalogLeadership(machine.controller_id);
  } else if (machine.server->started() && !world_.paused(fault.machine)) {
    Struck(fault);
    // Whoever repairs has a sound disk with room on it.
    machine.disk.set_options(world_.options().disks);
    machine.disk.FailSyncs(0);
    machine.disk.FailWrites(0);
    world_.RotAndRepair(fault.machine);
  }
}

void Nemesis::PauseExecutor(const Fault& fault) {
  Machine& machine = *world_.machines()[fault.machine];
  const auto number = static_cast<size_t>(fault.value);
  machine.server->process().executors().at(number)->Pause();
  Struck(fault, [this, &machine, index = fault.machine, number, boots = machine.boots] {
    if (world_.Up(index) && machine.boots == boots)
      machine.server->process().executors().at(number)->Resume();
  });
}

// ---- network ----

void Nemesis::StrikeNetwork(const Fault& fault) {
  const Endpoint machine = AddressOf(fault.machine);
  std::vector<Endpoint> others;
  std::vector<Endpoint> named;    // by the fault's value
  std::vector<Endpoint> unnamed;  // the rest
  for (uint32_t i = 0; i < world_.machines().size(); ++i) {
    if (i != fault.machine) others.push_back(AddressOf(i));
    (((fault.value >> i) & 1) != 0 ? named : unnamed).push_back(AddressOf(i));
  }
  switch (fault.kind) {
    case FaultKind::kIsolate:
      return Cut(fault, {machine}, others, true);
    case FaultKind::kSplit: {
      uint32_t bit = 12;
      for (const Endpoint& client : world_.ClientAddresses()) {
        (((fault.value >> bit) & 1) != 0 ? named : unnamed).push_back(client);
        bit = bit == 19 ? 12 : bit + 1;
      }
      return Cut(fault, named, unnamed, true);
    }
    case FaultKind::kOneWay:
      return Cut(fault, {machine}, {AddressOf(fault.other)}, false);
    case FaultKind::kPartial:
      std::erase(named, machine);
      return Cut(fault, {machine}, named, false);
    case FaultKind::kFlap:
      return Flap(fault);
    case FaultKind::kSlowLink:
      return SlowLink(fault);
    default:
      Struck(fault);
      world_.network().BreakConnections(machine, AddressOf(fault.other));
  }
}

void Nemesis::Cut(const Fault& fault, std::vector<Endpoint> from, std::vector<Endpoint> to, bool both_ways) {
  SimNetwork& network = world_.network();
  for (const Endpoint& a : from) {
    for (const Endpoint& b : to) {
      network.Block(a, b);
      if (both_ways) network.Block(b, a);
    }
  }
  Struck(fault, [&network, both_ways, from = std::move(from), to = std::move(to)] {
    for (const Endpoint& a : from) {
      for (const Endpoint& b : to) {
        network.Unblock(a, b);
        if (both_ways) network.Unblock(b, a);
      }
    }
  });
}

void Nemesis::Flap(const Fault& fault) {
  const Endpoint a = AddressOf(fault.machine);
  const Endpoint b = AddressOf(fault.other);
  const auto mended = std::make_shared<bool>(false);
  for (Duration at{}; at < fault.length; at += std::chrono::milliseconds(2 * fault.value)) {
    const auto turn = [this, a, b, mended](bool up) {
      if (*mended) return;
      if (up) {
        world_.network().Unblock(a, b);
        world_.network().Unblock(b, a);
      } else {
        world_.network().Partition({a}, {b});
      }
    };
    world_.scheduler().After(at, "flap", [turn] { turn(false); });
    world_.scheduler().After(at + std::chrono::milliseconds(fault.value), "flap", [turn] { turn(true); });
  }
  Struck(fault, [this, a, b, mended] {
    *mended = true;
    world_.network().Unblock(a, b);
    world_.network().Unblock(b, a);
  });
}

void Nemesis::SlowLink(const Fault& fault) {
  const Endpoint a = AddressOf(fault.machine);
  const Endpoint b = AddressOf(fault.other);
  SimLinkOptions slow = world_.options().links;
  slow.max_delay = std::chrono::milliseconds(fault.value);
  world_.network().SetLink(a, b, slow);
  world_.network().SetLink(b, a, slow);
  Struck(fault, [this, a, b] {
    world_.network().SetLink(a, b, world_.options().links);
    world_.network().SetLink(b, a, world_.options().links);
  });
}

// ---- disks and clocks ----

void Nemesis::StrikeDisk(const Fault& fault, Machine& machine) {
  SimDiskOptions options = machine.disk.options();
  const auto boot_again = [this, index = fault.machine] {
    if (!world_.Up(index)) world_.Boot(index);
  };
  switch (fault.kind) {
    case FaultKind::kHangDisk:
      machine.disk.HangSyncs();
      return Struck(fault, [&machine] { machine.disk.ReleaseSyncs(); });
    case FaultKind::kSlowDisk:
      options.max_sync = std::chrono::milliseconds(fault.value);
      machine.disk.set_options(options);
      return Struck(fault, [this, &machine] {
        SimDiskOptions mended = machine.disk.options();
        mended.max_sync = world_.options().disks.max_sync;
        machine.disk.set_options(mended);
      });
    case FaultKind::kFailSync:
      machine.disk.FailSyncs(1, std::string(FilesOf(fault)));
      return Struck(fault, [&machine, boot_again] {
        machine.disk.FailSyncs(0);
        boot_again();
      });
    case FaultKind::kFailWrite:
      machine.disk.FailWrites(1, std::string(FilesOf(fault)));
      return Struck(fault, [&machine, boot_again] {
        machine.disk.FailWrites(0);
        boot_again();
      });
    default:
      options.capacity = machine.disk.used_bytes() + static_cast<uint64_t>(fault.value) * 1024;
      machine.disk.set_options(options);
      Struck(fault, [this, &machine, boot_again] {
        SimDiskOptions mended = machine.disk.options();
        mended.capacity = world_.options().disks.capacity;
        machine.disk.set_options(mended);
        boot_again();
      });
  }
}

void Nemesis::StrikeClock(const Fault& fault, Machine& machine) {
  if (fault.kind == FaultKind::kWallJump) {
    int64_t& offset = wall_offsets_ms_[fault.machine];
    machine.clock.JumpWall(std::chrono::milliseconds(fault.value - std::exchange(offset, fault.value)));
    return Struck(fault);
  }
  machine.clock.SetDrift(fault.value * 1000);
  Struck(fault, [&machine] { machine.clock.SetDrift(machine.drift_ppb); });
}

}  // namespace tenure::sim
