#include "node/lease/node_lease.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tenure::node {

namespace pb = ::tenure::v1;

NodeLease::NodeLease(Instant now) : not_before_(now), until_(now), fenced_since_(now), why_("starting") {
#ifdef TENURE_MUTANT_grants_of_earlier_life
  not_before_ = Instant::min();
#endif
#ifdef TENURE_MUTANT_restart_unfenced
  recovered_ = has_view_ = true;
  until_ = now + length_;
#endif
}

void NodeLease::Reset(Instant now, std::string why) {
  Fence(now, std::move(why));
  not_before_ = until_ = now;
  has_view_ = false;
  epoch_ = Term();
  told_ = version_ = Revision();
  length_ = catalog::kDefaultFenceTime;
  mode_ = pb::FENCING_STRICT;
}

void NodeLease::Fence(Instant since, std::string why) {
  if (recovered_) fenced_since_ = since;
  recovered_ = false;
  needed_ = Revision();
  why_ = std::move(why);
}

void NodeLease::OnGrant(const LeaseGrant& grant, Instant now) {
#ifndef TENURE_MUTANT_old_grant_taken
  if (grant.epoch < epoch_) return;
#endif
  epoch_ = std::max(epoch_, grant.epoch);
  if (grant.sent_at < not_before_ || grant.sent_at > now) return;
#ifndef TENURE_MUTANT_available_revives
  // By strict settings nothing was served any more, and that may have been relied upon, whatever is set now.
  if (mode_ == pb::FENCING_STRICT && now >= until_) has_view_ = false;
#endif
  Duration length = grant.length;
  if (grant.version >= version_) {
    version_ = grant.version;
    length_ = grant.length;
    mode_ = grant.mode;
  } else {
#ifndef TENURE_MUTANT_old_grant_longer
    length = std::min(length, length_);
#endif
  }
#ifdef TENURE_MUTANT_lease_from_receipt
  const Instant until = now + length;
#else
  const Instant until = grant.sent_at + length;
#endif
  if (until <= now) return;
  if (now >= until_) {
#ifndef TENURE_MUTANT_late_grant_renews
    Fence(until_, recovered_ ? "lease expired" : why_);
#endif
    needed_ = grant.revision;
  }
  until_ = std::max(until_, until);
}

Revision NodeLease::needed() const {
#ifdef TENURE_MUTANT_recovery_goes_back
  return needed_;
#else
  // What was reported since the lease began counts too: by FENCING_AVAILABLE a node reports all the time.
  return std::max(needed_, told_);
#endif
}

bool NodeLease::OnPulled([[maybe_unused]] Revision revision, Instant now) {
  if (!WantsPull(now)) return false;
#ifndef TENURE_MUTANT_pull_unchecked
  if (revision < needed()) return false;
#endif
#ifdef TENURE_MUTANT_lease_from_pull
  until_ = now + length_;
#endif
  needed_ = Revision();
  ++recoveries_;
  if (!has_view_) has_view_since_ = recoveries_;
  recovered_ = has_view_ = true;
  return true;
}

void NodeLease::GiveUp(Instant now, std::string why) {
  Fence(std::min(now, until_), std::move(why));
  has_view_ = false;
  until_ = std::min(until_, now);
#ifndef TENURE_MUTANT_fenced_takes_old_grants
  // A heartbeat sent in this moment is one sent before: its grant may be on the way already.
  not_before_ = now + Duration(1);
#endif
}

Revision NodeLease::Report(Revision view, Instant now) {
  if (!Serves(now)) return Revision();
  told_ = std::max(told_, view);
  return view;
}

uint64_t NodeLease::Confirms([[maybe_unused]] Instant now) const {
#ifndef TENURE_MUTANT_keep_longer
  if (Left(now) > length_) return 0;
#endif
  return version_.value() + 1;
}

bool NodeLease::MayLeave(uint64_t recovery, Instant now) const {
#ifdef TENURE_MUTANT_no_exit_check
  return true;
#endif
  if (!Serves(now)) return false;
  // In the mode FENCING_AVAILABLE no barrier goes by the lease's end, so a request outlives it.
  if (mode_ == pb::FENCING_AVAILABLE) return recovery >= has_view_since_;
#ifdef TENURE_MUTANT_exit_ignores_recovery
  return true;
#endif
  return recovery == recoveries_;
}

std::optional<Instant> NodeLease::FencedSince(Instant now) const {
  if (Serves(now)) return std::nullopt;
  return recovered_ ? until_ : fenced_since_;
}

std::string NodeLease::FencedReason(Instant now) const {
  if (Serves(now)) return {};
  return recovered_ ? std::string("lease expired") : why_;
}

}  // namespace tenure::node
