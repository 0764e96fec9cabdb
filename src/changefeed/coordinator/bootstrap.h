// What a new leader does with the maintainers that nodes say they run: adopt, stop, raise the floor, start
// anew.
//
// Called by the coordinator for each changefeed when its leadership begins, and again with every node that
// reports; keeps nothing. The plan does not depend on the order of the reports.
// Threading:  pure functions.
// Reference:  docs/changefeeds.md, "Operators and a new leader".
// Invariants: B1 what is adopted is the only claim of the record's epoch, and its owner's.
//             B2 what is not adopted is stopped, with its own epoch.
//             B3 nothing is started while anything of it may still run.
//             B4 the floor is at least every epoch that was heard of.
#pragma once

#include <vector>

#include "changefeed/coordinator/operator.h"

namespace tenure::changefeed {

// One maintainer, as reported. Tombstones are no claims.
struct MaintainerReport {
  ChangefeedId changefeed;
  Running running;
  CommitTs checkpoint;
  friend bool operator==(const MaintainerReport&, const MaintainerReport&) = default;
};

// The record of a changefeed, as far as it matters here.
struct OwnerRecord {
  ChangefeedId changefeed;
  OwnerEpoch epoch;  // none: never started
  Process owner;     // none: stopped
};

struct BootstrapPlan {
  ChangefeedId changefeed;
  std::optional<Running> adopt;
  CommitTs checkpoint;        // the adopted one's
  std::vector<Running> stop;  // ordered; each with its own epoch
  // Processes that have to report, to confirm that they stopped, or to be fenced for certain, before another
  // owner starts.
  std::vector<Process> await;
  OwnerEpoch floor;          // a new epoch is above it
  bool needs_owner = false;  // after `await`: an add
};

struct BootstrapEvidence {
  std::vector<MaintainerReport> reports;  // of all nodes that have bootstrapped in this leadership
  // Processes that have reported, or are gone for certain. The owner in the record counts as running until it
  // is among these.
  std::vector<Process> heard;
};

// The changefeed of `record`.
BootstrapPlan PlanBootstrap(const OwnerRecord& record, const BootstrapEvidence& evidence);

// What is reported of changefeeds that the catalog does not have (any more): to be stopped.
std::vector<MaintainerReport> UnknownMaintainers(const std::vector<OwnerRecord>& records,
                                                 const std::vector<MaintainerReport>& reports);

}  // namespace tenure::changefeed
