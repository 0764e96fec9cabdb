// Runs the maintainer of one changefeed in one owner epoch: gives it the node's view of the catalog, carries
// its messages and their answers, and tells the coordinator how far it is.
//
// Driven by ChangefeedAgent: made when an add was accepted, destroyed when the gate says that it ends.
// Threading:  the node's executor.
// Errors:     messages without an answer are sent again. ended(): this epoch is over, by an answer.
// Invariants: H1 a process counts as gone when the catalog has another run of its node, when the node is
//             removed, or when the coordinator says so in an answer to a report that was sent after the last
//             create for it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/log.h"
#include "changefeed/agent/messenger.h"
#include "changefeed/format/filter.h"
#include "changefeed/maintainer/maintainer.h"
#include "node/node_facts.h"
#include "runtime/executor.h"

namespace tenure::changefeed {

class MaintainerHost {
 public:
  struct Options {
    Duration report_every = std::chrono::milliseconds(500);
    Duration resend_every = std::chrono::seconds(1);
    // An error that may heal is passed on when it has lasted for so long: dispatchers try again by
    // themselves.
    Duration error_after = std::chrono::seconds(3);
  };

  // `record`: the changefeed's; its filter has been parsed before.
  MaintainerHost(runtime::Executor& executor, Messenger& messenger, const node::NodeFacts& node,
                 const ::tenure::v1::ChangefeedRecord& record, Filter filter, OwnerEpoch epoch,
                 CommitTs checkpoint, Options options, Logger logger);
  ~MaintainerHost();

  void OnView();
  void OnTick();
  void OnProgress(const Process& from, const ipb::DispatchersProgress& progress);
  OwnerEpoch epoch() const { return epoch_; }
  CommitTs checkpoint() const { return Clip(maintainer_.checkpoint()); }
  bool ended() const { return ended_ || maintainer_.ended(); }
  void Describe(ipb::MaintainerInspected& inspected) const;

 private:
  void Flush();
  void Send(const Outgoing& outgoing);
  void SendSchedule(const Outgoing& outgoing);
  void SendBarrier(const Outgoing& outgoing);
  void Deliver(const Process& to, ipb::ChangefeedMessage message);
  void OnAnswer(const Process& to, const ipb::ChangefeedMessage& answer);
  void Report();
  void OnReported(const ipb::ChangefeedAnswer& answer, const std::map<Process, uint64_t>& creates);
  // What was said of dispatchers that are not there any more.
  void ForgetMoved();
  CommitTs Clip(CommitTs ts) const;
  std::vector<Process> Processes() const;

  runtime::Executor& executor_;
  Messenger& messenger_;
  const node::NodeFacts& node_;
  const ChangefeedId id_;
  const DatabaseId database_;
  const OwnerEpoch epoch_;
  const CommitTs target_;  // none: for ever
  const Filter filter_;
  const Options options_;
  Logger logger_;
  Maintainer maintainer_;
  bool ended_ = false;
  std::map<CommitTs, SchemaChange> changes_;  // given to the maintainer, for barriers
  std::set<Process> gone_;                    // as the coordinator said last
  std::map<Process, uint64_t> creates_;       // sent to it
  struct Flow {
    NodeId node;  // that said so
    uint64_t rows_per_second = 0;
    uint64_t rows_behind = 0;
    uint64_t snapshot_rows = 0;
  };
  std::map<SpanId, Flow> flows_;
  uint64_t snapshot_rows_ = 0;  // delivered in this epoch, also by dispatchers that are gone
  struct Fault {
    FeedError error;
    Instant since;
  };
  std::map<std::pair<NodeId, SpanId>, Fault> faults_;
  bool reporting_ = false;
  Instant next_report_;
  Instant next_resend_;
  std::shared_ptr<MaintainerHost*> self_;  // null inside once this is gone
};

}  // namespace tenure::changefeed
