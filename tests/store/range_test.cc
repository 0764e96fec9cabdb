// Slots that go from one region to another: what each side does at every point, and that nothing is lost or
// served twice.

#include <gtest/gtest.h>

#include "base/hash.h"
#include "base/prng.h"
#include "store/keyspace.h"
#include "store/range_copy.h"
#include "tests/store/random_commands.h"
#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

using Op = RangeCommand::Op;

constexpr uint64_t kProcedure = 7;
constexpr std::string_view kNotHeld = "(error) TRYAGAIN The region does not hold this slot any more";
constexpr std::string_view kFrozen = "(error) TRYAGAIN The slot is moving to another region";

struct Side {
  explicit Side(std::optional<SlotRange> slots) : store(slots) {}

  Reply Apply(WriteCommand command) {
    command.now = now;
    std::string encoded;
    EncodeWriteCommand(command, encoded);
    const StatusOr<WriteCommand> decoded = DecodeWriteCommand(encoded);
    EXPECT_TRUE(decoded.ok()) << MessageOf(decoded.status());
    index = index.Next();
    const Reply reply = store.Apply(*decoded, index, state);
    // A replica that starts now knows the same.
    RegionStore restarted(std::nullopt);
    if (state.Get("r")) {
      restarted.Load(state);
      EXPECT_EQ(restarted.range(), store.range());
    }
    return reply;
  }
  std::string Write(std::string_view line) { return Show(Apply({.commands = {Words(line)}})); }
  std::string Read(std::string_view line) { return Show(store.Read(Words(line), now, state)); }
  std::string Transaction(const std::vector<std::string>& lines, std::vector<WatchedKey> watches = {}) {
    WriteCommand command{.kind = WriteCommand::Kind::kTransaction, .watches = std::move(watches)};
    for (const std::string& line : lines) command.commands.push_back(Words(line));
    return Show(Apply(command));
  }
  Reply Sweep() { return Apply({.kind = WriteCommand::Kind::kSweep, .sweep_limit = 1000}); }
  Reply Change(RangeCommand command) {
    command.procedure = command.procedure == 0 ? kProcedure : command.procedure;
    if (command.epoch == 0) command.epoch = 1;
    return Apply({.kind = WriteCommand::Kind::kRange, .range = std::move(command)});
  }
  // Against the version in force.
  Reply Change(Op op, SlotRange slots = {}) {
    return Change({.op = op, .if_version = store.range().version, .slots = slots});
  }
  uint64_t ClearAll(uint64_t limit = 3) {
    uint64_t cleared = 0;
    while (true) {
      const Reply reply = Change({.op = Op::kClear, .if_version = store.range().version, .limit = limit});
      EXPECT_FALSE(reply.IsError()) << reply.text;
      if (reply.IsError() || reply.integer == 0) return cleared;
      cleared += static_cast<uint64_t>(reply.integer);
    }
  }

  RegionStore store;
  MapView state;
  WallTime now = WallFromMillis(1'000'000);
  LogIndex index{0};
};

// Copies what `from` has frozen; false: refused.
bool Copy(Side& from, Side& to, SlotRange slots, size_t chunk_bytes = 40) {
  if (to.Change(Op::kImport, slots).IsError()) return false;
  to.ClearAll();
  const uint64_t copy = to.store.range().incoming->copy;
  RegionExport source(from.state, slots);
  for (uint64_t chunk = 0;; ++chunk) {
    std::vector<RangeCommand::Pair> pairs = source.Next(chunk_bytes);
    if (pairs.empty()) break;
    const RangeCommand command{
        .op = Op::kChunk, .if_version = copy, .chunk = chunk, .pairs = std::move(pairs)};
    if (to.Change(command).IsError()) return false;
    EXPECT_FALSE(to.Change(command).IsError()) << "a chunk that comes twice";
  }
  return !to.Change({.op = Op::kComplete,
                     .if_version = copy,
                     .keys = source.keys(),
                     .pair_count = source.pairs(),
                     .hash = source.hash(),
                     .version_base = from.store.VersionBound(from.index),
                     .newest_ms = RegionStore::NewestMillis(from.state)})
              .IsError();
}

// One key in the lower half of the slots and one in the upper.
std::string KeyIn(SlotRange slots, int number = 0) {
  for (int i = 0;; ++i) {
    std::string key = fmt::format("key{}", i);
    if (slots.Contains(SlotOfKey(key)) && number-- == 0) return key;
  }
}
constexpr SlotRange kAll{0, 16383};
constexpr SlotRange kLower{0, 8191};
constexpr SlotRange kUpper{8192, 16383};

TEST(Range, ASplitStepByStep) {
  Side from(kAll);
  Side to(std::nullopt);
  const std::string low = KeyIn(kLower);
  const std::string high = KeyIn(kUpper);
  from.Write("SET " + low + " 1");
  from.Write("SET " + high + " 2 PX 500");
  const uint64_t version = from.store.VersionOf(high, from.now, from.state);

  ASSERT_FALSE(from.Change(Op::kFreeze, kUpper).IsError());
  EXPECT_EQ(from.Write("SET " + high + " 3"), kFrozen);
  EXPECT_EQ(from.Transaction({"GET " + high, "SET " + high + " 3"}), kFrozen);
  EXPECT_EQ(from.Transaction({"GET " + high}), R"(["2"])");  // a read behind a write
  EXPECT_EQ(from.Read("GET " + high), R"("2")");
  EXPECT_EQ(from.Write("SET " + low + " 4"), "OK");

  ASSERT_TRUE(Copy(from, to, kUpper));
  EXPECT_EQ(to.Read("GET " + high), kNotHeld);
  EXPECT_EQ(to.Write("SET " + high + " 5"), kNotHeld);
  EXPECT_EQ(to.store.KeyCount(to.state), 0u);

  ASSERT_FALSE(from.Change({.op = Op::kRelease,
                            .if_version = from.store.range().version,
                            .keys = to.store.range().incoming->keys})
                   .IsError());
  EXPECT_EQ(from.store.range().slots, kLower);
  EXPECT_EQ(from.Read("GET " + high), kNotHeld);
  EXPECT_EQ(from.Transaction({"GET " + high}), kNotHeld);
  EXPECT_EQ(from.Transaction({}, {{high, version}}), kNotHeld);
  EXPECT_EQ(from.store.KeyCount(from.state), 1u);
  EXPECT_EQ(from.store.Scan({}, 100, std::nullopt, std::nullopt, from.now, from.state).keys,
            (std::vector<std::string>{low}));

  ASSERT_FALSE(to.Change(Op::kOpen).IsError());
  EXPECT_EQ(to.store.range().slots, kUpper);
  EXPECT_EQ(to.Read("GET " + high), R"("2")");
  EXPECT_EQ(to.Read("PTTL " + high), "(integer) 500");
  EXPECT_EQ(to.store.KeyCount(to.state), 1u);
  EXPECT_EQ(to.Read("GET " + low), kNotHeld);
  CheckInvariants(to.state);

  // A transaction that watches the key goes on where the key went, and sees what happens to it there.
  EXPECT_EQ(to.store.VersionOf(high, to.now, to.state), version);
  EXPECT_EQ(to.Transaction({"GET " + high}, {{high, version}}), R"(["2"])");
  EXPECT_EQ(to.Write("APPEND " + high + " x"), "(integer) 2");
  EXPECT_EQ(to.Transaction({"GET " + high}, {{high, version}}), "(nil)");

  EXPECT_TRUE(from.Change(Op::kEnd).IsError()) << "the keys are still here";
  EXPECT_EQ(from.ClearAll(), 1u);
  ASSERT_FALSE(from.Change(Op::kEnd).IsError());
  EXPECT_FALSE(from.store.range().IsMoving());
  CheckInvariants(from.state);
  EXPECT_EQ(from.store.KeyCount(from.state), 1u);
  EXPECT_EQ(from.Read("GET " + low), R"("4")");
}

TEST(Range, VersionsAreNotGivenTwice) {
  Side from(kAll);
  Side to(std::nullopt);
  const std::string high = KeyIn(kUpper);
  for (int i = 0; i < 12; ++i) from.Write("SET " + high + " 1");
  const uint64_t watched = from.store.VersionOf(high, from.now, from.state);
  from.Change(Op::kFreeze, kUpper);
  ASSERT_TRUE(Copy(from, to, kUpper));
  from.Change(Op::kRelease);
  to.Change(Op::kOpen);
  for (int i = 0; i < 30; ++i) {
    to.Write("SET " + high + " 2");
    ASSERT_GT(to.store.VersionOf(high, to.now, to.state), watched);
  }
}

TEST(Range, AMergeBringsEverythingToTheNeighbour) {
  Prng prng(3);
  for (int round = 0; round < 20; ++round) {
    Side lower(kLower);
    Side upper(kUpper);
    for (int i = 0; i < 300; ++i) {
      const Arguments arguments = RandomCommand(prng, {.now_ms = ToMillis(lower.now)});
      for (Side* side : {&lower, &upper}) {
        side->Apply({.commands = {arguments}});
        side->now += std::chrono::milliseconds(1);
      }
    }
    ASSERT_FALSE(upper.Change(Op::kFreeze, kUpper).IsError());
    ASSERT_TRUE(Copy(upper, lower, kUpper, 1 + prng.Below(200)));
    ASSERT_FALSE(upper
                     .Change({.op = Op::kRelease,
                              .if_version = upper.store.range().version,
                              .keys = lower.store.range().incoming->keys})
                     .IsError());
    EXPECT_EQ(upper.store.range().slots, std::nullopt);
    EXPECT_EQ(upper.store.KeyCount(upper.state), 0u);
    ASSERT_FALSE(lower.Change(Op::kOpen).IsError());
    EXPECT_EQ(lower.store.range().slots, kAll);
    CheckInvariants(lower.state);
    CheckInvariants(upper.state);
    // What the two had is what the one has, key by key, fields and expiries included.
    const auto records = [](const Side& side, SlotRange slots) {
      std::map<std::string, std::string> found;
      RegionExport all(side.state, slots);
      for (auto pairs = all.Next(1000); !pairs.empty(); pairs = all.Next(1000))
        found.insert(pairs.begin(), pairs.end());
      return found;
    };
    EXPECT_EQ(records(lower, kUpper), records(upper, kUpper));
  }
}

TEST(Range, NothingSweepsWhileSlotsMove) {
  Side from(kAll);
  const std::string high = KeyIn(kUpper);
  from.Write("SET " + high + " 1 PX 5");
  from.now += std::chrono::seconds(1);
  from.Change(Op::kFreeze, kUpper);
  EXPECT_FALSE(from.store.HasExpired(from.now, from.state));
  EXPECT_EQ(from.Sweep().integer, 0);
  EXPECT_EQ(from.Read("GET " + high), "(nil)");
  from.Change(Op::kEnd);
  EXPECT_TRUE(from.store.HasExpired(from.now, from.state));
  EXPECT_EQ(from.Sweep().integer, 1);
}

TEST(Range, AFreezeIsTakenBack) {
  Side from(kAll);
  const std::string high = KeyIn(kUpper);
  const uint64_t version = from.store.range().version;
  ASSERT_FALSE(from.Change(Op::kFreeze, kUpper).IsError());
  ASSERT_FALSE(from.Change(Op::kEnd).IsError());
  EXPECT_EQ(from.Write("SET " + high + " 1"), "OK");
  // The request to freeze that comes late.
  EXPECT_TRUE(from.Change({.op = Op::kFreeze, .if_version = version, .slots = kUpper}).IsError());
  // And the one that had not come at all when the procedure gave up.
  Side other(kAll);
  ASSERT_FALSE(other.Change(Op::kEnd).IsError());
  EXPECT_TRUE(other.Change({.op = Op::kFreeze, .if_version = 0, .slots = kUpper}).IsError());
  EXPECT_EQ(other.Write("SET " + high + " 1"), "OK");
}

TEST(Range, LeadersOfThePastChangeNothing) {
  Side from(kAll);
  ASSERT_FALSE(from.Change({.op = Op::kEnd, .epoch = 5, .if_version = 0}).IsError());
  EXPECT_TRUE(from.Change({.op = Op::kFreeze, .epoch = 4, .if_version = 1, .slots = kUpper}).IsError());
  EXPECT_FALSE(
      from.Change({.op = Op::kFreeze, .incarnation = 1, .epoch = 4, .if_version = 1, .slots = kUpper})
          .IsError());
}

TEST(Range, OnlyAnEndOfTheRangeGoes) {
  Side from(SlotRange{100, 200});
  EXPECT_TRUE(from.Change(Op::kFreeze, {120, 150}).IsError());
  EXPECT_TRUE(from.Change(Op::kFreeze, {150, 201}).IsError());
  EXPECT_TRUE(from.Change(Op::kFreeze, {160, 150}).IsError());
  EXPECT_TRUE(from.Change(Op::kRelease).IsError());
  EXPECT_TRUE(from.Change(Op::kOpen).IsError());
  EXPECT_TRUE(from.Change(Op::kImport, {200, 210}).IsError());
  EXPECT_TRUE(from.Change(Op::kImport, {202, 210}).IsError());
  EXPECT_EQ(from.store.range().version, 0u);
  EXPECT_FALSE(from.Change(Op::kFreeze, {100, 120}).IsError());
  EXPECT_TRUE(from.Change(Op::kImport, {201, 210}).IsError()) << "one thing at a time";
  EXPECT_TRUE(from.Change({.op = Op::kRelease, .procedure = 8, .if_version = 1}).IsError())
      << "another procedure";
  EXPECT_FALSE(from.Change(Op::kRelease).IsError());
  EXPECT_EQ(from.store.range().slots, (SlotRange{121, 200}));
}

TEST(Range, ACopyThatBeganAnewIsWhole) {
  Side from(kAll);
  Side to(std::nullopt);
  for (int i = 0; i < 20; ++i) from.Write("SET " + KeyIn(kUpper, i) + " 1 PX 50000");
  from.Write("HSET " + KeyIn(kUpper, 20) + " a 1 b 2 c 3");
  from.Change(Op::kFreeze, kUpper);

  // The first attempt comes half way.
  ASSERT_FALSE(to.Change(Op::kImport, kUpper).IsError());
  const uint64_t first = to.store.range().incoming->copy;
  RegionExport source(from.state, kUpper);
  ASSERT_FALSE(
      to.Change({.op = Op::kChunk, .if_version = first, .chunk = 0, .pairs = source.Next(100)}).IsError());
  const std::vector<RangeCommand::Pair> late = source.Next(100);
  EXPECT_TRUE(to.Change({.op = Op::kChunk, .if_version = first, .chunk = 2, .pairs = late}).IsError())
      << "a gap";
  EXPECT_TRUE(to.Change({.op = Op::kClear, .if_version = to.store.range().version, .limit = 10}).IsError())
      << "a late copy of the clearing must not take what has come since";
  EXPECT_TRUE(to.Change({.op = Op::kComplete, .if_version = first}).IsError());
  EXPECT_TRUE(to.Change(Op::kOpen).IsError());

  // The second one begins with nothing, and the first has no say any more.
  ASSERT_FALSE(to.Change(Op::kImport, kUpper).IsError());
  EXPECT_TRUE(to.Change({.op = Op::kChunk, .if_version = first, .chunk = 0, .pairs = late}).IsError());
  const uint64_t second = to.store.range().incoming->copy;
  EXPECT_TRUE(to.Change({.op = Op::kChunk, .if_version = second, .chunk = 0, .pairs = late}).IsError())
      << "what the first one left is still here";
  EXPECT_TRUE(to.Change({.op = Op::kComplete, .if_version = second}).IsError());
  ASSERT_TRUE(Copy(from, to, kUpper));
  EXPECT_TRUE(to.Change(Op::kImport, kUpper).IsError()) << "it is complete";
  from.Change(Op::kRelease);
  ASSERT_FALSE(to.Change(Op::kOpen).IsError());
  CheckInvariants(to.state);
  EXPECT_EQ(to.store.KeyCount(to.state), 21u);
  EXPECT_EQ(to.Read("HLEN " + KeyIn(kUpper, 20)), "(integer) 3");
}

TEST(Range, ACopyThatIsGivenUpLeavesNothing) {
  Side from(kUpper);
  Side to(kLower);
  to.Write("SET " + KeyIn(kLower) + " 1");
  for (int i = 0; i < 20; ++i) from.Write("HSET " + KeyIn(kUpper, i) + " a 1 b 2");
  from.Change(Op::kFreeze, kUpper);
  ASSERT_TRUE(Copy(from, to, kUpper));
  EXPECT_EQ(to.store.KeyCount(to.state), 1u);
  ASSERT_FALSE(to.Change(Op::kEnd).IsError());
  EXPECT_TRUE(to.Change(Op::kOpen).IsError());
  EXPECT_TRUE(to.Change(Op::kEnd).IsError()) << "its keys are still here";
  EXPECT_EQ(to.ClearAll(), 20u);
  ASSERT_FALSE(to.Change(Op::kEnd).IsError());
  EXPECT_FALSE(to.store.range().IsMoving());
  CheckInvariants(to.state);
  EXPECT_EQ(to.store.KeyCount(to.state), 1u);
  // The task of before that has not heard of it.
  EXPECT_TRUE(to.Change({.op = Op::kImport, .if_version = 0, .slots = kUpper}).IsError());
}

TEST(Range, WhatWasSentIsComparedWithWhatIsHere) {
  Side from(kAll);
  Side to(std::nullopt);
  from.Write("SET " + KeyIn(kUpper) + " 1");
  from.Change(Op::kFreeze, kUpper);
  to.Change(Op::kImport, kUpper);
  const uint64_t copy = to.store.range().incoming->copy;
  RegionExport source(from.state, kUpper);
  std::vector<RangeCommand::Pair> pairs = source.Next(1000);
  ASSERT_EQ(pairs.size(), 1u);
  pairs[0].second += "flipped";
  ASSERT_FALSE(to.Change({.op = Op::kChunk, .if_version = copy, .pairs = pairs}).IsError());
  EXPECT_TRUE(to.Change({.op = Op::kComplete,
                         .if_version = copy,
                         .keys = source.keys(),
                         .pair_count = source.pairs(),
                         .hash = source.hash()})
                  .IsError());
  // Keys of other slots do not come in.
  to.Change(Op::kImport, kUpper);
  to.ClearAll();
  EXPECT_TRUE(to.Change({.op = Op::kChunk,
                         .if_version = to.store.range().incoming->copy,
                         .pairs = {{RecordKey(5, KeyIn(kLower)), "x"}}})
                  .IsError());
}

TEST(Range, Encodings) {
  Prng prng(1);
  for (int i = 0; i < 300; ++i) {
    RangeCommand command{
        .op = static_cast<Op>(1 + prng.Below(8)),
        .procedure = prng.Next64(),
        .incarnation = prng.Below(3),
        .epoch = prng.Next32(),
        .if_version = prng.Next64(),
        .slots = {static_cast<uint16_t>(prng.Next32()), static_cast<uint16_t>(prng.Next32())},
        .chunk = prng.Next32(),
        .limit = prng.Next32(),
        .keys = prng.Next64(),
        .pair_count = prng.Next64(),
        .hash = prng.Next64(),
        .version_base = prng.Next64(),
        .newest_ms = prng.Between(0, 1'000'000'000)};
    for (uint64_t n = prng.Below(4); n > 0; --n) command.pairs.emplace_back("key", std::string(n, 'v'));
    std::string encoded;
    EncodeRangeCommand(command, encoded);
    RangeCommand decoded;
    ASSERT_TRUE(DecodeRangeCommand(encoded, decoded));
    EXPECT_EQ(decoded, command);
    for (size_t size = 0; size < encoded.size(); ++size) {
      RangeCommand cut;
      EXPECT_FALSE(DecodeRangeCommand(std::string_view(encoded).substr(0, size), cut)) << size;
    }
    RangeCommand longer;
    EXPECT_FALSE(DecodeRangeCommand(encoded + "x", longer));
  }
  RegionRange range{.slots = kUpper, .version = 3, .epoch = 300};
  EXPECT_EQ(EncodeRegionRange(range), std::string("\x01\x03\x00\xac\x02\x00\x00\x00\x20\x00\x3f\xff", 12));
  range.outgoing = {.slots = kUpper, .procedure = 9, .released = true};
  range.incoming = {
      .slots = kLower, .procedure = 8, .copy = 7, .next_chunk = 6, .hash = ~uint64_t{0}, .complete = true};
  EXPECT_EQ(DecodeRegionRange(EncodeRegionRange(range)), range);
  EXPECT_DEATH(DecodeRegionRange("\x08"), "the region's range is damaged");
}

}  // namespace
}  // namespace tenure::store
