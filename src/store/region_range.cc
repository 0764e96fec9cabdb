#include "store/region_range.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"
#include "base/codec.h"
#include "base/format.h"
#include "base/hash.h"

namespace tenure::store {
namespace {

using Op = RangeCommand::Op;

constexpr uint8_t kHasSlots = 1;
constexpr uint8_t kHasOutgoing = 2;
constexpr uint8_t kHasIncoming = 4;
constexpr uint8_t kHasTimestamps = 8;  // from format 5 of the cluster on

void PutSlots(const SlotRange& slots, std::string& out) {
  PutBigEndian16(out, slots.first);
  PutBigEndian16(out, slots.last);
}

SlotRange ReadSlots(ByteReader& reader) {
  const std::string_view bytes = reader.Raw(4);
  if (!reader.ok()) return {};
  return {GetBigEndian16(bytes.data()), GetBigEndian16(bytes.data() + 2)};
}

std::string TextOf(const SlotRange& slots) {
  return fmt::format("{}-{}", slots.first, slots.last);
}

Status Refuse(std::string text) {
  return Error(StatusCode::kFailedPrecondition, "{}", text);
}

// What is left of `from` without `part`, which is at one of its ends or all of it.
[[maybe_unused]] std::optional<SlotRange> Without(const SlotRange& from, const SlotRange& part) {
  if (part == from) return std::nullopt;
  if (part.first == from.first) return SlotRange{static_cast<uint16_t>(part.last + 1), from.last};
  return SlotRange{from.first, static_cast<uint16_t>(part.first - 1)};
}

bool IsAtAnEnd(const SlotRange& part, const SlotRange& of) {
  return part.first <= part.last && of.Contains(part) && (part.first == of.first || part.last == of.last);
}

bool IsAdjacent(const SlotRange& a, const SlotRange& b) {
  return a.last + 1 == b.first || b.last + 1 == a.first;
}

Status CheckVersion(const RangeCommand& command, const RegionRange& range) {
  if (command.if_version == range.version) return OkStatus();
  return Refuse(
      fmt::format("version {} of the range is in force, expected {}", range.version, command.if_version));
}

Status CheckOutgoing(const RangeCommand& command, const RegionRange& range) {
  if (range.outgoing && range.outgoing->procedure == command.procedure) return OkStatus();
  return Refuse(fmt::format("procedure {} has frozen nothing here", command.procedure));
}

Status CheckIncoming(const RangeCommand& command, const RegionRange& range) {
  if (range.incoming && range.incoming->procedure == command.procedure) return OkStatus();
  return Refuse(fmt::format("procedure {} copies nothing to here", command.procedure));
}

Status Freeze(const RangeCommand& command, RegionRange& range) {
  if (range.IsMoving()) return Refuse("slots of the region are being moved already");
  if (!range.slots || !IsAtAnEnd(command.slots, *range.slots)) {
    return Refuse(fmt::format("slots {} are not at an end of the region's {}", TextOf(command.slots),
                              range.slots ? TextOf(*range.slots) : "none"));
  }
  range.outgoing = {.slots = command.slots, .procedure = command.procedure};
  return OkStatus();
}

Status Release(const RangeCommand& command, RegionRange& range) {
  if (const Status mine = CheckOutgoing(command, range); !mine.ok()) return mine;
  if (range.outgoing->released) return Refuse("the slots are released already");
#ifndef TENURE_MUTANT_serve_after_release
  range.slots = Without(*range.slots, range.outgoing->slots);
#endif
  range.outgoing->released = true;
  range.changed_by = command.procedure;
  range.hidden_keys += command.keys;
  return OkStatus();
}

Status Import(const RangeCommand& command, RegionRange& range) {
  const bool again = range.incoming && range.incoming->procedure == command.procedure;
  if (again && range.incoming->complete) return Refuse("the copy is complete");
  if (!again) {
    if (const Status version = CheckVersion(command, range); !version.ok()) return version;
    if (range.IsMoving()) return Refuse("slots of the region are being moved already");
  }
  if (command.slots.first > command.slots.last ||
      (range.slots && (range.slots->Overlaps(command.slots) || !IsAdjacent(*range.slots, command.slots)))) {
    return Refuse(fmt::format("slots {} are not beside the region's", TextOf(command.slots)));
  }
  range.incoming = {.slots = command.slots, .procedure = command.procedure, .copy = range.version + 1};
  return OkStatus();
}

Status Complete(const RangeCommand& command, RegionRange& range) {
  if (const Status mine = CheckIncoming(command, range); !mine.ok()) return mine;
  IncomingSlots& incoming = *range.incoming;
  if (incoming.copy != command.if_version) return Refuse("another copy has begun");
  if (incoming.pairs != command.pair_count || incoming.keys != command.keys ||
      incoming.hash != command.hash) {
    return Refuse(fmt::format("{} pairs, {} keys and hash {:x} are here, {}, {} and {:x} were sent",
                              incoming.pairs, incoming.keys, incoming.hash, command.pair_count, command.keys,
                              command.hash));
  }
  incoming.complete = true;
  range.version_base = std::max(range.version_base, command.version_base);
  return OkStatus();
}

Status Open(const RangeCommand& command, RegionRange& range) {
  if (const Status mine = CheckIncoming(command, range); !mine.ok()) return mine;
  const IncomingSlots& incoming = *range.incoming;
  if (!incoming.complete) return Refuse("the copy is not complete");
  if (range.slots) {
    range.slots = SlotRange{std::min(range.slots->first, incoming.slots.first),
                            std::max(range.slots->last, incoming.slots.last)};
  } else {
    range.slots = incoming.slots;
  }
  range.changed_by = command.procedure;
  range.hidden_keys -= std::min(range.hidden_keys, incoming.keys);
  range.incoming.reset();
  return OkStatus();
}

Status End(const RangeCommand& command, RegionRange& range) {
  if (range.outgoing && range.outgoing->procedure == command.procedure) {
    if (range.outgoing->released) range.hidden_keys = 0;
    range.outgoing.reset();
  } else if (range.incoming && range.incoming->procedure == command.procedure) {
    range.outgoing = {.slots = range.incoming->slots, .procedure = command.procedure, .released = true};
    range.incoming.reset();
  }
  return OkStatus();
}

Status ChangeUnversioned(const RangeCommand& command, RegionRange& range) {
  switch (command.op) {
    case Op::kFreeze:
      return Freeze(command, range);
    case Op::kRelease:
      return Release(command, range);
    case Op::kImport:
      return Import(command, range);
    case Op::kOpen:
      return Open(command, range);
    case Op::kEnd:
      return End(command, range);
    case Op::kComplete:
    case Op::kClear:
    case Op::kChunk:
      break;
  }
  return Refuse("no change of a range");
}

}  // namespace

Status ChangeRange(const RangeCommand& command, RegionRange& range) {
  if (command.op == Op::kComplete) return Complete(command, range);
  if (std::tie(command.incarnation, command.epoch) < std::tie(range.incarnation, range.epoch)) {
    return Refuse(fmt::format("leadership epoch {} of incarnation {} is over: {} of {} was here",
                              command.epoch, command.incarnation, range.epoch, range.incarnation));
  }
  if (command.op != Op::kImport) {
    if (const Status version = CheckVersion(command, range); !version.ok()) return version;
  }
  RegionRange next = range;
  if (const Status changed = ChangeUnversioned(command, next); !changed.ok()) return changed;
  next.incarnation = command.incarnation;
  next.epoch = command.epoch;
  ++next.version;
  range = std::move(next);
  return OkStatus();
}

uint64_t HashOfPair(std::string_view key, std::string_view value) {
  return HashBytes(value, HashBytes(key));
}

// ---- encodings ----

std::string EncodeRegionRange(const RegionRange& range) {
  std::string out;
  const OutgoingSlots given = range.outgoing.value_or(OutgoingSlots());
  const bool timestamps = range.opened_ts != 0 || given.released_ts != 0 || given.keeps_changes;
  out.push_back(static_cast<char>((range.slots ? kHasSlots : 0) | (range.outgoing ? kHasOutgoing : 0) |
                                  (range.incoming ? kHasIncoming : 0) | (timestamps ? kHasTimestamps : 0)));
  for (const uint64_t number : {range.version, range.incarnation, range.epoch, range.changed_by,
                                range.version_base, range.hidden_keys}) {
    PutVarint(out, number);
  }
  if (range.slots) PutSlots(*range.slots, out);
  if (range.outgoing) {
    PutSlots(range.outgoing->slots, out);
    PutVarint(out, range.outgoing->procedure);
    out.push_back(range.outgoing->released ? 1 : 0);
  }
  if (range.incoming) {
    const IncomingSlots& incoming = *range.incoming;
    PutSlots(incoming.slots, out);
    for (const uint64_t number : {incoming.procedure, incoming.copy, incoming.next_chunk, incoming.pairs,
                                  incoming.keys, incoming.hash}) {
      PutVarint(out, number);
    }
    out.push_back(incoming.complete ? 1 : 0);
  }
  if (timestamps) {
    PutVarint(out, range.opened_ts);
    PutVarint(out, given.released_ts);
    out.push_back(given.keeps_changes ? 1 : 0);
  }
  return out;
}

RegionRange DecodeRegionRange(std::string_view encoded) {
  ByteReader reader(encoded);
  RegionRange range;
  const uint8_t parts = reader.Byte();
  for (uint64_t* number : {&range.version, &range.incarnation, &range.epoch, &range.changed_by,
                           &range.version_base, &range.hidden_keys}) {
    *number = reader.Varint();
  }
  if ((parts & kHasSlots) != 0) range.slots = ReadSlots(reader);
  if ((parts & kHasOutgoing) != 0) {
    OutgoingSlots& outgoing = range.outgoing.emplace();
    outgoing.slots = ReadSlots(reader);
    outgoing.procedure = reader.Varint();
    outgoing.released = reader.Byte() != 0;
  }
  if ((parts & kHasIncoming) != 0) {
    IncomingSlots& incoming = range.incoming.emplace();
    incoming.slots = ReadSlots(reader);
    for (uint64_t* number : {&incoming.procedure, &incoming.copy, &incoming.next_chunk, &incoming.pairs,
                             &incoming.keys, &incoming.hash}) {
      *number = reader.Varint();
    }
    incoming.complete = reader.Byte() != 0;
  }
  if ((parts & kHasTimestamps) != 0) {
    range.opened_ts = reader.Varint();
    OutgoingSlots given;
    given.released_ts = reader.Varint();
    given.keeps_changes = reader.Byte() != 0;
    if (range.outgoing) {
      range.outgoing->released_ts = given.released_ts;
      range.outgoing->keeps_changes = given.keeps_changes;
    }
  }
  TENURE_CHECK(reader.AtEnd() && (parts & ~(kHasSlots | kHasOutgoing | kHasIncoming | kHasTimestamps)) == 0,
               "the region's range is damaged, or of a newer version ({} bytes)", encoded.size());
  return range;
}

std::string_view NameOf(Op op) {
  switch (op) {
    case Op::kFreeze:
      return "freeze";
    case Op::kRelease:
      return "release";
    case Op::kImport:
      return "import";
    case Op::kClear:
      return "clear";
    case Op::kChunk:
      return "chunk";
    case Op::kComplete:
      return "complete";
    case Op::kOpen:
      return "open";
    case Op::kEnd:
      return "end";
  }
  return "unknown";
}

void EncodeRangeCommand(const RangeCommand& command, std::string& out) {
  out.push_back(static_cast<char>(command.op));
  for (const uint64_t number : {command.procedure, command.incarnation, command.epoch, command.if_version,
                                command.chunk, command.limit, command.keys, command.pair_count, command.hash,
                                command.version_base, static_cast<uint64_t>(command.newest_ms)}) {
    PutVarint(out, number);
  }
  PutSlots(command.slots, out);
  PutVarint(out, command.pairs.size());
  for (const auto& [key, value] : command.pairs) {
    PutPrefixed(out, key);
    PutPrefixed(out, value);
  }
  if (command.after_ts == 0 && !command.keep_changes) return;
  PutVarint(out, command.after_ts);
  out.push_back(command.keep_changes ? 1 : 0);
}

bool DecodeRangeCommand(std::string_view bytes, RangeCommand& command) {
  ByteReader reader(bytes);
  command.op = static_cast<Op>(reader.Byte());
  uint64_t newest_ms = 0;
  for (uint64_t* number : {&command.procedure, &command.incarnation, &command.epoch, &command.if_version,
                           &command.chunk, &command.limit, &command.keys, &command.pair_count, &command.hash,
                           &command.version_base, &newest_ms}) {
    *number = reader.Varint();
  }
  command.newest_ms = static_cast<int64_t>(newest_ms);
  command.slots = ReadSlots(reader);
  const uint64_t pairs = reader.Varint();
  if (!reader.ok() || pairs > reader.rest().size()) return false;
  for (uint64_t i = 0; i < pairs && reader.ok(); ++i) {
    const std::string_view key = reader.Prefixed();
    command.pairs.emplace_back(key, reader.Prefixed());
  }
  if (reader.ok() && !reader.rest().empty()) {
    command.after_ts = reader.Varint();
    command.keep_changes = reader.Byte() != 0;
  }
  return reader.AtEnd() && command.op >= Op::kFreeze && command.op <= Op::kEnd;
}

}  // namespace tenure::store
