#include "planner/barrier_verdict.h"

#include <algorithm>

namespace tenure::planner {

std::string_view NameOf(Disposition disposition) {
  switch (disposition) {
    case Disposition::kAcked:
      return "ACKED";
    case Disposition::kSafeGone:
      return "SAFE_GONE";
    case Disposition::kFencedSafe:
      return "FENCED_SAFE";
    case Disposition::kUnsafe:
      break;
  }
  return "UNSAFE";
}

Disposition ComputeDisposition(const BarrierEvidence& node, Revision target,
                               std::optional<Duration> proceed_after) {
  if (!node.acknowledged.IsNone() && node.acknowledged >= target) return Disposition::kAcked;
  if (node.removed || node.said_fenced) return Disposition::kSafeGone;
  if (node.by_leases && proceed_after && node.silence >= *proceed_after) return Disposition::kFencedSafe;
  return Disposition::kUnsafe;
}

bool MayProceed(std::span<const BarrierEvidence> nodes, Revision target,
                std::optional<Duration> proceed_after) {
  return std::none_of(nodes.begin(), nodes.end(), [&](const BarrierEvidence& node) {
    return ComputeDisposition(node, target, proceed_after) == Disposition::kUnsafe;
  });
}

std::optional<Duration> NextFenced(std::span<const BarrierEvidence> nodes, Revision target,
                                   std::optional<Duration> proceed_after) {
  std::optional<Duration> next;
  for (const BarrierEvidence& node : nodes) {
    if (!proceed_after || !node.by_leases) continue;
    if (ComputeDisposition(node, target, proceed_after) != Disposition::kUnsafe) continue;
    const Duration left = *proceed_after - node.silence;
    next = next ? std::min(*next, left) : left;
  }
  return next;
}

}  // namespace tenure::planner
