// The state machine of one region: Redis' plain keys (strings and hashes with expiry) in a range of hash
// slots. A write command is replicated as it was sent, together with the leader's time, and executed by every
// replica; reads execute the same code on the leader's (or a READONLY follower's) state.
//
// Expired means: the time is later than the expiry. Reads take an expired key for absent; a write that
// touches one removes it first; a sweep removes those that nobody touches.
//
// Driven by node/ (the adapter to group::StateMachine). Knows nothing of consensus, leases or sockets.
// Threading: one owner; reads and applies do not overlap.
// Determinism: Apply depends on the state and the command alone, not on this replica's settings (the limit
//              that matters travels in the command) nor on its clock. Time never goes back in a region: where
//              a command's time matters to it, one below the newest that mattered before counts as that one.
// Errors: a command that Redis would refuse is a kError reply and changes nothing.
// Source: Redis 7.0 behaviour and texts; reference for tests: redis-server.
//
// Keys (docs/store-format.md), below the region's prefix:
//   k <slot:2> <key>          -> value record: type, version (log index of the last change), expiry, content
//   h <slot:2> <key length:4> <key> <hash of the field:4> <field>  -> value of a hash field
//   e <expiry ms:8> <slot:2> <key>  -> expiry index
//   s <table:8>               -> what it was told of a table (schema_state.h)
//   t <table:8> <slot:2> <key>  -> row of a table; `c` and `x` beside it: row_state.h
//   m                         -> region counters: keys, newest time that decided something
//   f, l <commit ts:8>        -> change log (change_log.h)
//   r                         -> the slots that it serves (region_range.h); none: those it began with
//
// Invariants: S1 `m` counts the `k` entries.
//             S2 every `k` entry with an expiry has exactly one `e` entry, and there are no others.
//             S3 a hash has as many `h` entries as its record says, at least one; there are no others.
//             S4 the newest time in `m` never goes down.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "base/time.h"
#include "kv/kv.h"
#include "store/change_log.h"
#include "store/command_table.h"
#include "store/region_range.h"
#include "store/reply.h"
#include "store/row_command.h"
#include "store/schema_state.h"

namespace tenure::store {

class RowSchemas;  // row_plan.h

// What one node accepts; settings may differ between nodes.
struct Limits {
  size_t max_key_bytes = 64 << 10;    // of a key, of the name of a hash field
  size_t max_value_bytes = 32 << 20;  // of a value, of a hash field, of a string after APPEND or SETRANGE
};

// WATCHed key: EXEC is refused (null reply) if the key's version is no longer this. 0: the key was absent. A
// key that was absent, was written and is absent again counts as unchanged.
struct WatchedKey {
  std::string key;  // of a row: what stands behind "table:"
  uint64_t version = 0;
  uint64_t table = 0;  // 0: a plain key
  uint16_t slot = 0;   // of a row
};
// As the version of the only key of a kTransaction without commands: tells the key's version. A program that
// does not know this does the same to the state; what it replies does not matter, as it did not propose it.
constexpr uint64_t kAskForVersion = UINT64_MAX;

// One command of a region's log: plain keys' as it was sent, rows' as it was planned, or an answer that was
// known before, which has its place in a transaction.
using Step = std::variant<Arguments, RowCommand, Reply>;

// What goes through a region's log.
struct WriteCommand {
  WallTime now;
  enum class Kind : uint8_t {
    kSingle = 1,  // commands[0]; the result is its reply
    // MULTI/EXEC: all commands (reads too) or, if a watch failed, none; the result is an array or null.
    // With kAskForVersion: an array of the version.
    kTransaction = 2,
    kSweep = 3,   // removes up to `sweep_limit` keys expired at `now`; the result is how many
    kRange = 4,   // `range`: slots come or go; the result is an integer (kClear: keys removed) or an error
    kSchema = 5,  // `schema`: what the region is told of a table; the result is OK
    kRows = 6,    // steps[0], a RowCommand; the result is its reply
    // As kTransaction, of `steps`. If one of them was checked against a schema that is not in force any more,
    // nothing is done and the result is that error.
    kRowTransaction = 7,
    // `keep_changes`: a change log is kept from here on, or not, or what is not needed of it goes. The result
    // is OK.
    kKeepChanges = 8,
    // Nothing commits at or below `now` any more, if a change log is kept. The result is OK.
    kResolve = 9,
  };
  Kind kind = Kind::kSingle;
  std::vector<Arguments> commands;  // kSingle, kTransaction
  std::vector<WatchedKey> watches;
  uint32_t sweep_limit = 0;
  // The leader's Limits::max_value_bytes: APPEND and SETRANGE know the size of their result only here.
  uint64_t max_value_bytes = Limits{}.max_value_bytes;
  std::optional<RangeCommand> range = std::nullopt;
  std::optional<SchemaCommand> schema = std::nullopt;
  std::vector<Step> steps = {};  // kRows, kRowTransaction
  std::optional<KeepChangesCommand> keep_changes = std::nullopt;
};

void EncodeWriteCommand(const WriteCommand& command, std::string& out);
StatusOr<WriteCommand> DecodeWriteCommand(std::string_view bytes);

// Refusals that need no state, made before a command reaches the log: unknown command, arity, key and value
// sizes, options and numbers that are wrong whatever the key holds. Keys must share one slot (CROSSSLOT is
// the front end's check). The message is the error text with its code ("ERR ...").
Status Validate(const Arguments& arguments, const Limits& limits);
// The part of Validate that makes MULTI refuse to queue a command (and EXEC answer EXECABORT), as in Redis:
// unknown command, arity, sizes. What else is wrong is the command's reply in EXEC's array.
Status ValidateQueued(const Arguments& arguments, const Limits& limits);

class RegionStore {
 public:
  // `initial`: what it serves until its own state says something else; none: nothing.
  explicit RegionStore(std::optional<SlotRange> initial) : initial_(initial) { range_.slots = initial; }

  // The state was replaced as a whole.
  void Load(const kv::Reader& state);
  // As of the last command applied, or as SetRange said: for a store that only reads.
  const RegionRange& range() const { return range_; }
  const ChangeLogState& change_log() const { return log_; }
  void SetRange(const RegionRange& range) { range_ = range; }

  // Applies a decoded command; `index` becomes the version of what it changes. Checks again what Validate
  // checks, except for sizes. A key in a slot that is not served, or a write to one that is frozen:
  // -TRYAGAIN, and nothing of the command or transaction is done.
  Reply Apply(const WriteCommand& command, LogIndex index, kv::View& state);

  // Executes a read command. `now` is the reader's wall clock. A write command: an error.
  Reply Read(const Arguments& arguments, WallTime now, const kv::Reader& state) const;
  Reply Read(const RowCommand& command, WallTime now, const kv::Reader& state) const;
  // Current version of a key for WATCH; 0 if absent or expired.
  uint64_t VersionOf(std::string_view key, WallTime now, const kv::Reader& state) const;

  // What follows walks over plain keys and, where `schemas` is not null, over the rows that it has names for;
  // plain keys that stand where the rows of a table stand are then left out: nobody can reach them.

  // Keys alive in a slot, up to `limit`: plain ones in their order, then rows (CLUSTER COUNTKEYSINSLOT,
  // GETKEYSINSLOT).
  std::vector<std::string> KeysInSlot(uint16_t slot, size_t limit, WallTime now, const kv::Reader& state,
                                      const RowSchemas* schemas = nullptr) const;
  uint64_t CountKeysInSlot(uint16_t slot, WallTime now, const kv::Reader& state,
                           const RowSchemas* schemas = nullptr) const;
  // Keys that are served, expired ones that no sweep has removed yet included (as Redis' DBSIZE), and plain
  // keys that nobody can reach.
  uint64_t KeyCount(const kv::Reader& state, const RowSchemas* schemas = nullptr) const;
  // One step of SCAN: keys from position `from` in order (of slots; in a slot plain keys, then rows by
  // table); `next` is empty when the region is exhausted. Looks at no more than `count` keys. A position is a
  // slot in two bytes and what only this function reads; empty: begin of the region.
  struct ScanResult {
    std::vector<std::string> keys;
    std::string next;
    size_t seen = 0;  // keys looked at
  };
  ScanResult Scan(std::string_view from, size_t count, std::optional<std::string_view> match,
                  std::optional<std::string_view> type, WallTime now, const kv::Reader& state,
                  const RowSchemas* schemas = nullptr) const;
  // True if some key or row is expired at `now`: a sweep is worth proposing. Not while slots come or go: what
  // is copied stays as it is.
  bool HasExpired(WallTime now, const kv::Reader& state) const;

  // The state as RegionExport wants it: the newest time in it, and a version above all that are in it, given
  // that `applied` is where the state stands.
  static int64_t NewestMillis(const kv::Reader& state);
  uint64_t VersionBound(LogIndex applied) const { return applied.value() + range_.version_base; }

 private:
  Reply Execute(const WriteCommand& command, LogIndex index, ChangeWriter& changes, kv::View& state);

  std::optional<SlotRange> initial_;
  RegionRange range_;
  ChangeLogState log_;  // as the state has it
};

}  // namespace tenure::store
