// Whether a change may proceed although some nodes have not acknowledged it: what each node is to a barrier,
// and the barrier's verdict.
//
// Called by controller/barriers once per event; looks at its inputs only, keeps nothing.
// Threading:  pure functions.
// Reference:  docs/fencing.md, "barriers"; docs/models/node_lease.pml.
// Invariants: V1 a node is FENCED_SAFE only if it goes by leases and its silence has reached T_proceed.
//             V2 silence is counted from the last grant of this leadership, or from its beginning.
//             V3 what was acknowledged counts only as the newest heartbeat says it.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/ids.h"
#include "base/time.h"

namespace tenure::planner {

struct BarrierEvidence {
  NodeId node;
  Revision acknowledged;     // by its newest heartbeat, under this leadership epoch; none if not
  Duration silence{};        // since it was last granted a lease in this leadership, or since that began
  bool by_leases = false;    // it serves nothing without a lease (program, format and mode of the cluster)
  bool said_fenced = false;  // it said so under this epoch, and was granted no lease for a later heartbeat
  bool removed = false;      // from the catalog: it had certainly no lease before that
};

enum class Disposition {
  kAcked,       // serves from the revision or a later one
  kSafeGone,    // said itself that it serves nothing, or was removed
  kFencedSafe,  // has been silent for so long that its lease has run out
  kUnsafe,      // may serve from an older view
};
std::string_view NameOf(Disposition disposition);

// `proceed_after`: T_proceed; none if silence proves nothing. Total: every combination has an answer.
Disposition ComputeDisposition(const BarrierEvidence& node, Revision target,
                               std::optional<Duration> proceed_after);

// No node is kUnsafe.
bool MayProceed(std::span<const BarrierEvidence> nodes, Revision target,
                std::optional<Duration> proceed_after);
// How long until silence alone makes the next of the unsafe nodes kFencedSafe; none if it makes none so.
std::optional<Duration> NextFenced(std::span<const BarrierEvidence> nodes, Revision target,
                                   std::optional<Duration> proceed_after);

}  // namespace tenure::planner
