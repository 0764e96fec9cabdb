#include "catalog/fencing.h"

namespace tenure::catalog {

namespace pb = ::tenure::v1;

Fencing FencingOf(const pb::ClusterRecord* cluster) {
  Fencing fencing;
  if (cluster == nullptr || !cluster->has_fencing()) return fencing;
  const pb::FencingSettings& settings = cluster->fencing();
  fencing.mode = settings.mode();
  if (settings.fence_ms() > 0) fencing.fence_time = std::chrono::milliseconds(settings.fence_ms());
  fencing.version = Revision(settings.version());
  fencing.bound =
      settings.bound_ms() > 0 ? Duration(std::chrono::milliseconds(settings.bound_ms())) : fencing.fence_time;
  fencing.bound_available = settings.bound_available() || settings.mode() == pb::FENCING_AVAILABLE;
  return fencing;
}

std::optional<Duration> ProceedAfter(const Fencing& fencing) {
  if (fencing.bound_available) return std::nullopt;
#ifdef TENURE_MUTANT_lower_at_once
  const Duration longest = fencing.fence_time;
#else
  const Duration longest = fencing.bound;
#endif
#ifdef TENURE_MUTANT_no_proceed_margin
  return longest;
#endif
  return longest + longest * kClockDriftPercent / 100 + kProceedMargin;
}

bool IsBoundLowered(const Fencing& fencing) {
  return fencing.bound == fencing.fence_time &&
         fencing.bound_available == (fencing.mode == pb::FENCING_AVAILABLE);
}

}  // namespace tenure::catalog
