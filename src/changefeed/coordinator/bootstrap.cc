#include "changefeed/coordinator/bootstrap.h"

#include <algorithm>

namespace tenure::changefeed {

namespace {

bool InOrder(const Running& a, const Running& b) {
  return std::pair(a.epoch, a.process) < std::pair(b.epoch, b.process);
}

template <class T>
bool Contains(const std::vector<T>& values, const T& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

void AddOnce(std::vector<Process>& processes, const Process& process) {
  if (!Contains(processes, process)) processes.push_back(process);
}

}  // namespace

BootstrapPlan PlanBootstrap(const OwnerRecord& record, const BootstrapEvidence& evidence) {
  BootstrapPlan plan{.changefeed = record.changefeed, .floor = record.epoch};
  const bool runs = !record.owner.node.IsNone();

  std::vector<MaintainerReport> claims;
  for (const MaintainerReport& report : evidence.reports) {
    if (report.changefeed != record.changefeed || Contains(claims, report)) continue;
    claims.push_back(report);
    plan.floor = std::max(plan.floor, report.running.epoch);
  }
  // Two claims of one epoch from different processes, or a higher one than the record's: something went wrong
  // that only a new epoch ends.
  const Running expected{record.owner, record.epoch};
  bool trusted = runs && plan.floor == record.epoch;
  for (const MaintainerReport& claim : claims) {
    if (claim.running.epoch == record.epoch && claim.running.process != record.owner) trusted = false;
  }
  for (const MaintainerReport& claim : claims) {
#ifdef TENURE_MUTANT_feed_adopts_one_of_two
    if ((trusted || runs) && claim.running == expected) {
#else
    if (trusted && claim.running == expected) {
#endif
      plan.adopt = claim.running;
      plan.checkpoint = std::max(plan.checkpoint, claim.checkpoint);
    } else if (!Contains(plan.stop, claim.running)) {
      plan.stop.push_back(claim.running);
    }
  }
  std::sort(plan.stop.begin(), plan.stop.end(), InOrder);
  for (const Running& stopped : plan.stop) AddOnce(plan.await, stopped.process);
  // Its owner may run although it has not said so yet.
  if (runs && !plan.adopt && !Contains(evidence.heard, record.owner)) AddOnce(plan.await, record.owner);
  std::sort(plan.await.begin(), plan.await.end());
  plan.needs_owner = runs && !plan.adopt;
  return plan;
}

std::vector<MaintainerReport> UnknownMaintainers(const std::vector<OwnerRecord>& records,
                                                 const std::vector<MaintainerReport>& reports) {
  std::vector<MaintainerReport> unknown;
  for (const MaintainerReport& report : reports) {
    const bool known = std::any_of(records.begin(), records.end(), [&report](const OwnerRecord& record) {
      return record.changefeed == report.changefeed;
    });
    if (!known && !Contains(unknown, report)) unknown.push_back(report);
  }
  std::sort(unknown.begin(), unknown.end(), [](const MaintainerReport& a, const MaintainerReport& b) {
    return a.changefeed != b.changefeed ? a.changefeed < b.changefeed : InOrder(a.running, b.running);
  });
  return unknown;
}

}  // namespace tenure::changefeed
