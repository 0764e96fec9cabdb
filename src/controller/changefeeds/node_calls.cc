#include "controller/changefeeds/node_calls.h"

#include <limits>
#include <utility>

#include "base/format.h"
#include "catalog/fencing.h"
#include "planner/barrier_verdict.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using changefeed::Incarnation;
using changefeed::Process;

ipb::ChangefeedSender NodeCalls::Sender(Term epoch) const {
  ipb::ChangefeedSender sender;
  sender.set_leadership_epoch(epoch.value());
  sender.set_node(self_);
  return sender;
}

std::string NodeCalls::ClusterId() const {
  const pb::ClusterRecord* cluster = access_.catalog().cluster();
  return cluster == nullptr ? "" : cluster->cluster_id();
}

runtime::Task<StatusOr<std::string>> NodeCalls::Call(NodeId to, std::string method, std::string request,
                                                     Duration timeout, runtime::StopToken stop) {
  const auto node = access_.catalog().nodes().find(to.value());
  if (node == access_.catalog().nodes().end())
    co_return Error(StatusCode::kNotFound, "node {} does not exist", to);
  const std::string address = node->second.node().address();
  auto start = [this, &address, &method, &request, timeout](Callback<StatusOr<std::string>> done) {
    network_.Call(address, method, std::move(request), timeout, std::move(done));
  };
  co_return co_await runtime::AsyncUntil<StatusOr<std::string>>(executor_, std::move(stop), std::move(start));
}

runtime::Task<StatusOr<ipb::ChangefeedMessage>> NodeCalls::Deliver(NodeId to, ipb::ChangefeedMessage message,
                                                                   runtime::StopToken stop) {
  ipb::ChangefeedEnvelope envelope;
  envelope.set_cluster_id(ClusterId());
  envelope.set_incarnation(incarnation_);
  *envelope.mutable_message() = std::move(message);
  auto bytes = co_await Call(to, "tenure.internal.v1.ChangefeedNode/Deliver", envelope.SerializeAsString(),
                             kTimeout, std::move(stop));
  if (!bytes.ok()) co_return bytes.status();
  ipb::ChangefeedMessage answer;
  if (!answer.ParseFromString(*bytes))
    co_return Error(StatusCode::kInternal, "node {} answered {} bytes that are no ChangefeedMessage", to,
                    bytes->size());
  co_return answer;
}

Process NodeCalls::ProcessOf(NodeId node) const {
  const auto found = access_.catalog().nodes().find(node.value());
  if (found == access_.catalog().nodes().end()) return {};
  return {node, Incarnation(found->second.node().registration_epoch())};
}

bool NodeCalls::IsGone(const Process& process) const {
  const auto found = access_.catalog().nodes().find(process.node.value());
  if (found == access_.catalog().nodes().end()) return true;
  const pb::NodeRecord& node = found->second.node();
  // A data directory has one process: another run of it has registered, so this one has ended.
  if (Incarnation(node.registration_epoch()) != process.incarnation) return true;
  const pb::ClusterRecord* cluster = access_.catalog().cluster();
  const planner::BarrierEvidence evidence =
      agents_.contacts().EvidenceOf(process.node, node, access_.catalog().format_version(), executor_.Now());
  const auto disposition =
      planner::ComputeDisposition(evidence, Revision(std::numeric_limits<Revision::Rep>::max()),
                                  catalog::ProceedAfter(catalog::FencingOf(cluster)));
  // What silence proves is proved by a leader that holds its own lease only.
  return disposition != planner::Disposition::kUnsafe && access_.group().HoldsLease();
}

std::set<Process> NodeCalls::Gone() const {
  std::set<Process> gone;
  for (const Process& process : Processes()) {
    if (IsGone(process)) gone.insert(process);
  }
  return gone;
}

std::vector<Process> NodeCalls::Processes() const {
  std::vector<Process> processes;
  for (const auto& [id, record] : access_.catalog().nodes()) {
    if (record.node().state() == pb::NODE_REMOVED) continue;
    processes.push_back({NodeId(id), Incarnation(record.node().registration_epoch())});
  }
  return processes;
}

std::vector<Process> NodeCalls::Candidates() const {
  std::vector<Process> processes;
  for (const auto& [id, record] : access_.catalog().nodes()) {
    const NodeLoad* load = agents_.load().Find(NodeId(id));
    if (record.node().state() != pb::NODE_UP || load == nullptr || !load->connected) continue;
    if (load->registration_epoch != record.node().registration_epoch()) continue;
    if (IsGone({NodeId(id), Incarnation(record.node().registration_epoch())})) continue;  // without a lease
    processes.push_back({NodeId(id), Incarnation(record.node().registration_epoch())});
  }
  return processes;
}

}  // namespace tenure::controller
