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
    if (VersionIn(keys, watch.key) != watch.version) return false;
  }
  return true;
}

// A transaction is done where its slot is, or not at all.
std::optional<Reply> CheckTransaction(const WriteCommand& command, const RegionRange& range) {
  for (const WatchedKey& watch : command.watches) {
    if (!range.Serves(SlotOfKey(watch.key)))
      return Reply::Error("TRYAGAIN The region does not hold this slot any more");
  }
  for (const Arguments& arguments : command.commands) {
    const CommandSpec* const spec = arguments.empty() ? nullptr : FindCommand(arguments[0]);
    if (spec == nullptr || !CheckArity(*spec, arguments).ok()) continue;  // that command's own error
    if (auto error = CheckSlots(*spec, arguments, range)) return error;
  }
  return std::nullopt;
}

Reply ExecuteTransaction(const WriteCommand& command, const RegionRange& range, Writer& keys) {
  if (auto error = CheckTransaction(command, range)) return *std::move(error);
  if (!WatchesHold(command.watches, keys)) return Reply::Null();
  std::vector<Reply> replies;
  replies.reserve(command.commands.size());
  for (const Arguments& arguments : command.commands) replies.push_back(Execute(arguments, range, keys));
  return Reply::Array(std::move(replies));
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
  return Reply::Integer(static_cast<int64_t>(expired.size()));
}

}  // namespace

void RegionStore::Load(const kv::Reader& state) {
  range_ = RegionRange();
  range_.slots = initial_;
  if (const auto stored = state.Get(std::string_view(&kRangePrefix, 1))) range_ = DecodeRegionRange(*stored);
}

int64_t RegionStore::NewestMillis(const kv::Reader& state) {
  return Keyspace(state, WallTime()).counters().newest_ms;
}

Reply RegionStore::Apply(const WriteCommand& command, LogIndex index, kv::View& state) {
  if (command.kind == WriteCommand::Kind::kRange) {
    TENURE_CHECK(command.range.has_value(), "a command of kind kRange has no range");
    return ApplyRangeCommand(*command.range, range_, state);
  }
  Writer keys(state, command.now, LogIndex(VersionBound(index)), command.max_value_bytes);
  Reply reply;
  switch (command.kind) {
    case WriteCommand::Kind::kSingle:
      TENURE_CHECK(command.commands.size() == 1, "a single command has {} commands", command.commands.size());
      reply = Execute(command.commands[0], range_, keys);
      break;
    case WriteCommand::Kind::kTransaction:
      reply = ExecuteTransaction(command, range_, keys);
      break;
    case WriteCommand::Kind::kSweep:
      reply = range_.IsMoving() ? Reply::Integer(0) : Sweep(command.sweep_limit, keys);
      break;
    case WriteCommand::Kind::kRange:
      break;
  }
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

uint64_t RegionStore::VersionOf(std::string_view key, WallTime now, const kv::Reader& state) const {
  Keyspace keys(state, now);
  return VersionIn(keys, key);
}

}  // namespace tenure::store
