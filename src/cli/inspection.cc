#include "cli/inspection.h"

#include <algorithm>
#include <filesystem>

#include "base/codec.h"
#include "base/format.h"
#include "catalog/catalog.h"
#include "cli/log_decoding.h"
#include "cli/output.h"
#include "group/group_host.h"
#include "kv/rocksdb/rocksdb_engine.h"
#include "node/catalog_file.h"
#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"
#include "store/row_state.h"
#include "tenure/internal/v1/command.pb.h"
#include "wal/repair.h"

namespace tenure::cli {
namespace {

namespace ipb = ::tenure::internal::v1;

// A later record of an index replaces an earlier one: that is how a truncated tail is overwritten.
using Entries = std::map<LogIndex, raft::Entry>;

// Below a group's host prefix (group/group.cc).
constexpr std::string_view kAppliedKey = "a";
constexpr std::string_view kStateHashKey = "h";

// Stands for a state that cannot be read.
class EmptyReader : public kv::Reader {
 public:
  std::optional<std::string> Get(std::string_view) const override { return std::nullopt; }
  std::unique_ptr<kv::Iterator> NewIterator(std::string_view, std::string_view) const override {
    return std::make_unique<End>();
  }

 private:
  class End : public kv::Iterator {
   public:
    void Seek(std::string_view) override {}
    bool Valid() const override { return false; }
    void Next() override {}
    std::string_view key() const override { return {}; }
    std::string_view value() const override { return {}; }
  };
};

LogIndex StoredApplied(const kv::Reader& engine, GroupId group, ReplicaId gone) {
  if (!group::GroupHost::IsStateAbove(engine, group, gone)) return LogIndex();
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

// The stored state, open for reading; null and a note if there is none that can be read.
class StoredState {
 public:
  explicit StoredState(const std::string& path) {
    if (!std::filesystem::exists(path)) {
      note_ = fmt::format("there is no {}: nothing was ever flushed", path);
      return;
    }
    const kv::RocksOptions options{.flush_on_close = false, .create_if_missing = false, .read_only = true};
    auto engine = kv::OpenRocksEngine(
        path, options, executor_, executor_,
        [this, path](const Status& status) { note_ = fmt::format("{}: {}", path, MessageOf(status)); });
    if (engine.ok()) {
      engine_ = *std::move(engine);
    } else {
      note_ = fmt::format("{}: {}", path, MessageOf(engine.status()));
    }
  }
  ~StoredState() {
    engine_.reset();
    executor_.Stop();
  }
  const kv::Reader* reader() const { return engine_.get(); }
  const std::string& note() const { return note_; }

 private:
  runtime::RealExecutor executor_{"inspect", runtime::RealExecutor::Work::kBlocking};
  std::string note_;
  std::unique_ptr<kv::RocksEngine> engine_;
};

// The hash that is kept beside the catalog's state must be that of the state.
void CheckStateHash(const kv::Reader& engine, DirectoryInspection& result) {
  const auto kept = result.state_hashes.find(kCatalogGroup);
  if (kept == result.state_hashes.end()) return;
  const uint64_t found =
      group::HashState(kv::PrefixReader(engine, group::GroupHost::StatePrefix(kCatalogGroup)));
  if (found == kept->second) return;
  result.notes.push_back(
      fmt::format("the catalog's stored state at {} does not have the hash that was kept with it ({:016x}, "
                  "kept {:016x}): it is not "
                  "what was applied",
                  result.applied[kCatalogGroup], found, kept->second));
}

// Every group has keys of its own, behind its id.
std::vector<GroupId> StoredGroups(const kv::Reader& engine) {
  std::vector<GroupId> groups;
  std::string from;
  while (true) {
    const auto it = engine.NewIterator(from, "");
    if (!it->Valid() || it->key().size() < sizeof(uint64_t)) return groups;
    const uint64_t id = GetBigEndian64(it->key().data());
    groups.push_back(GroupId(id));
    if (id == UINT64_MAX) return groups;
    from.clear();
    PutBigEndian64(from, id + 1);
  }
}

void ReadState(const std::string& path, const Entries& catalog_entries, DirectoryInspection& result) {
  const StoredState state(path);
  if (const kv::Reader* engine = state.reader()) {
    result.stored_groups = StoredGroups(*engine);
    for (const auto& [group, inspected] : result.log.groups) {
      result.applied[group] = StoredApplied(*engine, group, inspected.gone);
      const auto hash = engine->Get(group::GroupHost::HostPrefix(group) + std::string(kStateHashKey));
      if (hash) result.state_hashes[group] = ByteReader(*hash).Fixed64();
      if (group == kCatalogGroup) continue;
      result.rows[group] = store::StoredRows(kv::PrefixReader(*engine, group::GroupHost::StatePrefix(group)));
    }
    ReadCatalog(*engine, catalog_entries, result);
    CheckStateHash(*engine, result);
  } else {
    ReadCatalog(EmptyReader(), catalog_entries, result);
  }
  if (!state.note().empty()) result.notes.push_back(state.note());
}

// A process that is no controller has a copy of what it needs of the catalog.
void ReadView(runtime::Disk& disk, const std::string& path, DirectoryInspection& result) {
  if (!result.catalog.empty() || !disk.Exists(path)) return;
  const auto view = node::CatalogFile::Load(disk, path, Logger());
  if (!view) {
    result.notes.push_back(fmt::format("{}: damaged; the next start lists the catalog anew", path));
    return;
  }
  for (const auto& [id, node] : view->nodes()) *result.catalog.emplace_back().mutable_node() = node;
  for (const auto& [id, database] : view->databases())
    *result.catalog.emplace_back().mutable_database() = database;
  for (const auto& [id, region] : view->regions()) *result.catalog.emplace_back().mutable_region() = region;
  result.catalog_revision = view->revision();
  result.notes.push_back(
      fmt::format("the catalog's records are this node's copy of them, as of revision {}", view->revision()));
}

void AddEntries(const std::map<GroupId, Entries>& entries, DirectoryInspection& result) {
  for (const auto& [group, of_group] : entries) {
    const raft::PersistedState& state = result.log.groups[group].state;
    for (const auto& [index, entry] : of_group) {
      if (index <= state.mark.index || index > state.last_index) continue;
      result.entries.push_back({group, index, entry.term, EntryTypeText(entry.type), entry.payload.size(),
                                EntryToText(group, entry), EntryToJson(group, entry)});
    }
  }
}

// A damaged identity is shown as such; one of a newer format is not guessed at.
Status ReadIdentity(runtime::Disk& disk, const std::string& directory, DirectoryInspection& result) {
  auto identity = wal::DataDirectory::Peek(disk, directory);
  if (identity.ok()) {
    result.identity = *std::move(identity);
    return OkStatus();
  }
  if (identity.status().code() != StatusCode::kDataLoss) return identity.status();
  result.identity_readable = false;
  result.notes.push_back(std::string(MessageOf(identity.status())));
  return OkStatus();
}

}  // namespace

StatusOr<DirectoryInspection> InspectDirectory(const std::string& directory, bool with_entries,
                                               std::optional<GroupId> only_group) {
  runtime::RealExecutor executor("disk", runtime::RealExecutor::Work::kBlocking);
  runtime::RealDisk disk(executor);
  if (!wal::DataDirectory::IsInitialised(disk, directory)) {
    return Error(StatusCode::kNotFound, "{} is no data directory of a process", directory);
  }
  TENURE_ASSIGN_OR_RETURN(const auto lock, disk.LockForReading(directory + "/lock"));
  DirectoryInspection result;
  result.directory = directory;
  TENURE_RETURN_IF_ERROR(ReadIdentity(disk, directory, result));
  if (wal::SwapUnderWay(disk, directory))
    result.notes.push_back("a repair was begun and has not ended; tenure repair --execute finishes it");
  std::map<GroupId, Entries> entries;
  const auto on_entry = [&](const wal::InspectedEntry& seen) {
    const bool shown = with_entries && (!only_group.has_value() || seen.group == *only_group);
    if (shown || seen.group == kCatalogGroup)
      entries[seen.group].insert_or_assign(seen.entry.index, seen.entry);
  };
  auto log = wal::Inspect(disk, directory + "/wal", on_entry);
  if (log.ok()) {
    result.log = *std::move(log);
  } else if (log.status().code() == StatusCode::kNotFound) {
    result.notes.push_back(std::string(MessageOf(log.status())));
  } else {
    return log.status();
  }
  ReadState(directory + "/kv", entries[kCatalogGroup], result);
  if (const auto files = disk.List(directory + "/snapshots"); files.ok()) result.snapshots = *files;
  std::sort(result.snapshots.begin(), result.snapshots.end());
  ReadView(disk, directory + "/catalog-view", result);
  if (with_entries) {
    if (only_group.has_value() && *only_group != kCatalogGroup) entries.erase(kCatalogGroup);
    AddEntries(entries, result);
  }
  return result;
}

StatusOr<std::map<GroupId, LogIndex>> StoredAppliedOf(const std::string& path,
                                                      const std::map<GroupId, ReplicaId>& groups) {
  std::map<GroupId, LogIndex> applied;
  if (!std::filesystem::exists(path)) return applied;
  const StoredState state(path);
  if (state.reader() == nullptr) return Error(StatusCode::kDataLoss, "{}", state.note());
  for (const auto& [group, gone] : groups) applied[group] = StoredApplied(*state.reader(), group, gone);
  return applied;
}

}  // namespace tenure::cli
