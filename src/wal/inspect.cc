#include "wal/inspect.h"

#include "wal/scanner.h"

namespace tenure::wal {
namespace {

void AddNotes(const ScanResult& scan, Inspection& inspection) {
  for (const TornTail& torn : scan.torn) {
    inspection.notes.push_back(
        {false, torn.path, torn.from,
         fmt::format("torn tail of {} bytes, never acknowledged: the next start cuts it off",
                     torn.to - torn.from)});
  }
  for (const std::string& path : scan.leftovers) {
    inspection.notes.push_back({false, path, 0, "left behind by a crash: the next start removes it"});
  }
  if (scan.damage) {
    inspection.notes.push_back(
        {true, scan.damage->path, scan.damage->offset,
         fmt::format("{}; affected: {}", scan.damage->what, scan.damage->affected.Describe())});
  }
}

Status AddGroups(const LogState& state, Inspection& inspection) {
  for (const auto& [id, group] : state.groups()) {
    TENURE_ASSIGN_OR_RETURN(inspection.groups[id].state, state.PersistedStateOf(group));
    inspection.groups[id].replica = group.replica;
  }
  for (const auto& [id, gone] : state.tombstones()) {
    inspection.groups[id].tombstone = state.IsBuried(id);
    inspection.groups[id].gone = gone;
  }
  return OkStatus();
}

void AddSegments(const ScanResult& scan, Inspection& inspection) {
  for (const ScannedSegment& segment : scan.segments) {
    inspection.segments.push_back({segment.path, segment.number, segment.size, segment.end, segment.commits});
  }
  if (scan.blank)
    inspection.segments.push_back({scan.blank->path, scan.blank->number, scan.blank->size, 0, 0});
}

}  // namespace

const raft::Configuration& InspectedGroup::configuration() const {
  return state.configurations.empty() ? state.mark.configuration : state.configurations.back().second;
}

StatusOr<Inspection> Inspect(runtime::Disk& disk, const std::string& directory,
                             const std::function<void(const InspectedEntry&)>& on_entry) {
  LogState state;
  LogScanner::OnRecord on_record;
  if (on_entry) {
    on_record = [&on_entry](const Record& record, const ScannedSegment& segment) {
      if (record.type != RecordType::kEntries && record.type != RecordType::kCopiedEntries) return;
      (void)ForEachEntry(record.payload, [&](const EntryView& entry) {
        on_entry({record.group,
                  {entry.index, entry.term, entry.type, Bytes(std::string(entry.payload))},
                  segment.path,
                  record.offset,
                  record.type == RecordType::kCopiedEntries});
      });
    };
  }
  LogScanner scanner(disk, directory, state, std::move(on_record));
  TENURE_ASSIGN_OR_RETURN(const ScanResult scan, scanner.Run());
  Inspection inspection;
  AddNotes(scan, inspection);
  TENURE_RETURN_IF_ERROR(AddGroups(state, inspection));
  AddSegments(scan, inspection);
  inspection.next_commit = scan.next_sequence;
  inspection.stopped_cleanly = scan.clean && scan.torn.empty();
  return inspection;
}

}  // namespace tenure::wal
