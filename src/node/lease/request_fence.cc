#include "node/lease/request_fence.h"

#include <algorithm>

namespace tenure::node {

Revision RequestFence::Report() {
#ifdef TENURE_MUTANT_report_ahead_of_requests
  const Revision view = views_.present();
#else
  // After a recovery of the cluster from an older catalog the present view may be the lower one.
  const Revision view = std::min(views_.oldest(), views_.present());
#endif
  reported_ = lease_.Report(view, clock_.Now());
  return reported_;
}

void RequestFence::CheckAwaited() {
  if (awaited_.IsNone() || reported_ >= awaited_ || views_.oldest() < awaited_) return;
  awaited_ = Revision();
  if (on_reached_) on_reached_();
}

}  // namespace tenure::node
