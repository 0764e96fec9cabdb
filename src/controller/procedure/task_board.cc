#include "controller/procedure/task_board.h"

#include <algorithm>
#include <utility>

#include "catalog/procedures.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

TaskKey KeyOf(const ipb::TaskKey& key) {
  return {key.procedure(), key.step(), key.attempt()};
}

void Fill(const TaskKey& key, ipb::TaskKey& out) {
  out.set_procedure(key.procedure);
  out.set_step(key.step);
  out.set_attempt(key.attempt);
}

}  // namespace

void TaskBoard::Begin(Term epoch) {
  Clear();
  epoch_ = epoch;
  next_sequence_ = 1;
}

void TaskBoard::Clear() {
  nodes_.clear();
  epoch_ = Term();
}

void TaskBoard::News() const {
  if (on_news_) on_news_();
}

bool TaskBoard::IsWanted(NodeId node, const TaskKey& key) const {
  const auto found = catalog_.procedures().find(key.procedure);
  if (found == catalog_.procedures().end()) return false;
  const pb::ProcedureRecord& procedure = found->second.procedure();
  if (catalog::IsEnded(procedure.state()) || procedure.step() != key.step) return false;
  return std::any_of(procedure.tasks().begin(), procedure.tasks().end(), [&](const pb::TaskAttempt& task) {
    return NodeId(task.node()) == node && task.attempt() == key.attempt;
  });
}

void TaskBoard::Want(NodeId id, const TaskKey& key, uint64_t registration_epoch, Revision revision,
                     const ipb::TaskPayload& payload) {
  Node& node = nodes_[id];
  const auto [it, fresh] = node.wanted.try_emplace(key);
  if (!fresh) return;
  ipb::TaskSubmit& submit = it->second.submit;
  Fill(key, *submit.mutable_key());
  submit.set_registration_epoch(registration_epoch);
  submit.set_revision(revision.value());
  *submit.mutable_payload() = payload;
  News();
}

std::optional<ipb::TaskReport> TaskBoard::Find(NodeId id, const TaskKey& key) const {
  const auto node = nodes_.find(id);
  if (node == nodes_.end() || !node->second.heard) return std::nullopt;
  if (const auto known = node->second.known.find(key); known != node->second.known.end())
    return known->second.report;
  ipb::TaskReport absent;
  Fill(key, *absent.mutable_key());
  absent.set_state(ipb::TASK_NOT_EXIST);
  return absent;
}

std::optional<Instant> TaskBoard::FailedAt(NodeId id, const TaskKey& key) const {
  const auto node = nodes_.find(id);
  if (node == nodes_.end()) return std::nullopt;
  const auto known = node->second.known.find(key);
  if (known == node->second.known.end() || known->second.report.state() != ipb::TASK_FAIL)
    return std::nullopt;
  return known->second.failed_at;
}

size_t TaskBoard::under_way() const {
  size_t count = 0;
  for (const auto& [id, node] : nodes_) {
    for (const auto& [key, wanted] : node.wanted) {
      const auto known = node.known.find(key);
      const bool over = known != node.known.end() && (known->second.report.state() == ipb::TASK_SUCCESS ||
                                                      known->second.report.state() == ipb::TASK_FAIL);
      count += over ? 0 : 1;
    }
  }
  return count;
}

void TaskBoard::OnConnected(NodeId id, uint64_t registration_epoch) {
  Node& node = nodes_[id];
  node.connected = true;
  node.heard = false;
  if (node.registration_epoch != registration_epoch) {  // another process: it knows nothing of before
    node.known.clear();
    node.task_epoch = 0;
    node.task_sequence = 0;
  }
  node.registration_epoch = registration_epoch;
  node.to_forget.clear();
  // What was sent on the connection before may be lost; the report that comes first says what was not.
  for (auto& [key, wanted] : node.wanted) wanted.sent_as = 0;
}

void TaskBoard::OnDisconnected(NodeId id) {
  Node& node = nodes_[id];
  node.connected = false;
  node.heard = false;
}

void TaskBoard::OnReport(NodeId id, const ipb::HeartbeatRequest& report, Instant now) {
  Node& node = nodes_[id];
  if (report.full()) {
    node.heard = true;
    std::erase_if(node.known, [&](const auto& known) {
      return std::none_of(report.tasks().begin(), report.tasks().end(),
                          [&](const ipb::TaskReport& task) { return KeyOf(task.key()) == known.first; });
    });
  }
  if (!node.heard) return;
  for (const ipb::TaskReport& task : report.tasks()) {
    if (task.state() == ipb::TASK_NOT_EXIST) {
      node.known.erase(KeyOf(task.key()));
      continue;
    }
    Known& known = node.known[KeyOf(task.key())];
    if (known.report.state() != ipb::TASK_FAIL) known.failed_at = now;  // said again: it is the same failure
    known.report = task;
  }
  node.task_epoch = report.task_epoch();
  node.task_sequence = report.task_sequence();
  for (const auto& [key, known] : node.known) {
    if (!IsWanted(id, key)) node.to_forget.insert(key);
  }
  FindLost(node);
  if (HasNews(id)) News();
}

void TaskBoard::FindLost(Node& node) {
  for (auto& [key, wanted] : node.wanted) {
    if (wanted.sent_as == 0 || node.known.contains(key)) continue;
    if (node.task_epoch == epoch_.value() && node.task_sequence >= wanted.sent_as) wanted.sent_as = 0;
  }
}

bool TaskBoard::HasNews(NodeId id) const {
  const auto it = nodes_.find(id);
  if (it == nodes_.end() || !it->second.heard) return false;
  const Node& node = it->second;
  return !node.to_forget.empty() ||
         std::any_of(node.wanted.begin(), node.wanted.end(), [&](const auto& entry) {
           return entry.second.sent_as == 0 && !node.known.contains(entry.first) &&
                  entry.second.submit.registration_epoch() == node.registration_epoch;
         });
}

void TaskBoard::FillAnswer(NodeId id, ipb::HeartbeatResponse& answer) {
  const auto it = nodes_.find(id);
  if (it == nodes_.end() || !it->second.heard) return;
  Node& node = it->second;
  for (const TaskKey& key : std::exchange(node.to_forget, {})) {
    ipb::TaskForget& forget = *answer.add_forget_tasks();
    Fill(key, *forget.mutable_key());
    forget.set_sequence(next_sequence_++);
  }
  for (auto& [key, wanted] : node.wanted) {
    if (wanted.sent_as != 0 || node.known.contains(key)) continue;
    if (wanted.submit.registration_epoch() != node.registration_epoch) continue;
    wanted.sent_as = next_sequence_++;
    ipb::TaskSubmit& submit = *answer.add_tasks();
    submit = wanted.submit;
    submit.set_sequence(wanted.sent_as);
  }
}

void TaskBoard::OnProceduresChanged(const std::set<uint64_t>& procedures) {
  bool news = false;
  for (auto& [id, node] : nodes_) {
    for (auto it = node.wanted.begin(); it != node.wanted.end();) {
      const bool over = procedures.contains(it->first.procedure) && !IsWanted(id, it->first);
      it = over ? node.wanted.erase(it) : std::next(it);
    }
    for (const auto& [key, known] : node.known) {
      if (!procedures.contains(key.procedure) || IsWanted(id, key)) continue;
      news = node.to_forget.insert(key).second || news;
    }
  }
  if (news) News();
}

}  // namespace tenure::controller
