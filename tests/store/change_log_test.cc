// The change log: what is in it, under which timestamps, for how long; and that a state can be made anew from
// a snapshot and the changes behind it.

#include "store/change_log.h"

#include <gtest/gtest.h>

#include <map>

#include "base/hash.h"
#include "base/prng.h"
#include "store/keyspace.h"
#include "store/range_copy.h"
#include "tests/store/random_commands.h"
#include "tests/store/row_region.h"
#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

using Kind = ChangeRecord::Kind;
constexpr uint64_t kMs = uint64_t{1} << kTimestampLogicalBits;

// A region that keeps its changes, and whose every command goes through its form in the log.
struct Followed {
  explicit Followed(std::optional<SlotRange> slots = SlotRange{0, 16383}) : store(slots) {}

  Reply Apply(WriteCommand command) {
    command.now = now;
    std::string encoded;
    EncodeWriteCommand(command, encoded);
    const auto decoded = DecodeWriteCommand(encoded);
    EXPECT_TRUE(decoded.ok()) << decoded.status();
    index = index.Next();
    Reply reply = store.Apply(*decoded, index, state);
    RegionStore restarted(std::nullopt);
    restarted.Load(state);
    EXPECT_EQ(restarted.change_log(), store.change_log());
    return reply;
  }
  void Keep(KeepChangesCommand command = {.keep = true}) {
    Apply({.kind = WriteCommand::Kind::kKeepChanges, .keep_changes = command});
  }
  std::string Write(std::string_view line) { return Show(Apply({.commands = {Words(line)}})); }
  Reply WriteRow(uint64_t table, uint64_t version, const std::string& key, std::string value,
                 int64_t ttl_ms = 0) {
    RowCommand row{.operation = RowOperation::kSet, .table = "t", .ttl_ms = ttl_ms};
    row.keys.push_back({.table = table, .version = version, .slot = 5, .key = key});
    row.columns = std::make_shared<RowColumns>(RowColumns{{.id = 1, .name = "v"}});
    row.values.push_back(std::move(value));
    WriteCommand command{.kind = WriteCommand::Kind::kRows};
    command.steps.emplace_back(std::move(row));
    return Apply(std::move(command));
  }
  Reply RemoveRow(uint64_t table, uint64_t version, const std::string& key) {
    RowCommand row{
        .operation = RowOperation::kRemove, .table = "t", .columns = std::make_shared<RowColumns>()};
    row.keys.push_back({.table = table, .version = version, .slot = 5, .key = key});
    WriteCommand command{.kind = WriteCommand::Kind::kRows};
    command.steps.emplace_back(std::move(row));
    return Apply(std::move(command));
  }
  Reply Change(RangeCommand command) {
    command.procedure = 7;
    command.epoch = 1;
    if (command.if_version == 0) command.if_version = store.range().version;
    return Apply({.kind = WriteCommand::Kind::kRange, .range = std::move(command)});
  }
  const ChangeLogState& log() const { return store.change_log(); }
  ChangeRead Read(uint64_t table, uint64_t after = 0, size_t max_bytes = 1 << 20) const {
    return ReadChanges(state, table, std::max(after, log().begin_ts), max_bytes);
  }

  RegionStore store;
  MapView state;
  WallTime now = WallFromMillis(1'000'000);
  LogIndex index{0};
};

// ---- timestamps ----

TEST(ChangeLog, NothingIsWrittenForARegionThatIsNotFollowed) {
  Followed region;
  region.Write("SET a 1");
  region.Write("HSET h f 1");
  region.Apply({.kind = WriteCommand::Kind::kResolve});
  EXPECT_FALSE(region.state.Get("f").has_value());
  EXPECT_TRUE(region.Read(0).changes.empty());
  region.state.TakeCalls();
  region.Write("SET a 2");
  EXPECT_EQ(region.state.TakeCalls().puts, 1);
}

TEST(ChangeLog, EveryChangeHasATimestampOfItsOwnWhateverTheClock) {
  Followed region;
  region.Keep();
  EXPECT_EQ(region.log().begin_ts, 1'000'000 * kMs);
  region.Write("MSET {t}a 1 {t}b 2 {t}c 3");
  region.now = WallFromMillis(10);  // another leader, whose clock is behind
  region.Write("SET a 2");
  region.now = WallFromMillis(2'000'000);
  region.Write("DEL a");
  const ChangeRead read = region.Read(0);
  ASSERT_EQ(read.changes.size(), 5u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(read.changes[i].first, 1'000'000 * kMs + 1 + i);
  EXPECT_EQ(read.changes[4].first, 2'000'000 * kMs);
  EXPECT_EQ(read.resolved, 2'000'000 * kMs);
  EXPECT_EQ(read.changes[0].second.index, read.changes[2].second.index);
  EXPECT_EQ(read.changes[2].second.ordinal, 2u);
  EXPECT_EQ(read.changes[3].second.ordinal, 0u);
  EXPECT_EQ(read.changes[3].second.new_value, "2");
  EXPECT_EQ(read.changes[4].second.kind, Kind::kDelete);
  EXPECT_EQ(read.bytes_from, 0u);
  EXPECT_EQ(read.bytes_to, region.log().bytes_total);
  const ChangeRead first = region.Read(0, 0, 1);
  ASSERT_EQ(first.changes.size(), 1u);
  EXPECT_EQ(first.bytes_to, read.changes[1].second.bytes_before);
  EXPECT_EQ(region.Read(0, first.resolved).bytes_from, first.bytes_to);
  EXPECT_EQ(region.Read(0, read.resolved).bytes_from, read.bytes_to);
}

TEST(ChangeLog, WhatWasResolvedIsNeverCommittedAt) {
  Followed region;
  region.Keep();
  region.now = WallFromMillis(3'000'000);
  region.Apply({.kind = WriteCommand::Kind::kResolve});
  EXPECT_EQ(region.Read(0).resolved, 3'000'000 * kMs);
  region.now = WallFromMillis(2'000'000);
  region.Write("SET a 1");
  EXPECT_EQ(region.Read(0).changes.at(0).first, 3'000'000 * kMs + 1);
  // Nor when it is followed anew.
  region.Keep({.keep = false});
  region.Keep();
  EXPECT_EQ(region.log().begin_ts, 3'000'000 * kMs + 2);
}

// ---- how long ----

TEST(ChangeLog, GoesUpToTheFloorAndWhenNobodyFollows) {
  Followed region;
  region.Keep();
  for (int i = 0; i < 5; ++i) region.Write("SET a 1");
  const uint64_t third = region.Read(0).changes.at(2).first;
  region.Keep({.keep = true, .floor_ts = third});
  EXPECT_EQ(region.log().begin_ts, third);
  EXPECT_EQ(region.Read(0).changes.size(), 2u);
  const uint64_t bytes = region.log().bytes();
  EXPECT_GT(bytes, 0u);
  region.Keep({.keep = true, .floor_ts = third - 2});
  EXPECT_EQ(region.log().begin_ts, third);
  EXPECT_EQ(region.log().bytes(), bytes);
  // A floor ahead of what is committed takes nothing that will be.
  region.Keep({.keep = true, .floor_ts = ~uint64_t{0} >> 1});
  EXPECT_EQ(region.log().begin_ts, region.log().last_ts);
  EXPECT_EQ(region.log().bytes(), 0u);
  region.Write("SET a 1");
  EXPECT_EQ(region.Read(0).changes.size(), 1u);
  region.Keep({.keep = false});
  EXPECT_EQ(region.log().bytes(), 0u);
  region.Write("SET a 1");
  EXPECT_TRUE(region.Read(0).changes.empty());
}

TEST(ChangeLog, AnOlderViewOfTheCatalogDoesNotCount) {
  Followed region;
  region.Keep({.keep = true, .incarnation = 1, .revision = 10});
  region.Write("SET a 1");
  region.Keep({.keep = false, .incarnation = 1, .revision = 9});
  EXPECT_TRUE(region.log().keeps);
  EXPECT_EQ(region.Read(0).changes.size(), 1u);
  region.Keep({.keep = false, .incarnation = 2, .revision = 3});
  EXPECT_FALSE(region.log().keeps);
}

TEST(ChangeLog, StaysWithinItsBudget) {
  Followed region;
  region.Keep({.keep = true, .max_bytes = 2000});
  uint64_t begin = region.log().begin_ts;
  for (int i = 0; i < 200; ++i) {
    region.Write("SET key" + std::to_string(i) + " " + std::string(static_cast<size_t>(i % 50), 'x'));
    ASSERT_LE(region.log().bytes(), 2000u);
    ASSERT_GE(region.log().begin_ts, begin);
    begin = region.log().begin_ts;
  }
  const ChangeRead read = region.Read(0);
  EXPECT_GT(read.changes.size(), 10u);
  uint64_t bytes = 0;
  for (const auto& [ts, change] : read.changes) {
    EXPECT_GT(ts, begin);
    bytes += EncodeChange(change).size();
  }
  EXPECT_EQ(bytes, region.log().bytes());
  EXPECT_EQ(read.changes.back().second.key, "key199");
}

// ---- what is in it ----

TEST(ChangeLog, RowsHaveOldAndNewValuesAndTheSchemaVersion) {
  Followed region;
  region.Keep();
  region.WriteRow(9, 1, "a", "x");
  region.WriteRow(9, 1, "a", "y");
  region.RemoveRow(9, 1, "a");
  region.RemoveRow(9, 1, "a");  // was not there: no change
  const auto changes = region.Read(9).changes;
  ASSERT_EQ(changes.size(), 4u);
  EXPECT_EQ(changes[0].second.kind, Kind::kSchema);
  EXPECT_FALSE(changes[1].second.old_value.has_value());
  EXPECT_EQ(*DecodeRow(*changes[1].second.new_value).Find(1), "x");
  EXPECT_EQ(*DecodeRow(*changes[2].second.old_value).Find(1), "x");
  EXPECT_EQ(*DecodeRow(*changes[2].second.new_value).Find(1), "y");
  EXPECT_EQ(changes[2].second.schema_version, 1u);
  EXPECT_EQ(changes[3].second.kind, Kind::kDelete);
  EXPECT_EQ(*DecodeRow(*changes[3].second.old_value).Find(1), "y");
  EXPECT_TRUE(region.Read(8).changes.empty());
}

TEST(ChangeLog, TheSweepersRemovalsAreChanges) {
  Followed region;
  region.Keep();
  region.Write("SET a 1 PX 10");
  region.Write("HSET h f 1");
  region.Write("PEXPIRE h 10");
  region.WriteRow(9, 1, "r", "x", 10);
  region.now = WallFromMillis(1'000'100);
  region.Apply({.kind = WriteCommand::Kind::kSweep, .sweep_limit = 10});
  const auto plain = region.Read(0).changes;
  ASSERT_EQ(plain.size(), 4u);
  EXPECT_EQ(plain[2].second.kind, Kind::kDelete);
  EXPECT_EQ(plain[3].second.kind, Kind::kDelete);
  const auto rows = region.Read(9).changes;
  EXPECT_EQ(rows.back().second.kind, Kind::kDelete);
  EXPECT_EQ(rows.back().second.key, "r");
}

TEST(ChangeLog, VersionsOfASchemaNeverGoBackInIt) {
  Followed region;
  region.Keep();
  region.WriteRow(9, 1, "a", "x");
  region.WriteRow(9, 2, "a", "y");  // by a leader that knows the change before the region is told of it
  const Reply older = region.WriteRow(9, 1, "a", "z");
  EXPECT_TRUE(older.IsError()) << "a leader that does not know it yet";
  EXPECT_TRUE(older.text.starts_with(kOlderSchema));
  region.Apply({.kind = WriteCommand::Kind::kSchema, .schema = SchemaCommand{.table = 9, .version = 2}});
  region.Apply({.kind = WriteCommand::Kind::kSchema, .schema = SchemaCommand{.table = 9, .version = 3}});
  region.Apply({.kind = WriteCommand::Kind::kSchema, .schema = SchemaCommand{.table = 9, .drop = true}});
  std::string log;
  for (const auto& [ts, change] : region.Read(9).changes)
    log += fmt::format("{}{} ", change.kind == Kind::kSchema ? "schema " : "row ", change.schema_version);
  EXPECT_EQ(log, "schema 1 row 1 schema 2 row 2 schema 3 schema 0 ");
}

// ---- ranges ----

TEST(ChangeLog, SlotsGoWithoutATimestampBeingUsedTwice) {
  Followed from;
  Followed to(std::nullopt);
  from.Keep();
  from.now = WallFromMillis(5'000'000);
  from.Write("SET {a}1 x");
  const uint16_t slot = SlotOfKey("a");
  const SlotRange part{slot, 16383};
  ASSERT_FALSE(from.Change({.op = RangeCommand::Op::kFreeze, .slots = part}).IsError());
  ASSERT_FALSE(to.Change({.op = RangeCommand::Op::kImport, .slots = part}).IsError());
  const uint64_t copy = to.store.range().incoming->copy;
  RegionExport source(from.state, part);
  RangeCommand chunk{.op = RangeCommand::Op::kChunk, .if_version = copy, .pairs = source.Next(1000)};
  ASSERT_FALSE(to.Change(chunk).IsError());
  ASSERT_FALSE(to.Change({.op = RangeCommand::Op::kComplete,
                          .if_version = copy,
                          .keys = source.keys(),
                          .pair_count = source.pairs(),
                          .hash = source.hash()})
                   .IsError());
  ASSERT_FALSE(from.Change({.op = RangeCommand::Op::kRelease, .keys = 1}).IsError());
  const OutgoingSlots released = *from.store.range().outgoing;
  EXPECT_TRUE(released.keeps_changes);
  EXPECT_EQ(released.released_ts, from.log().last_ts);
  ASSERT_FALSE(
      to.Change({.op = RangeCommand::Op::kOpen, .after_ts = released.released_ts, .keep_changes = true})
          .IsError());
  EXPECT_TRUE(to.log().keeps);
  EXPECT_GT(to.store.range().opened_ts, released.released_ts);
  EXPECT_EQ(to.log().begin_ts, to.store.range().opened_ts);
  EXPECT_EQ(DecodeRegionRange(EncodeRegionRange(to.store.range())), to.store.range());
  EXPECT_EQ(DecodeRegionRange(EncodeRegionRange(from.store.range())), from.store.range());
  to.Write("SET {a}1 y");  // its clock is behind
  EXPECT_GT(to.Read(0).changes.at(0).first, to.store.range().opened_ts);
  // A reader of the old generation stops at the change of the range; one that begins there goes on.
  from.Write("SET {b}1 y");
  const ChangeRead old = from.Read(0);
  EXPECT_EQ(old.changes.size(), 1u);
  EXPECT_EQ(old.range_end, released.released_ts);
  EXPECT_EQ(old.resolved, released.released_ts);
  const ChangeRead next = from.Read(0, released.released_ts);
  EXPECT_EQ(next.changes.size(), 1u);
  EXPECT_FALSE(next.range_end.has_value());
}

TEST(ChangeLog, WhereOneSideKeepsNoLogTheOtherBeginsAnew) {
  Followed to(SlotRange{0, 99});
  to.Keep();
  to.Write("SET {06S}1 x");  // slot 0
  ASSERT_FALSE(to.Change({.op = RangeCommand::Op::kImport, .slots = {100, 199}}).IsError());
  ASSERT_FALSE(to.Change({.op = RangeCommand::Op::kComplete, .if_version = to.store.range().incoming->copy})
                   .IsError());
  ASSERT_FALSE(to.Change({.op = RangeCommand::Op::kOpen}).IsError());
  EXPECT_EQ(to.log().begin_ts, to.store.range().opened_ts);
  EXPECT_EQ(to.log().bytes(), 0u);
}

// ---- a state made anew ----

// What can be seen of a state: plain keys and rows.
using Content = std::map<std::string, std::string>;

std::string TextOf(const std::map<std::string, std::string>& fields) {
  std::string text = "hash";
  for (const auto& [field, value] : fields) text += fmt::format(" {}={}", Quoted(field), Quoted(value));
  return text;
}

Content ContentOf(const MapView& state) {
  Content content;
  std::map<std::string, std::map<std::string, std::string>> hashes;
  for (const auto& [key, value] : state.map()) {
    if (key[0] == kRecordPrefix) {
      const RecordHeader header = DecodeRecordHeader(value);
      const std::string name(KeyOfRecordKey(key));
      if (header.type == ValueType::kString) {
        content[name] = "string " + Quoted(value.substr(header.size));
        continue;
      }
      std::map<std::string, std::string> fields;
      const std::string prefix = FieldsPrefix(SlotOfRecordKey(key), name);
      for (const auto it = state.NewIterator(prefix, kv::PrefixEnd(prefix)); it->Valid(); it->Next())
        fields[std::string(FieldOfFieldKey(it->key(), prefix.size()))] = it->value();
      content[name] = TextOf(fields);
    } else if (key[0] == kRowPrefix) {
      content[fmt::format("row {}:{}", TableOfKey(key), KeyOfRowStateKey(key))] = *DecodeRow(value).Find(1);
    }
  }
  return content;
}

class Replayed {
 public:
  void Take(const ChangeRecord& change) {
    if (change.kind == Kind::kSchema) return;
    if (change.table != 0) {
      const std::string name = fmt::format("row {}:{}", change.table, change.key);
      if (change.kind == Kind::kDelete) {
        content_.erase(name);
      } else {
        content_[name] = *DecodeRow(*change.new_value).Find(1);
      }
      return;
    }
    if (change.kind == Kind::kDelete || change.new_value) hashes_.erase(change.key);
    if (change.kind == Kind::kDelete) content_.erase(change.key);
    if (change.new_value) content_[change.key] = "string " + Quoted(*change.new_value);
    if (change.fields.empty()) return;
    auto& fields = hashes_[change.key];
    for (const auto& [field, value] : change.fields) {
      if (value) fields[field] = *value;
      if (!value) fields.erase(field);
    }
    content_[change.key] = TextOf(fields);
  }
  const Content& content() const { return content_; }

 private:
  Content content_;
  std::map<std::string, std::map<std::string, std::string>> hashes_;
};

TEST(ChangeLog, ASnapshotAndTheChangesBehindItMakeTheState) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Prng prng(seed);
    Followed region;
    const auto write = [&](int count) {
      for (int i = 0; i < count; ++i) {
        region.now += std::chrono::milliseconds(prng.Below(300));
        switch (prng.Below(6)) {
          case 0:
            region.WriteRow(1 + prng.Below(2), 1, "r" + std::to_string(prng.Below(6)), std::to_string(i),
                            prng.Chance(1, 3) ? 500 : 0);
            break;
          case 1:
            region.RemoveRow(1 + prng.Below(2), 1, "r" + std::to_string(prng.Below(6)));
            break;
          case 2:
            region.Apply({.kind = WriteCommand::Kind::kSweep, .sweep_limit = 3});
            break;
          default: {
            const Arguments words = RandomCommand(prng, {.now_ms = ToMillis(region.now)});
            if (Validate(words, Limits{}).ok() && FindCommand(words[0])->write)
              region.Apply({.commands = {words}});
          }
        }
      }
    };
    write(60);
    region.Keep();
    const uint64_t begin = region.log().begin_ts;
    const Content at_begin = ContentOf(region.state);
    write(40);
    const uint64_t middle = region.log().last_ts;
    const Content at_middle = ContentOf(region.state);
    write(40);
    for (const auto& [as_of, content] : {std::pair(begin, at_begin), std::pair(middle, at_middle)}) {
      Replayed replayed;
      for (const uint64_t table : {0u, 1u, 2u}) {
        Content rows;
        std::string from;
        do {
          const auto read = ReadRowsAsOf(region.state, region.store.range(), table, as_of, from, 30);
          ASSERT_TRUE(read.has_value());
          for (const ChangeRecord& row : read->rows) {
            replayed.Take(row);
            if (table != 0)
              rows[fmt::format("row {}:{}", table, row.key)] = *DecodeRow(*row.new_value).Find(1);
          }
          from = read->next;
        } while (!from.empty());
        if (table == 0) continue;
        Content expected;
        for (const auto& [name, value] : content) {
          if (name.starts_with(fmt::format("row {}:", table))) expected[name] = value;
        }
        EXPECT_EQ(rows, expected) << "seed " << seed << ": rows of " << table << " as of " << as_of;
      }
      for (const uint64_t table : {0u, 1u, 2u}) {
        uint64_t after = as_of;
        while (true) {
          const ChangeRead read = region.Read(table, after, 100);
          for (const auto& [ts, change] : read.changes) replayed.Take(change);
          if (read.resolved == after) break;
          after = read.resolved;
        }
        EXPECT_EQ(after, region.log().last_ts);
      }
      ASSERT_EQ(replayed.content(), ContentOf(region.state)) << "seed " << seed << " from " << as_of;
    }
  }
}

TEST(ChangeLog, ABatchOfRowsCountsTheFieldsOfItsHashes) {
  Followed region;
  for (int i = 0; i < 20; ++i) region.Write(fmt::format("HSET {{a}}{} field {}", i, std::string(1000, 'x')));
  region.Keep();
  size_t batches = 0;
  size_t rows = 0;
  std::string from;
  do {
    const auto read = ReadRowsAsOf(region.state, region.store.range(), 0, region.log().last_ts, from, 5000);
    ASSERT_TRUE(read.has_value());
    EXPECT_LE(read->rows.size(), 5u);
    rows += read->rows.size();
    ++batches;
    from = read->next;
  } while (!from.empty());
  EXPECT_EQ(rows, 20u);
  EXPECT_GE(batches, 4u);
}

std::string KeysAsOf(const Followed& region, uint64_t as_of) {
  const auto read = ReadRowsAsOf(region.state, region.store.range(), 0, as_of, "", 1000);
  if (!read) return "none";
  std::string keys;
  for (const ChangeRecord& row : read->rows) keys += row.key + " ";
  return keys;
}

TEST(ChangeLog, RowsOfSlotsThatWentAreToldUntilTheyAreCleared) {
  Followed region;
  region.Keep();
  region.Write("SET {a}1 x");
  const uint16_t slot = SlotOfKey("a");
  const uint64_t before = region.log().last_ts;
  ASSERT_FALSE(region.Change({.op = RangeCommand::Op::kFreeze, .slots = {slot, 16383}}).IsError());
  EXPECT_EQ(KeysAsOf(region, before), "{a}1 ");
  ASSERT_FALSE(region.Change({.op = RangeCommand::Op::kRelease, .keys = 1}).IsError());
  EXPECT_EQ(KeysAsOf(region, before), "{a}1 ");
  EXPECT_EQ(KeysAsOf(region, region.log().last_ts), "") << "they are another region's by then";
  ASSERT_FALSE(region.Change({.op = RangeCommand::Op::kClear, .limit = 10}).IsError());
  ASSERT_FALSE(region.Change({.op = RangeCommand::Op::kEnd}).IsError());
  EXPECT_EQ(KeysAsOf(region, before), "none");
  EXPECT_EQ(KeysAsOf(region, region.log().last_ts), "");
}

// `slots` come from another region.
void Import(Followed& to, const Followed& from, SlotRange slots) {
  const uint64_t before = to.log().last_ts;
  const std::string keys = KeysAsOf(to, before);
  ASSERT_FALSE(to.Change({.op = RangeCommand::Op::kImport, .slots = slots}).IsError());
  const uint64_t copy = to.store.range().incoming->copy;
  RegionExport source(from.state, slots);
  ASSERT_FALSE(
      to.Change({.op = RangeCommand::Op::kChunk, .if_version = copy, .pairs = source.Next(1000)}).IsError());
  EXPECT_EQ(KeysAsOf(to, before), keys) << "what is being copied is not served";
  ASSERT_FALSE(to.Change({.op = RangeCommand::Op::kComplete,
                          .if_version = copy,
                          .keys = source.keys(),
                          .pair_count = source.pairs(),
                          .hash = source.hash()})
                   .IsError());
  ASSERT_FALSE(
      to.Change({.op = RangeCommand::Op::kOpen, .after_ts = before, .keep_changes = true}).IsError());
}

TEST(ChangeLog, OfSlotsThatCameNothingIsToldOfBefore) {
  Followed to(SlotRange{0, 99});
  to.Keep();
  to.Write("SET {06S}1 x");  // slot 0
  const uint64_t before = to.log().last_ts;
  const uint16_t slot = SlotOfKey("a");
  Followed from(SlotRange{100, 16383});
  from.Write("SET {a}1 y");
  Import(to, from, {100, 16383});
  ASSERT_TRUE(to.store.range().Serves(slot));
  EXPECT_EQ(KeysAsOf(to, before), "{06S}1 ");
  EXPECT_EQ(KeysAsOf(to, to.log().last_ts), "{06S}1 {a}1 ");
  to.Write("SET {a}2 z");
  EXPECT_EQ(KeysAsOf(to, before), "{06S}1 ");
}

// Found by the simulator: slots came by a merge, and went by a split with others that had been here before.
TEST(ChangeLog, RowsOfSlotsThatWentWithSlotsThatCameAreTold) {
  Followed region(SlotRange{0, 15999});
  region.Keep();
  region.Write("SET {06S}1 x");  // slot 0
  region.Write("SET {a}1 x");    // slot 15495
  const uint64_t before = region.log().last_ts;
  Followed other(SlotRange{16000, 16383});
  Import(region, other, {16000, 16383});
  ASSERT_FALSE(region.Change({.op = RangeCommand::Op::kFreeze, .slots = {15000, 16383}}).IsError());
  ASSERT_FALSE(region.Change({.op = RangeCommand::Op::kRelease, .keys = 1}).IsError());
  EXPECT_EQ(KeysAsOf(region, before), "{06S}1 {a}1 ");
  EXPECT_EQ(KeysAsOf(region, region.log().last_ts), "{06S}1 ");
  ASSERT_FALSE(region.Change({.op = RangeCommand::Op::kClear, .limit = 10}).IsError());
  ASSERT_FALSE(region.Change({.op = RangeCommand::Op::kEnd}).IsError());
  EXPECT_EQ(KeysAsOf(region, before), "none");
}

// ---- encodings ----

TEST(ChangeLog, RecordsRoundTrip) {
  ChangeRecord record{.kind = Kind::kPut,
                      .index = 300,
                      .ordinal = 2,
                      .table = 9,
                      .schema_version = 4,
                      .slot = 16383,
                      .key = "k\0y",
                      .old_value = "",
                      .new_value = "new",
                      .fields = {{"f", "1"}, {"g", std::nullopt}},
                      .bytes_before = 1 << 20};
  EXPECT_EQ(DecodeChange(EncodeChange(record)), record);
  const std::string encoded = EncodeChange(record);
  EXPECT_DEATH(DecodeChange(encoded.substr(0, encoded.size() - 1)), "damaged");
}

}  // namespace
}  // namespace tenure::store
