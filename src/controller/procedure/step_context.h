// What the body of a step works with: the procedure's record, the catalog, what nodes report, tasks at nodes,
// calls, and waiting.
//
// Made by the engine for one run of one step's body.
// Threading:  the controller's executor.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/prng.h"
#include "controller/catalog_access.h"
#include "controller/nodes/agent_service.h"
#include "controller/procedure/procedure_type.h"
#include "controller/procedure/task_board.h"
#include "runtime/network.h"

namespace tenure::controller {

// Work for a node in the present step; one task per node.
struct NodeTask {
  NodeId node;
  Revision revision;  // that the node has to know before it begins
  ::tenure::internal::v1::TaskPayload payload;
};

struct TaskLook {
  enum class State : uint8_t {
    kRunning,  // or on its way
    kDone,
    kGone,  // the node was removed: nobody waits for it
  };
  State state = State::kRunning;
  uint32_t failures = 0;  // attempts that failed in this step
  std::string last_error;
};
using TaskLooks = std::map<NodeId, TaskLook>;

struct StepSurroundings {
  runtime::Executor& executor;
  runtime::Network& network;
  CatalogAccess& access;
  AgentService& agents;
  TaskBoard& tasks;
};

// The step begins anew with other tasks: results of those of before, which nodes may still keep, must never be
// taken for theirs. So a node's attempts go on being numbered where they were.
void RetireAttempts(::tenure::v1::ProcedureRecord& procedure);
// It was retired: nothing is to be done under this number.
bool IsRetired(const ::tenure::v1::TaskAttempt& attempt);

class StepContext {
 public:
  static constexpr Duration kLook = std::chrono::seconds(1);

  // `waits_for`: what people are told.
  StepContext(StepSurroundings& surroundings, runtime::Event& news, std::string& waits_for, Prng prng,
              ::tenure::v1::Record record, Term epoch, runtime::StopToken stop);

  // As of the last look at the catalog (News, Tend).
  const ::tenure::v1::ProcedureRecord& procedure() const { return record_.procedure(); }
  Revision revision() const { return Revision(record_.modify_revision()); }
  bool cancel_requested() const { return procedure().cancel_requested(); }
  const catalog::Catalog& catalog() const { return surroundings_.access.catalog(); }
  const AgentService& agents() const { return surroundings_.agents; }
  AgentService& agents() { return surroundings_.agents; }
  runtime::Executor& executor() { return surroundings_.executor; }
  runtime::StopToken stop() const { return stop_; }
  Term epoch() const { return epoch_; }
  Prng& prng() { return prng_; }

  // Sees to the tasks of this step: makes and commits attempts (the first, or after a failure, or for a node
  // that was started again), submits. Called at every look, always with the same tasks; the answer says how
  // they stand. An error: an attempt could not be committed.
  runtime::Task<StatusOr<TaskLooks>> Tend(std::vector<NodeTask> tasks);

  // Waits until something was heard or has changed, for at most `limit`; takes over the procedure's record as
  // it is then. False: stopped, or the procedure is not in this step any more.
  runtime::Task<bool> News(Duration limit = kLook);

  // Ends the News() that is awaited: work that the body started has ended.
  void Wake() { news_.Set(); }

  // What the step waits for, for people; not kept.
  void WaitsFor(std::string what) { waits_for_ = std::move(what); }

  // A call to a node, answered or failed within `timeout`.
  runtime::Task<StatusOr<std::string>> CallNode(NodeId node, std::string method, std::string request,
                                                Duration timeout);

 private:
  // Whether another attempt is to be made for a node now.
  bool NeedsAttempt(const NodeTask& task, const ::tenure::v1::TaskAttempt* attempt) const;
  runtime::Task<Status> Commit(std::vector<::tenure::v1::TaskAttempt> attempts);
  bool Refresh();

  StepSurroundings& surroundings_;
  runtime::Event& news_;
  std::string& waits_for_;
  Prng prng_;
  ::tenure::v1::Record record_;
  const Term epoch_;
  const runtime::StopToken stop_;
};

}  // namespace tenure::controller
