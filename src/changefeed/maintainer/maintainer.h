// One changefeed's maintainer in one owner epoch: which dispatcher runs where, and how far the whole is.
//
//   span:  WAITING --create--> CREATING --reported--> RUNNING --leader moved, ended--> REMOVING --gone-->
//   WAITING
//             ^ predecessor, leader or node missing                                              or, ended:
//             done
//
// Driven by the agent of the node it runs on, with catalog views, answers and reports; what is to be sent is
// taken with TakeMessages. Nothing is persistent: the next epoch's maintainer begins with the recorded
// checkpoint and the nodes' answers to its bootstrap.
// Threading:  one owner.
// Lifetime:   of one epoch; ends with ended().
// Invariants: M1 a span is created somewhere only after it is confirmed gone where it was.
//             M2 the checkpoint is at most the flushed position of every span, at most what precedes every
//             schema change that is not delivered, at most the time up to which the schema is known; it never
//             falls.
//             M3 a successor of a split or merge is created only after its predecessors have delivered
//             everything.
//             M4 only answers of this epoch, from processes that it has booted, are heeded.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "changefeed/maintainer/checkpoint_tracker.h"
#include "changefeed/maintainer/span.h"
#include "changefeed/protocol/acceptance.h"

namespace tenure::changefeed {

class Maintainer {
 public:
  Maintainer(OwnerEpoch epoch, CommitTs checkpoint);

  // --- what the catalog says; each replaces what was said before ---
  // Processes that may host dispatchers. One that is missing, or has another incarnation, is gone.
  void SetNodes(const std::vector<Process>& nodes);
  void SetRegions(const std::vector<RegionView>& regions);
  void SetFollowed(const std::vector<Followed>& followed);
  // Every schema change up to `known` was given to AddSchemaChange or SetFollowed.
  void SetSchemaKnown(CommitTs known);
  // In commit order; of tables that are followed.
  void AddSchemaChange(SchemaChange change);

  // --- answers ---
  void OnBootstrapped(const Process& from, OwnerEpoch epoch, Acceptance acceptance);
  // `sequence`: the highest `from` has taken; `runs`: a dispatcher of the span, there and then.
  void OnScheduled(const Process& from, OwnerEpoch epoch, Acceptance acceptance, SpanId span,
                   ScheduleSequence sequence, bool runs, CommitTs flushed);
  void OnProgress(const Process& from, OwnerEpoch epoch, const std::vector<DispatcherReport>& reports,
                  Instant now);

  std::vector<Outgoing> TakeMessages();
  // Everything that waits for an answer, once more: for a timer. Repeating does no harm.
  std::vector<Outgoing> Unanswered() const;

  CommitTs checkpoint() const { return checkpoint_; }
  // A receiver has said that this epoch is over: stop, and never run in it again.
  bool ended() const { return ended_; }
  size_t spans() const { return by_key_.size(); }
  size_t running() const { return running_; }
  // Where the span's dispatcher is (no id: nowhere); nothing: there is no such span any more.
  std::optional<NodeId> NodeOf(SpanId span) const;

  struct Explanation {
    CommitTs position;
    std::string text;  // what holds the checkpoint back: object, node, reason
    NodeId node;
    std::optional<FeedError> error;
  };
  Explanation Explain(Instant now) const;
  // For `show`: one line for each span.
  struct SpanStatus {
    SpanId span;
    std::string name;
    Generation generation;
    NodeId node;
    CommitTs flushed;
    std::string state;
    std::optional<FeedError> error;
  };
  std::vector<SpanStatus> Show() const;

 private:
  using Key = SpanKey;
  enum class State : uint8_t { kWaiting, kCreating, kRunning, kRemoving };
  struct Span {
    Key key;
    State state = State::kWaiting;
    bool ended = false;  // everything up to its end is delivered
    Process process;     // where it is, in all states but kWaiting
    ScheduleSequence sequence;
    CheckpointTracker::Slot slot = 0;
    CommitTs start;
    std::optional<CommitTs> end;  // as the views said last
    bool placeholder = false;
    CommitTs at_barrier;
    Instant heard;
    std::optional<FeedError> error;
  };
  struct Barrier {
    SchemaChange change;
    bool writing = false;
    SpanId writer;
  };

  bool Heeds(const Process& from, OwnerEpoch epoch) const;
  void Replan();
  void AddSpan(const Key& key, CommitTs start, bool placeholder);
  void Erase(std::map<SpanId, Span>::iterator span);
  void EraseIfDone(SpanId id);
  void EraseDone();
  void AdvanceWaiting();
  void Advance(SpanId id, Span& span);
  // What keeps a waiting span from being created.
  enum class Obstacle : uint8_t { kNone, kNoRegion, kPredecessors, kNoLeader, kNodeMissing, kNotBooted };
  Obstacle ObstacleOf(const Span& span) const;
  std::string WhyNotCreated(const Span& span) const;
  std::optional<CommitTs> EndOf(const Key& key) const;
  CommitTs StartOf(const Key& key) const;
  bool PredecessorsDone(const Key& key) const;
  void Gone(SpanId id, Span& span, CommitTs flushed);
  void Place(Span& span, SpanId id, CommitTs flushed);
  void Send(Outgoing message) { messages_.push_back(std::move(message)); }
  void Schedule(Outgoing::Kind kind, SpanId id, Span& span);
  Outgoing ScheduleMessage(Outgoing::Kind kind, SpanId id, const Span& span) const;
  // The front of the schema changes that are not delivered.
  void AdvanceBarrier();
  std::map<NodeId, std::vector<SpanId>> SpansOfTable(uint64_t table) const;
  void SendBarrier(Outgoing::Kind kind, const Barrier& barrier);
  void UpdateCheckpoint();
  std::string NameOfSpan(const Span& span) const;

  const OwnerEpoch epoch_;
  CommitTs checkpoint_;
  bool ended_ = false;
  bool regions_known_ = false;
  bool followed_known_ = false;
  ScheduleSequence last_sequence_;
  SpanId last_span_;

  struct NodeState {
    Process process;
    bool booted = false;
  };
  std::map<NodeId, NodeState> nodes_;
  std::map<Generation, RegionView> regions_;
  std::map<std::pair<uint64_t, std::string>, Followed> followed_;
  std::map<SpanId, Span> spans_;
  std::map<Key, SpanId> by_key_;
  std::set<SpanId> waiting_;
  std::deque<Barrier> barriers_;
  CommitTs passed_;  // the last schema change that was delivered
  CheckpointTracker tracker_;
  CheckpointTracker::Slot schema_slot_ = 0;
  CheckpointTracker::Slot barrier_slot_ = 0;
  bool has_barrier_slot_ = false;
  size_t running_ = 0;
  std::vector<Outgoing> messages_;
};

}  // namespace tenure::changefeed
