#include "tests/raft/random_world.h"

#include <algorithm>

#include "base/check.h"
#include "base/format.h"
#include "base/hash.h"

namespace tenure::raft {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kReplicas = 6;

uint64_t HashEntry(const Entry& entry) {
  return HashBytes(entry.payload.view(), static_cast<uint64_t>(entry.type));
}

}  // namespace

RandomWorld::RandomWorld(const WorldOptions& options)
    : options_(options), prng_(options.seed), hand_over_draws_(Prng(options.seed).Fork("hand-overs")) {
  base_.election_timeout_min = milliseconds(1000);
  base_.heartbeat_interval = milliseconds(100);
  base_.drift_permille = 100;
  if (prng_.Chance(1, 3)) {
    base_.max_append_bytes = 100;
    base_.max_inflight_appends = 4;
  }
  if (prng_.Chance(1, 2)) base_.quiesce_after = milliseconds(1500);
  committed_.emplace_back();
  committed_terms_.emplace_back();
  committed_in_.emplace_back();
  contended_ = prng_.Chance(1, 3);
  if (contended_ && prng_.Chance(1, 2)) {
    base_.max_append_bytes = 1;
    base_.max_inflight_appends = 1;
    drop_percent_ = 30;
  }
  if (contended_ && drop_percent_ == 5 && Prng(options.seed).Fork("appends").Chance(1, 2))
    append_drop_percent_ = 80;
  if (options_.hand_overs) {
    contended_ = true;
    drop_percent_ = 5;
    append_drop_percent_ = hand_over_draws_.Chance(1, 2) ? 50 : 0;
    base_.max_append_bytes = RaftConfig().max_append_bytes;
    base_.max_inflight_appends = RaftConfig().max_inflight_appends;
  }
  const size_t first_voters = options_.hand_overs  ? 3
                              : contended_         ? 3 + 2 * prng_.Below(2)
                              : prng_.Chance(1, 4) ? 1
                              : prng_.Chance(1, 4) ? 5
                                                   : 3;
  std::vector<uint64_t> voters;
  for (uint64_t id = 1; id <= first_voters; id++) voters.push_back(id);
  slots_.reserve(kReplicas);
  cut_.assign(kReplicas, std::vector<bool>(kReplicas, false));
  for (uint64_t id = 1; id <= kReplicas; id++) {
    RaftConfig config = base_;
    config.self = ReplicaId(id);
    slots_.push_back(
        {.replica = FakeReplica(config, id <= first_voters ? MakeConfiguration(voters) : Configuration())});
    Slot& slot = slots_.back();
    slot.rate = 1.0 + static_cast<double>(prng_.Below(100)) / 1000.0;
    slot.offset = milliseconds(prng_.Below(100000));
    slot.disk_speed = microseconds(prng_.Chance(1, 4) ? 30000 : 500);
  }
  for (Slot& slot : slots_) Restart(slot);
  Schedule(milliseconds(500), {.what = What::kFault});
  Schedule(milliseconds(10), {.what = What::kClient});
}

Instant RandomWorld::LocalTime(const Slot& slot) const {
  return Instant(slot.offset + Duration(static_cast<int64_t>(static_cast<double>(now_.count()) * slot.rate)));
}

void RandomWorld::Schedule(Duration delay, Event event) {
  events_.emplace(std::make_pair(now_ + delay, sequence_++), std::move(event));
}

WorldCounts RandomWorld::Run() {
  const Duration calm_at = options_.length;
  const Duration give_up_at = calm_at + seconds(40);
  while (!events_.empty()) {
    auto first = events_.begin();
    now_ = first->first.first;
    Event event = std::move(first->second);
    events_.erase(first);
    if (!calm_ && now_ >= calm_at) Heal();
    if (calm_ && (counts_.events % 64) == 0 && HasConverged()) return counts_;
    TENURE_CHECK(now_ < give_up_at, "no convergence after the faults ended:\n{}", Describe());
    counts_.events++;
    Dispatch(std::move(event));
  }
  return counts_;
}

void RandomWorld::Dispatch(Event event) {
  switch (event.what) {
    case What::kFault:
      if (!calm_) Fault();
      break;
    case What::kClient:
      Client();
      break;
    case What::kRestart:
      if (!At(event.replica).replica.up()) Restart(At(event.replica));
      break;
    case What::kCrash:
      if (Slot& slot = At(event.replica); slot.replica.up() && event.life == slot.life && !calm_)
        Crash(slot, true);
      break;
    default: {
      Slot& slot = At(event.replica);
      // A message outlives its receiver's lives; what the driver was doing does not.
      if (!slot.replica.up() || (event.what != What::kMessage && event.life != slot.life)) return;
      if (now_ < slot.paused_until) return Schedule(slot.paused_until - now_, std::move(event));
      Deliver(slot, event);
      AfterInput(slot);
    }
  }
  CheckLeases();
}

void RandomWorld::Deliver(Slot& slot, Event& event) {
  const Instant local = LocalTime(slot);
  RaftCore& core = slot.replica.core();
  switch (event.what) {
    case What::kMessage:
      if (options_.trace) {
        fmt::print("{:8} {} -> {}: {}\n", ToMillis(now_), event.other, slot.replica.id(),
                   ToString(event.message));
      }
      if (const auto* install = std::get_if<InstallSnapshot>(&event.message)) {
        if (!slot.replica.HasReceived(install->mark)) return;
      }
      {
        const Term before = core.term();
        const bool may_raise = MayRaiseTerm(slot, event);
        core.Step(local, ReplicaId(event.other), std::move(event.message));
        // A term that rose because it stands itself is its own.
        TENURE_CHECK(core.term() == before || may_raise || core.role() != Role::kFollower,
                     "{} outside the group raised the term of {} from {} to {}", event.other,
                     slot.replica.id(), before, core.term());
      }
      return;
    case What::kTick:
      slot.ticking_at = Duration::max();
      core.Tick(local);
      return;
    case What::kPersist:
      slot.persisting = false;
      if (slot.replica.queued_writes() > 0) SendAll(slot, slot.replica.PersistOne(local));
      return;
    case What::kFetch:
      core.OnFetched(local, ReplicaId(event.other), event.from, slot.replica.Read(event.from, event.bytes));
      return;
    case What::kSnapshot: {
      Slot& peer = At(PositionOf(ReplicaId(event.other)));
      const bool ok = peer.replica.up() && (calm_ || prng_.Chance(3, 4));
      if (ok) peer.replica.Receive(event.snapshot);
      core.OnSnapshotSent(local, ReplicaId(event.other), event.snapshot.mark.index, ok);
      return;
    }
    default:
      return;
  }
}

// A voter may; so may one whose message shows that its log has more than the receiver's, which then does not
// know the newest members. Answers come from whom the receiver knew when it asked.
bool RandomWorld::MayRaiseTerm(const Slot& slot, const Event& event) const {
  const RaftCore& core = slot.replica.core();
  if (core.configuration().Contains(ReplicaId(event.other))) return true;
  const Term last_term = core.TermAt(core.last_index());
  if (const auto* vote = std::get_if<VoteRequest>(&event.message)) {
    return std::pair(vote->last_term, vote->last_index) > std::pair(last_term, core.last_index());
  }
  return std::holds_alternative<AppendRequest>(event.message) ||
         std::holds_alternative<InstallSnapshot>(event.message);
}

void RandomWorld::AfterInput(Slot& slot) {
  const size_t position = PositionOf(slot.replica.id());
  while (slot.replica.core().HasEffects()) {
    Effects effects = slot.replica.Collect();
    CheckNewEntries(slot, effects);
    CheckReads(effects);
    if (effects.truncate_from) counts_.truncations++;
    if (options_.trace && effects.role_change) {
      fmt::print("{:8} {} role {} term {}\n", ToMillis(now_), slot.replica.id(),
                 int(effects.role_change->role), effects.role_change->term);
    }
    if (options_.hand_overs && !calm_ && effects.role_change &&
        effects.role_change->role == Role::kCandidate && hand_over_draws_.Chance(1, 2)) {
      Schedule(milliseconds(30 + hand_over_draws_.Below(300)),
               {.what = What::kCrash, .replica = position, .life = slot.life});
    }
    SendAll(slot, std::move(effects.messages));
    for (const FetchRequest& fetch : effects.fetches) {
      Schedule(microseconds(prng_.Below(5000)), {.what = What::kFetch,
                                                 .replica = position,
                                                 .life = slot.life,
                                                 .other = fetch.peer.value(),
                                                 .from = fetch.from,
                                                 .bytes = fetch.max_bytes});
    }
    for (const ReplicaId peer : effects.snapshots_needed) {
      counts_.snapshots++;
      Schedule(milliseconds(prng_.Below(300)), {.what = What::kSnapshot,
                                                .replica = position,
                                                .life = slot.life,
                                                .other = peer.value(),
                                                .snapshot = slot.replica.TakeSnapshot()});
    }
  }
  if (slot.replica.queued_writes() > 0 && !slot.persisting) {
    slot.persisting = true;
    const auto most = static_cast<uint64_t>(slot.disk_speed.count());
    const Role role = slot.replica.core().role();
    const bool slow =
        options_.hand_overs && !calm_ && role == Role::kCandidate && hand_over_draws_.Chance(1, 2);
    const Duration stall = slow ? Duration(milliseconds(50 + hand_over_draws_.Below(400)))
                           : !calm_ && prng_.Chance(contended_ ? 10 : 1, 100)
                               ? milliseconds(prng_.Below(1500))
                               : Duration::zero();
    Schedule(Duration(prng_.Below(most)) + stall,
             {.what = What::kPersist, .replica = position, .life = slot.life});
  }
  CheckLeader(slot);
  CheckCommit(slot);
  ScheduleTick(slot);
}

void RandomWorld::ScheduleTick(Slot& slot) {
  const Instant next = slot.replica.core().NextTick();
  if (next == kFarFuture) return;
  const auto local_delay = std::max(Duration::zero(), next - LocalTime(slot));
  const Duration delay(static_cast<int64_t>(static_cast<double>(local_delay.count()) / slot.rate) + 1000);
  if (now_ + delay >= slot.ticking_at) return;
  slot.ticking_at = now_ + delay;
  Schedule(delay, {.what = What::kTick, .replica = PositionOf(slot.replica.id()), .life = slot.life});
}

void RandomWorld::SendAll(Slot& from, std::vector<Outgoing> messages) {
  for (Outgoing& message : messages) Send(from, std::move(message));
}

void RandomWorld::Send(Slot& from, Outgoing outgoing) {
  const size_t source = PositionOf(from.replica.id());
  const size_t target = PositionOf(outgoing.to);
  const bool append = std::holds_alternative<AppendRequest>(outgoing.message);
  const uint32_t lost = append ? std::max(drop_percent_, append_drop_percent_) : drop_percent_;
  if (cut_[source][target] || (!calm_ && prng_.Below(100) < lost)) return;
  if (options_.hand_overs && (std::holds_alternative<TimeoutNow>(outgoing.message) ||
                              std::holds_alternative<HeartbeatRequest>(outgoing.message))) {
    Repeat(from, target, outgoing.message);
  }
  const int copies = !calm_ && prng_.Chance(1, 20) ? 2 : 1;
  for (int i = 0; i < copies; i++) {
    Duration delay = microseconds(100 + prng_.Below(3000));
    if (!calm_ && prng_.Chance(1, 20)) delay += milliseconds(prng_.Below(300));
    const bool ballot = std::holds_alternative<VoteRequest>(outgoing.message) ||
                        std::holds_alternative<VoteResponse>(outgoing.message);
    if (!calm_ && (contended_ && ballot ? prng_.Chance(1, 4) : prng_.Chance(1, 60)))
      delay += milliseconds(prng_.Below(5000));
    Schedule(delay,
             {.what = What::kMessage, .replica = target, .other = source + 1, .message = outgoing.message});
  }
}

// What a leader says while it hands over may be on its way for long, and come twice.
void RandomWorld::Repeat(const Slot& from, size_t target, const Message& message) {
  if (calm_ || !hand_over_draws_.Chance(1, 2)) return;
  Schedule(
      milliseconds(900 + hand_over_draws_.Below(1300)),
      {.what = What::kMessage, .replica = target, .other = from.replica.id().value(), .message = message});
}

RandomWorld::Slot* RandomWorld::Any(bool leading) {
  std::vector<Slot*> fit;
  for (Slot& slot : slots_) {
    if (!slot.replica.up() || now_ < slot.paused_until) continue;
    if (!leading || slot.replica.core().role() == Role::kLeader) fit.push_back(&slot);
  }
  return fit.empty() ? nullptr : fit[prng_.Below(fit.size())];
}

void RandomWorld::Client() {
  Schedule(milliseconds(1 + prng_.Below(calm_ ? 200 : 60)), {.what = What::kClient});
  // A quiescent group has no timers; the driver wakes it when it sees a process fail. Here: now and then.
  if (prng_.Chance(1, 10)) {
    for (Slot& slot : slots_) {
      if (slot.replica.up() && now_ >= slot.paused_until && slot.replica.core().quiescent() &&
          prng_.Chance(1, 4)) {
        // Drivers that saw the leader's process go silent let a follower stand soon.
        slot.replica.core().Wake(
            LocalTime(slot),
            prng_.Chance(1, 2) ? std::optional<Duration>(milliseconds(prng_.Below(300))) : std::nullopt);
        AfterInput(slot);
      }
    }
  }
  // A driver may take any process for gone at any time.
  if (prng_.Chance(1, 100)) {
    if (Slot* slot = Any(false); slot != nullptr) {
      slot->replica.core().OnLeaderUnreachable(LocalTime(*slot), milliseconds(prng_.Below(100)));
      AfterInput(*slot);
    }
  }
  if (prng_.Chance(1, 100)) {
    if (Slot* slot = Any(prng_.Chance(1, 2)); slot != nullptr) {
      slot->replica.core().SetDiskStalled(LocalTime(*slot), !calm_ && prng_.Chance(1, 2));
      AfterInput(*slot);
    }
  }
  if (!calm_ && prng_.Chance(1, 400)) drop_percent_ = static_cast<uint32_t>(prng_.Below(30));
  // Stretches without clients let groups become quiescent.
  if (!calm_ && (ToMillis(now_) / 3000) % 3 == 2) return;
  Slot* slot = Any(true);
  if (slot == nullptr) return;
  const uint64_t dice = prng_.Below(20);
  if (dice < 14) {
    std::vector<Bytes> payloads;
    const uint64_t count = 1 + prng_.Below(4);
    for (uint64_t i = 0; i < count; i++) payloads.push_back(Bytes(fmt::format("value {}", next_payload_++)));
    LogIndex first;
    Term term;
    slot->replica.core().Propose(LocalTime(*slot), std::move(payloads), &first, &term);
    AfterInput(*slot);
  } else {
    ReadAt(*slot);
  }
}

void RandomWorld::ReadAt(Slot& slot) {
  const uint64_t context = next_context_++;
  read_floor_[context] = LogIndex(committed_.size() - 1);
  counts_.reads++;
  if (slot.replica.core().HasLease(LocalTime(slot))) counts_.lease_reads++;
  slot.replica.core().ReadIndex(LocalTime(slot), context);
  AfterInput(slot);
}

void RandomWorld::ProposeChange(Slot& slot) {
  std::vector<uint64_t> voters, learners;
  for (uint64_t id = 1; id <= kReplicas; id++) {
    const uint64_t dice = prng_.Below(5);
    if (dice < 3) voters.push_back(id);
    if (dice == 3) learners.push_back(id);
  }
  LogIndex index;
  Term term;
  const auto result = slot.replica.core().ProposeConfiguration(
      LocalTime(slot), MakeConfiguration(voters, learners), &index, &term);
  if (result == ProposeResult::kAccepted) counts_.changes++;
  AfterInput(slot);
}

void RandomWorld::HandOver() {
  Schedule(milliseconds(500 + hand_over_draws_.Below(1500)), {.what = What::kFault});
  Slot* slot = Any(true);
  if (slot == nullptr) return;
  counts_.transfers++;
  slot->replica.core().TransferLeadership(LocalTime(*slot), ReplicaId(1 + hand_over_draws_.Below(3)));
  AfterInput(*slot);
}

void RandomWorld::Fault() {
  if (options_.hand_overs) return HandOver();
  Schedule(milliseconds(prng_.Below(contended_ ? 300 : 600)), {.what = What::kFault});
  Slot* slot = Any(prng_.Chance(1, 2));
  if (slot == nullptr) return;
  const size_t position = PositionOf(slot->replica.id());
  switch (contended_ ? prng_.Below(9) : prng_.Below(12)) {
    case 0:
    case 1:
      return Crash(*slot);
    case 2:
      if (prng_.Chance(1, 3)) {  // power loss
        for (Slot& each : slots_) {
          if (each.replica.up()) Crash(each);
        }
      }
      return;
    case 3:
      slot->paused_until = now_ + milliseconds(prng_.Below(3000));
      return;
    case 4:  // cut off, in one or both directions
    case 5:
      if (contended_ && prng_.Chance(1, 2)) return Crash(*slot);
      for (size_t other = 0; other < kReplicas; other++) {
        const bool both = prng_.Chance(1, 2);
        if (both || prng_.Chance(1, 2)) cut_[position][other] = true;
        if (both || prng_.Chance(1, 2)) cut_[other][position] = true;
      }
      return;
    case 6:  // two sides
    {
      std::vector<bool> side(kReplicas);
      for (size_t i = 0; i < kReplicas; i++) side[i] = prng_.Chance(1, 2);
      for (size_t i = 0; i < kReplicas; i++) {
        for (size_t j = 0; j < kReplicas; j++) cut_[i][j] = side[i] != side[j];
      }
      return;
    }
    case 7:
      for (auto& row : cut_) std::fill(row.begin(), row.end(), false);
      return;
    case 8:
      counts_.transfers++;
      slot->replica.core().TransferLeadership(LocalTime(*slot), ReplicaId(1 + prng_.Below(kReplicas)));
      return AfterInput(*slot);
    case 9:
      return ProposeChange(*slot);
    case 10:
      slot->replica.Flush();
      slot->replica.CompactTo(LogIndex(prng_.Below(slot->replica.state().applied.value() + 1)));
      return AfterInput(*slot);
    default:
      slot->replica.Flush();
      slot->replica.core().EvictCache(LogIndex(prng_.Below(slot->replica.core().last_index().value() + 1)));
      return AfterInput(*slot);
  }
}

void RandomWorld::Crash(Slot& slot, bool lose_all) {
  counts_.crashes++;
  if (options_.trace) fmt::print("{:8} {} crashes\n", ToMillis(now_), slot.replica.id());
  slot.replica.Crash(lose_all ? 0 : prng_.Below(slot.replica.queued_writes() + 1));
  slot.life++;
  slot.seen_leading = Term();
  slot.ticking_at = Duration::max();
  slot.persisting = false;
  const Duration down =
      prng_.Chance(1, 2) ? Duration(milliseconds(1)) : Duration(milliseconds(prng_.Below(4000)));
  Schedule(down, {.what = What::kRestart, .replica = PositionOf(slot.replica.id())});
}

void RandomWorld::Restart(Slot& slot) {
  if (options_.trace) fmt::print("{:8} {} starts\n", ToMillis(now_), slot.replica.id());
  slot.replica.Start(LocalTime(slot), Prng(prng_.Next64()));
  slot.paused_until = Duration::zero();
  AfterInput(slot);
}

void RandomWorld::Heal() {
  calm_ = true;
  for (auto& row : cut_) std::fill(row.begin(), row.end(), false);
  for (Slot& slot : slots_) {
    slot.paused_until = Duration::zero();
    if (!slot.replica.up()) Restart(slot);
    slot.replica.core().Wake(LocalTime(slot));
    slot.replica.core().SetDiskStalled(LocalTime(slot), false);
    AfterInput(slot);
  }
  next_payload_ += 1000;
}

// One leader, its configuration not joint and committed, every member of it holds and has applied everything.
bool RandomWorld::HasConverged() const {
  const Slot* leading = nullptr;
  for (const Slot& slot : slots_) {
    if (!slot.replica.up()) return false;
    if (slot.replica.core().role() != Role::kLeader) continue;
    if (leading != nullptr) return false;
    leading = &slot;
  }
  if (leading == nullptr) return false;
  const RaftCore& core = leading->replica.core();
  if (core.configuration().IsJoint() || core.commit_index() < core.configuration_index()) return false;
  for (const Member& member : core.configuration().members) {
    const FakeReplica& replica = slots_[PositionOf(member.id)].replica;
    if (replica.state() != leading->replica.state()) return false;
    if (replica.core().last_index() != core.last_index() || replica.core().leader() != leading->replica.id())
      return false;
  }
  return core.commit_index() == core.last_index() && core.last_index() == leading->replica.state().applied;
}

std::string RandomWorld::Describe() const {
  std::string out;
  for (const Slot& slot : slots_) {
    if (!slot.replica.up()) {
      out += fmt::format("{}: down\n", slot.replica.id());
      continue;
    }
    const RaftCore& core = slot.replica.core();
    out += fmt::format(
        "{}: role {} term {} leader {} log ({}, {}] persisted {} commit {} applied {} config@{} [{}]{}\n",
        slot.replica.id(), int(core.role()), core.term(), core.leader(), core.mark_index(), core.last_index(),
        core.persisted_index(), core.commit_index(), slot.replica.state().applied, core.configuration_index(),
        ToString(core.configuration()), core.quiescent() ? " quiescent" : "");
    for (const auto& peer : core.Peers(LocalTime(slot))) {
      out += fmt::format("    {} match {}{}{}\n", peer.id, peer.match, peer.active ? "" : " silent",
                         peer.in_snapshot ? " snapshot" : "");
    }
  }
  return out;
}

// Log matching: an (index, term) has one content and one predecessor everywhere and for ever.
void RandomWorld::CheckNewEntries(const Slot& slot, const Effects& effects) {
  for (const Entry& entry : effects.entries) {
    const Term previous = slot.replica.core().TermAt(entry.index.Previous());
    const auto [known, is_new] =
        entries_.try_emplace({entry.index, entry.term}, Logged{HashEntry(entry), previous});
    TENURE_CHECK(is_new || (known->second.hash == HashEntry(entry) &&
                            (known->second.previous == previous || previous.IsNone())),
                 "log matching: entry {} of term {} differs between replicas", entry.index, entry.term);
  }
}

// One leader per term; it holds everything that was committed in earlier terms.
void RandomWorld::CheckLeader(Slot& slot) {
  const RaftCore& core = slot.replica.core();
  if (core.role() != Role::kLeader || slot.seen_leading == core.term()) return;
  slot.seen_leading = core.term();
  counts_.elections++;
  const auto [known, is_new] = leaders_.try_emplace(core.term(), slot.replica.id());
  TENURE_CHECK(is_new, "one leader per term: {} and {} lead term {}", known->second, slot.replica.id(),
               core.term());
  for (LogIndex index = core.mark_index(); index.value() < committed_.size(); index = index.Next()) {
    if (committed_in_[index.value()] > core.term())
      break;  // a candidate may win late, when later terms have begun
    TENURE_CHECK(core.TermAt(index) == committed_terms_[index.value()],
                 "leader completeness: {} leads term {} without committed entry {} of term {}",
                 slot.replica.id(), core.term(), index, committed_terms_[index.value()]);
  }
  newest_leader_term_ = std::max(newest_leader_term_, core.term());
}

// What is committed is committed for good, and applied as such.
void RandomWorld::CheckCommit(Slot& slot) {
  const RaftCore& core = slot.replica.core();
  while (committed_.size() <= core.commit_index().value()) {
    const Entry* entry = slot.replica.EntryAt(LogIndex(committed_.size()));
    TENURE_CHECK(entry != nullptr, "{} commits {} without having it", slot.replica.id(), committed_.size());
    committed_.push_back(ApplyTo(committed_.back(), *entry));
    committed_terms_.push_back(entry->term);
    committed_in_.push_back(core.term());
    counts_.committed++;
  }
  const LogIndex commit = core.commit_index();
  TENURE_CHECK(commit < core.mark_index() || core.TermAt(commit) == committed_terms_[commit.value()],
               "{} takes entry {} of term {} for committed, it was one of term {}", slot.replica.id(), commit,
               core.TermAt(commit), committed_terms_[commit.value()]);
  const FakeState& state = slot.replica.state();
  TENURE_CHECK(state.applied.value() < committed_.size() && state == committed_[state.applied.value()],
               "the state machine of {} differs at {}", slot.replica.id(), state.applied);
}

void RandomWorld::CheckReads(const Effects& effects) {
  for (const ReadReady& read : effects.reads) {
    TENURE_CHECK(read.index >= read_floor_[read.context], "read {} would miss {} and see {} only",
                 read.context, read_floor_[read.context], read.index);
  }
}

// No lease is held once a later leader was elected.
void RandomWorld::CheckLeases() {
  for (const Slot& slot : slots_) {
    if (!slot.replica.up() || slot.replica.core().term() >= newest_leader_term_) continue;
    TENURE_CHECK(!slot.replica.core().HasLease(LocalTime(slot)),
                 "{} holds a lease in term {}, term {} has a leader", slot.replica.id(),
                 slot.replica.core().term(), newest_leader_term_);
  }
}

}  // namespace tenure::raft
