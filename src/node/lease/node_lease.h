// The lease of a node: whether what it has cached of the catalog may be used, and what a grant, a pull and a
// notice change about that.
//
//                      first grant, or one after expiry       pull new enough, lease still valid
//   fenced, no lease ----------------------------------> recovering ----------------------------> serving
//        ^                                                    |                                      |
//        +-------- lease expired, given up, or Reset ---------+--------------------------------------+
//
// Driven by RequestFence (requests) and Node (heartbeats, pulls). It reads no clock: `now` comes with every
// call, and expiry is a comparison at the moment of use; nobody has to notice it in time.
// Threading:  values; one owner.
// Invariants: L1 a lease lasts from the moment at which the heartbeat was sent, never from its answer.
//             L2 only grants of the highest leadership epoch seen count, and only for heartbeats sent by this
//                incarnation, after the last notice that this node is fenced.
//             L3 an expired lease is not prolonged: the next grant begins another one, and nothing is served
//                under that before a pull.
//             L4 the pull is at least as new as the grant that began the lease, and as anything that this
//                incarnation has reported.
//             L5 a grant by older settings counts with the smaller of the two lengths; a version is confirmed
//                only while the lease held is no longer than it says.
// Reference:  docs/fencing.md; docs/models/node_lease.pml, lease_length.pml.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/time.h"
#include "catalog/fencing.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::node {

struct LeaseGrant {
  Instant sent_at;    // the heartbeat, on this node's clock
  Term epoch;         // leadership of who grants
  Revision revision;  // applied by who grants
  Duration length = catalog::kDefaultFenceTime;
  Revision version;  // of the settings
  ::tenure::v1::FencingMode mode = ::tenure::v1::FENCING_STRICT;
};

class NodeLease {
 public:
  // Begins fenced, whatever the process has on its disk.
  explicit NodeLease(Instant now);

  // The cluster goes on in another incarnation, whose epochs and revisions begin anew.
  void Reset(Instant now, std::string why);
  void OnGrant(const LeaseGrant& grant, Instant now);
  // There is a lease, and a pull is wanted that is at least as new as `needed()`.
  bool WantsPull(Instant now) const { return !recovered_ && now < until_; }
  Revision needed() const;
  // A whole snapshot of that revision is what is served from now on, if this returns true; else the node
  // stays fenced: the lease has run out meanwhile, or the snapshot is too old.
  bool OnPulled(Revision revision, Instant now);
  // Nothing is served from now on, and no grant is taken for a heartbeat sent up to now.
  void GiveUp(Instant now, std::string why);

  // What a heartbeat says that is sent now: `view`, or none while nothing is served.
  Revision Report(Revision view, Instant now);
  // 1 + the version that the lease held goes by; 0: the lease is longer.
  uint64_t Confirms(Instant now) const;

  // May use what is owned by one node at a time, in either mode.
  bool Owns(Instant now) const { return recovered_ && now < until_; }
  // Until then it may; in the past if it may not.
  Instant owns_until() const { return recovered_ ? until_ : Instant(); }
  // May answer from the cached view.
  bool Serves(Instant now) const { return mode_ == ::tenure::v1::FENCING_AVAILABLE ? has_view_ : Owns(now); }
  // Until then it may, if it may now.
  Instant serves_until() const { return mode_ == ::tenure::v1::FENCING_AVAILABLE ? kFarFuture : until_; }
  // How often it recovered: a result may not leave if that happened since its request began.
  uint64_t recoveries() const { return recoveries_; }
  // A request that began after `recovery` recoveries may be answered now.
  bool MayLeave(uint64_t recovery, Instant now) const;

  Duration Left(Instant now) const { return now < until_ ? until_ - now : Duration::zero(); }
  // Since when nothing is served; none if something is.
  std::optional<Instant> FencedSince(Instant now) const;
  std::string FencedReason(Instant now) const;
  Term epoch() const { return epoch_; }
  ::tenure::v1::FencingMode mode() const { return mode_; }

 private:
  void Fence(Instant since, std::string why);

  Term epoch_;          // highest seen
  Instant not_before_;  // heartbeats sent before bring no lease
  Instant until_;       // of the lease
  bool recovered_ = false;
  // Recovered, and never since then without the right to serve: a lease that expired is none as long as the
  // settings were FENCING_AVAILABLE.
  bool has_view_ = false;
  uint64_t has_view_since_ = 0;  // which recovery that was
  Revision needed_;              // of the grant that began the lease; while not recovered
  Revision told_;                // highest that this incarnation has reported
  uint64_t recoveries_ = 0;
  Duration length_ = catalog::kDefaultFenceTime;  // by the newest settings seen
  Revision version_;
  ::tenure::v1::FencingMode mode_ = ::tenure::v1::FENCING_STRICT;
  Instant fenced_since_;  // while not recovered
  std::string why_;
};

}  // namespace tenure::node
