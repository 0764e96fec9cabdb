// MULTI's queue and the keys of WATCH of one session. All keys of a transaction, watched ones too, are in one
// slot.
//
// Threading: one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "resp/commands.h"
#include "store/command_table.h"
#include "store/region_store.h"

namespace tenure::resp {

struct QueuedCommand {
  store::Arguments arguments;
  const FrontCommand* front = nullptr;  // null: a data command, executed by the region
};

struct Transaction {
  // Of a watch beside its key's bytes.
  static constexpr size_t kBytesPerWatch = sizeof(std::pair<const std::string, uint64_t>) + 32;

  bool open = false;
  bool refused = false;  // a command could not be queued: EXEC answers EXECABORT
  std::vector<QueuedCommand> queue;
  std::optional<uint16_t> slot;  // of the queued keys
  size_t bytes = 0;              // of the queue

  // By key, from when the node is asked; 0 until it has told the version. EXEC waits for all of them.
  std::map<std::string, uint64_t> watches;
  size_t watch_bytes = 0;
  std::optional<uint16_t> watch_slot;
  std::optional<DatabaseId> watch_database;
  // A WATCH failed: it is not known whether its keys change, so EXEC answers as if one had.
  bool watch_failed = false;
  // Rises whenever the watches are dropped; a WATCH answered by the node later than that adds nothing.
  uint64_t watch_generation = 0;

  // Ends MULTI; watches stay.
  void Close() {
    open = false;
    refused = false;
    queue.clear();
    slot.reset();
    bytes = 0;
  }
  void AddWatch(const std::string& key) {
    if (watches.try_emplace(key, 0).second) watch_bytes += key.size() + kBytesPerWatch;
  }
  std::vector<store::WatchedKey> TakeWatches() {
    std::vector<store::WatchedKey> taken;
    taken.reserve(watches.size());
    while (!watches.empty()) {
      auto watch = watches.extract(watches.begin());
      taken.push_back({.key = std::move(watch.key()), .version = watch.mapped()});
    }
    DropWatches();
    return taken;
  }
  void DropWatches() {
    watches.clear();
    watch_bytes = 0;
    watch_slot.reset();
    watch_database.reset();
    watch_failed = false;
    ++watch_generation;
  }
};

}  // namespace tenure::resp
