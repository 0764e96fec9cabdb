// The form in which a write command lies in a region's log: docs/store-format.md.

#include "base/check.h"
#include "base/codec.h"
#include "store/region_store.h"

namespace tenure::store {
namespace {

using Kind = WriteCommand::Kind;

Status Malformed(std::string_view what) {
  return Error(StatusCode::kDataLoss, "a region's log entry is malformed: {}", what);
}

void EncodeArguments(const Arguments& arguments, std::string& out) {
  PutVarint(out, arguments.size());
  for (const std::string& argument : arguments) PutPrefixed(out, argument);
}

// A count of things that take at least a byte each. More than there are bytes is malformed, not allocated.
std::optional<uint64_t> DecodeCount(ByteReader& reader) {
  const uint64_t count = reader.Varint();
  if (!reader.ok() || count > reader.rest().size()) return std::nullopt;
  return count;
}

bool DecodeArguments(ByteReader& reader, Arguments& arguments) {
  const auto count = DecodeCount(reader);
  if (!count || *count == 0) return false;
  arguments.reserve(*count);
  for (uint64_t i = 0; i < *count; ++i) arguments.emplace_back(reader.Prefixed());
  return reader.ok();
}

bool DecodeTransaction(ByteReader& reader, WriteCommand& command) {
  const auto watches = DecodeCount(reader);
  if (!watches) return false;
  for (uint64_t i = 0; i < *watches && reader.ok(); ++i) {
    const std::string_view key = reader.Prefixed();
    command.watches.push_back({std::string(key), reader.Varint()});
  }
  const auto commands = DecodeCount(reader);
  if (!commands) return false;
  for (uint64_t i = 0; i < *commands; ++i) {
    if (!DecodeArguments(reader, command.commands.emplace_back())) return false;
  }
  return true;
}

// What a step of kRowTransaction is.
enum class StepKind : uint8_t { kPlain = 1, kRows = 2, kAnswer = 3 };

void EncodeStep(const Step& step, std::string& out) {
  const auto put_kind = [&out](StepKind kind) { out.push_back(static_cast<char>(kind)); };
  if (const auto* const words = std::get_if<Arguments>(&step)) {
    put_kind(StepKind::kPlain);
    EncodeArguments(*words, out);
  } else if (const auto* const rows = std::get_if<RowCommand>(&step)) {
    put_kind(StepKind::kRows);
    EncodeRowCommand(*rows, out);
  } else {
    put_kind(StepKind::kAnswer);
    std::string reply;
    EncodeReply(std::get<Reply>(step), reply);
    PutPrefixed(out, reply);
  }
}

bool DecodeStep(ByteReader& reader, Step& step) {
  switch (static_cast<StepKind>(reader.Byte())) {
    case StepKind::kPlain:
      return DecodeArguments(reader, step.emplace<Arguments>());
    case StepKind::kRows:
      return DecodeRowCommand(reader, step.emplace<RowCommand>());
    case StepKind::kAnswer: {
      auto reply = DecodeReply(reader.Prefixed());
      if (reader.ok() && reply.ok()) step = *std::move(reply);
      return reader.ok() && reply.ok();
    }
  }
  return false;
}

void EncodeSteps(const WriteCommand& command, std::string& out) {
  PutVarint(out, command.watches.size());
  for (const WatchedKey& watch : command.watches) {
    EncodeRowKey({.table = watch.table, .version = watch.version, .slot = watch.slot, .key = watch.key}, out);
  }
  PutVarint(out, command.steps.size());
  for (const Step& step : command.steps) EncodeStep(step, out);
}

bool DecodeSteps(ByteReader& reader, WriteCommand& command) {
  const auto watches = DecodeCount(reader);
  if (!watches) return false;
  for (uint64_t i = 0; i < *watches && reader.ok(); ++i) {
    RowKey key = DecodeRowKey(reader);
    command.watches.push_back(
        {.key = std::move(key.key), .version = key.version, .table = key.table, .slot = key.slot});
  }
  const auto steps = DecodeCount(reader);
  if (!steps) return false;
  for (uint64_t i = 0; i < *steps; ++i) {
    if (!DecodeStep(reader, command.steps.emplace_back())) return false;
  }
  return true;
}

size_t EncodedSize(const WriteCommand& command) {
  size_t size = 32;
  for (const Step& step : command.steps) {
    const auto* const rows = std::get_if<RowCommand>(&step);
    if (rows == nullptr) continue;
    size += 64 + rows->keys[0].key.size();
    for (const std::string& value : rows->values) size += value.size() + 5;
  }
  for (const Arguments& arguments : command.commands) {
    size += 5;
    for (const std::string& argument : arguments) size += argument.size() + 5;
  }
  for (const WatchedKey& watch : command.watches) size += watch.key.size() + 15;
  return size;
}

}  // namespace

void EncodeWriteCommand(const WriteCommand& command, std::string& out) {
  out.reserve(out.size() + EncodedSize(command));
  out.push_back(static_cast<char>(command.kind));
  PutVarint(out, static_cast<uint64_t>(ToMillis(command.now)));
  PutVarint(out, command.max_value_bytes);
  switch (command.kind) {
    case Kind::kSingle:
      TENURE_CHECK(command.commands.size() == 1, "a single command has {} commands", command.commands.size());
      EncodeArguments(command.commands[0], out);
      return;
    case Kind::kTransaction:
      PutVarint(out, command.watches.size());
      for (const WatchedKey& watch : command.watches) {
        PutPrefixed(out, watch.key);
        PutVarint(out, watch.version);
      }
      PutVarint(out, command.commands.size());
      for (const Arguments& arguments : command.commands) EncodeArguments(arguments, out);
      return;
    case Kind::kSweep:
      PutVarint(out, command.sweep_limit);
      return;
    case Kind::kRange:
      TENURE_CHECK(command.range.has_value(), "a command of kind kRange has no range");
      EncodeRangeCommand(*command.range, out);
      return;
    case Kind::kSchema:
      TENURE_CHECK(command.schema.has_value(), "a command of kind kSchema has no schema");
      PutVarint(out, command.schema->table);
      PutVarint(out, command.schema->version);
      out.push_back(command.schema->drop ? 1 : 0);
      return;
    case Kind::kRows:
      TENURE_CHECK(command.steps.size() == 1, "a command on rows has {} steps", command.steps.size());
      EncodeRowCommand(std::get<RowCommand>(command.steps[0]), out);
      return;
    case Kind::kRowTransaction:
      EncodeSteps(command, out);
      return;
    case Kind::kKeepChanges: {
      TENURE_CHECK(command.keep_changes.has_value(), "a command of kind kKeepChanges says nothing");
      const KeepChangesCommand& keep = *command.keep_changes;
      out.push_back(keep.keep ? 1 : 0);
      for (const uint64_t number : {keep.floor_ts, keep.max_bytes, keep.incarnation, keep.revision})
        PutVarint(out, number);
      return;
    }
    case Kind::kResolve:
      return;
  }
}

StatusOr<WriteCommand> DecodeWriteCommand(std::string_view bytes) {
  ByteReader reader(bytes);
  WriteCommand command;
  command.kind = static_cast<Kind>(reader.Byte());
  command.now = WallFromMillis(static_cast<int64_t>(reader.Varint()));
  command.max_value_bytes = reader.Varint();
  if (!reader.ok()) return Malformed("its head is cut off");
  switch (command.kind) {
    case Kind::kSingle:
      if (!DecodeArguments(reader, command.commands.emplace_back())) return Malformed("the command");
      break;
    case Kind::kTransaction:
      if (!DecodeTransaction(reader, command)) return Malformed("the transaction");
      break;
    case Kind::kSweep:
      command.sweep_limit = static_cast<uint32_t>(reader.Varint());
      break;
    case Kind::kRange:
      if (!DecodeRangeCommand(reader.rest(), command.range.emplace()))
        return Malformed("the change of the range");
      return command;
    case Kind::kSchema: {
      SchemaCommand& schema = command.schema.emplace();
      schema.table = reader.Varint();
      schema.version = reader.Varint();
      const uint8_t drop = reader.Byte();
      if (!reader.ok() || drop > 1) return Malformed("the change of a schema");
      schema.drop = drop == 1;
      break;
    }
    case Kind::kRows:
      if (!DecodeRowCommand(reader, command.steps.emplace_back().emplace<RowCommand>()))
        return Malformed("the command on rows");
      break;
    case Kind::kRowTransaction:
      if (!DecodeSteps(reader, command)) return Malformed("the transaction with rows");
      break;
    case Kind::kKeepChanges: {
      KeepChangesCommand& keep = command.keep_changes.emplace();
      const uint8_t on = reader.Byte();
      for (uint64_t* number : {&keep.floor_ts, &keep.max_bytes, &keep.incarnation, &keep.revision})
        *number = reader.Varint();
      if (!reader.ok() || on > 1) return Malformed("the keeping of changes");
      keep.keep = on == 1;
      break;
    }
    case Kind::kResolve:
      break;
    default:
      return Malformed(fmt::format("kind {}", static_cast<int>(command.kind)));
  }
  if (!reader.AtEnd()) return Malformed(fmt::format("{} bytes are left over", reader.rest().size()));
  return command;
}

}  // namespace tenure::store
