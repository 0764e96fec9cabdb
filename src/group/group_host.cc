#include "group/group_host.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "group/group.h"
#include "group/host_monitor.h"
#include "group/local_replicas.h"
#include "group/log_trimmer.h"
#include "group/recovery.h"
#include "group/replica_storage.h"
#include "group/snapshot_transfer.h"

namespace tenure::group {
namespace {

constexpr Duration kStopPoll = std::chrono::milliseconds(10);
// Groups that a process's end concerns wake one after the other, so that elections do not come faster than
// they can be held.
constexpr Duration kWakeGap = std::chrono::microseconds(200);
// Stalls of a sound disk are shorter.
constexpr Duration kMinDiskStall = std::chrono::milliseconds(300);

HostMonitor::Options MonitorOptions(const raft::RaftConfig& raft) {
  return {.interval = raft.election_timeout_min / 5, .silent_after = raft.election_timeout_min};
}

}  // namespace

class GroupHost::Impl : private HostListener {
 public:
  Impl(GroupHost& host, Dependencies dependencies, GroupHostOptions options)
      : engine_(dependencies.engine, dependencies.executor, dependencies.background, options.cache),
        dependencies_(Over(engine_, std::move(dependencies))),
        options_(options),
        files_(dependencies_.executor, dependencies_.background, dependencies_.snapshots,
               dependencies_.logger.Named("snapshots")),
        shared_{dependencies_,
                files_,
                options_,
                0,
                0,
                [this](GroupId id) { Wake(id); },
                [this](const auto& before, const auto& now) { Watch(before, now); },
                [this](uint64_t host) { return monitor_.HealthOf(host); },
                [this](GroupId id) { return transfer_.OldestMark(id); },
                [this](GroupId id, const raft::SnapshotMark& mark, std::string applied_key,
                       Callback<StatusOr<uint64_t>> done) {
                  transfer_.Install(id, mark, StatePrefix(id), std::move(applied_key), std::move(done));
                }},
        replicas_(dependencies_.wal.recovered(), dependencies_.owns),
        storage_(dependencies_.engine, files_, dependencies_.logger),
        transfer_(
            {dependencies_.executor, dependencies_.engine, files_, dependencies_.transport,
             dependencies_.logger, options_.snapshot_chunk_bytes},
            [this](GroupId id) { return MarkOf(id); },
            [this](GroupId id, ReplicaId peer, LogIndex index, bool ok) {
              if (Group* group = Find(id)) group->OnSnapshotSent(peer, index, ok);
            }),
        monitor_(dependencies_.executor, dependencies_.transport, *this,
                 dependencies_.prng.Fork("incarnation").Next64() | 1, MonitorOptions(options.raft)),
        trimmer_(dependencies_, options_, groups_, files_,
                 {[this](GroupId id) { return transfer_.Sending(id); },
                  [this](GroupId id) { processed_.insert(id); }}) {
    for (const auto& [id, recovered] : dependencies_.wal.recovered()) {
      if (!dependencies_.owns || dependencies_.owns(id)) storage_.RemoveLeftovers(id, recovered);
    }
    dependencies_.transport.SetReceiver(&host);
    ScheduleDiskCheck();
  }

  ~Impl() override { *alive_ = false; }

  Status Start(GroupId id, ReplicaId self, const raft::Configuration& initial,
               std::unique_ptr<StateMachine> machine, bool campaign, Callback<Status> durable) {
    if (const Group* running = Find(id)) {
      return Error(StatusCode::kAlreadyExists, "group {} runs here already, as replica {}", id,
                   running->self());
    }
    if (destructions_.contains(id) || recovering_.contains(id)) {
      return Error(StatusCode::kUnavailable,
                   "group {}: replica {} cannot start yet: what was here before is being {}", id, self,
                   recovering_.contains(id) ? "recovered" : "destroyed");
    }
    TENURE_RETURN_IF_ERROR(replicas_.CheckStart(id, self));
    raft::PersistedState state;
    const wal::RecoveredGroup* found = replicas_.Found(id);
    const bool known = found != nullptr;
    if (known) {
      state = found->state;
    } else {
      state.mark.configuration = initial;
      Begin(id, self, state.mark);
    }
    StartGroup(id, self, std::move(state), std::move(machine));
    if (!known && campaign) Find(id)->Campaign();
    if (durable) {
      AfterBegin(id, [this, id, self, durable = std::move(durable)](Status status) mutable {
        const Group* group = Find(id);
        if (status.ok() && (group == nullptr || group->self() != self)) {
          status = Error(StatusCode::kAborted, "replica {} of group {} was destroyed meanwhile", self, id);
        }
        durable(std::move(status));
      });
    }
    return OkStatus();
  }

  // What a group's log holds: of one that runs, else as found at start.
  std::optional<raft::PersistedState> LogOf(GroupId id) const {
    if (const Group* group = Find(id)) return group->core().Persistent();
    const wal::RecoveredGroup* found = replicas_.Found(id);
    return found == nullptr ? std::nullopt : std::optional(found->state);
  }

  ReplicaId ReplicaOf(GroupId id) const {
    if (const Group* group = Find(id)) return group->self();
    const auto recovering = recovering_.find(id);
    if (recovering != recovering_.end()) return recovering->second;
    return replicas_.FoundReplica(id, dependencies_.transport.self());
  }

  void Recover(GroupId id, ReplicaId from, ReplicaId to, uint64_t host, Term above,
               std::unique_ptr<StateMachine> machine, Callback<Status> done) {
    auto log = LogOf(id);
    if (!log) return done(Error(StatusCode::kFailedPrecondition, "group {}: there is no log here", id));
    if (replicas_.IsGone(id, to)) {
      return done(Error(StatusCode::kFailedPrecondition, "group {}: replica {} was removed from this process",
                        id, to));
    }
    const raft::Configuration& active =
        log->configurations.empty() ? log->mark.configuration : log->configurations.back().second;
    const Group* running = Find(id);
    if (active.Contains(to)) {
      TENURE_CHECK(running == nullptr, "group {} runs as replica {}", id, running->self());
      StartGroup(id, to, *std::move(log), std::move(machine));
      return done(OkStatus());
    }
    if (!active.Contains(from)) {
      return done(Error(StatusCode::kFailedPrecondition,
                        "group {}: the log here has the configuration {}, neither replica {} nor {} is in it",
                        id, raft::ToString(active), from, to));
    }
    if (running != nullptr && !running->HasWholeState()) {
      return done(Error(StatusCode::kUnavailable, "group {}: a snapshot is being installed", id));
    }
    // Of the log in memory the one on disk may not have been handed everything yet.
    if (running != nullptr && running->core().HasEffects()) {
      return done(Error(StatusCode::kUnavailable, "group {}: its log is being written", id));
    }
    Remove(id);
    replicas_.Take(id);
    recovering_[id] = to;
    beginning_[id];
    wal::Write write = RecoveryOf(id, *log, to, host, above);
    if (replicas_.IsNamed(id)) write.replica = to;
    std::vector<wal::Write> writes;
    writes.push_back(std::move(write));
    dependencies_.wal.Append(
        std::move(writes), PostHere([this, id, to, log = *std::move(log), machine = std::move(machine),
                                     done = std::move(done)](Status status) mutable {
          recovering_.erase(id);
          Begun(id, status);
          if (status.ok() && replicas_.IsGone(id, to)) {
            status = Error(StatusCode::kAborted, "replica {} of group {} was destroyed meanwhile", to, id);
          }
          if (!status.ok()) return done(std::move(status));
          StartGroup(id, to, std::move(log), std::move(machine));
          done(OkStatus());
        }));
  }

  void Destroy(GroupId id, ReplicaId replica, Callback<Status> done) {
    // Who came later proves that `replica` left - as soon as the log says that it came.
    if (!replica.IsNone() && ReplicaOf(id) > replica) return AfterBegin(id, std::move(done));
    const auto under_way = destructions_.find(id);
    if (replicas_.IsGone(id, replica)) {
      if (under_way != destructions_.end()) return under_way->second.waiting.push_back(std::move(done));
      if (!storage_.HasRemains(id)) return done(OkStatus());
      Destruction& again = destructions_[id];
      ++again.writes;
      again.waiting.push_back(std::move(done));
      return RemoveStored(id);
    }
    Remove(id);
    replicas_.Bury(id, replica);
    transfer_.Forget(id);
    Destruction& destruction = destructions_[id];
    ++destruction.writes;
    destruction.waiting.push_back(std::move(done));
    wal::Write write;
    write.group = id;
    write.tombstone = true;
    write.gone = replica;
    std::vector<wal::Write> writes;
    writes.push_back(std::move(write));
    // State and snapshots go after the tombstone is durable: a log without one that begins after its first
    // entry needs them, and the engine may make a removal durable before the log's disk answers.
    dependencies_.wal.Append(std::move(writes), PostHere([this, id](Status status) {
                               if (!status.ok()) return Destroyed(id, status);
                               RemoveStored(id);
                             }));
  }
  // What the disk does not give up is still there: whoever asks for the destruction again, asks for that.
  void RemoveStored(GroupId id) {
    storage_.Remove(id, [this, id](const Status& status) { Destroyed(id, status); });
  }

  Group* Find(GroupId id) const {
    const auto it = groups_.find(id);
    return it == groups_.end() ? nullptr : it->second.get();
  }
  const std::map<GroupId, std::unique_ptr<Group>>& groups() const { return groups_; }
  bool IsBuried(GroupId id, ReplicaId replica) const { return replicas_.IsGone(id, replica); }
  bool disk_stalled() const { return disk_stalled_; }
  SnapshotTransfer& transfer() { return transfer_; }
  HostMonitor& monitor() { return monitor_; }
  void OnHostHeard(uint64_t host) {
    if (!unreachable_.empty()) unreachable_.erase(host);
  }
  // Once, until it is heard again.
  void OnHostUnreachable(uint64_t host) {
    if (!unreachable_.insert(host).second) return;
    Duration delay = Duration::zero();
    for (const auto& [id, group] : groups_) {
      if (group->OnHostUnreachable(host, delay)) delay += kWakeGap;
    }
  }
  std::set<GroupId> TakeProcessed() { return std::exchange(processed_, {}); }
  runtime::Executor& executor() { return dependencies_.executor; }

  void PrepareStop(Duration limit, Closure done) {
    stop_deadline_ = dependencies_.executor.Now() + limit;
    on_stopped_ = std::move(done);
    HandOver();
  }

  std::unique_ptr<kv::Reader> NewSnapshot(GroupId id) {
    // The engine's snapshot lives as long as the part of it that is shown.
    class Part final : public kv::Reader {
     public:
      Part(std::unique_ptr<kv::Reader> whole, std::string prefix)
          : whole_(std::move(whole)), part_(*whole_, std::move(prefix)) {}
      std::optional<std::string> Get(std::string_view key) const override { return part_.Get(key); }
      std::unique_ptr<kv::Iterator> NewIterator(std::string_view lower,
                                                std::string_view upper) const override {
        return part_.NewIterator(lower, upper);
      }

     private:
      std::unique_ptr<kv::Reader> whole_;
      kv::PrefixReader part_;
    };
    return std::make_unique<Part>(dependencies_.engine.NewSnapshot(), StatePrefix(id));
  }

 private:
  // While a replica is being destroyed: its tombstone is not durable yet, or its state is not removed.
  struct Destruction {
    size_t writes = 0;
    std::vector<Callback<Status>> waiting;
  };

  void Destroyed(GroupId id, const Status& status) {
    Destruction& destruction = destructions_[id];
    if (--destruction.writes > 0) return;
    auto ended = destructions_.extract(id);
    for (auto& done : ended.mapped().waiting) done(status);
  }

  // A new log. Nothing is written yet: until the first entry or vote is durable the replica may start afresh,
  // with the same initial configuration.
  void Begin(GroupId id, ReplicaId self, const raft::SnapshotMark& mark) {
    wal::Write write;
    write.group = id;
    write.reset_to = mark;
    // Nothing else says whose log it is if the group had another replica here, or if this one joins it. (Of
    // the catalog's group the directory's identity does; programs of before must go on reading such logs.)
    const bool returns = replicas_.HasTombstone(id);
    if (returns || (mark.configuration.members.empty() && id != kCatalogGroup)) {
      write.replica = self;
      replicas_.SetNamed(id);
    }
    std::vector<wal::Write> writes;
    writes.push_back(std::move(write));
    beginning_[id];
    dependencies_.wal.Append(std::move(writes),
                             PostHere([this, id](const Status& status) { Begun(id, status); }));
    storage_.BeginEmpty(id, self, returns);
  }

  void Begun(GroupId id, const Status& status) {
    auto waiting = beginning_.extract(id);
    if (waiting.empty()) return;  // a recovery came behind the begin of the same log
    for (auto& done : waiting.mapped()) done(status);
  }

  // When the log says that the replica is here. At once if it was found there.
  void AfterBegin(GroupId id, Callback<Status> done) {
    const auto beginning = beginning_.find(id);
    if (beginning != beginning_.end()) return beginning->second.push_back(std::move(done));
    dependencies_.executor.Post([alive = alive_, done = std::move(done)]() mutable {
      if (*alive) done(OkStatus());
    });
  }

  void StartGroup(GroupId id, ReplicaId self, raft::PersistedState state,
                  std::unique_ptr<StateMachine> machine) {
    replicas_.Take(id);
    processed_.insert(id);  // that it runs is news, before its first turn
    auto group = std::make_unique<Group>(shared_, id, self, std::move(state), std::move(machine));
    Group& started = *group;
    groups_[id] = std::move(group);
    shared_.groups = groups_.size();
    started.Start();
    if (disk_stalled_) started.SetDiskStalled(true);
    Wake(id);
  }

  // Ends the replica, if it runs; what is on disk stays.
  void Remove(GroupId id) {
    auto node = groups_.extract(id);
    if (node.empty()) return;
    Turn turn;
    shared_.groups = groups_.size();
    node.mapped()->Abandon(turn);
    deadlines_.erase({deadline_of_[id], id});
    deadline_of_.erase(id);
    for (Closure& answer : turn.answers) dependencies_.executor.Post(std::move(answer));
    // Callbacks on the stack may still be inside the group.
    dependencies_.executor.Post([dead = std::shared_ptr<Group>(std::move(node.mapped()))] {});
  }

  // ---- turns ----

  void Wake(GroupId id) {
    dirty_.insert(id);
    if (turn_posted_) return;
    turn_posted_ = true;
    dependencies_.executor.Post([this, alive = alive_] {
      if (*alive) RunTurn();
    });
  }

  void RunTurn() {
    turn_posted_ = false;
    Turn turn;
    const std::set<GroupId> dirty = std::exchange(dirty_, {});
    // What others wait for first: the disk and the other members work on the new entries while this one
    // applies those that are committed.
    for (const GroupId id : dirty) {
      if (Group* group = Find(id)) group->Submit(turn);
    }
    const bool writes = !turn.writes.empty();
    SendOut(turn);
    if (writes) dependencies_.executor.Yield();
    for (const GroupId id : dirty) {
      Group* group = Find(id);
      if (group == nullptr) continue;
      group->ApplyCommitted(turn);
      processed_.insert(id);
      SendSnapshots(id, *group);
      Reschedule(id, *group);
    }
    SendOut(turn);
    for (Closure& answer : turn.answers) answer();
    ArmTimer();
  }

  void SendOut(Turn& turn) {
    dependencies_.transport.Flush();
    if (!turn.writes.empty()) Persist(turn);
  }

  void Persist(Turn& turn) {
    auto done = [this, after = std::exchange(turn.after_persist, {}),
                 durable = std::exchange(turn.when_durable, {})](Status status) mutable {
      if (!status.ok()) return;  // final: the process is ending (wal::Wal::on_failure)
      for (Turn::AfterPersist& item : after) {
        if (Group* group = Find(item.group)) group->OnPersisted(item.token, std::move(item.messages));
      }
      for (Closure& closure : durable) closure();
      dependencies_.transport.Flush();
    };
    dependencies_.wal.Append(std::exchange(turn.writes, {}), PostHere(std::move(done)));
  }

  // Wraps a completion of the WAL so that it runs here, and only while the host lives.
  template <class F>
  Callback<Status> PostHere(F f) {
    return [alive = alive_, executor = &dependencies_.executor, f = std::move(f)](Status status) mutable {
      executor->Post([alive = std::move(alive), f = std::move(f), status = std::move(status)]() mutable {
        if (*alive) f(std::move(status));
      });
    };
  }

  // ---- time ----

  void Reschedule(GroupId id, const Group& group) {
    const Instant next = group.NextTick();
    auto [it, inserted] = deadline_of_.try_emplace(id, next);
    if (!inserted) {
      if (it->second == next) return;
      deadlines_.erase({it->second, id});
      it->second = next;
    }
    deadlines_.insert({next, id});
  }

  void ArmTimer() {
    if (deadlines_.empty() || deadlines_.begin()->first == kFarFuture) return;
    const Instant next = deadlines_.begin()->first;
    if (armed_for_ && *armed_for_ <= next) return;
    armed_for_ = next;
    const Duration delay = std::max(next - dependencies_.executor.Now(), Duration::zero());
    timer_ = dependencies_.executor.After(delay, [this] { OnTimer(); });
  }

  void OnTimer() {
    armed_for_.reset();
    const Instant now = dependencies_.executor.Now();
    std::vector<GroupId> due;
    for (auto it = deadlines_.begin(); it != deadlines_.end() && it->first <= now; ++it)
      due.push_back(it->second);
    for (const GroupId id : due) {
      if (Group* group = Find(id)) group->Tick();
    }
    if (due.empty()) ArmTimer();  // else the turn that the ticks asked for does
  }

  // ---- other processes, and the disk ----

  void Watch(const std::vector<uint64_t>& before, const std::vector<uint64_t>& now) {
    for (const uint64_t host : now) monitor_.Watch(host);
    for (const uint64_t host : before) monitor_.Unwatch(host);
  }

  void OnHostSilent(uint64_t host) override {
    Duration delay = Duration::zero();
    for (const auto& [id, group] : groups_) {
      if (group->OnHostSilent(host, delay)) delay += kWakeGap;
    }
    dependencies_.logger.Info("host {} is silent: {} idle groups look for another leader", host,
                              delay / kWakeGap);
  }

  void OnHostReturned(uint64_t host, bool restarted) override {
    Duration delay = Duration::zero();
    for (const auto& [id, group] : groups_) {
      if (group->OnHostReturned(host, restarted, delay)) delay += kWakeGap;
    }
    dependencies_.logger.Info("host {} {}: {} idle groups wake", host,
                              restarted ? "was restarted" : "is back", delay / kWakeGap);
  }

  // Of all groups, since they share the log; an idle one would notice nothing by itself.
  void ScheduleDiskCheck() {
    const Duration limit = std::max(options_.raft.election_timeout_min * 3 / 4, kMinDiskStall);
    disk_timer_ = dependencies_.executor.After(limit / 6, [this, limit] {
      const std::optional<Instant> since = dependencies_.wal.WaitingSince();
      const bool stalled = since && dependencies_.executor.Now() - *since >= limit;
      if (stalled != disk_stalled_) {
        disk_stalled_ = stalled;
        dependencies_.logger.Warn("{}", stalled ? "the log's disk does not answer: leaderships are given up"
                                                : "the log's disk answers again");
        for (const auto& [id, group] : groups_) group->SetDiskStalled(stalled);
      }
      ScheduleDiskCheck();
    });
  }

  // ---- snapshots ----

  std::optional<raft::SnapshotMark> MarkOf(GroupId id) const {
    const Group* group = Find(id);
    if (group == nullptr || !group->HasWholeState()) return std::nullopt;
    return group->MarkAt(group->applied());
  }

  void SendSnapshots(GroupId id, Group& group) {
    for (const ReplicaId peer : group.TakeSnapshotRequests()) {
      const uint64_t host = group.HostOf(peer);
      transfer_.Send(id, group.self(), peer, host, group.compacted());
    }
  }

  // ---- clean stop ----

  void HandOver() {
    bool leads = false;
    for (const auto& [id, group] : groups_) leads = group->HandOver() || leads;
    if (!leads || dependencies_.executor.Now() >= stop_deadline_) {
      return trimmer_.Flush([this] {
        if (on_stopped_) std::exchange(on_stopped_, nullptr)();
      });
    }
    stop_timer_ = dependencies_.executor.After(kStopPoll, [this] { HandOver(); });
  }

  static Dependencies Over(kv::Engine& engine, Dependencies outer) {
    return {outer.executor,
            outer.background,
            outer.wal,
            engine,
            outer.snapshots,
            outer.transport,
            outer.observer,
            std::move(outer.prng),
            std::move(outer.logger),
            outer.trace,
            std::move(outer.on_failure),
            std::move(outer.owns)};
  }

  kv::CachingEngine engine_;
  Dependencies dependencies_;  // with engine_ for the engine
  const GroupHostOptions options_;
  SnapshotFiles files_;
  GroupShared shared_;
  std::map<GroupId, std::unique_ptr<Group>> groups_;
  LocalReplicas replicas_;
  ReplicaStorage storage_;
  // Logs of which it is not durable yet whose they are: who waits for that.
  std::map<GroupId, std::vector<Callback<Status>>> beginning_;
  std::map<GroupId, Destruction> destructions_;
  std::map<GroupId, ReplicaId> recovering_;  // Recover is under way, to this replica
  SnapshotTransfer transfer_;
  HostMonitor monitor_;
  std::set<uint64_t> unreachable_;  // hosts, not heard since
  bool disk_stalled_ = false;
  runtime::Timer disk_timer_;

  std::set<GroupId> dirty_;
  std::set<GroupId> processed_;
  bool turn_posted_ = false;
  std::set<std::pair<Instant, GroupId>> deadlines_;
  std::map<GroupId, Instant> deadline_of_;
  std::optional<Instant> armed_for_;
  runtime::Timer timer_;

  LogTrimmer trimmer_;
  Instant stop_deadline_;
  Closure on_stopped_;
  runtime::Timer stop_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

GroupHost::GroupHost(Dependencies dependencies, GroupHostOptions options)
    : impl_(std::make_unique<Impl>(*this, std::move(dependencies), options)) {}
GroupHost::~GroupHost() = default;

Status GroupHost::Start(GroupId group, ReplicaId self, const raft::Configuration& initial,
                        std::unique_ptr<StateMachine> machine, bool campaign, Callback<Status> durable) {
  return impl_->Start(group, self, initial, std::move(machine), campaign, std::move(durable));
}
void GroupHost::Recover(GroupId group, ReplicaId from, ReplicaId to, uint64_t host, Term above,
                        std::unique_ptr<StateMachine> machine, Callback<Status> done) {
  impl_->Recover(group, from, to, host, above, std::move(machine), std::move(done));
}
std::optional<raft::Configuration> GroupHost::ConfigurationOf(GroupId group) const {
  auto known = KnownConfigurationOf(group);
  return known ? std::optional(std::move(known->members)) : std::nullopt;
}
std::optional<GroupHost::KnownConfiguration> GroupHost::KnownConfigurationOf(GroupId group) const {
  const auto log = impl_->LogOf(group);
  if (!log) return std::nullopt;
  KnownConfiguration known{log->mark.configuration, log->mark.index, log->hard_state.term};
  if (!log->configurations.empty()) std::tie(known.index, known.members) = log->configurations.back();
  return known;
}
void GroupHost::Destroy(GroupId group, ReplicaId replica, Callback<Status> done) {
  impl_->Destroy(group, replica, std::move(done));
}

void GroupHost::Propose(GroupId group, std::string command, Callback<ProposeOutcome> done) {
  Group* found = impl_->Find(group);
  if (found == nullptr) return done({ProposeOutcome::Kind::kNotLeader, {}, {}, {}});
  found->Propose(std::move(command), std::move(done));
}
void GroupHost::Read(GroupId group, Callback<Status> done) {
  Group* found = impl_->Find(group);
  if (found == nullptr) return done(Error(StatusCode::kUnavailable, "group {} does not run here", group));
  found->Read(std::move(done));
}
std::optional<ReplicaId> GroupHost::LeaderOf(GroupId group) const {
  const Group* found = impl_->Find(group);
  if (found == nullptr || found->leader().IsNone()) return std::nullopt;
  return found->leader();
}
raft::ProposeResult GroupHost::TransferLeadership(GroupId group, ReplicaId to) {
  Group* found = impl_->Find(group);
  return found == nullptr ? raft::ProposeResult::kNotLeader : found->TransferLeadership(to);
}
void GroupHost::ProposeConfiguration(GroupId group, const raft::Configuration& target,
                                     Callback<ProposeOutcome> done) {
  Group* found = impl_->Find(group);
  if (found == nullptr) return done({ProposeOutcome::Kind::kNotLeader, {}, {}, {}});
  found->ProposeConfiguration(target, std::move(done));
}

std::set<GroupId> GroupHost::TakeProcessed() {
  return impl_->TakeProcessed();
}

LogIndex GroupHost::CompactedUpTo(GroupId group) const {
  const Group* found = impl_->Find(group);
  return found == nullptr ? LogIndex() : found->compacted();
}

bool GroupHost::Runs(GroupId group) const {
  return impl_->Find(group) != nullptr;
}
bool GroupHost::disk_stalled() const {
  return impl_->disk_stalled();
}
bool GroupHost::IsBuried(GroupId group, ReplicaId replica) const {
  return impl_->IsBuried(group, replica);
}
ReplicaId GroupHost::ReplicaOf(GroupId group) const {
  return impl_->ReplicaOf(group);
}
std::vector<GroupId> GroupHost::groups() const {
  std::vector<GroupId> ids;
  for (const auto& [id, group] : impl_->groups()) ids.push_back(id);
  return ids;
}
std::optional<GroupStatus> GroupHost::StatusOf(GroupId group) const {
  const Group* found = impl_->Find(group);
  if (found == nullptr) return std::nullopt;
  return found->Describe();
}
bool GroupHost::Serving(GroupId group) {
  Group* found = impl_->Find(group);
  if (found == nullptr || !found->ServingWithLease()) return false;
  found->NoteUse();
  return true;
}
bool GroupHost::IsQuiescent(GroupId group) const {
  const Group* found = impl_->Find(group);
  return found != nullptr && found->core().quiescent();
}
std::optional<Duration> GroupHost::Staleness(GroupId group) const {
  const Group* found = impl_->Find(group);
  return found == nullptr ? std::nullopt : found->Staleness();
}
bool GroupHost::HasWholeState(GroupId group) const {
  const Group* found = impl_->Find(group);
  return found != nullptr && found->HasWholeState();
}
const kv::Reader* GroupHost::State(GroupId group) const {
  const Group* found = impl_->Find(group);
  return found == nullptr ? nullptr : &found->state();
}
std::unique_ptr<kv::Reader> GroupHost::NewSnapshot(GroupId group) const {
#ifdef TENURE_MUTANT_half_a_state
  return impl_->Find(group) == nullptr ? nullptr : impl_->NewSnapshot(group);
#endif
  return HasWholeState(group) ? impl_->NewSnapshot(group) : nullptr;
}
void GroupHost::PrepareStop(Duration limit, Closure done) {
  impl_->PrepareStop(limit, std::move(done));
}

void GroupHost::OnRaftMessage(GroupId group, ReplicaId from, ReplicaId to, uint64_t from_host,
                              raft::Message message) {
  impl_->OnHostHeard(from_host);
  Group* found = impl_->Find(group);
  if (found == nullptr || found->self() != to) return;
  found->Step(from, from_host, std::move(message));
}
void GroupHost::OnHostHeartbeat(const HostHeartbeat& heartbeat) {
  impl_->OnHostHeard(heartbeat.from);
  impl_->monitor().OnHeartbeat(heartbeat);
}
void GroupHost::OnHostUnreachable(uint64_t host) {
  impl_->OnHostUnreachable(host);
}
void GroupHost::OnSnapshotOffer(SnapshotOffer offer, Callback<StatusOr<uint64_t>> done) {
  const Group* found = impl_->Find(offer.group);
  if (found == nullptr || found->self() != offer.to) {
    return done(
        Error(StatusCode::kNotFound, "replica {} of group {} does not run here", offer.to, offer.group));
  }
  impl_->transfer().Receive(std::move(offer), std::move(done));
}
void GroupHost::OnSnapshotChunk(SnapshotChunk chunk, Callback<StatusOr<uint64_t>> done) {
  const Group* found = impl_->Find(chunk.group);
  if (found == nullptr || found->self() != chunk.to) {
    return done(
        Error(StatusCode::kNotFound, "replica {} of group {} does not run here", chunk.to, chunk.group));
  }
  impl_->transfer().Receive(std::move(chunk), std::move(done));
}

}  // namespace tenure::group
