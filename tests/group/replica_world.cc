#include "tests/group/replica_world.h"

#include <algorithm>
#include <chrono>

#include "base/format.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

constexpr size_t kValueBytes = 300;

std::string AddressOf(uint64_t machine) {
  return fmt::format("h{}", machine);
}

// Remembers the names of all commands.
class Names final : public StateMachine {
 public:
  // `snapshots` counts how often the state was replaced while the replica ran.
  explicit Names(uint64_t& snapshots) : snapshots_(snapshots) {}
  void Reset(const kv::Reader&, LogIndex) override { snapshots_ += std::exchange(started_, true) ? 1 : 0; }
  std::string Apply(const ApplyContext&, std::string_view command, kv::View& state) override {
    state.Put(command.substr(0, command.find(' ')), "");
    return {};
  }

 private:
  uint64_t& snapshots_;
  bool started_ = false;
};

raft::Configuration InitialMembers() {
  raft::Configuration configuration;
  for (uint64_t i = 1; i <= ReplicaWorld::kMachines; ++i) {
    configuration.members.push_back({.id = ReplicaId(i), .host = i, .role = raft::MemberRole::kVoter});
  }
  return configuration;
}

GroupHostOptions HostOptions() {
  GroupHostOptions options;
  options.raft.heartbeat_interval = 20ms;
  options.raft.election_timeout_min = 100ms;
  options.raft.quiesce_after = 200ms;
  options.flush_bytes = 8 << 10;
  options.keep_entries = 20;
  options.keep_bytes = 4 << 10;
  options.member_budget_bytes = 8 << 10;
  options.trim_log_bytes = 64 << 10;
  options.snapshot_chunk_bytes = 2 << 10;
  return options;
}

}  // namespace

// One run of a process.
struct ReplicaWorld::Process final : GroupObserver {
  Process(ReplicaWorld& world, Machine& machine, Prng prng);
  ~Process() override { process.Kill(); }
  void OnRoleChange(GroupId, const raft::RoleChange&) override {}
  void OnServing(GroupId, Term) override {}
  void OnConfiguration(GroupId, const raft::Configuration&) override {}

  sim::SimProcess process;
  sim::SimExecutor& groups;
  sim::SimExecutor& log;
  sim::SimExecutor& background;
  std::unique_ptr<runtime::Disk> log_disk;
  std::unique_ptr<runtime::Disk> background_disk;
  std::unique_ptr<runtime::Network> network;
  std::unique_ptr<wal::Wal> wal;
  std::unique_ptr<kv::MemoryEngine> engine;
  std::unique_ptr<wal::SnapshotStore> snapshots;
  std::unique_ptr<Transport> transport;
  std::unique_ptr<GroupHost> host;
};

struct ReplicaWorld::Machine {
  Machine(sim::Scheduler& world, uint64_t number_in, Prng prng)
      : number(number_in),
        clock(world, Instant(1h * number), WallFromMillis(1)),
        disk(world, fmt::format("disk{}", number), prng.Fork("disk")) {}
  const uint64_t number;
  sim::SimClock clock;
  sim::SimDisk disk;
  std::shared_ptr<kv::MemoryStore> store = std::make_shared<kv::MemoryStore>();
  std::unique_ptr<Process> process;
  uint64_t runs = 0;
};

ReplicaWorld::Process::Process(ReplicaWorld& world, Machine& machine, Prng prng)
    : process(world.world_, machine.clock, AddressOf(machine.number), prng.Fork("process")),
      groups(process.AddExecutor("groups")),
      log(process.AddExecutor("log")),
      background(process.AddExecutor("background")) {
  world.network_.AddHost(process, AddressOf(machine.number));
  log_disk = machine.disk.MakeView(process, log);
  background_disk = machine.disk.MakeView(process, background);
  network = world.network_.MakeView(process, groups);
  wal::WalOptions log_options;
  log_options.segment_bytes = 16 << 10;
  log_options.max_log_bytes = 128 << 10;
  auto opened = wal::Wal::Open(*log_disk, log, "/wal", log_options, Logger(), [](Status) {});
  world.Require(opened.ok(), fmt::format("machine {}: {}", machine.number, MessageOf(opened.status())));
  if (!opened.ok()) return;
  wal = *std::move(opened);
  engine = std::make_unique<kv::MemoryEngine>(machine.store, background);
  auto stored = wal::SnapshotStore::Open(*background_disk, "/snapshots");
  world.Require(stored.ok(), fmt::format("machine {}: {}", machine.number, MessageOf(stored.status())));
  if (!stored.ok()) return;
  snapshots = *std::move(stored);
  groups.Post([this, &world, &machine, prng] {
    transport = MakeNetworkTransport(groups, *network, "raft", "cluster", Logger());
    transport->SetSelf(machine.number);
    for (uint64_t i = 1; i <= kMachines; ++i) transport->addresses().Set(i, AddressOf(i));
    host = std::make_unique<GroupHost>(
        GroupHost::Dependencies{
            .executor = groups,
            .background = background,
            .wal = *wal,
            .engine = *engine,
            .snapshots = *snapshots,
            .transport = *transport,
            .observer = *this,
            .prng = prng.Fork("groups"),
            .logger = Logger(&world.sink_, AddressOf(machine.number)),
            .trace = &world,
            .on_failure =
                [&world](const Status& status) { world.Require(false, std::string(MessageOf(status))); }},
        HostOptions());
    world.StartReplica(machine, *this);
  });
}

ReplicaWorld::ReplicaWorld(ReplicaWorldOptions options)
    : options_(options),
      prng_(options.seed),
      network_(world_, prng_.Fork("network"),
               {.loss_per_million = 10'000,
                .duplicate_per_million = 50'000,
                .reorder_per_million = 50'000,
                .max_reorder = 200ms}) {
  for (uint64_t i = 1; i <= kMachines; ++i) {
    machines_.push_back(std::make_unique<Machine>(world_, i, prng_.Fork(fmt::format("machine {}", i))));
    StartProcess(*machines_.back());
  }
  moving_ = false;
  faults_ = false;
  ScheduleLoad();
  ScheduleOperator();
  world_.RunFor(2s);
  Require(!acknowledged_.empty(), "the group does not begin");
  for (uint64_t i = 1; i <= kMachines; ++i) confirmed_here_[i] = ReplicaId(i);
  faults_ = options_.crashes;
  moving_ = true;
  ScheduleCrash();
}

ReplicaWorld::~ReplicaWorld() {
  for (auto& machine : machines_) machine->process.reset();
}

void ReplicaWorld::Require(bool holds, const std::string& what) {
  if (!holds && violation_.empty()) {
    violation_ = fmt::format("at {} ms: {}", world_.now().time_since_epoch() / 1ms, what);
  }
}

void ReplicaWorld::Trace(std::string_view who, std::string_view what) {
  if (!options_.trace) return;
  fmt::print("{:>9} {}: {}\n", world_.now().time_since_epoch() / 1us, who, what);
}

// ---- processes ----

void ReplicaWorld::StartProcess(Machine& machine) {
  machine.process = std::make_unique<Process>(
      *this, machine, prng_.Fork(fmt::format("{} {}", machine.number, ++machine.runs)));
}

// What the log holds goes on, and is what the operator was told.
void ReplicaWorld::StartReplica(Machine& machine, Process& process) {
  ReplicaId here = process.host->ReplicaOf(kGroup);
  const auto recovered = process.wal->recovered().find(kGroup);
  // The first replica's log does not say whose it is; its configuration does, while that is in the log.
  if (here.IsNone() && recovered != process.wal->recovered().end() && !recovered->second.tombstone)
    here = ReplicaId(machine.number);
  const auto gone = confirmed_gone_.find(machine.number);
  if (gone != confirmed_gone_.end()) {
    Require(process.host->IsBuried(kGroup, gone->second),
            fmt::format("machine {} forgot that replica {} is gone", machine.number, gone->second));
  }
  const auto durable = confirmed_here_.find(machine.number);
  if (durable != confirmed_here_.end()) {
    const bool leaving = step_ == Step::kDestroy && machine_ == machine.number && here.IsNone();
    Require(here == durable->second || leaving,
            fmt::format("machine {} has replica {}, replica {} was durable there", machine.number, here,
                        durable->second));
  }
  const bool first = machine.runs == 1;
  if (here.IsNone() && !first) return;
  const ReplicaId self = first ? ReplicaId(machine.number) : here;
  const Status started = process.host->Start(kGroup, self, first ? InitialMembers() : raft::Configuration(),
                                             std::make_unique<Names>(snapshots_), first);
  Require(started.ok(), fmt::format("machine {}: {}", machine.number, MessageOf(started)));
}

void ReplicaWorld::Kill(Machine& machine, sim::CrashKind kind) {
  machine.disk.set_boundary(nullptr);
  if (!machine.process || !machine.process->process.alive()) return;
  ++crash_count_;
  Trace(AddressOf(machine.number), kind == sim::CrashKind::kPower ? "power loss" : "crash");
  if (kind == sim::CrashKind::kPower) network_.PowerOff(AddressOf(machine.number));
  machine.process->process.Kill();
  // Not inside an event of the process.
  world_.After(1us, "bury", [this, &machine, kind] {
    machine.process.reset();
    machine.disk.Crash(kind);
    machine.store->Crash(prng_);
  });
  world_.After(Duration(50ms) + Duration(prng_.Below(Duration(1s).count())), "restart",
               [this, &machine] { StartProcess(machine); });
}

void ReplicaWorld::ScheduleCrash() {
  if (!options_.crashes) return;
  world_.After(200ms + Duration(prng_.Below(Duration(2s).count())), "crash", [this] {
    Machine& machine = At(1 + prng_.Below(kMachines));
    const auto kind = prng_.Chance(1, 2) ? sim::CrashKind::kPower : sim::CrashKind::kProcess;
    if (faults_ && machine.process) {
      if (prng_.Chance(1, 4)) {
        Kill(machine, kind);
      } else {
        machine.disk.set_boundary(
            [this, &machine, kind, left = prng_.Below(40)](std::string_view, const std::string&) mutable {
              if (left-- == 0) Kill(machine, kind);
            });
      }
    }
    ScheduleCrash();
  });
}

void ReplicaWorld::CrashWhileMoving(uint64_t operations, sim::CrashKind kind) {
  crash_after_ = {operations, kind};
}

// ---- load ----

void ReplicaWorld::ScheduleLoad() {
  // With pauses, in which the group falls asleep.
  const bool pause = prng_.Chance(1, 100);
  world_.After(pause ? Duration(1s) : Duration(prng_.Below(Duration(20ms).count())), "load", [this] {
    if (load_) {
      WithLeader([this](Process& process, const GroupStatus&) {
        const std::string name = fmt::format("v{}", next_value_++);
        process.host->Propose(kGroup, name + " " + std::string(kValueBytes, 'x'),
                              [this, name](const ProposeOutcome& outcome) {
                                if (outcome.kind == ProposeOutcome::Kind::kApplied)
                                  acknowledged_.insert(name);
                              });
      });
    }
    ScheduleLoad();
  });
}

void ReplicaWorld::WithLeader(const std::function<void(Process&, const GroupStatus&)>& act) {
  for (auto& machine : machines_) {
    Process* process = machine->process.get();
    if (process == nullptr || !process->process.alive()) continue;
    process->groups.Post([process, act] {
      const auto status = process->host->StatusOf(kGroup);
      if (status && status->serving) act(*process, *status);
    });
  }
}

// ---- the operator ----

void ReplicaWorld::ScheduleOperator() {
  world_.After(20ms, "operator", [this] {
    Operate();
    ScheduleOperator();
  });
}

void ReplicaWorld::Operate() {
  switch (step_) {
    case Step::kIdle:
      if (moving_) BeginMove();
      return;
    case Step::kRemove:
      return Remove();
    case Step::kDestroy:
      return Destroy();
    case Step::kCreate:
      return Create();
    case Step::kAdd:
      return Add();
    case Step::kPromote:
      return Promote();
  }
}

void ReplicaWorld::BeginMove() {
  machine_ = next_machine_ != 0 ? next_machine_ : 1 + prng_.Below(kMachines);
  next_machine_ = 0;
  old_ = confirmed_here_.at(machine_);
  new_ = ReplicaId(++last_id_);
  step_ = Step::kRemove;
}

void ReplicaWorld::Propose(Process& process, const raft::Configuration& target) {
  process.host->ProposeConfiguration(kGroup, target, [](const ProposeOutcome&) {});
}

void ReplicaWorld::Remove() {
  WithLeader([this](Process& process, const GroupStatus& status) {
    if (step_ != Step::kRemove || status.configuration.IsJoint() ||
        status.commit < status.configuration_index)
      return;
    raft::Configuration target = status.configuration;
    if (std::erase_if(target.members, [this](const raft::Member& member) { return member.id == old_; }) > 0)
      return Propose(process, target);
    step_ = Step::kDestroy;
    Trace("operator",
          fmt::format("replica {} on machine {} is removed, {} is to come", old_, machine_, new_));
    if (!crash_after_) return;
    At(machine_).disk.set_boundary(
        [this, &machine = At(machine_), left = crash_after_->first, kind = crash_after_->second](
            std::string_view, const std::string&) mutable {
          if (left-- > 0) return;
          crash_after_.reset();
          Kill(machine, kind);
        });
  });
}

void ReplicaWorld::Destroy() {
  Process* process = At(machine_).process.get();
  if (process == nullptr || !process->process.alive()) return;
  process->groups.Post([this, process] {
    if (step_ != Step::kDestroy) return;
    process->host->Destroy(kGroup, old_, [this, old = old_](const Status& status) {
      if (step_ != Step::kDestroy || old_ != old || !status.ok()) return;
      confirmed_gone_[machine_] = old_;
      confirmed_here_.erase(machine_);
      Trace("operator", fmt::format("replica {} is destroyed", old_));
      step_ = Step::kCreate;
    });
  });
}

// What was sent before and arrives now: the old replica is not made again, and does not take the new one
// away.
void ReplicaWorld::SendLateRequests() {
  Process* process = At(machine_).process.get();
  if (process == nullptr || !process->process.alive() || !prng_.Chance(1, 3)) return;
  process->groups.Post([this, process, machine = machine_] {
    const auto gone = confirmed_gone_.find(machine);
    if (gone == confirmed_gone_.end()) return;
    const ReplicaId here = process->host->ReplicaOf(kGroup);
    const Status started =
        process->host->Start(kGroup, gone->second, {}, std::make_unique<Names>(snapshots_), false);
    Require(!started.ok(), fmt::format("replica {} starts again", gone->second));
    process->host->Destroy(kGroup, gone->second, [this, process, here](const Status& status) {
      Require(status.ok(), std::string(MessageOf(status)));
      Require(here.IsNone() || process->host->ReplicaOf(kGroup) == here,
              fmt::format("replica {} is taken away", here));
    });
  });
}

void ReplicaWorld::Create() {
  SendLateRequests();
  Process* process = At(machine_).process.get();
  if (process == nullptr || !process->process.alive()) return;
  process->groups.Post([this, process] {
    if (step_ != Step::kCreate) return;
    const auto created = [this, id = new_] {
      if (step_ != Step::kCreate || new_ != id) return;
      confirmed_here_[machine_] = id;
      Trace("operator", fmt::format("replica {} is created", id));
      step_ = Step::kAdd;
      if (!options_.crashes || !prng_.Chance(1, 6)) return;
      // The move is given up, and begun again.
      old_ = id;
      new_ = ReplicaId(++last_id_);
      step_ = Step::kDestroy;
    };
    // Found after a crash.
    const auto& recovered = process->wal->recovered();
    const auto found = recovered.find(kGroup);
    if (found != recovered.end() && found->second.replica == new_) return created();
    const Status started = process->host->Start(kGroup, new_, {}, std::make_unique<Names>(snapshots_), false,
                                                [created](const Status& durable) {
                                                  if (durable.ok()) created();
                                                });
    Require(started.ok() || started.code() == StatusCode::kUnavailable ||
                started.code() == StatusCode::kAlreadyExists,
            fmt::format("replica {} cannot be created: {}", new_, MessageOf(started)));
  });
}

void ReplicaWorld::Add() {
  SendLateRequests();
  WithLeader([this](Process& process, const GroupStatus& status) {
    if (step_ != Step::kAdd || status.configuration.IsJoint() || status.commit < status.configuration_index)
      return;
    if (status.configuration.Contains(new_)) {
      step_ = Step::kPromote;
      return;
    }
    raft::Configuration target = status.configuration;
    target.members.push_back({.id = new_, .host = machine_, .role = raft::MemberRole::kLearner});
    Propose(process, target);
  });
}

void ReplicaWorld::Promote() {
  SendLateRequests();
  WithLeader([this](Process& process, const GroupStatus& status) {
    if (step_ != Step::kPromote || status.configuration.IsJoint() ||
        status.commit < status.configuration_index || !status.configuration.Contains(new_)) {
      return;
    }
    if (status.configuration.IsVoter(new_)) return EndMove();
    const bool caught_up = std::any_of(status.peers.begin(), status.peers.end(), [&](const auto& peer) {
      return peer.id == new_ && peer.active && !peer.in_snapshot && peer.match.Plus(10) >= status.commit;
    });
    if (!caught_up) return;
    raft::Configuration target = status.configuration;
    for (raft::Member& member : target.members) {
      if (member.id == new_) member.role = raft::MemberRole::kVoter;
    }
    Propose(process, target);
  });
}

void ReplicaWorld::EndMove() {
  Trace("operator", fmt::format("replica {} is a voter", new_));
  ++moves_;
  step_ = Step::kIdle;
}

// ---- what is seen ----

void ReplicaWorld::OnApply(GroupId, ReplicaId self, const raft::Entry& entry) {
  const auto [it, first] = applied_.try_emplace(entry.index, entry);
  Require(first || it->second == entry,
          fmt::format("replica {} applies another entry {}", self, entry.index));
}

void ReplicaWorld::OnLead(GroupId, ReplicaId self, Term term) {
  const auto [it, first] = leaders_.try_emplace(term, self);
  Require(first || it->second == self,
          fmt::format("replicas {} and {} lead term {}", it->second, self, term));
}

void ReplicaWorld::OnStateHash(GroupId, ReplicaId self, LogIndex index, uint64_t hash) {
  const auto [it, first] = hashes_.try_emplace(index, hash);
  Require(first || it->second == hash, fmt::format("replica {} has another state at {}", self, index));
}

// ---- runs ----

void ReplicaWorld::RunFor(Duration duration) {
  world_.RunUntil([this] { return !violation_.empty(); }, duration);
}

bool ReplicaWorld::FallAsleep() {
  moving_ = false;
  load_ = false;
  return world_.RunUntil(
      [this] {
        return step_ == Step::kIdle &&
               std::all_of(machines_.begin(), machines_.end(), [](const auto& machine) {
                 return machine->process && machine->process->host &&
                        machine->process->host->IsQuiescent(kGroup);
               });
      },
      Duration(30s));
}

bool ReplicaWorld::FinishMove(Duration limit) {
  const uint64_t before = moves_;
  const bool ended = world_.RunUntil([&] { return !violation_.empty() || moves_ > before; }, limit);
  return ended && violation_.empty();
}

bool ReplicaWorld::IsWhole() {
  for (auto& machine : machines_) {
    Process* process = machine->process.get();
    if (process == nullptr || !process->process.alive() || !process->host) return false;
    const auto status = process->host->StatusOf(kGroup);
    if (!status || status->applied < status->last || status->last < applied_.rbegin()->first) return false;
    if (status->configuration.IsJoint() || status->configuration.members.size() != kMachines) return false;
  }
  return true;
}

void ReplicaWorld::Settle() {
  faults_ = false;
  crash_after_.reset();
  for (auto& machine : machines_) machine->disk.set_boundary(nullptr);
  if (!violation_.empty()) return;
  moving_ = false;
  const bool rests =
      world_.RunUntil([this] { return step_ == Step::kIdle || !violation_.empty(); }, Duration(60s));
  Require(rests, fmt::format("the move of replica {} to {} on machine {} does not end (step {})", old_, new_,
                             machine_, static_cast<int>(step_)));
  load_ = false;
  world_.RunFor(1s);
  const bool whole = world_.RunUntil([this] { return IsWhole() || !violation_.empty(); }, Duration(20s));
  Require(whole, "the replicas do not come to the same state");
  if (!violation_.empty()) return;
  for (auto& machine : machines_) {
    const kv::Reader* state = machine->process->host->State(kGroup);
    for (const std::string& name : acknowledged_) {
      Require(state->Get(name).has_value(),
              fmt::format("machine {} lacks {}, which was acknowledged", machine->number, name));
    }
  }
}

}  // namespace tenure::group
