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

size_t EncodedSize(const WriteCommand& command) {
  size_t size = 32;
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
    default:
      return Malformed(fmt::format("kind {}", static_cast<int>(command.kind)));
  }
  if (!reader.AtEnd()) return Malformed(fmt::format("{} bytes are left over", reader.rest().size()));
  return command;
}

}  // namespace tenure::store
