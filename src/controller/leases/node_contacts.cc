#include "controller/leases/node_contacts.h"

#include <algorithm>
#include <utility>

#include "catalog/format.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;

void NodeContacts::Begin(Term epoch, Instant now) {
  Clear();
  epoch_ = epoch;
  since_ = now;
#ifdef TENURE_MUTANT_old_contacts
  since_ = Instant();
#endif
}

void NodeContacts::Clear() {
  contacts_.clear();
  epoch_ = Term();
}

void NodeContacts::OnReport(const LeaseReport& report) {
  Contact& contact = contacts_[report.node];
  if (contact.newest.registration_epoch < report.registration_epoch) {
    // Another process: what the one before said of its view is void. Its grants are not: they are counted
    // from.
    contact.newest = LeaseReport();
    contact.acknowledged = Revision();
    contact.granted_sent_at_ns = 0;
  } else if (contact.newest.registration_epoch > report.registration_epoch) {
    return;
  }
#ifdef TENURE_MUTANT_fence_notice_any_epoch
  const bool of_this_epoch = true;
#else
  const bool of_this_epoch = report.seen_epoch == epoch_;
#endif
#ifdef TENURE_MUTANT_fence_notice_unordered
  const bool in_order = true;
#else
  const bool in_order = report.sent_at_ns >= contact.granted_sent_at_ns;
#endif
  if (report.given_up && of_this_epoch && in_order) contact.said_fenced = true;
  const Revision acknowledged = report.seen_epoch == epoch_ ? report.serving : Revision();
#ifdef TENURE_MUTANT_report_max
  contact.acknowledged = std::max(contact.acknowledged, acknowledged);
  if (report.sent_at_ns >= contact.newest.sent_at_ns) contact.newest = report;
#else
  if (report.sent_at_ns < contact.newest.sent_at_ns) return;
  contact.newest = report;
  contact.acknowledged = acknowledged;
#endif
}

void NodeContacts::OnGranted(NodeId node, int64_t sent_at_ns, Instant now) {
  Contact& contact = contacts_[node];
  contact.granted = true;
  contact.granted_at = now;
  contact.granted_sent_at_ns = std::max(contact.granted_sent_at_ns, sent_at_ns);
#ifndef TENURE_MUTANT_fence_notice_stays
  contact.said_fenced = false;
#endif
}

planner::BarrierEvidence NodeContacts::EvidenceOf(NodeId node, const pb::NodeRecord& record,
                                                  uint32_t format_version, Instant now) const {
  planner::BarrierEvidence evidence;
  evidence.node = node;
  // Below that format a controller may lead that answers without holding a leader lease.
  evidence.by_leases = format_version >= catalog::kFormatOfLeases &&
                       catalog::NewestFormatOr1(record.newest_format()) >= catalog::kFormatOfLeases;
  evidence.removed = record.state() == pb::NODE_REMOVED;
  const auto found = contacts_.find(node);
  evidence.silence =
      now - (found != contacts_.end() && found->second.granted ? found->second.granted_at : since_);
  if (found == contacts_.end()) return evidence;
  evidence.said_fenced = found->second.said_fenced;
  // Of a process that was replaced meanwhile nothing is known.
  if (found->second.newest.registration_epoch == record.registration_epoch())
    evidence.acknowledged = found->second.acknowledged;
  return evidence;
}

std::vector<planner::BarrierEvidence> NodeContacts::Evidence(const NodeRecords& nodes,
                                                             uint32_t format_version, Instant now) const {
  std::vector<planner::BarrierEvidence> all;
  all.reserve(nodes.size());
  for (const auto& [id, record] : nodes)
    all.push_back(EvidenceOf(NodeId(id), record.node(), format_version, now));
  return all;
}

std::vector<NodeId> NodeContacts::Unconfirmed(const NodeRecords& nodes, uint32_t format_version,
                                              const catalog::Fencing& fencing, Instant now) const {
  std::vector<NodeId> unconfirmed;
  const auto proceed_after = catalog::ProceedAfter(fencing);
  for (const auto& [id, record] : nodes) {
    // Without a lease and without a view it goes by whatever it hears next, which are the present settings.
    const auto evidence = EvidenceOf(NodeId(id), record.node(), format_version, now);
    const bool gone = evidence.removed || evidence.said_fenced ||
                      (evidence.by_leases && proceed_after && evidence.silence >= *proceed_after);
    const auto found = contacts_.find(NodeId(id));
    const bool present = found != contacts_.end() &&
                         found->second.newest.registration_epoch == record.node().registration_epoch();
#ifdef TENURE_MUTANT_confirmed_any_version
    const bool confirmed = present && found->second.newest.confirms > 0;
#else
    const bool confirmed = present && found->second.newest.confirms == fencing.version.value() + 1;
#endif
    if (!gone && !confirmed) unconfirmed.emplace_back(id);
  }
  return unconfirmed;
}

const LeaseReport* NodeContacts::Find(NodeId node) const {
  const auto found = contacts_.find(node);
  return found == contacts_.end() ? nullptr : &found->second.newest;
}

}  // namespace tenure::controller
