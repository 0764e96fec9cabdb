// SCAN over the regions of a database that this node leads, in the order of their slots.
//
// A cursor is (number << 16) | (slot + 1): the scan goes on in `slot`, at the place that `number` stands for
// in a bounded table of this node, or at the slot's first key if the number is 0 or has been forgotten (the
// table was full, the node restarted, another node is asked). Going back to a slot's first key repeats keys,
// which SCAN may do; no key that was there all the time is ever missed on a node that leads its region all
// the time.
//
// Threading:  one executor.
// Bounds:     kMaxPositions places of together kMaxPositionBytes; the oldest are forgotten.
// Invariants: C1 0 is no cursor of a scan that goes on.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "group/group_host.h"
#include "node/data_service.h"
#include "node/node_options.h"
#include "node/region_table.h"
#include "node/row_schemas.h"
#include "runtime/task.h"

namespace tenure::node {

class ScanCursors {
 public:
  static constexpr size_t kMaxPositions = 4096;
  static constexpr size_t kMaxPositionBytes = size_t{8} << 20;

  // Goes on at the first key of `slot`; the slot after the last one ends the scan: cursor 0.
  static uint64_t AtSlot(uint32_t slot);
  // Goes on at `position` (as RegionStore::Scan gives it: a slot and what only it reads).
  uint64_t AtPosition(std::string position);
  // The position to go on from: at least the slot. None if the cursor names no slot.
  std::optional<std::string> PositionOf(uint64_t cursor) const;

 private:
  uint64_t next_number_ = 1;
  size_t bytes_ = 0;
  std::map<uint64_t, std::string> positions_;  // by number, so the first is the oldest
};

class Scanner {
 public:
  Scanner(runtime::Executor& executor, group::GroupHost& host, RegionTable& table,
          const RowSchemaTable& schemas, const NodeOptions& options);
  ~Scanner();
  Scanner(const Scanner&) = delete;
  Scanner& operator=(const Scanner&) = delete;

  void Scan(DatabaseId database, uint64_t cursor, size_t count, std::optional<std::string> match,
            std::optional<std::string> type, Callback<Outcome> done);
  void StopAndJoin(Closure joined) { scope_.StopAndJoin(std::move(joined)); }

 private:
  struct Step {
    DatabaseId database;
    std::string position;
    size_t count = 0;  // keys to look at, found or not
    size_t seen = 0;
    std::optional<std::string> match;
    std::optional<std::string> type;
    Callback<Outcome> done;
  };
  runtime::Task<void> Run(Step step);
  // Reads the keys of one region; false when the step is complete, with its next cursor.
  bool ReadRegion(const Region& region, Step& step, std::vector<store::Reply>& keys, uint64_t* cursor);
  const Region* NextLed(DatabaseId database, uint16_t slot);

  runtime::Executor& executor_;
  group::GroupHost& host_;
  RegionTable& table_;
  const RowSchemaTable& schemas_;
  const NodeOptions& options_;
  ScanCursors cursors_;
  runtime::TaskScope scope_;
};

}  // namespace tenure::node
