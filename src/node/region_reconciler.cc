#include "node/region_reconciler.h"

#include <utility>

#include "base/format.h"

namespace tenure::node {

void RegionReconciler::Reconcile(bool current) {
  if (replicas_.self().IsNone()) return;  // not known which replicas are ours
  for (const auto& [id, record] : view_.regions()) LookAtRecord(record);
  if (!current) return;
  const std::vector<RegionId> local(replicas_.all().begin(), replicas_.all().end());
  for (const RegionId id : local) LookAtReplica(id);
}

// Whether the replica that the record names here should run, and does not, or not as it should.
void RegionReconciler::LookAtRecord(const pb::RegionRecord& record) {
  const RegionId id(record.id());
  const pb::ReplicaRecord* replica = replicas_.NamedHere(record);
  if (replica == nullptr || replicas_.IsBusy(id)) return;
  const ReplicaId named(replica->id());
  const auto done = [this, id](const Status& status) {
    if (!status.ok()) return LogOnce(id, status);  // the next look tries again
    failures_.erase(id);
  };
  if (record.state() == pb::REGION_REMOVING) {
#ifndef TENURE_MUTANT_merged_sleeps_on
    // One that was merged goes when every changefeed has its history, which only one that runs can tell.
    if (!record.generations().empty() && replicas_.IsDormant(id))
      done(replicas_.StartDormant(record, *replica));
#endif
    return;
  }
  if (replicas_.IsBuried(id, named)) {
    return LogOnce(id, Error(StatusCode::kDataLoss,
                             "replica {} was here and was dropped: it does not run again, the region has one "
                             "replica less",
                             named));
  }
  if (replica->recovered_from() != 0 && replicas_.IdOf(id) == ReplicaId(replica->recovered_from())) {
    return replicas_.Recover(record, *replica, done);
  }
  if (replicas_.IsDormant(id)) done(replicas_.StartDormant(record, *replica));
}

// Whether the replica here has no place in the catalog. One that leaves has: a task will destroy it.
void RegionReconciler::LookAtReplica(RegionId id) {
  if (replicas_.IsBusy(id)) return;
  const pb::RegionRecord* record = view_.FindRegion(id);
  const ReplicaId here = replicas_.IdOf(id);
  if (record != nullptr && replicas_.HasPlace(*record, here)) return;
#ifndef TENURE_MUTANT_recovery_destroys_replicas
  if (record == nullptr && IsOfLostPart(id)) {
    return LogOnce(id, Error(StatusCode::kDataLoss,
                             "the catalog lost its record in a recovery: the replica here is kept and "
                             "serves nothing; it goes when this node is removed and its directory with it"));
  }
  if (record != nullptr && WasRecovered() && replicas_.IsAheadOf(*record, here)) {
    return KeepAhead(*record, here);
  }
#endif
  replicas_.Destroy(id, here,
                    record == nullptr ? "cleanup: the catalog has no such region any more"
                                      : "cleanup: the catalog places no such replica here any more",
                    [this, id](const Status& status) {
                      if (!status.ok()) return LogOnce(id, status);  // the next look tries again
                      failures_.erase(id);
                    });
}

// Its group may need it for a majority, without which nobody can correct the record.
void RegionReconciler::KeepAhead(const pb::RegionRecord& record, ReplicaId here) {
  const RegionId id(record.id());
  Status started;
  if (record.state() != pb::REGION_REMOVING && replicas_.IsDormant(id) && !here.IsNone()) {
    pb::ReplicaRecord self;
    self.set_id(here.value());
    started = replicas_.StartDormant(record, self);
  }
  if (!started.ok()) return LogOnce(id, started);
  LogOnce(id,
          Error(StatusCode::kFailedPrecondition,
                "the catalog's record is older than the members that the log of replica {} here names: it "
                "is kept until the region's leader has said who they are",
                here));
}

bool RegionReconciler::WasRecovered() const {
  return view_.cluster().incarnation() > 1;
}

bool RegionReconciler::IsOfLostPart(RegionId id) const {
  for (const pb::RecoveryRecord& recovery : view_.cluster().recoveries()) {
    if (recovery.first_region() == 0 || id.value() < recovery.first_region()) continue;
    if (id.value() - recovery.first_region() < recovery.left_out()) return true;
  }
  return false;
}

std::vector<RegionId> RegionReconciler::lost() const {
  std::vector<RegionId> lost;
  for (const auto& [id, record] : view_.regions()) {
    const pb::ReplicaRecord* replica = replicas_.NamedHere(record);
    if (record.state() == pb::REGION_REMOVING || replica == nullptr) continue;
    if (replicas_.IsBuried(RegionId(id), ReplicaId(replica->id())) && !replicas_.IsBusy(RegionId(id))) {
      lost.push_back(RegionId(id));
    }
  }
  return lost;
}

std::vector<RegionId> RegionReconciler::kept() const {
  std::vector<RegionId> kept;
  for (const RegionId id : replicas_.all()) {
    if (view_.FindRegion(id) == nullptr && IsOfLostPart(id)) kept.push_back(id);
  }
  return kept;
}

void RegionReconciler::LogOnce(RegionId region, const Status& status) {
  std::string& last = failures_[region];
  const std::string_view text = MessageOf(status);
  if (last == text) return;
  last = text;
  logger_.Warn("region {}: {}", region, text);
}

}  // namespace tenure::node
