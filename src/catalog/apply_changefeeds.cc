#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "catalog/apply.h"
#include "catalog/format.h"
#include "catalog/keys.h"
#include "catalog/state_moves.h"
#include "changefeed/protocol/acceptance.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;
using changefeed::OwnerEpoch;

namespace {

std::string Describe(const ChangefeedRecord& feed) {
  return fmt::format("changefeed {} ('{}')", feed.id(), feed.name());
}

CatalogResult NotFound(uint64_t id) {
  return Refused(REASON_NOT_FOUND, fmt::format("changefeed {} does not exist", id));
}

// What relies on an epoch has no effect in another one: whoever proposed it is not the coordinator of now, or
// has not seen what it did last.
CatalogResult CheckEpoch(const Record& record, uint64_t if_epoch) {
#ifdef TENURE_MUTANT_feed_checkpoint_unconditional
  if (if_epoch != 0) return {};
#endif
  const ChangefeedRecord& feed = record.changefeed();
  if (feed.owner_epoch() == if_epoch) return {};
  return Refused(
      REASON_CONDITION_FAILED,
      fmt::format("{} has the owner epoch {}, expected {}", Describe(feed), feed.owner_epoch(), if_epoch),
      record.modify_revision());
}

CatalogResult CheckFeedMove(const Record& record, ChangefeedState to) {
  const ChangefeedRecord& feed = record.changefeed();
  if (feed.state() == to || IsLegalMove(feed.state(), to)) return {};
  return Refused(
      REASON_CONDITION_FAILED,
      fmt::format("{} is {}: it cannot become {}", Describe(feed), NameOf(feed.state()), NameOf(to)),
      record.modify_revision());
}

CatalogResult CheckOwner(const Records& records, const commands::SetChangefeedOwner& command) {
  const Record* node = records.nodes.Find(command.node());
  if (node == nullptr)
    return Refused(REASON_CONDITION_FAILED, fmt::format("node {} does not exist", command.node()));
  const NodeState state = node->node().state();
  if (state == NODE_REMOVING || state == NODE_REMOVED) {
    return Refused(REASON_CONDITION_FAILED, fmt::format("node {} is {}", command.node(), NameOf(state)),
                   node->modify_revision());
  }
  if (node->node().registration_epoch() != command.incarnation()) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("node {} runs as incarnation {}, expected {}", command.node(),
                               node->node().registration_epoch(), command.incarnation()),
                   node->modify_revision());
  }
  return {};
}

void MoveTo(ChangefeedRecord& feed, ChangefeedState to, int64_t now_ms) {
  const bool halts = to == CHANGEFEED_PAUSED || to == CHANGEFEED_FAILED;
  const bool halted = feed.state() == CHANGEFEED_PAUSED || feed.state() == CHANGEFEED_FAILED;
  // History is counted from when it stood still first.
  if (halts && !halted) feed.set_halted_at_ms(now_ms);
  if (!halts) feed.set_halted_at_ms(0);
  feed.set_state(to);
}

}  // namespace

bool KeepsHistory(const Records& records) {
  return records.cluster && records.cluster->cluster().format_version() >= kFormatOfChangefeeds;
}

CatalogResult CheckNotFollowed(const Records& records, uint64_t database) {
  for (const auto& [id, record] : records.changefeeds.all()) {
    const ChangefeedRecord& feed = record.changefeed();
    if (feed.database() != database) continue;
    const Record* followed = records.databases.Find(database);
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("database '{}' is followed by {}: remove that first",
                               followed == nullptr ? "" : followed->database().name(), Describe(feed)),
                   record.modify_revision());
  }
  return {};
}

CatalogResult CreateChangefeed(Records& records, commands::CreateChangefeed& command, Change& change) {
  ChangefeedRecord feed = std::move(*command.mutable_changefeed());
  if (const auto found = records.changefeed_by_name.find(feed.name());
      found != records.changefeed_by_name.end()) {
    return Refused(REASON_ALREADY_EXISTS,
                   fmt::format("changefeed '{}' exists already (id {})", feed.name(), found->second),
                   records.changefeeds.Find(found->second)->modify_revision());
  }
  const Record* database = records.databases.Find(feed.database());
  if (database == nullptr)
    return Refused(REASON_NOT_FOUND, fmt::format("database {} does not exist", feed.database()));
  if (database->database().state() != DATABASE_PUBLIC) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("database '{}' is {}, expected PUBLIC", database->database().name(),
                               NameOf(database->database().state())),
                   database->modify_revision());
  }
  const uint64_t id = std::max<uint64_t>(1, records.ids.next_changefeed());
  records.ids.set_next_changefeed(id + 1);
  feed.set_id(id);
  feed.set_state(CHANGEFEED_NORMAL);
  // An epoch that nobody owned: from the first owner on every change of it names the one before.
  feed.set_owner_epoch(change.revision.value());
  feed.clear_owner_node();
  feed.clear_owner_incarnation();
  feed.clear_start_ts();
  feed.clear_checkpoint_ts();
  feed.clear_fault();
  feed.clear_halted_at_ms();
  feed.clear_history_given_up();
  feed.set_created_at_ms(change.now_ms);
  records.changefeed_by_name.emplace(feed.name(), id);
  Record record;
  *record.mutable_changefeed() = std::move(feed);
  records.changefeeds.Put(id, std::move(record), change);
  change.state.Put(kIdsKey, records.ids.SerializeAsString());
  return Done(change, true, id);
}

CatalogResult SetChangefeedOwner(Records& records, commands::SetChangefeedOwner& command, Change& change) {
  const Record* found = records.changefeeds.Find(command.changefeed());
  if (found == nullptr) return NotFound(command.changefeed());
  if (CatalogResult refused = CheckEpoch(*found, command.if_epoch()); IsRefusal(refused)) return refused;
  const ChangefeedRecord& before = found->changefeed();
  if (command.node() != 0) {
    if (CatalogResult refused = CheckOwner(records, command); IsRefusal(refused)) return refused;
    if (!WantsOwner(before.state())) {
      return Refused(REASON_CONDITION_FAILED,
                     fmt::format("{} is {}: it gets no owner", Describe(before), NameOf(before.state())),
                     found->modify_revision());
    }
    if (before.start_ts() == 0) {
      return Refused(REASON_CONDITION_FAILED, fmt::format("{} has no start timestamp yet", Describe(before)),
                     found->modify_revision());
    }
  }
  const auto epoch = changefeed::NextOwnerEpoch(
      OwnerEpoch(std::max(command.at_least(), change.revision.value())), OwnerEpoch(before.owner_epoch()));
  if (!epoch.ok()) {
    return Refused(REASON_OUT_OF_SPACE, fmt::format("{}: {}", Describe(before), MessageOf(epoch.status())),
                   found->modify_revision());
  }
  Record record = *found;
  ChangefeedRecord& feed = *record.mutable_changefeed();
  feed.set_owner_epoch(epoch->value());
  feed.set_owner_node(command.node());
  feed.set_owner_incarnation(command.node() == 0 ? 0 : command.incarnation());
  feed.set_checkpoint_ts(std::max(feed.checkpoint_ts(), command.checkpoint_ts()));
  records.changefeeds.Put(command.changefeed(), std::move(record), change);
  CatalogResult result = Done(change, true, command.changefeed());
  result.set_owner_epoch(epoch->value());
  return result;
}

CatalogResult ProgressChangefeed(Records& records, commands::ProgressChangefeed& command, Change& change) {
  const Record* found = records.changefeeds.Find(command.changefeed());
  if (found == nullptr) return NotFound(command.changefeed());
  if (CatalogResult refused = CheckEpoch(*found, command.if_epoch()); IsRefusal(refused)) return refused;
  const ChangefeedRecord& before = found->changefeed();
  if (command.checkpoint_ts() != 0 && command.checkpoint_ts() < before.checkpoint_ts()) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("{} has the checkpoint {}: it does not go back to {}", Describe(before),
                               before.checkpoint_ts(), command.checkpoint_ts()),
                   found->modify_revision());
  }
  if (command.start_ts() != 0 && before.start_ts() != 0) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("{} began at {} already", Describe(before), before.start_ts()),
                   found->modify_revision());
  }
  if (command.state() != CHANGEFEED_STATE_UNSPECIFIED) {
    // What somebody asked for is taken back by whoever asks for something else, not by progress.
    const bool by_request = command.state() == CHANGEFEED_PAUSED || command.state() == CHANGEFEED_REMOVING ||
                            (command.state() == CHANGEFEED_NORMAL && !WantsOwner(before.state()));
    if (by_request && command.state() != before.state()) {
      return Refused(REASON_CONDITION_FAILED,
                     fmt::format("{} is {}: progress does not make it {}", Describe(before),
                                 NameOf(before.state()), NameOf(command.state())),
                     found->modify_revision());
    }
    if (CatalogResult refused = CheckFeedMove(*found, command.state()); IsRefusal(refused)) return refused;
  }
  Record record = *found;
  ChangefeedRecord& feed = *record.mutable_changefeed();
  if (command.start_ts() != 0) {
    feed.set_start_ts(command.start_ts());
    feed.set_checkpoint_ts(command.start_ts());
  }
  feed.set_checkpoint_ts(std::max(feed.checkpoint_ts(), command.checkpoint_ts()));
  if (command.history_given_up()) feed.set_history_given_up(true);
  if (command.state() != CHANGEFEED_STATE_UNSPECIFIED) {
    MoveTo(feed, command.state(), change.now_ms);
    feed.clear_fault();
    if (command.has_fault()) *feed.mutable_fault() = std::move(*command.mutable_fault());
  }
  records.changefeeds.Put(command.changefeed(), std::move(record), change);
  return Done(change, true, command.changefeed());
}

CatalogResult ChangeChangefeed(Records& records, commands::ChangeChangefeed& command, Change& change) {
  using Command = commands::ChangeChangefeed;
  const Record* found = records.changefeeds.Find(command.changefeed());
  if (found == nullptr) return NotFound(command.changefeed());
  Record record = *found;
  ChangefeedRecord& feed = *record.mutable_changefeed();
  const ChangefeedState before = feed.state();
  ChangefeedState to = before;
  switch (command.body_case()) {
    case Command::kPause:
      to = CHANGEFEED_PAUSED;
      break;
    case Command::kResume:
      to = WantsOwner(before) ? before : CHANGEFEED_NORMAL;
      break;
    case Command::kRemove:
      to = CHANGEFEED_REMOVING;
      break;
    case Command::kUpdate:
      if (before != CHANGEFEED_PAUSED && before != CHANGEFEED_FAILED) {
        return Refused(REASON_CONDITION_FAILED,
                       fmt::format("{} is {}: only a paused or failed one can be updated", Describe(feed),
                                   NameOf(before)),
                       found->modify_revision());
      }
      break;
    case Command::BODY_NOT_SET:
      return Refused(REASON_INVALID_ARGUMENT, "change_changefeed: says nothing");
  }
  if (CatalogResult refused = CheckFeedMove(*found, to); IsRefusal(refused)) return refused;
  if (command.has_resume() && feed.history_given_up()) {
    return Refused(
        REASON_CONDITION_FAILED,
        fmt::format("{} cannot be resumed: its history is not kept any more since it was halted for "
                    "longer than gc-ttl ({} ms); create another one with an initial snapshot",
                    Describe(feed), feed.gc_ttl_ms()),
        found->modify_revision());
  }
  if (command.has_update()) {
    const auto& update = command.update();
    if (update.has_target_ts() && update.target_ts() != 0 && update.target_ts() <= feed.checkpoint_ts()) {
      return Refused(REASON_INVALID_ARGUMENT,
                     fmt::format("target_ts: {} is not above the checkpoint {} of {}", update.target_ts(),
                                 feed.checkpoint_ts(), Describe(feed)),
                     found->modify_revision());
    }
    if (update.has_filter()) feed.set_filter(update.filter());
    if (update.has_sink()) feed.set_sink(update.sink());
    if (update.has_target_ts()) feed.set_target_ts(update.target_ts());
    if (update.has_gc_ttl_ms()) feed.set_gc_ttl_ms(update.gc_ttl_ms());
    if (update.has_stall_after_ms()) feed.set_stall_after_ms(update.stall_after_ms());
  } else if (to == before) {
    return Done(change, false, command.changefeed());
  }
  if (to != before) {
    MoveTo(feed, to, change.now_ms);
    if (to == CHANGEFEED_NORMAL) feed.clear_fault();
  }
  records.changefeeds.Put(command.changefeed(), std::move(record), change);
  return Done(change, true, command.changefeed());
}

CatalogResult DropChangefeed(Records& records, commands::DropChangefeed& command, Change& change) {
  const Record* found = records.changefeeds.Find(command.changefeed());
  if (found == nullptr) return Done(change, false, command.changefeed());
  if (CatalogResult refused = CheckEpoch(*found, command.if_epoch()); IsRefusal(refused)) return refused;
  const ChangefeedRecord& feed = found->changefeed();
  if (feed.state() != CHANGEFEED_REMOVING || feed.owner_node() != 0) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("{} is {}, with {} as its owner: expected REMOVING and none", Describe(feed),
                               NameOf(feed.state()),
                               feed.owner_node() == 0 ? "nobody" : fmt::format("node {}", feed.owner_node())),
                   found->modify_revision());
  }
  records.changefeed_by_name.erase(feed.name());
  records.changefeeds.Erase(command.changefeed(), change);
  return Done(change, true, command.changefeed());
}

}  // namespace tenure::catalog::apply
