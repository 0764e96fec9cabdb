#include "sim/feed_checker.h"

#include <fmt/format.h>

#include <limits>

#include "changefeed/protocol/acceptance.h"
#include "sim/server.h"
#include "sim/world.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

struct Condition {
  uint64_t changefeed = 0;
  uint64_t epoch = 0;
};

// What a command relies on; none: on no epoch.
std::optional<Condition> ConditionOf(const ipb::CatalogCommand& command) {
  if (command.has_set_changefeed_owner())
    return Condition{command.set_changefeed_owner().changefeed(), command.set_changefeed_owner().if_epoch()};
  if (command.has_progress_changefeed())
    return Condition{command.progress_changefeed().changefeed(), command.progress_changefeed().if_epoch()};
  if (command.has_drop_changefeed())
    return Condition{command.drop_changefeed().changefeed(), command.drop_changefeed().if_epoch()};
  return std::nullopt;
}

}  // namespace

void FeedChecker::ForgetBeyond(LogIndex last) {
  seen_ = last;
  feeds_.clear();
  finals_.clear();
}

void FeedChecker::OnRemoved(const std::string& node, const ipb::RemoveMaintainer& request,
                            const ipb::RemovedMaintainer& answer) {
  const auto found = feeds_.find(request.changefeed());
  if (!judges_moves_ || found == feeds_.end()) return;
  const Feed& feed = found->second;
  const bool ended = changefeed::IsAccepted(static_cast<changefeed::Acceptance>(answer.acceptance()));
  if (!ended || feed.owner_address != node || feed.record.owner_epoch() != request.owner_epoch()) return;
  finals_[request.changefeed()] = {.leadership = request.sender().leadership_epoch(),
                                   .epoch = request.owner_epoch(),
                                   .checkpoint = answer.checkpoint_ts()};
}

// By the controller that applies an entry first.
void FeedChecker::OnApply(GroupId group, ReplicaId self, const raft::Entry& entry) {
  if (group != kCatalogGroup || entry.index <= seen_ || world_.options().changefeeds == 0) return;
  for (const auto& machine : world_.machines()) {
    if (machine->controller_id != self.value() || machine->lost || !machine->server) continue;
    const controller::Controller* const controller = machine->server->controller();
    if (controller == nullptr) continue;
    seen_ = entry.index;
    ipb::CatalogCommand command;
    if (entry.type == raft::EntryType::kCommand) command.ParseFromString(std::string(entry.payload.view()));
    Compare(controller->catalog(), entry.term, command);
  }
}

void FeedChecker::Compare(const catalog::Catalog& catalog, Term term, const ipb::CatalogCommand& command) {
  const auto condition = ConditionOf(command);
  for (auto it = feeds_.begin(); it != feeds_.end();) {
    const auto now = catalog.changefeeds().find(it->first);
    const bool gone = now == catalog.changefeeds().end();
    const uint64_t revision = gone ? 0 : now->second.modify_revision();
    if (condition && condition->changefeed == it->first) CheckCondition(it->second, revision, command);
    if (!gone) {
      ++it;
      continue;
    }
    world_.feed_sinks().OnStopped(it->second.record.name(), std::numeric_limits<uint64_t>::max());
    it = feeds_.erase(it);
  }
  for (const auto& [id, record] : catalog.changefeeds()) {
    Feed& feed = feeds_[id];
    if (feed.revision == record.modify_revision()) continue;
    const pb::ChangefeedRecord& now = record.changefeed();
    if (feed.revision != 0) CheckOwner(feed, now, term);
    feed.revision = record.modify_revision();
    feed.record = now;
    const auto owner = catalog.nodes().find(now.owner_node());
    feed.owner_address = owner == catalog.nodes().end() ? "" : owner->second.node().address();
    if (now.checkpoint_ts() > now.start_ts())
      world_.feed_sinks().OnCheckpoint(now.name(), now.checkpoint_ts());
  }
}

void FeedChecker::CheckCondition(const Feed& before, uint64_t revision, const ipb::CatalogCommand& command) {
  const uint64_t epoch = ConditionOf(command)->epoch;
  if (epoch == before.record.owner_epoch() || revision == before.revision) return;
  world_.Fail("F10 what relies on an owner epoch has no effect in another one",
              fmt::format("{} has the owner epoch {}, and was changed by {}", before.record.name(),
                          before.record.owner_epoch(), command.ShortDebugString()));
}

void FeedChecker::CheckOwner(const Feed& before, const pb::ChangefeedRecord& now, Term term) {
  const pb::ChangefeedRecord& was = before.record;
  const bool same =
      was.owner_node() == now.owner_node() && was.owner_incarnation() == now.owner_incarnation();
  if (now.owner_epoch() < was.owner_epoch() || (!same && now.owner_epoch() == was.owner_epoch())) {
    world_.Fail("F9 an owner epoch rises with every owner",
                fmt::format("{}: node {} in epoch {}, then node {} in epoch {}", now.name(), was.owner_node(),
                            was.owner_epoch(), now.owner_node(), now.owner_epoch()));
  }
  if (now.owner_epoch() == was.owner_epoch()) return;
  const auto last = finals_.find(now.id());
  if (last != finals_.end() && last->second.epoch == was.owner_epoch() &&
      last->second.leadership == term.value() && now.owner_node() != 0) {
    ++judged_moves_;
    if (now.checkpoint_ts() < last->second.checkpoint) {
      world_.Fail("F11 a move goes on where its origin has ended",
                  fmt::format("{} begins in epoch {} at {}, its origin has ended at {}", now.name(),
                              now.owner_epoch(), now.checkpoint_ts(), last->second.checkpoint));
    }
  }
  finals_.erase(now.id());
}

}  // namespace tenure::sim
