#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "catalog/apply.h"
#include "catalog/keys.h"
#include "catalog/state_moves.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;

namespace {

void WriteIds(const Records& records, Change& change) {
  change.state.Put(kIdsKey, records.ids.SerializeAsString());
}

bool SharesAddress(const NodeRecord& a, const NodeRecord& b) {
  const auto same = [](const std::string& x, const std::string& y) { return !x.empty() && x == y; };
  return same(a.address(), b.address()) || same(a.resp_address(), b.resp_address()) ||
         same(a.address(), b.resp_address()) || same(a.resp_address(), b.address());
}

// A live node other than `self` that answers under one of `node`'s addresses.
const NodeRecord* FindRival(const Records& records, const NodeRecord& node, uint64_t self) {
  for (const auto& [id, record] : records.nodes.all()) {
    if (id != self && IsLive(record.node().state()) && SharesAddress(record.node(), node))
      return &record.node();
  }
  return nullptr;
}

// Nodes that are gone give their addresses to the one that now answers there: nothing is sent to it in their
// name.
void TakeOverAddresses(Records& records, const NodeRecord& node, uint64_t self, Change& change) {
  std::vector<uint64_t> losers;
  for (const auto& [id, record] : records.nodes.all()) {
    if (id != self && SharesAddress(record.node(), node)) losers.push_back(id);
  }
  for (const uint64_t id : losers) {
    Record record = *records.nodes.Find(id);
    NodeRecord& loser = *record.mutable_node();
    const auto taken = [&](const std::string& address) {
      return !address.empty() && (address == node.address() || address == node.resp_address());
    };
    if (taken(loser.address())) loser.clear_address();
    if (taken(loser.resp_address())) loser.clear_resp_address();
    records.nodes.Put(id, std::move(record), change);
  }
}

}  // namespace

CatalogResult RegisterNode(Records& records, commands::RegisterNode& command, Change& change) {
  NodeRecord& node = *command.mutable_node();
  const auto known = records.node_by_uuid.find(node.uuid());
  const uint64_t self = known == records.node_by_uuid.end() ? 0 : known->second;
  const NodeRecord* old = self == 0 ? nullptr : &records.nodes.Find(self)->node();
  if (old != nullptr && (old->state() == NODE_REMOVING || old->state() == NODE_REMOVED)) {
    return Refused(
        REASON_NOT_FOUND,
        fmt::format("node {} (uuid {}) was removed from the cluster; its data directory cannot join again",
                    self, node.uuid()));
  }
  if (const NodeRecord* rival = FindRival(records, node, self)) {
    return Refused(
        REASON_ALREADY_EXISTS,
        fmt::format("address {} or {} belongs to node {} (uuid {}, {}), which is not down", node.address(),
                    node.resp_address(), rival->id(), rival->uuid(), NameOf(rival->state())));
  }
  const uint64_t id = self != 0 ? self : records.ids.next_node();
  if (self == 0) {
    records.ids.set_next_node(id + 1);
    WriteIds(records, change);
    records.node_by_uuid.emplace(node.uuid(), id);
  }
  TakeOverAddresses(records, node, id, change);
  node.set_id(id);
  node.set_registration_epoch(old == nullptr ? 1 : old->registration_epoch() + 1);
  node.set_state(old == nullptr ? NODE_JOINING : old->state());
  CatalogResult result = Done(change, true, id);
  result.set_registration_epoch(node.registration_epoch());
  Record record;
  *record.mutable_node() = std::move(node);
  records.nodes.Put(id, std::move(record), change);
  return result;
}

CatalogResult SetNodeState(Records& records, commands::SetNodeState& command, Change& change) {
  const Record* found = records.nodes.Find(command.node());
  if (found == nullptr) {
    return Refused(REASON_NOT_FOUND, fmt::format("node {} does not exist", command.node()));
  }
  const NodeRecord& node = found->node();
  if (command.if_registration_epoch() != 0 && command.if_registration_epoch() != node.registration_epoch()) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("node {} has registered again: its registration epoch is {}, expected {}",
                               node.id(), node.registration_epoch(), command.if_registration_epoch()),
                   found->modify_revision());
  }
  if (node.state() == command.state()) return Done(change, false, node.id());
  if (!IsLegalMove(node.state(), command.state())) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("node {} is {}; it cannot become {}", node.id(), NameOf(node.state()),
                               NameOf(command.state())),
                   found->modify_revision());
  }
  Record record = *found;
  record.mutable_node()->set_state(command.state());
  records.nodes.Put(command.node(), std::move(record), change);
  return Done(change, true, command.node());
}

}  // namespace tenure::catalog::apply
