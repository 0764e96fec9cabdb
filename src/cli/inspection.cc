#include "cli/inspection.h"

#include <filesystem>

#include "base/codec.h"
#include "catalog/catalog.h"
#include "cli/output.h"
#include "group/group_host.h"
#include "kv/rocksdb/rocksdb_engine.h"
#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"
#include "store/region_store.h"
#include "tenure/internal/v1/command.pb.h"

namespace tenure::cli {
namespace {

namespace ipb = ::tenure::internal::v1;

// A later record of an index replaces an earlier one: that is how a truncated tail is overwritten.
using Entries = std::map<LogIndex, raft::Entry>;

constexpr std::string_view kAppliedKey = "a";
constexpr size_t kMaxText = 200;

std::string_view View(const Bytes& bytes) {
  return bytes.view();
}

std::string TypeText(raft::EntryType type) {
  switch (type) {
    case raft::EntryType::kCommand:
      return "command";
    case raft::EntryType::kNoOp:
      return "no-op";
    case raft::EntryType::kConfiguration:
      return "configuration";
  }
  return "unknown";
}

std::string CatalogCommandText(std::string_view payload) {
  ipb::CatalogCommand command;
  if (!command.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return "cannot be decoded";
  return command.ShortDebugString();
}

std::string RegionCommandText(std::string_view payload) {
  const StatusOr<store::WriteCommand> command = store::DecodeWriteCommand(payload);
  if (!command.ok()) return "cannot be decoded: " + std::string(MessageOf(command.status()));
  if (command->kind == store::WriteCommand::Kind::kSweep)
    return fmt::format("sweep of {} keys", command->sweep_limit);
  std::string text = command->kind == store::WriteCommand::Kind::kTransaction ? "MULTI" : "";
  for (const store::Arguments& arguments : command->commands) {
    if (!text.empty()) text += "; ";
    for (size_t i = 0; i < arguments.size(); ++i) text += (i > 0 ? " " : "") + Printable(arguments[i]);
  }
  return text;
}

std::string TextOf(GroupId group, const raft::Entry& entry) {
  if (entry.type == raft::EntryType::kNoOp) return "";
  if (entry.type == raft::EntryType::kConfiguration) {
    const auto configuration = raft::DecodeConfiguration(View(entry.payload));
    return configuration.ok() ? raft::ToString(*configuration) : "cannot be decoded";
  }
  std::string text = group == kCatalogGroup ? CatalogCommandText(View(entry.payload))
                                            : RegionCommandText(View(entry.payload));
  if (text.size() > kMaxText) text = text.substr(0, kMaxText) + "...";
  return text;
}

LogIndex StoredApplied(const kv::Reader& engine, GroupId group) {
  const auto stored = engine.Get(group::GroupHost::HostPrefix(group) + std::string(kAppliedKey));
  if (!stored.has_value()) return LogIndex();
  ByteReader in(*stored);
  return LogIndex(in.Fixed64());
}

// The committed entries that the stored state has not seen yet, applied in memory.
Revision Replay(const Entries& entries, LogIndex applied, LogIndex commit, catalog::Catalog& catalog,
                kv::View& state) {
  LogIndex index = applied;
  for (auto it = entries.upper_bound(applied); it != entries.end() && it->first <= commit; ++it) {
    if (it->first != index.Next()) break;
    index = it->first;
    ipb::CatalogCommand command;
    if (it->second.type != raft::EntryType::kCommand ||
        !command.ParseFromArray(it->second.payload.view().data(),
                                static_cast<int>(it->second.payload.view().size()))) {
      continue;
    }
    catalog.Apply(command, Revision(index.value()), it->second.term, state);
  }
  return Revision(index.value());
}

size_t CountEntries(const kv::Reader& state) {
  size_t count = 0;
  std::string after;
  do {
    constexpr size_t kPage = 1000;
    const auto page = catalog::Catalog::ListEntries("", after, kPage, /*keys_only=*/true, state);
    count += page.records.size();
    after = page.next_after;
  } while (!after.empty());
  return count;
}

void ReadCatalog(const kv::Reader& engine, const Entries& entries, DirectoryInspection& result) {
  const auto group = result.log.groups.find(kCatalogGroup);
  if (group == result.log.groups.end()) return;
  const raft::PersistedState& state = group->second.state;
  const LogIndex applied = result.applied[kCatalogGroup];
  if (applied < state.mark.index) {
    result.notes.push_back(
        fmt::format("the catalog's stored state stands at {}, its log begins after {}: the next start "
                    "installs the snapshot between",
                    applied.value(), state.mark.index.value()));
  }
  catalog::Catalog catalog{catalog::CatalogLimits()};
  kv::Overlay overlay(engine, group::GroupHost::StatePrefix(kCatalogGroup));
  catalog.Reset(overlay, Revision(applied.value()));
  result.catalog_revision = Replay(entries, applied, state.hard_state.commit, catalog, overlay);
  if (catalog.cluster_record() != nullptr) result.catalog.push_back(*catalog.cluster_record());
  for (const auto* records :
       {&catalog.controllers(), &catalog.nodes(), &catalog.databases(), &catalog.regions()}) {
    for (const auto& [id, record] : *records) result.catalog.push_back(record);
  }
  result.catalog_entries = CountEntries(overlay);
}

void ReadState(const std::string& path, const Entries& catalog_entries, DirectoryInspection& result) {
  if (!std::filesystem::exists(path)) {
    result.notes.push_back(fmt::format("there is no {}: nothing was ever flushed", path));
    return;
  }
  runtime::RealExecutor executor("inspect", runtime::RealExecutor::Work::kBlocking);
  kv::RocksOptions options{.flush_on_close = false, .create_if_missing = false, .read_only = true};
  std::string damage;
  auto engine = kv::OpenRocksEngine(path, options, executor, executor, [&damage](const Status& status) {
    damage = std::string(MessageOf(status));
  });
  if (!engine.ok()) {
    result.notes.push_back(fmt::format("{}: {}", path, MessageOf(engine.status())));
    return;
  }
  for (const auto& [group, inspected] : result.log.groups)
    result.applied[group] = StoredApplied(**engine, group);
  ReadCatalog(**engine, catalog_entries, result);
  if (!damage.empty()) result.notes.push_back(fmt::format("{}: {}", path, damage));
  engine->reset();
  executor.Stop();
}

void AddEntries(const std::map<GroupId, Entries>& entries, DirectoryInspection& result) {
  for (const auto& [group, of_group] : entries) {
    const raft::PersistedState& state = result.log.groups[group].state;
    for (const auto& [index, entry] : of_group) {
      if (index <= state.mark.index || index > state.last_index) continue;
      result.entries.push_back(
          {group, index, entry.term, TypeText(entry.type), View(entry.payload).size(), TextOf(group, entry)});
    }
  }
}

}  // namespace

StatusOr<DirectoryInspection> InspectDirectory(const std::string& directory, bool with_entries,
                                               std::optional<GroupId> only_group) {
  runtime::RealExecutor executor("disk", runtime::RealExecutor::Work::kBlocking);
  runtime::RealDisk disk(executor);
  if (!wal::DataDirectory::IsInitialised(disk, directory)) {
    return Error(StatusCode::kNotFound, "{} is no data directory of a process", directory);
  }
  TENURE_ASSIGN_OR_RETURN(const auto owned, wal::DataDirectory::Open(disk, directory));
  DirectoryInspection result;
  result.directory = directory;
  result.identity = owned->identity();
  std::map<GroupId, Entries> entries;
  const auto on_entry = [&](const wal::InspectedEntry& seen) {
    const bool shown = with_entries && (!only_group.has_value() || seen.group == *only_group);
    if (shown || seen.group == kCatalogGroup)
      entries[seen.group].insert_or_assign(seen.entry.index, seen.entry);
  };
  TENURE_ASSIGN_OR_RETURN(result.log, wal::Inspect(disk, owned->log_path(), on_entry));
  ReadState(owned->state_path(), entries[kCatalogGroup], result);
  if (with_entries) {
    if (only_group.has_value() && *only_group != kCatalogGroup) entries.erase(kCatalogGroup);
    AddEntries(entries, result);
  }
  return result;
}

}  // namespace tenure::cli
