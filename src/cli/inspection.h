// What a stopped process's data directory holds, as `tenure inspect` shows it: identity, groups, log,
// catalog.
//
// The state on disk may be older than the log (it is flushed now and then); the catalog shown is the stored
// one with the committed entries of the log applied to it in memory, as the next start would do. Nothing is
// written: files are opened for reading only, the lock is taken without touching its file.
//
// Threading: blocks the calling thread. Shares the directory's lock, so a running process is never looked at
//            and none can start meanwhile.
// Errors:    NOT_FOUND: no data directory. FAILED_PRECONDITION: in use, or of a newer format. What cannot be
//            read beyond that is a note.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/output.h"
#include "tenure/v1/catalog.pb.h"
#include "wal/data_directory.h"
#include "wal/inspect.h"

namespace tenure::cli {

struct LogEntryView {
  GroupId group;
  LogIndex index;
  Term term;
  std::string type;  // "command", "no-op", "configuration"
  size_t bytes = 0;
  std::string text;  // what it does, for people
  Json command;      // the same for scripts
};

struct DirectoryInspection {
  std::string directory;
  wal::Identity identity;
  wal::Inspection log;
  bool identity_readable = true;
  std::map<GroupId, LogIndex> applied;                   // of the stored state
  std::map<GroupId, uint64_t> state_hashes;              // of the stored state, as it was kept with it
  std::map<GroupId, std::map<uint64_t, uint64_t>> rows;  // of the stored state: how many of which table
  std::vector<GroupId> stored_groups;       // with any key in kv/, whether the log knows them or not
  std::vector<std::string> snapshots;       // files, whole or not
  std::vector<tenure::v1::Record> catalog;  // without entries
  size_t catalog_entries = 0;
  Revision catalog_revision;          // that `catalog` stands for
  std::vector<LogEntryView> entries;  // if asked for: live ones, by group and index
  std::vector<std::string> notes;
};

// Applied indexes that the stored state in `path` says of these groups, each with the highest replica id that
// is gone; none of a group that has no state there, or only that of a replica that is gone.
StatusOr<std::map<GroupId, LogIndex>> StoredAppliedOf(const std::string& path,
                                                      const std::map<GroupId, ReplicaId>& groups);

StatusOr<DirectoryInspection> InspectDirectory(const std::string& directory, bool with_entries,
                                               std::optional<GroupId> only_group);

}  // namespace tenure::cli
