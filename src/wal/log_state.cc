#include "wal/log_state.h"

#include "base/check.h"
#include "base/format.h"

namespace tenure::wal {
namespace {

Status Malformed(const Record& record) {
  return Error(StatusCode::kDataLoss,
               "record type {} of group {} has a valid checksum but a malformed payload",
               static_cast<int>(record.type), record.group);
}

}  // namespace

void Damage::AddEntries(GroupId group, LogIndex first, LogIndex last) {
  auto& damaged = groups[group];
  if (damaged.first.IsNone() || first < damaged.first) damaged.first = first;
  if (last > damaged.last) damaged.last = last;
}

std::string Damage::Describe(size_t limit) const {
  std::string text;
  size_t count = 0;
  for (const auto& [group, damaged] : groups) {
    if (count++ == limit) {
      text += fmt::format("; and {} more groups", groups.size() - limit);
      break;
    }
    if (!text.empty()) text += "; ";
    text += fmt::format("group {}: ", group);
    if (!damaged.first.IsNone()) text += fmt::format("entries {}-{}", damaged.first, damaged.last);
    if (damaged.state_lost) text += damaged.first.IsNone() ? "term, vote or mark" : " and term, vote or mark";
  }
  if (incomplete) return text.empty() ? "cannot be told" : text + "; perhaps others";
  return text.empty() ? "no group, only the frame around their records" : text;
}

LogState::Group* LogState::Find(GroupId id) {
  const auto it = lookup_.find(id);
  return it == lookup_.end() ? nullptr : it->second;
}

LogState::Group& LogState::Obtain(GroupId id) {
  if (Group* known = Find(id)) return *known;
  TENURE_CHECK(!tombstones_.contains(id), "S3: group {} has a tombstone", id);
  return Make(id);
}

LogState::Group& LogState::Make(GroupId id) {
  Group& group = groups_[id];
  group.id = id;
  lookup_[id] = &group;
  return group;
}

void LogState::Take(Position position) {
  if (position.segment == 0) return;
  if (recent_use_.first != position.segment) recent_use_ = {position.segment, &use_[position.segment]};
  ++recent_use_.second->live;
  ++recent_use_.second->total;
}

void LogState::Release(Position position) {
  if (position.segment == 0) return;
  if (recent_use_.first != position.segment) recent_use_ = {position.segment, &use_[position.segment]};
  TENURE_CHECK(recent_use_.second->live > 0, "S2: segment {} has no live entries", position.segment);
  --recent_use_.second->live;
}

uint64_t LogState::live(uint32_t segment) const {
  const auto it = use_.find(segment);
  return it == use_.end() ? 0 : it->second.live;
}

void LogState::ForgetSegment(uint32_t segment) {
  use_.erase(segment);
  recent_use_ = {0, nullptr};
}

void LogState::DropFront(Group& group, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Release(group.positions.front());
    group.positions.pop_front();
  }
}

void LogState::DropBack(Group& group, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Release(group.positions.back());
    group.positions.pop_back();
  }
}

void LogState::AppendEntry(Group& group, const EntryView& entry, Position position) {
  TENURE_CHECK(entry.index == group.last_index().Next(), "S1: group {} has entries up to {}, appended was {}",
               group.id, group.last_index(), entry.index);
  if (group.terms.empty() || group.terms.back().term != entry.term)
    group.terms.push_back({entry.index, entry.term});
  if (entry.type == raft::EntryType::kConfiguration)
    group.configurations.emplace_back(entry.index, entry.payload);
  group.positions.push_back(position);
  Take(position);
}

void LogState::MoveEntry(Group& group, LogIndex index, Position position) {
  Position& at = group.at(index);
  Release(at);
  at = position;
  Take(position);
}

void LogState::TruncateFrom(Group& group, LogIndex from) {
  TENURE_CHECK(from > group.mark_index, "group {}: truncation from {} but the log begins after {}", group.id,
               from, group.mark_index);
  if (from > group.last_index()) return;
  DropBack(group, group.last_index().value() - from.value() + 1);
  while (!group.terms.empty() && group.terms.back().first >= from) group.terms.pop_back();
  while (!group.configurations.empty() && group.configurations.back().first >= from)
    group.configurations.pop_back();
}

void LogState::Reset(Group& group, LogIndex index, Term term, std::string_view configuration) {
  DropBack(group, group.positions.size());
  group.terms.clear();
  group.configurations.clear();
  group.mark_index = index;
  group.mark_term = term;
  group.mark_configuration.assign(configuration);
}

void LogState::Compact(Group& group, LogIndex index, Term term, std::string_view configuration) {
  TENURE_CHECK(index >= group.mark_index && index <= group.last_index(),
               "group {}: compaction to {} of a log of {}-{}", group.id, index, group.mark_index.Next(),
               group.last_index());
  DropFront(group, index.value() - group.mark_index.value());
  size_t gone = 0;  // runs that end at or before `index`
  while (gone < group.terms.size() &&
         (gone + 1 < group.terms.size() ? group.terms[gone + 1].first <= index.Next()
                                        : group.positions.empty())) {
    ++gone;
  }
  group.terms.erase(group.terms.begin(), group.terms.begin() + static_cast<ptrdiff_t>(gone));
  if (!group.terms.empty() && group.terms.front().first <= index) group.terms.front().first = index.Next();
  std::erase_if(group.configurations, [index](const auto& entry) { return entry.first <= index; });
  group.mark_index = index;
  group.mark_term = term;
  group.mark_configuration.assign(configuration);
}

bool LogState::MayBegin(GroupId id, ReplicaId replica) const {
  const auto it = tombstones_.find(id);
  return it == tombstones_.end() || (!it->second.IsNone() && replica > it->second);
}

LogState::Group& LogState::SetReplica(GroupId id, ReplicaId replica) {
  TENURE_CHECK(MayBegin(id, replica), "S3: replica {} of group {} is gone", replica, id);
  Group* known = Find(id);
  Group& group = known == nullptr ? Make(id) : *known;
  TENURE_CHECK(group.replica <= replica, "S3: the log of group {} is replica {}'s, not {}'s", id,
               group.replica, replica);
  group.replica = replica;
  return group;
}

void LogState::Bury(GroupId id, ReplicaId gone) {
  if (Group* group = Find(id)) {
    TENURE_CHECK(gone.IsNone() || group->replica <= gone, "S3: the log of group {} is replica {}'s, not {}'s",
                 id, group->replica, gone);
    DropBack(*group, group->positions.size());
    lookup_.erase(id);
    groups_.erase(id);
  }
  const auto [it, first] = tombstones_.try_emplace(id, gone);
  if (!first && !it->second.IsNone()) it->second = gone.IsNone() ? gone : std::max(it->second, gone);
}

GroupCheckpoint LogState::CheckpointOf(const Group& group) const {
  return {group.hard_state,   group.mark_index, group.mark_term, group.mark_configuration,
          group.last_index(), group.terms,      group.replica};
}

StatusOr<raft::PersistedState> LogState::PersistedStateOf(const Group& group) const {
  raft::PersistedState state;
  state.hard_state = group.hard_state;
  state.mark.index = group.mark_index;
  state.mark.term = group.mark_term;
  if (!group.mark_configuration.empty()) {
    TENURE_ASSIGN_OR_RETURN(state.mark.configuration, raft::DecodeConfiguration(group.mark_configuration));
  }
  state.last_index = group.last_index();
  state.terms = group.terms;
  for (const auto& [index, encoded] : group.configurations) {
    TENURE_ASSIGN_OR_RETURN(raft::Configuration configuration, raft::DecodeConfiguration(encoded));
    state.configurations.emplace_back(index, std::move(configuration));
  }
  return state;
}

Status LogState::Replay(const Record& record, uint32_t segment, bool base, Damage* damage) {
  switch (record.type) {
    case RecordType::kTombstones:
    case RecordType::kReplicaTombstones:
      return ReplayTombstones(record, base, damage);
    case RecordType::kReplica:
      return ReplayReplica(record, damage);
    case RecordType::kTombstone:
    case RecordType::kReplicaTombstone:
      return ReplayTombstone(record, damage);
    default:
      break;
  }
  if (IsBuried(record.group)) {
    if (damage == nullptr)
      return Error(StatusCode::kDataLoss, "a record of group {} after its tombstone", record.group);
    // Of a group that is gone for ever nothing is needed any more. Any other came back with a record that is
    // lost; what it holds is known again when a checkpoint says so.
    if (tombstones_.at(record.group).IsNone()) return OkStatus();
    damage->AddState(record.group);
    if (record.type == RecordType::kGroupCheckpoint) return ReplayCheckpoint(record, base, damage);
    return OkStatus();
  }
  switch (record.type) {
    case RecordType::kEntries:
      return ReplayEntries(record, segment, damage);
    case RecordType::kCopiedEntries:
      return ReplayCopied(record, segment, damage);
    case RecordType::kReset:
    case RecordType::kCompact:
      return ReplayMark(record, damage);
    case RecordType::kGroupCheckpoint:
      return ReplayCheckpoint(record, base, damage);
    case RecordType::kHardState: {
      raft::HardState hard_state;
      if (!DecodeHardState(record.payload, &hard_state)) return Malformed(record);
      Obtain(record.group).hard_state = hard_state;
      return OkStatus();
    }
    case RecordType::kTruncate: {
      ByteReader reader(record.payload);
      const LogIndex from(reader.Varint());
      Group& group = Obtain(record.group);
      if (!reader.AtEnd() || from <= group.mark_index) return Malformed(record);
      TruncateFrom(group, from);
      return OkStatus();
    }
    default:
      break;
  }
  return Error(StatusCode::kDataLoss, "unknown record type {} of group {}", static_cast<int>(record.type),
               record.group);
}

Status LogState::ReplayEntries(const Record& record, uint32_t segment, Damage* damage) {
  Group& group = Obtain(record.group);
  Status result;
  const bool well_formed = ForEachEntry(record.payload, [&](const EntryView& entry) {
    if (!result.ok() || (damage != nullptr && entry.index <= group.mark_index)) return;
    const LogIndex expected = group.last_index().Next();
    if (entry.index != expected) {
      if (damage == nullptr) {
        result = Error(StatusCode::kDataLoss, "group {}: entry {} follows entry {}", record.group,
                       entry.index, group.last_index());
        return;
      }
      if (entry.index < expected) {
        damage->AddState(record.group);
        TruncateFrom(group, entry.index);
      } else {
        damage->AddEntries(record.group, expected, entry.index.Previous());
        while (group.last_index() < entry.index.Previous()) {
          AppendEntry(group, {group.last_index().Next(), entry.term, raft::EntryType::kCommand, {}},
                      Position{});
        }
      }
    }
    AppendEntry(group, entry, {segment, static_cast<uint32_t>(record.offset)});
  });
  if (!well_formed) return Malformed(record);
  return result;
}

Status LogState::ReplayCopied(const Record& record, uint32_t segment, Damage* damage) {
  Group& group = Obtain(record.group);
  Status result;
  const bool well_formed = ForEachEntry(record.payload, [&](const EntryView& entry) {
    if (!group.Holds(entry.index)) {
      if (damage == nullptr && result.ok()) {
        result = Error(StatusCode::kDataLoss, "group {}: copied entry {} is outside of {}-{}", record.group,
                       entry.index, group.mark_index.Next(), group.last_index());
      }
      return;
    }
    MoveEntry(group, entry.index, {segment, static_cast<uint32_t>(record.offset)});
    if (entry.type == raft::EntryType::kConfiguration) {
      auto& known = group.configurations;
      const auto at =
          std::lower_bound(known.begin(), known.end(), entry.index,
                           [](const auto& element, LogIndex index) { return element.first < index; });
      if (at == known.end() || at->first != entry.index)
        known.emplace(at, entry.index, std::string(entry.payload));
    }
  });
  if (!well_formed) return Malformed(record);
  return result;
}

Status LogState::ReplayMark(const Record& record, Damage* damage) {
  MarkPayload mark;
  if (!DecodeMark(record.payload, &mark)) return Malformed(record);
  Group& group = Obtain(record.group);
  if (record.type == RecordType::kReset) {
    Reset(group, mark.index, mark.term, mark.configuration);
    return OkStatus();
  }
  if (mark.index < group.mark_index || mark.index > group.last_index()) {
    if (damage == nullptr) {
      return Error(StatusCode::kDataLoss, "group {}: compaction to {} of a log of {}-{}", record.group,
                   mark.index, group.mark_index.Next(), group.last_index());
    }
    if (mark.index > group.last_index())
      damage->AddEntries(record.group, group.last_index().Next(), mark.index);
    Reset(group, mark.index, mark.term, mark.configuration);
    return OkStatus();
  }
  Compact(group, mark.index, mark.term, mark.configuration);
  return OkStatus();
}

void LogState::Adopt(GroupId id, const GroupCheckpoint& checkpoint) {
  Group* known = Find(id);
  Group& group = known == nullptr ? Make(id) : *known;
  Reset(group, checkpoint.mark_index, checkpoint.mark_term, checkpoint.mark_configuration);
  group.replica = checkpoint.replica;
  group.hard_state = checkpoint.hard_state;
  group.terms = checkpoint.terms;
  group.positions.resize(checkpoint.last_index.value() - checkpoint.mark_index.value());
}

Status LogState::ReplayCheckpoint(const Record& record, bool base, Damage* damage) {
  GroupCheckpoint checkpoint;
  if (!DecodeGroupCheckpoint(record.payload, &checkpoint)) return Malformed(record);
  Group* known = Find(record.group);
  if (base && known == nullptr) {
    Adopt(record.group, checkpoint);
    return OkStatus();
  }
  if (known != nullptr && CheckpointOf(*known) == checkpoint) return OkStatus();
  if (damage == nullptr) {
    return Error(StatusCode::kDataLoss, "group {}: the log so far does not give the state of the checkpoint",
                 record.group);
  }
  const LogIndex last = known == nullptr ? checkpoint.mark_index : known->last_index();
  if (checkpoint.last_index > last) {
    damage->AddEntries(record.group, std::max(last, checkpoint.mark_index).Next(), checkpoint.last_index);
  }
  if (known == nullptr || known->hard_state != checkpoint.hard_state ||
      known->replica != checkpoint.replica || known->last_index() > checkpoint.last_index) {
    damage->AddState(record.group);
  }
  Adopt(record.group, checkpoint);
  return OkStatus();
}

// Whose log it is; or that a replica came, whose log begins.
Status LogState::ReplayReplica(const Record& record, Damage* damage) {
  ReplicaPayload payload;
  if (!DecodeReplica(record.payload, &payload)) return Malformed(record);
  const Group* known = Find(record.group);
  const bool fits = MayBegin(record.group, payload.replica) &&
                    (known == nullptr ? payload.begins_after.has_value() : known->replica <= payload.replica);
  if (!fits) {
    if (damage == nullptr) {
      return Error(StatusCode::kDataLoss, "group {}: replica {} cannot follow what was here before",
                   record.group, payload.replica);
    }
    damage->AddState(record.group);
    return OkStatus();
  }
  Group& group = SetReplica(record.group, payload.replica);
  if (const auto& mark = payload.begins_after) Reset(group, mark->index, mark->term, mark->configuration);
  return OkStatus();
}

Status LogState::ReplayTombstone(const Record& record, Damage* damage) {
  ReplicaId gone;
  if (record.type == RecordType::kReplicaTombstone) {
    ByteReader reader(record.payload);
    gone = ReplicaId(reader.Varint());
    if (!reader.AtEnd() || gone.IsNone()) return Malformed(record);
  }
  const Group* known = Find(record.group);
  if (known != nullptr && !gone.IsNone() && known->replica > gone) {
    if (damage == nullptr) {
      return Error(StatusCode::kDataLoss, "group {}: replica {} is gone, but replica {} was here",
                   record.group, gone, known->replica);
    }
    damage->AddState(record.group);
    return OkStatus();
  }
  Bury(record.group, gone);
  return OkStatus();
}

Status LogState::ReplayTombstones(const Record& record, bool base, Damage* damage) {
  ByteReader reader(record.payload);
  const uint64_t count = reader.Varint();
  uint64_t last = 0;
  for (uint64_t i = 0; i < count && reader.ok(); ++i) {
    last += reader.Varint();
    const GroupId id(last);
    const ReplicaId gone(record.type == RecordType::kReplicaTombstones ? reader.Varint() : 0);
    if (!reader.ok()) break;
    const auto known = tombstones_.find(id);
    if (known != tombstones_.end() && known->second == gone) continue;
    if (!base && damage == nullptr) {
      return Error(StatusCode::kDataLoss, "group {} has a tombstone in the checkpoint but not before it", id);
    }
    if (!base) damage->AddState(id);
    // One that is here although it has a tombstone came back.
    const Group* here = Find(id);
    if (here != nullptr && !gone.IsNone() && here->replica > gone) {
      tombstones_[id] = gone;
    } else {
      Bury(id, gone);
    }
  }
  return reader.AtEnd() ? OkStatus() : Malformed(record);
}

void LogState::FindMissing(Damage* damage) const {
  for (const auto& [id, group] : groups_) {
    LogIndex index = group.mark_index;
    for (const Position& position : group.positions) {
      index = index.Next();
      if (position.segment == 0) damage->AddEntries(id, index, index);
    }
  }
}

}  // namespace tenure::wal
