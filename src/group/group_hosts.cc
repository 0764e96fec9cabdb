// A group's part in the processes that come and go, and in its own disk: whom it watches, when it wakes and
// who stands (docs/consensus.md, "Quiescence" and "A disk that hangs").
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "base/rare_path.h"
#include "group/group.h"

namespace tenure::group {

void Group::WatchMembers(const raft::Configuration& configuration) {
  if (shared_.options.raft.quiesce_after <= Duration::zero()) return;
  std::vector<uint64_t> hosts;
  for (const raft::Member& member : configuration.members) {
    if (member.id != self_) hosts.push_back(member.host);
  }
  if (hosts == watched_) return;
  shared_.watch(watched_, hosts);
  watched_ = std::move(hosts);
}

// None: somebody was not heard of yet. A process that cannot answer would be taken for silent in time; what
// it says in the group itself then speaks against that (RaftCore::SetSilentPeers).
std::optional<std::vector<ReplicaId>> Group::SilentPeers() const {
  std::vector<ReplicaId> silent;
  for (const raft::Member& member : core_.configuration().members) {
    if (member.id == self_) continue;
    const HostHealth health = shared_.health(member.host);
    if (health == HostHealth::kUnknown) return std::nullopt;
    if (health == HostHealth::kSilent) silent.push_back(member.id);
  }
  return silent;
}

bool Group::LivesOn(ReplicaId replica, uint64_t host) const {
  const raft::Member* member = core_.configuration().Find(replica);
  return member != nullptr && member->host == host;
}

bool Group::MajorityLives() const {
  size_t voters = 0;
  size_t alive = 0;
  for (const raft::Member& member : core_.configuration().members) {
    if (!core_.configuration().IsVoter(member.id)) continue;
    ++voters;
    if (member.id == self_ || shared_.health(member.host) == HostHealth::kAlive) ++alive;
  }
  return 2 * alive > voters;
}

// Who is left stands in turn, in an order that differs from group to group: one of them is enough, and two at
// once take votes from each other.
Duration Group::TurnToStand(ReplicaId lost) const {
  std::vector<ReplicaId> left;
  for (const raft::Member& member : core_.configuration().members) {
    if (member.id != lost && core_.configuration().IsVoter(member.id)) left.push_back(member.id);
  }
  const auto own = std::find(left.begin(), left.end(), self_);
  if (own == left.end()) return Duration::zero();
  const auto position = static_cast<uint64_t>(own - left.begin());
  return shared_.options.raft.election_timeout_min *
         static_cast<int64_t>((position + id_.value()) % left.size());
}

bool Group::OnHostSilent(uint64_t host, Duration delay) {
#ifdef TENURE_MUTANT_silent_host_ignored
  return false;
#endif
  if (!core_.quiescent()) return false;
  const Instant now = shared_.dependencies.executor.Now();
  if (core_.role() == raft::Role::kLeader) {
    // One that still has a majority goes on sleeping. The others learn that they lead no more.
    if (MajorityLives()) return false;
    TENURE_RARE_PATH("group: a sleeping leader wakes because a majority is silent");
    core_.Wake(now, delay);
  } else {
    if (!LivesOn(core_.leader(), host)) return false;
    TENURE_RARE_PATH("group: a sleeping group wakes because its leader's host is silent");
    core_.Wake(now, delay + TurnToStand(core_.leader()));
  }
  shared_.wake(id_);
  return true;
}

// A leader that was restarted is a leader no more; one that was out of reach may be one, and heartbeats now.
// A member may have lost its leader meanwhile, or lack something.
bool Group::OnHostReturned(uint64_t host, bool restarted, Duration delay) {
  if (!core_.quiescent()) return false;
  const Instant now = shared_.dependencies.executor.Now();
  if (core_.role() == raft::Role::kLeader) {
    if (std::find(watched_.begin(), watched_.end(), host) == watched_.end()) return false;
    core_.Wake(now, delay);
  } else {
    if (!LivesOn(core_.leader(), host)) return false;
    if (restarted) {
      TENURE_RARE_PATH("group: a sleeping group wakes because its leader was restarted");
      core_.Wake(now, delay + TurnToStand(core_.leader()));
    } else {
      core_.Wake(now);
    }
  }
  shared_.wake(id_);
  return true;
}

bool Group::OnHostUnreachable(uint64_t host, Duration delay) {
  if (core_.quiescent() || core_.role() != raft::Role::kFollower || !LivesOn(core_.leader(), host))
    return false;
  if (TurnToStand(core_.leader()) > Duration::zero()) return false;
  core_.OnLeaderUnreachable(shared_.dependencies.executor.Now(), delay);
  shared_.wake(id_);
  return true;
}

void Group::SetDiskStalled(bool stalled) {
  core_.SetDiskStalled(shared_.dependencies.executor.Now(), stalled);
  shared_.wake(id_);
}

}  // namespace tenure::group
