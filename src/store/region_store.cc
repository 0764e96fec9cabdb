#include "store/region_store.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/hash.h"
#include "store/command_list.h"
#include "store/dispatch.h"
#include "store/keyspace.h"
#include "store/range_copy.h"

namespace tenure::store {
namespace {

Reply ErrorReply(const Status& status) {
  return Reply::Error(fmt::format("ERR {}", MessageOf(status)));
}

std::optional<Reply> CheckSlots(const CommandSpec& spec, const Arguments& arguments,
                                const RegionRange& range) {
  bool served = true;
  bool frozen = false;
  VisitKeys(spec, arguments, [&](std::string_view key) {
    const uint16_t slot = SlotOfKey(key);
    served = served && range.Serves(slot);
    frozen = frozen || range.IsFrozen(slot);
    return served;
  });
  if (!served) return Reply::Error("TRYAGAIN The region does not hold this slot any more");
  if (frozen && spec.write) return Reply::Error("TRYAGAIN The slot is moving to another region");
  return std::nullopt;
}

// An error if the command cannot be executed in a region that serves these slots.
std::optional<Reply> CheckExecutable(const CommandSpec* spec, const Arguments& arguments,
                                     const RegionRange& range) {
  if (spec == nullptr) return ErrorReply(UnknownCommand(arguments));
  if (const Status arity = CheckArity(*spec, arguments); !arity.ok()) return ErrorReply(arity);
  return CheckSlots(*spec, arguments, range);
}

Reply Execute(const Arguments& arguments, const RegionRange& range, Writer& keys) {
  const CommandSpec* const spec = arguments.empty() ? nullptr : FindCommand(arguments[0]);
  if (auto error = CheckExecutable(spec, arguments, range)) return *std::move(error);
  const Implementation& implementation = ImplementationOf(*spec);
  return spec->write ? implementation.write(keys, arguments) : implementation.read(keys, arguments);
}

uint64_t VersionIn(Keyspace& keys, std::string_view key) {
  const Entry entry = keys.Find(key);
  return entry.exists ? entry.header.version : 0;
}

bool WatchesHold(const std::vector<WatchedKey>& watches, Keyspace& keys) {
#ifdef TENURE_MUTANT_exec_ignores_watches
  return true;
#endif
  for (const WatchedKey& watch : watches) {
    uint64_t version = 0;
    if (watch.table == 0) {
      version = VersionIn(keys, watch.key);
    } else if (const Row row = FindRow({.table = watch.table, .slot = watch.slot, .key = watch.key}, keys);
               row.exists) {
      version = row.version;
    }
    if (version != watch.version) return false;
  }
  return true;
}

constexpr std::string_view kSlotIsElsewhere = "TRYAGAIN The region does not hold this slot any more";

// A transaction is done where its slot is, or not at all.
std::optional<Reply> CheckTransaction(const WriteCommand& command, const RegionRange& range) {
  for (const WatchedKey& watch : command.watches) {
    if (!range.Serves(watch.table == 0 ? SlotOfKey(watch.key) : watch.slot))
      return Reply::Error(std::string(kSlotIsElsewhere));
  }
  for (const Arguments& arguments : command.commands) {
    const CommandSpec* const spec = arguments.empty() ? nullptr : FindCommand(arguments[0]);
    if (spec == nullptr || !CheckArity(*spec, arguments).ok()) continue;  // that command's own error
    if (auto error = CheckSlots(*spec, arguments, range)) return error;
  }
  return std::nullopt;
}

// An error if rows are not to be touched as the command says: a slot that is elsewhere, an older schema.
std::optional<Reply> CheckRows(const RowCommand& command, const RegionRange& range, const kv::Reader& state) {
  for (const RowKey& key : command.keys) {
    if (!range.Serves(key.slot)) return Reply::Error(std::string(kSlotIsElsewhere));
    if (range.IsFrozen(key.slot) && IsWrite(command.operation))
      return Reply::Error("TRYAGAIN The slot is moving to another region");
    if (key.table == 0) continue;
#ifdef TENURE_MUTANT_row_version_unchecked
    continue;
#endif
    if (auto error = CheckSchema(key.table, key.version, state)) return error;
  }
  return std::nullopt;
}

std::optional<Reply> CheckSteps(const WriteCommand& command, const RegionRange& range,
                                const kv::Reader& state) {
  if (auto error = CheckTransaction(command, range)) return error;
  for (const Step& step : command.steps) {
    if (const auto* const rows = std::get_if<RowCommand>(&step)) {
      if (auto error = CheckRows(*rows, range, state)) return error;
    } else if (const auto* const words = std::get_if<Arguments>(&step)) {
      const CommandSpec* const spec = FindCommand((*words)[0]);
      if (spec == nullptr || !CheckArity(*spec, *words).ok()) continue;  // that command's own error
      if (auto error = CheckSlots(*spec, *words, range)) return error;
    }
  }
  return std::nullopt;
}

// What EXEC is answered with. All commands are executed whatever the replies take.
class TransactionReplies {
 public:
  explicit TransactionReplies(size_t count) { replies_.reserve(count); }
  void Add(Reply reply) {
    const size_t bytes = ReplyBytes(reply);
    if (bytes > kMaxReplyBytes - bytes_) {
      replies_.push_back(Reply::Error(fmt::format(
          "ERR executed, but the reply is left out: those of the transaction would take more than {} bytes",
          kMaxReplyBytes)));
      return;
    }
    bytes_ += bytes;
    replies_.push_back(std::move(reply));
  }
  Reply Take() { return Reply::Array(std::move(replies_)); }

 private:
  std::vector<Reply> replies_;
  size_t bytes_ = 0;
};

Reply ExecuteSteps(const WriteCommand& command, const RegionRange& range, Writer& keys) {
  if (auto error = CheckSteps(command, range, keys.state())) return *std::move(error);
  if (command.kind == WriteCommand::Kind::kRows)
    return WriteRows(std::get<RowCommand>(command.steps.at(0)), keys);
  if (!WatchesHold(command.watches, keys)) return Reply::Null();
  TransactionReplies replies(command.steps.size());
  for (const Step& step : command.steps) {
    if (const auto* const rows = std::get_if<RowCommand>(&step)) {
      replies.Add(WriteRows(*rows, keys));
    } else if (const auto* const words = std::get_if<Arguments>(&step)) {
      replies.Add(Execute(*words, range, keys));
    } else {
      replies.Add(std::get<Reply>(step));
    }
  }
  return replies.Take();
}

Reply ExecuteTransaction(const WriteCommand& command, const RegionRange& range, Writer& keys) {
  if (auto error = CheckTransaction(command, range)) return *std::move(error);
  TransactionReplies replies(command.commands.size());
  if (command.commands.empty() && command.watches.size() == 1 &&
      command.watches[0].version == kAskForVersion) {
    replies.Add(Reply::Integer(static_cast<int64_t>(VersionIn(keys, command.watches[0].key))));
    return replies.Take();
  }
  if (!WatchesHold(command.watches, keys)) return Reply::Null();
  for (const Arguments& arguments : command.commands) replies.Add(Execute(arguments, range, keys));
  return replies.Take();
}

Reply Sweep(uint32_t limit, Writer& keys) {
  // First read, then write: an iterator does not promise what it shows of later writes.
  std::vector<std::string> expired;
  const auto iterator = keys.state().NewIterator(ExpiryKey(0, 0, {}), ExpiryKey(keys.NowMillis(), 0, {}));
  for (; iterator->Valid() && expired.size() < limit; iterator->Next()) {
    expired.emplace_back(KeyOfExpiryKey(iterator->key()));
  }
  for (const std::string& key : expired) {
    const Entry entry = keys.Open(key);
    TENURE_CHECK(!entry.exists, "S2: the expiry index names a key of {} bytes that has not expired",
                 key.size());
  }
  const auto keys_removed = static_cast<uint32_t>(expired.size());
  return Reply::Integer(int64_t{keys_removed} + SweepRows(limit - keys_removed, keys));
}

Reply ExecuteOnKeys(const WriteCommand& command, const RegionRange& range, Writer& keys) {
  switch (command.kind) {
    case WriteCommand::Kind::kSingle:
      TENURE_CHECK(command.commands.size() == 1, "a single command has {} commands", command.commands.size());
      return Execute(command.commands[0], range, keys);
    case WriteCommand::Kind::kTransaction:
      return ExecuteTransaction(command, range, keys);
    case WriteCommand::Kind::kSweep:
      return range.IsMoving() ? Reply::Integer(0) : Sweep(command.sweep_limit, keys);
    case WriteCommand::Kind::kRows:
    case WriteCommand::Kind::kRowTransaction:
      return ExecuteSteps(command, range, keys);
    default:
      TENURE_CHECK(false, "a command of kind {} does not concern keys", static_cast<int>(command.kind));
  }
}

Reply ApplySchema(const SchemaCommand& command, ChangeWriter& changes, kv::View& state) {
  const SchemaMark before = FindSchemaMark(command.table, state);
  Reply reply = ApplySchemaCommand(command, state);
  const SchemaMark after = FindSchemaMark(command.table, state);
  if (changes.keeps() && after != before) {
    changes.Append(
        {.kind = ChangeRecord::Kind::kSchema, .table = command.table, .schema_version = after.version});
  }
  return reply;
}

}  // namespace

void RegionStore::Load(const kv::Reader& state) {
  range_ = RegionRange();
  range_.slots = initial_;
  if (const auto stored = state.Get(std::string_view(&kRangePrefix, 1))) range_ = DecodeRegionRange(*stored);
  log_ = LoadChangeLogState(state);
}

int64_t RegionStore::NewestMillis(const kv::Reader& state) {
  return Keyspace(state, WallTime()).counters().newest_ms;
}

Reply RegionStore::Apply(const WriteCommand& command, LogIndex index, kv::View& state) {
  ChangeWriter changes(log_, command.now, index, state);
  Reply reply = Execute(command, index, changes, state);
  changes.Finish();
  return reply;
}

Reply RegionStore::Execute(const WriteCommand& command, LogIndex index, ChangeWriter& changes,
                           kv::View& state) {
  switch (command.kind) {
    case WriteCommand::Kind::kRange:
      TENURE_CHECK(command.range.has_value(), "a command of kind kRange has no range");
      return ApplyRangeCommand(*command.range, range_, changes, state);
    case WriteCommand::Kind::kSchema:
      TENURE_CHECK(command.schema.has_value(), "a command of kind kSchema has no schema");
      return ApplySchema(*command.schema, changes, state);
    case WriteCommand::Kind::kKeepChanges:
      TENURE_CHECK(command.keep_changes.has_value(), "a command of kind kKeepChanges says nothing");
      changes.Keep(*command.keep_changes);
      return Reply::Ok();
    case WriteCommand::Kind::kResolve:
      if (changes.keeps()) changes.Advance();
      return Reply::Ok();
    default:
      break;
  }
  Writer keys(state, command.now, LogIndex(VersionBound(index)), command.max_value_bytes,
              changes.keeps() ? &changes : nullptr);
  Reply reply = ExecuteOnKeys(command, range_, keys);
  keys.Finish();
  return reply;
}

Reply RegionStore::Read(const Arguments& arguments, WallTime now, const kv::Reader& state) const {
  const CommandSpec* const spec = arguments.empty() ? nullptr : FindCommand(arguments[0]);
  if (auto error = CheckExecutable(spec, arguments, range_)) return *std::move(error);
  if (spec->write) return Reply::Error(fmt::format("ERR '{}' writes and was given to be read", spec->name));
  Keyspace keys(state, now);
  return ImplementationOf(*spec).read(keys, arguments);
}

Reply RegionStore::Read(const RowCommand& command, WallTime now, const kv::Reader& state) const {
  for (const RowKey& key : command.keys) {
    if (!range_.Serves(key.slot)) return Reply::Error(std::string(kSlotIsElsewhere));
  }
  Keyspace keys(state, now);
  return ReadRows(command, keys);
}

uint64_t RegionStore::VersionOf(std::string_view key, WallTime now, const kv::Reader& state) const {
  Keyspace keys(state, now);
  return VersionIn(keys, key);
}

}  // namespace tenure::store
