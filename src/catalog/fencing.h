// How long nodes' leases are (T_fence), and what a leader counts with.
//
// The setting has a version, the revision that made it. Beside it stands the bound: the longest lease that
// any node may still hold. It is raised in the same change as the setting, and lowered by a change of its own
// once every node has confirmed the version: so whoever leads counts silence against the longest lease there
// is. A mode is treated alike: FENCING_AVAILABLE is in the bound as long as a node may still go by it.
//
// Threading:  pure functions.
// Reference:  docs/fencing.md, "settings"; docs/models/lease_length.pml.
#pragma once

#include <optional>

#include "base/ids.h"
#include "base/time.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::catalog {

// The format that brought leases: below it there are controllers that answer heartbeats without a leader
// lease.
inline constexpr uint32_t kFormatOfLeases = 4;

inline constexpr Duration kDefaultFenceTime = std::chrono::seconds(10);
inline constexpr Duration kMinFenceTime = std::chrono::seconds(2);
inline constexpr Duration kMaxFenceTime = std::chrono::hours(1);
// Of T_proceed beyond the lease: two clocks may differ by so much in a hundred, and then some.
inline constexpr int kClockDriftPercent = 1;
inline constexpr Duration kProceedMargin = std::chrono::seconds(2);

struct Fencing {
  ::tenure::v1::FencingMode mode = ::tenure::v1::FENCING_STRICT;
  Duration fence_time = kDefaultFenceTime;
  Revision version;  // none: never set
  Duration bound = kDefaultFenceTime;
  bool bound_available = false;
};

// Null: the cluster has no record yet.
Fencing FencingOf(const ::tenure::v1::ClusterRecord* cluster);
// T_proceed: after so much silence a node has certainly no lease. None: silence proves nothing.
std::optional<Duration> ProceedAfter(const Fencing& fencing);
// What is set is what everybody goes by.
bool IsBoundLowered(const Fencing& fencing);

}  // namespace tenure::catalog
