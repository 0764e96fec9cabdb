#include "changefeed/agent/changefeed_agent.h"

#include <algorithm>
#include <utility>

#include "changefeed/agent/history_floors.h"

namespace tenure::changefeed {

namespace pb = ::tenure::v1;

ChangefeedAgent::ChangefeedAgent(Dependencies dependencies, Options options)
    : executor_(dependencies.executor),
      network_(dependencies.network),
      node_(dependencies.node),
      check_sink_(std::move(dependencies.check_sink)),
      follow_(std::move(dependencies.follow)),
      on_view_(std::move(dependencies.on_view)),
      options_(options),
      logger_(std::move(dependencies.logger)),
      messenger_(dependencies.network, dependencies.link, dependencies.node),
      pool_(dependencies.executor, dependencies.dispatchers, dependencies.factory),
      alive_(std::make_shared<ChangefeedAgent*>(this)) {}

ChangefeedAgent::~ChangefeedAgent() {
  *alive_ = nullptr;
}

void ChangefeedAgent::Start() {
  network_.Serve(kName, *this);
  OnNodeChanged();
  OnTick();
}

// ---- what may run ----

const pb::ChangefeedRecord* ChangefeedAgent::RecordOf(ChangefeedId id) const {
  const auto& records = node_.catalog().changefeeds();
  const auto found = records.find(id.value());
  return found == records.end() ? nullptr : &found->second;
}

ChangefeedAgent::Feed& ChangefeedAgent::FeedOf(ChangefeedId id) {
  const auto [found, made] = feeds_.try_emplace(id, self_);
  Feed& feed = found->second;
  if (!made) return feed;
  if (!fenced_) feed.gate.OnUnfenced();
  return feed;
}

void ChangefeedAgent::EndMaintainer(Feed& feed) {
  if (!feed.maintainer) return;
  feed.final_epoch = feed.maintainer->epoch();
  feed.final_checkpoint = feed.maintainer->checkpoint();
  feed.maintainer.reset();
}

void ChangefeedAgent::Enact(ChangefeedId id, Feed& feed, const OwnerGate::Outcome& outcome,
                            Callback<DispatcherPool::States> done) {
  if (outcome.stop_maintainer) EndMaintainer(feed);
  std::vector<DispatcherPool::Key> keys;
  for (const SpanId span : outcome.stop) keys.emplace_back(id, span);
  if (!keys.empty()) return pool_.Stop(keys, std::move(done));
  if (done) done(DispatcherPool::States());
}

void ChangefeedAgent::FenceAll() {
  fenced_ = true;
  pool_.SetLease(Instant());
  for (auto& [id, feed] : feeds_) {
    const auto ran = feed.gate.dispatchers();
    const OwnerGate::Outcome outcome = feed.gate.OnFenced();
    Enact(id, feed, outcome,
          [this, of = id, ran](const DispatcherPool::States& states) { NoteLost(of, ran, states); });
  }
}

// Only once they have stopped: their maintainer may have them made elsewhere as soon as it hears of it.
void ChangefeedAgent::NoteLost(ChangefeedId id, const std::map<SpanId, OwnerGate::Dispatcher>& ran,
                               const DispatcherPool::States& states) {
  const auto found = feeds_.find(id);
  if (found == feeds_.end()) return;
  for (const auto& [span, dispatcher] : ran) {
    const auto state = states.find({id, span});
    if (state == states.end() || found->second.gate.dispatchers().contains(span)) continue;
    found->second.lost[span] = {dispatcher.epoch, dispatcher.sequence, state->second.report.flushed};
  }
}

void ChangefeedAgent::StartOver() {
  FenceAll();
  feeds_.clear();
}

void ChangefeedAgent::OnRegistering() {
  StartOver();
  self_ = Process();
}

void ChangefeedAgent::OnNodeChanged() {
  if (Self() != self_ || node_.cluster_incarnation() != incarnation_) {
    StartOver();
    self_ = Self();
    if (node_.cluster_incarnation() != incarnation_) leadership_ = LeadershipEpoch();
    incarnation_ = node_.cluster_incarnation();
  }
  const Instant owns_until = node_.owns_until();
  const bool owns = executor_.Now() < owns_until && !self_.incarnation.IsNone();
  // A lease that began anew ends what ran under the one before, although nobody saw that run out.
  if (!owns || node_.lease_recoveries() != recoveries_) FenceAll();
  recoveries_ = node_.lease_recoveries();
  TakeView();
  if (owns) {
    fenced_ = false;
    for (auto& [id, feed] : feeds_) feed.gate.OnUnfenced();
    pool_.SetLease(owns_until);
  }
  if (node_.catalog().newest() == viewed_ && node_.catalog().revision() == followed_.as_of) return;
  viewed_ = node_.catalog().newest();
  on_view_(node_.catalog());
  for (auto& [id, feed] : feeds_) {
    if (feed.maintainer) feed.maintainer->OnView();
  }
  Follow();
}

void ChangefeedAgent::TakeView() {
  if (self_.incarnation.IsNone()) return;
  const auto& records = node_.catalog().changefeeds();
  for (const auto& [number, record] : records) {
    const ChangefeedId id(number);
    Feed& feed = FeedOf(id);
    feed.owner = {NodeId(record.owner_node()), Incarnation(record.owner_incarnation())};
    const CommitTs checkpoint(record.checkpoint_ts());
    if (checkpoint > feed.told_checkpoint && !feed.gate.dispatchers().empty()) {
      pool_.CheckpointAdvanced(id, checkpoint);
      feed.told_checkpoint = checkpoint;
    }
    const OwnerEpoch epoch(record.owner_epoch());
    if (feed.gate.view() == epoch) continue;
    Enact(id, feed, feed.gate.OnView(epoch, feed.owner));
    feed.lost.clear();
  }
  // One that is gone from the catalog never comes back.
  for (auto it = feeds_.begin(); it != feeds_.end();) {
    auto& [id, feed] = *it;
    if (records.contains(id.value()) || feed.gate.view().IsNone()) {
      ++it;
      continue;
    }
    Enact(id, feed, feed.gate.OnFenced());
    it = feeds_.erase(it);
  }
}

void ChangefeedAgent::Follow() {
  followed_ = FollowedOf(node_.catalog());
  follow_(followed_);
}

// ---- time ----

void ChangefeedAgent::OnTick() {
  timer_ = executor_.After(options_.tick, [this] { OnTick(); });
  const Instant now = executor_.Now();
  if (!fenced_ && now >= node_.owns_until()) FenceAll();
  for (auto& [id, feed] : feeds_) {
    if (!feed.maintainer) continue;
    feed.maintainer->OnTick();
    if (!feed.maintainer->ended()) continue;
    EndMaintainer(feed);
    feed.gate.OnMaintainerEnded();
  }
  const bool any_lost =
      std::any_of(feeds_.begin(), feeds_.end(), [](const auto& f) { return !f.second.lost.empty(); });
  if (now < next_progress_ || collecting_ || (pool_.size() == 0 && !any_lost)) return;
  next_progress_ = now + options_.progress_every;
  collecting_ = true;
  pool_.Collect([alive = alive_](DispatcherPool::States states) {
    if (*alive == nullptr) return;
    (*alive)->collecting_ = false;
    (*alive)->SendProgress(states);
  });
}

std::vector<ipb::DispatchersProgress> ChangefeedAgent::ProgressOf(
    ChangefeedId id, const Feed& feed, const DispatcherPool::States& states) const {
  constexpr int kMaxDispatchers = 20'000;  // of a message
  std::vector<ipb::DispatchersProgress> messages;
  const auto add = [&](SpanId span) -> ipb::DispatchersProgress::Dispatcher& {
    if (messages.empty() || messages.back().dispatchers_size() == kMaxDispatchers) {
      ipb::DispatchersProgress& progress = messages.emplace_back();
      *progress.mutable_sender() = messenger_.Sender();
      progress.set_owner_epoch(feed.gate.view().value());
      progress.set_changefeed(id.value());
    }
    auto& said = *messages.back().add_dispatchers();
    said.set_span(span.value());
    return said;
  };
  for (const auto& [span, dispatcher] : feed.gate.dispatchers()) {
    const auto found = states.find({id, span});
    if (found == states.end()) continue;
    const DispatcherReport& report = found->second.report;
    // What was just made again has not been looked at yet, in this epoch or in the one before.
    if (found->second.epoch != dispatcher.epoch || report.sequence != dispatcher.sequence) continue;
    auto& said = add(span);
    said.set_flushed_ts(report.flushed.value());
    said.set_resolved_ts(found->second.resolved.value());
    said.set_rows_per_second(found->second.rows_per_second);
    said.set_rows_behind(found->second.rows_behind);
    said.set_snapshot_rows(report.snapshot_rows);
    said.set_at_barrier_ts(report.at_barrier.value());
    said.set_wrote_barrier_ts(report.wrote_barrier.value());
    said.set_ended(report.ended);
    said.set_sequence(report.sequence.value());
    if (!report.error) continue;
    said.mutable_error()->set_code(std::string(NameOf(report.error->code)));
    said.mutable_error()->set_message(report.error->message);
    said.mutable_error()->set_node(self_.node.value());
  }
  for (const auto& [span, lost] : feed.lost) {
    if (lost.epoch != feed.gate.view() || feed.gate.dispatchers().contains(span)) continue;
    auto& said = add(span);
    said.set_flushed_ts(lost.flushed.value());
    said.set_ended(true);
    said.set_sequence(lost.sequence.value());
  }
  return messages;
}

void ChangefeedAgent::SendProgress(const DispatcherPool::States& states) {
  rows_per_second_ = 0;
  for (const auto& [key, state] : states) rows_per_second_ += state.rows_per_second;
  if (fenced_) return;
  for (auto& [id, feed] : feeds_) {
    if (feed.reporting || feed.owner.node.IsNone()) continue;
    std::vector<ipb::DispatchersProgress> messages = ProgressOf(id, feed, states);
    for (size_t i = 0; i < messages.size(); ++i) {
      feed.reporting = true;
      const bool last = i + 1 == messages.size();
      ipb::ChangefeedMessage message;
      *message.mutable_dispatchers_progress() = std::move(messages[i]);
      messenger_.ToNode(feed.owner.node, std::move(message),
                        [alive = alive_, of = id, last](const StatusOr<ipb::ChangefeedMessage>&) {
                          if (*alive == nullptr || !last) return;
                          const auto found = (*alive)->feeds_.find(of);
                          if (found != (*alive)->feeds_.end()) found->second.reporting = false;
                        });
    }
  }
}

ChangefeedAgent::Numbers ChangefeedAgent::GetNumbers() const {
  Numbers numbers{.dispatchers = pool_.size(), .rows_per_second = rows_per_second_, .refusals = refusals_};
  numbers.maintainers = maintained().size();
  return numbers;
}

std::vector<ChangefeedId> ChangefeedAgent::maintained() const {
  std::vector<ChangefeedId> ids;
  for (const auto& [id, feed] : feeds_) {
    if (feed.maintainer) ids.push_back(id);
  }
  return ids;
}

}  // namespace tenure::changefeed
