#include "changefeed/maintainer/maintainer.h"

#include <algorithm>

#include "base/check.h"

namespace tenure::changefeed {

using Kind = Outgoing::Kind;

namespace {

// Tags of the tracker that are no spans.
constexpr uint64_t kSchemaTag = ~uint64_t{0};
constexpr uint64_t kBarrierTag = ~uint64_t{0} - 1;

}  // namespace

Maintainer::Maintainer(OwnerEpoch epoch, CommitTs checkpoint) : epoch_(epoch), checkpoint_(checkpoint) {
  schema_slot_ = tracker_.Add(checkpoint, kSchemaTag);
}

// ---- the catalog ----

void Maintainer::SetNodes(const std::vector<Process>& nodes) {
  std::map<NodeId, NodeState> next;
  for (const Process& process : nodes) {
    const auto known = nodes_.find(process.node);
    const bool same = known != nodes_.end() && known->second.process == process;
    next[process.node] = same ? known->second : NodeState{.process = process};
    if (!same) Send({.kind = Kind::kBootstrap, .to = process});
  }
  nodes_ = std::move(next);
  // What ran in a process that is gone is gone with it; what it flushed and did not report is delivered
  // again.
  std::vector<SpanId> lost;
  for (const auto& [id, span] : spans_) {
    if (span.state == State::kWaiting) continue;
    const auto node = nodes_.find(span.process.node);
    if (node == nodes_.end() || node->second.process != span.process) lost.push_back(id);
  }
  for (const SpanId id : lost) {
    const auto it = spans_.find(id);
    if (it != spans_.end()) Gone(id, it->second, CommitTs());
  }
  AdvanceBarrier();
}

void Maintainer::SetRegions(const std::vector<RegionView>& regions) {
  regions_.clear();
  for (const RegionView& region : regions) regions_[region.generation] = region;
  regions_known_ = true;
  Replan();
}

void Maintainer::SetFollowed(const std::vector<Followed>& followed) {
  followed_.clear();
  for (const Followed& item : followed) followed_[{item.table, item.prefix}] = item;
  followed_known_ = true;
  Replan();
}

void Maintainer::SetSchemaKnown(CommitTs known) {
  if (known <= tracker_.position(schema_slot_)) return;
  tracker_.Set(schema_slot_, known);
  UpdateCheckpoint();
}

CommitTs Maintainer::StartOf(const Key& key) const {
  const RegionView& region = regions_.at(key.generation);
  return std::max({checkpoint_, region.begin, followed_.at({key.table, key.prefix}).since});
}

std::optional<CommitTs> Maintainer::EndOf(const Key& key) const {
  std::optional<CommitTs> end;
  if (const auto region = regions_.find(key.generation); region != regions_.end()) end = region->second.end;
  const auto item = followed_.find({key.table, key.prefix});
  if (item != followed_.end() && item->second.until)
    end = std::min(end.value_or(*item->second.until), *item->second.until);
  return end;
}

void Maintainer::Replan() {
  for (const auto& [name, item] : followed_) {
    for (const auto& [generation, region] : regions_) {
      const Key key{item.table, item.prefix, generation};
      if (by_key_.contains(key)) continue;
      const CommitTs start = StartOf(key);
      const auto end = EndOf(key);
      if (!end || start < *end) AddSpan(key, start, item.placeholder);
    }
  }
  std::vector<SpanId> ids;
  for (auto& [id, span] : spans_) {
    // What has left the views keeps the end it had: without one it stays, and holds the checkpoint.
    if (const auto end = EndOf(span.key)) span.end = end;
#ifndef TENURE_MUTANT_feed_placeholder_stays
    if (span.placeholder && !followed_.contains({span.key.table, span.key.prefix})) span.end = span.start;
#endif
    ids.push_back(id);
  }
  for (const SpanId id : ids) {
    const auto it = spans_.find(id);
    if (it == spans_.end()) continue;
    EraseIfDone(id);
    if (const auto still = spans_.find(id); still != spans_.end()) Advance(id, still->second);
  }
  AdvanceWaiting();
  AdvanceBarrier();
  UpdateCheckpoint();
}

void Maintainer::AddSpan(const Key& key, CommitTs start, bool placeholder) {
  TENURE_CHECK(start >= checkpoint_, "M2: a span begins at {}, the checkpoint is {}", start, checkpoint_);
  last_span_ = last_span_.Next();
  Span span{.key = key, .start = start, .placeholder = placeholder};
  span.slot = tracker_.Add(start, last_span_.value());
  spans_.emplace(last_span_, std::move(span));
  by_key_.emplace(key, last_span_);
  waiting_.insert(last_span_);
}

// ---- spans ----

bool Maintainer::PredecessorsDone(const Key& key) const {
#ifdef TENURE_MUTANT_feed_successor_at_once
  return true;
#endif
  const RegionView& region = regions_.at(key.generation);
  return std::none_of(
      region.predecessors.begin(), region.predecessors.end(),
      [&](const Generation& generation) { return by_key_.contains(Key{key.table, key.prefix, generation}); });
}

Maintainer::Obstacle Maintainer::ObstacleOf(const Span& span) const {
  const auto region = regions_.find(span.key.generation);
  if (region == regions_.end()) return Obstacle::kNoRegion;
  if (!PredecessorsDone(span.key)) return Obstacle::kPredecessors;
  const Process& leader = region->second.leader;
  if (leader.node.IsNone()) return Obstacle::kNoLeader;
  const auto node = nodes_.find(leader.node);
  if (node == nodes_.end() || node->second.process != leader) return Obstacle::kNodeMissing;
  return node->second.booted ? Obstacle::kNone : Obstacle::kNotBooted;
}

std::string Maintainer::WhyNotCreated(const Span& span) const {
  const auto region = regions_.find(span.key.generation);
  switch (ObstacleOf(span)) {
    case Obstacle::kNone:
      return "it is about to be created";
    case Obstacle::kNoRegion:
      return "its region is in no view";
    case Obstacle::kPredecessors:
      return "waits for the region's predecessors to deliver what was committed before";
    case Obstacle::kNoLeader:
      return fmt::format("region {} has no leader", span.key.generation.region);
    case Obstacle::kNodeMissing:
      return fmt::format("{} is not there", region->second.leader);
    case Obstacle::kNotBooted:
      return fmt::format("{} has not answered the bootstrap", region->second.leader);
  }
  return "";
}

Outgoing Maintainer::ScheduleMessage(Kind kind, SpanId id, const Span& span) const {
  return {.kind = kind,
          .to = span.process,
          .span = id,
          .sequence = span.sequence,
          .key = span.key,
          .start = tracker_.position(span.slot),
          .end = span.end};
}

void Maintainer::Schedule(Kind kind, SpanId id, Span& span) {
  last_sequence_ = last_sequence_.Next();
  span.sequence = last_sequence_;
  Send(ScheduleMessage(kind, id, span));
}

void Maintainer::Advance(SpanId id, Span& span) {
  switch (span.state) {
    case State::kWaiting:
      if (span.ended || ObstacleOf(span) != Obstacle::kNone) return;
      span.process = regions_.at(span.key.generation).leader;
      span.state = State::kCreating;
      span.at_barrier = CommitTs();
      waiting_.erase(id);
      Schedule(Kind::kCreate, id, span);
      // One that begins in the middle of a schema change stops there like the others.
      if (!barriers_.empty() && barriers_.front().change.table == span.key.table) {
        Send(
            {.kind = Kind::kHold, .to = span.process, .spans = {id}, .barrier = barriers_.front().change.at});
      }
      return;
    case State::kCreating:
    case State::kRunning: {
      const auto region = regions_.find(span.key.generation);
      const bool moved = region != regions_.end() && !region->second.leader.node.IsNone() &&
                         region->second.leader != span.process;
      if (!moved && !span.ended) return;
      if (span.state == State::kRunning) --running_;
      span.state = State::kRemoving;
      Schedule(Kind::kRemove, id, span);
#ifdef TENURE_MUTANT_feed_move_unconfirmed
      Gone(id, span, CommitTs());
#endif
      return;
    }
    case State::kRemoving:
      return;
  }
}

void Maintainer::AdvanceWaiting() {
  const std::vector<SpanId> ids(waiting_.begin(), waiting_.end());
  for (const SpanId id : ids) {
    const auto it = spans_.find(id);
    if (it != spans_.end()) Advance(id, it->second);
  }
}

void Maintainer::Place(Span& span, SpanId id, CommitTs flushed) {
  if (flushed > tracker_.position(span.slot)) tracker_.Set(span.slot, flushed);
  EraseIfDone(id);
}

// M1: the place is free; the span goes on from what was flushed, elsewhere or here.
void Maintainer::Gone(SpanId id, Span& span, CommitTs flushed) {
  if (span.state == State::kRunning) --running_;
  span.state = State::kWaiting;
  span.process = Process();
  span.at_barrier = CommitTs();
  waiting_.insert(id);
  for (Barrier& barrier : barriers_) {
    if (barrier.writer == id) barrier.writing = false;
  }
  Place(span, id, flushed);
  AdvanceWaiting();
}

void Maintainer::Erase(std::map<SpanId, Span>::iterator it) {
  if (it->second.state == State::kRunning) --running_;
  tracker_.Remove(it->second.slot);
  waiting_.erase(it->first);
  by_key_.erase(it->second.key);
  spans_.erase(it);
}

void Maintainer::EraseIfDone(SpanId id) {
  const auto it = spans_.find(id);
  if (it == spans_.end()) return;
  Span& span = it->second;
  if (!span.end || tracker_.position(span.slot) < *span.end) return;
  // A dropped table's last schema change is delivered by its dispatchers.
  for (const Barrier& barrier : barriers_) {
    if (barrier.change.table == span.key.table && barrier.change.at <= *span.end) return;
  }
  span.ended = true;
  if (span.state == State::kWaiting) {
    Erase(it);
    AdvanceWaiting();
  } else {
    Advance(id, span);
  }
}

// ---- answers ----

bool Maintainer::Heeds(const Process& from, OwnerEpoch epoch) const {
#ifdef TENURE_MUTANT_feed_report_of_any_epoch
  if (epoch.IsNone()) return false;
#else
  if (epoch != epoch_) return false;
#endif
  const auto node = nodes_.find(from.node);
  return node != nodes_.end() && node->second.process == from && node->second.booted;
}

void Maintainer::OnBootstrapped(const Process& from, OwnerEpoch epoch, Acceptance acceptance) {
  const auto node = nodes_.find(from.node);
  if (epoch != epoch_ || node == nodes_.end() || node->second.process != from) return;
  if (IsFinal(acceptance)) ended_ = true;
  if (!IsAccepted(acceptance) || node->second.booted) return;
  node->second.booted = true;
  Outgoing plan{.kind = Kind::kPostBootstrap, .to = from, .sequence = last_sequence_};
  for (const auto& [id, span] : spans_) {
    if (span.process == from && span.state != State::kRemoving) plan.spans.push_back(id);
  }
  Send(std::move(plan));
  AdvanceWaiting();
}

void Maintainer::OnScheduled(const Process& from, OwnerEpoch epoch, Acceptance acceptance, SpanId id,
                             ScheduleSequence sequence, bool runs, CommitTs flushed) {
  if (!Heeds(from, epoch)) return;
  // Of refusals only those end the maintainer that speak of its epoch; the rest is between spans.
  if (acceptance == Acceptance::kStaleEpoch || acceptance == Acceptance::kOtherOwner ||
      acceptance == Acceptance::kClosed || acceptance == Acceptance::kWithoutEpoch) {
    ended_ = true;
    return;
  }
  const auto it = spans_.find(id);
  if (it == spans_.end() || it->second.process != from) return;
  Span& span = it->second;
  // Said before what was sent last arrived.
  if (sequence < span.sequence) return;
  if (!runs && span.state != State::kWaiting) {
    Gone(id, span, flushed);
  } else if (runs && span.state == State::kCreating) {
    span.state = State::kRunning;
    ++running_;
  } else if (runs && span.state == State::kRemoving) {
    // A later message overtook the remove, which will be refused: once more, under a new number.
    Schedule(Kind::kRemove, id, span);
  }
  AdvanceBarrier();
  UpdateCheckpoint();
}

void Maintainer::OnProgress(const Process& from, OwnerEpoch epoch,
                            const std::vector<DispatcherReport>& reports, Instant now) {
  if (!Heeds(from, epoch)) return;
  bool at_barrier = false;
  bool delivered = false;
  for (const DispatcherReport& report : reports) {
    const auto it = spans_.find(report.span);
    if (it == spans_.end() || it->second.process != from) continue;
    Span& span = it->second;
    span.heard = now;
    span.error = report.error;
    if (span.state == State::kCreating) {
      span.state = State::kRunning;
      ++running_;
    }
    // It goes back to an earlier one when it is told of that.
    if (!report.at_barrier.IsNone()) span.at_barrier = report.at_barrier;
    at_barrier = at_barrier || !report.at_barrier.IsNone();
    // It has not heard that this one is delivered.
    if (!report.at_barrier.IsNone() && report.at_barrier <= std::max(passed_, checkpoint_)) {
      Send({.kind = Kind::kPass, .to = from, .spans = {report.span}, .barrier = report.at_barrier});
    }
    if (!barriers_.empty() && barriers_.front().writing && barriers_.front().writer == report.span &&
        report.wrote_barrier == barriers_.front().change.at) {
      const Barrier done = std::move(barriers_.front());
      barriers_.pop_front();
      passed_ = done.change.at;
      SendBarrier(Kind::kPass, done);
      at_barrier = true;
      delivered = true;
    }
    // What is said of an earlier dispatcher of the span does not end this one.
    if (report.ended && report.sequence == span.sequence) {
      Gone(report.span, span, report.flushed);
      continue;
    }
    Place(span, report.span, report.flushed);
  }
  if (delivered) EraseDone();
  if (at_barrier) AdvanceBarrier();
  UpdateCheckpoint();
}

// Spans that were kept for the last schema change of a dropped table.
void Maintainer::EraseDone() {
  std::vector<SpanId> ids;
  for (const auto& [id, span] : spans_) {
    if (span.end) ids.push_back(id);
  }
  for (const SpanId id : ids) EraseIfDone(id);
}

// ---- schema changes ----

void Maintainer::AddSchemaChange(SchemaChange change) {
  TENURE_CHECK(barriers_.empty() || barriers_.back().change.at < change.at,
               "schema changes are given in commit order: {} after {}", change.at,
               barriers_.back().change.at);
  if (change.at <= checkpoint_) return;  // delivered under an earlier epoch
  barriers_.push_back({.change = std::move(change)});
  if (barriers_.size() == 1) SendBarrier(Kind::kHold, barriers_.front());
  AdvanceBarrier();
  UpdateCheckpoint();
}

std::map<NodeId, std::vector<SpanId>> Maintainer::SpansOfTable(uint64_t table) const {
  std::map<NodeId, std::vector<SpanId>> spans;
  for (const auto& [id, span] : spans_) {
    if (span.key.table == table && span.state != State::kWaiting) spans[span.process.node].push_back(id);
  }
  return spans;
}

void Maintainer::SendBarrier(Kind kind, const Barrier& barrier) {
  for (auto& [node, spans] : SpansOfTable(barrier.change.table)) {
    Send({.kind = kind,
          .to = nodes_.at(node).process,
          .spans = std::move(spans),
          .barrier = barrier.change.at});
  }
}

void Maintainer::AdvanceBarrier() {
  const bool held = !barriers_.empty();
  if (held != has_barrier_slot_) {
    if (held) {
      barrier_slot_ = tracker_.Add(barriers_.front().change.at.Previous(), kBarrierTag);
    } else {
      tracker_.Remove(barrier_slot_);
    }
    has_barrier_slot_ = held;
  }
  if (!held) return;
  Barrier& front = barriers_.front();
  if (tracker_.position(barrier_slot_) != front.change.at.Previous()) {
    // The next one's turn.
    tracker_.Set(barrier_slot_, front.change.at.Previous());
    SendBarrier(Kind::kHold, front);
  }
  if (front.writing) return;
  SpanId writer;
  for (const auto& [id, span] : spans_) {
    if (span.key.table != front.change.table) continue;
    // A successor that has to wait for its predecessors: they stand at it for what lies before, or are
    // before it themselves.
    const bool behind = span.state == State::kWaiting && regions_.contains(span.key.generation) &&
                        !PredecessorsDone(span.key);
    if (behind) continue;
#ifndef TENURE_MUTANT_feed_barrier_by_one
    if (span.at_barrier != front.change.at || span.state != State::kRunning) return;
#else
    if (span.at_barrier != front.change.at) continue;
#endif
    if (writer.IsNone()) writer = id;
  }
  if (writer.IsNone()) return;
  front.writing = true;
  front.writer = writer;
  Send({.kind = Kind::kWrite, .to = spans_.at(writer).process, .span = writer, .barrier = front.change.at});
}

// ---- results ----

void Maintainer::UpdateCheckpoint() {
  // Before it is known what there is to deliver, nothing is delivered.
  if (!regions_known_ || !followed_known_) return;
  const auto least = tracker_.Least();
  if (least && least->position > checkpoint_) checkpoint_ = least->position;
}

std::optional<NodeId> Maintainer::NodeOf(SpanId id) const {
  const auto span = spans_.find(id);
  if (span == spans_.end()) return std::nullopt;
  return span->second.process.node;
}

std::vector<Outgoing> Maintainer::TakeMessages() {
  return std::exchange(messages_, {});
}

std::vector<Outgoing> Maintainer::Unanswered() const {
  std::vector<Outgoing> all;
  for (const auto& [id, node] : nodes_) {
    if (!node.booted) all.push_back({.kind = Kind::kBootstrap, .to = node.process});
  }
  for (const auto& [id, span] : spans_) {
    if (span.state == State::kCreating) all.push_back(ScheduleMessage(Kind::kCreate, id, span));
    if (span.state == State::kRemoving) all.push_back(ScheduleMessage(Kind::kRemove, id, span));
  }
  if (barriers_.empty()) return all;
  const Barrier& front = barriers_.front();
  for (const auto& [id, span] : spans_) {
    if (span.key.table != front.change.table || span.state != State::kRunning) continue;
    if (span.at_barrier != front.change.at) {
      all.push_back({.kind = Kind::kHold, .to = span.process, .spans = {id}, .barrier = front.change.at});
    } else if (front.writing && front.writer == id) {
      all.push_back({.kind = Kind::kWrite, .to = span.process, .span = id, .barrier = front.change.at});
    }
  }
  return all;
}

std::string Maintainer::NameOfSpan(const Span& span) const {
  const auto item = followed_.find({span.key.table, span.key.prefix});
  const std::string name =
      item != followed_.end() ? item->second.name : fmt::format("table {}", span.key.table);
  return fmt::format("{} in region {}", name, span.key.generation.region);
}

Maintainer::Explanation Maintainer::Explain(Instant now) const {
  const auto least = tracker_.Least();
  Explanation why{.position = least ? least->position : checkpoint_};
  if (!least || least->tag == kSchemaTag) {
    why.text = "the schema is known up to there; later changes of it may still come";
    return why;
  }
  if (least->tag == kBarrierTag) {
    const Barrier& front = barriers_.front();
    why.text = fmt::format("the schema change \"{}\" is not delivered yet", front.change.statement);
    if (front.writing) {
      why.text += fmt::format("; {} is delivering it", NameOfSpan(spans_.at(front.writer)));
      why.node = spans_.at(front.writer).process.node;
      return why;
    }
    for (const auto& [id, span] : spans_) {
      if (span.key.table != front.change.table || span.at_barrier == front.change.at) continue;
      why.text += fmt::format("; {} has not arrived at it", NameOfSpan(span));
      why.node = span.process.node;
      why.error = span.error;
      break;
    }
    return why;
  }
  const Span& span = spans_.at(SpanId(least->tag));
  why.node = span.process.node;
  why.error = span.error;
  const std::string name = NameOfSpan(span);
  switch (span.state) {
    case State::kWaiting:
      why.text = fmt::format("{} has no dispatcher: {}", name, WhyNotCreated(span));
      break;
    case State::kCreating:
      why.text = fmt::format("{} is being started on {}", name, span.process);
      break;
    case State::kRemoving:
      why.text = fmt::format("{} moves away from {}, which has not confirmed it", name, span.process);
      break;
    case State::kRunning:
      why.text =
          fmt::format("{} on {}, heard of {} ms ago{}{}", name, span.process, ToMillis(now - span.heard),
                      span.error ? ": " : "", span.error ? span.error->message : "");
      break;
  }
  return why;
}

std::vector<Maintainer::SpanStatus> Maintainer::Show() const {
  constexpr std::string_view kStates[] = {"waiting", "starting", "running", "stopping"};
  std::vector<SpanStatus> all;
  for (const auto& [id, span] : spans_) {
    const auto item = followed_.find({span.key.table, span.key.prefix});
    all.push_back({.span = id,
                   .name = item != followed_.end() ? item->second.name : "",
                   .generation = span.key.generation,
                   .node = span.process.node,
                   .flushed = tracker_.position(span.slot),
                   .state = std::string(kStates[static_cast<size_t>(span.state)]),
                   .error = span.error});
  }
  return all;
}

}  // namespace tenure::changefeed
