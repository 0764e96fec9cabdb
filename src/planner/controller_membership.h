// Decides the next step towards the controllers that the catalog asks for: who joins, who is promoted, who
// replaces whom, who goes. One step at a time; after it (or a crash in the middle of it) everything is looked
// at anew.
//
// Called by MembershipReconciler; looks at inputs only, keeps nothing.
// Threading:  pure functions.
// Reference:  docs/consensus.md, "membership of group 0".
// Invariants: M1 no step makes the voters more than the target
//             M2 no step leads to fewer voters than there are if that is below the target, unless it is
//             forced
//             M3 only a learner that is heard and has caught up becomes a voter
//             M4 in the configuration that a step leads to a majority of the voters is heard now
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/time.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::planner {

// What the leader knows about a member of the configuration.
struct MemberEvidence {
  bool voter = false;
  bool active = false;     // heard from within an election timeout; the leader itself is
  bool caught_up = false;  // holds nearly all that is committed, so that it is no burden as a voter
  Duration silence{};      // since it was last active, or since the leadership began
  uint64_t match = 0;      // the log index up to which it holds everything
};

struct MembershipOptions {
  // A voter that is silent for this long is replaced if a learner can do its work.
  Duration replace_after = std::chrono::seconds(30);
};

struct MembershipStep {
  enum class Kind : uint8_t {
    kNone,
    kConfigure,  // ask the group for `members`
    kTransfer,   // hand leadership to `controller`; the next leader goes on
    kRole,       // write down that `controller` is a voter or not
    kRemoved,    // write down that `controller` is gone
  };
  Kind kind = Kind::kNone;
  uint64_t controller = 0;
  bool voter = false;                // kRole
  std::map<uint64_t, bool> members;  // kConfigure: id -> voter
  std::string reason;                // for people; of kNone: what is waited for, if anything
};

// `members`: the configuration in force, committed and not joint, by controller id; `self` leads.
MembershipStep PlanMembership(const std::map<uint64_t, ::tenure::v1::Record>& controllers,
                              const std::map<uint64_t, MemberEvidence>& members, uint64_t self,
                              uint32_t voter_target, const MembershipOptions& options);

}  // namespace tenure::planner
