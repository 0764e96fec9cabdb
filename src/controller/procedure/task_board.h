// What the leader knows of the tasks at the nodes, and what it still has to tell them.
//
// The procedures say what they want done where (Want); the nodes report what they know; the difference leaves
// with the next heartbeat answer: a submission for a task that the node does not know, the order to forget
// one that nobody wants. Which tasks are wanted is decided by the catalog's records alone: a task is of a
// procedure in a step with an attempt, committed before (TaskAttempt); everything else is to be forgotten. So
// an acknowledgement follows the commit by itself.
//
// Driven by AgentService (reports, connections, answers) and by steps of procedures.
// Threading:  the controller's executor.
// Invariants: B1 a submission has a sequence number that no earlier one of this leadership has.
//             B2 a task "does not exist" only by a report of the registration that it was meant for, which
//             has taken its submission or a later one.
// Reference:  docs/procedures.md, "Tasks".
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "catalog/catalog.h"
#include "tenure/internal/v1/agent.pb.h"

namespace tenure::controller {

struct TaskKey {
  uint64_t procedure = 0;
  std::string step;
  uint32_t attempt = 0;
  auto operator<=>(const TaskKey&) const = default;
};

class TaskBoard {
 public:
  explicit TaskBoard(const catalog::Catalog& catalog) : catalog_(catalog) {}

  // ---- for steps ----

  // The attempt is committed; its task should be done. Repeating it with the same key changes nothing.
  void Want(NodeId node, const TaskKey& key, uint64_t registration_epoch, Revision revision,
            const ::tenure::internal::v1::TaskPayload& payload);
  // What the node said last of the task; nullopt: nothing yet in this leadership. TASK_NOT_EXIST while its
  // submission is on its way or has to be repeated.
  std::optional<::tenure::internal::v1::TaskReport> Find(NodeId node, const TaskKey& key) const;
  // Tasks that are wanted and have no result yet.
  size_t under_way() const;
  // When a FAIL became known here.
  std::optional<Instant> FailedAt(NodeId node, const TaskKey& key) const;

  // ---- for AgentService ----

  void Begin(Term epoch);
  void Clear();
  void OnConnected(NodeId node, uint64_t registration_epoch);
  void OnDisconnected(NodeId node);
  // `full`: every task the node has.
  void OnReport(NodeId node, const ::tenure::internal::v1::HeartbeatRequest& report, Instant now);
  bool HasNews(NodeId node) const;
  // What the node has to be told; afterwards it counts as told.
  void FillAnswer(NodeId node, ::tenure::internal::v1::HeartbeatResponse& answer);
  // Procedures have changed: tasks that are not wanted any more are to be forgotten.
  void OnProceduresChanged(const std::set<uint64_t>& procedures);
  // Something is to be told to `node`.
  void SetOnNews(std::function<void()> on_news) { on_news_ = std::move(on_news); }

 private:
  struct Known {
    ::tenure::internal::v1::TaskReport report;
    Instant failed_at{};
  };
  struct Wanted {
    ::tenure::internal::v1::TaskSubmit submit;
    uint64_t sent_as = 0;  // sequence; 0: has to be sent
  };
  struct Node {
    bool connected = false;
    bool heard = false;  // a full report on this connection
    uint64_t registration_epoch = 0;
    uint64_t task_epoch = 0;
    uint64_t task_sequence = 0;
    std::map<TaskKey, Known> known;
    std::map<TaskKey, Wanted> wanted;
    std::set<TaskKey> to_forget;
  };

  bool IsWanted(NodeId node, const TaskKey& key) const;
  // Submissions that the node has passed over without taking the task are to be sent again.
  void FindLost(Node& node);
  void News() const;

  const catalog::Catalog& catalog_;
  std::function<void()> on_news_;
  Term epoch_;
  uint64_t next_sequence_ = 1;
  std::map<NodeId, Node> nodes_;
};

}  // namespace tenure::controller
