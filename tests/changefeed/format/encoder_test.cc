#include "changefeed/format/encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/utf8.h"
#include "changefeed/format/json_writer.h"

namespace tenure::changefeed {
namespace {

using testing::HasSubstr;

const CommitTs kTs = CommitTsFromMillis(1'700'000'000'123, 5);

Row FullRow(int64_t qty) {
  return {{"qty", ColumnType::kInt64, qty},
          {"price", ColumnType::kFloat64, 1.5},
          {"paid", ColumnType::kBool, true},
          {"note", ColumnType::kText, std::string("a, \"b\"\n\u00e9\x01")},
          {"blob", ColumnType::kBytes, BytesValue{std::string("\x00\xff\x10", 3)}},
          {"at", ColumnType::kTimestamp, TimestampValue{1'700'000'000'123'456}},
          {"gone", ColumnType::kText, std::monostate{}},
          {"empty", ColumnType::kText, std::string()}};
}

Change RowChange(Change::Kind kind, std::optional<Row> before, std::optional<Row> after) {
  return {.region = RegionId(7),
          .index = LogIndex(42),
          .commit_ts = kTs,
          .database = "shop",
          .table = "orders",
          .schema_version = 3,
          .key = "1001",
          .kind = kind,
          .old_row = std::move(before),
          .new_row = std::move(after)};
}

Change KeyChange(Change::Kind kind, std::string key, std::optional<std::string> value) {
  return {.region = RegionId(8),
          .index = LogIndex(43),
          .commit_ts = kTs,
          .database = "shop",
          .key = std::move(key),
          .kind = kind,
          .value = std::move(value)};
}

std::vector<std::pair<std::string, Change>> Changes() {
  using K = Change::Kind;
  Change snapshot = RowChange(K::kPut, std::nullopt, FullRow(4));
  snapshot.snapshot = true;
  return {{"insert", RowChange(K::kPut, std::nullopt, FullRow(1))},
          {"update", RowChange(K::kPut, FullRow(1), FullRow(-9'223'372'036'854'775'807))},
          {"delete", RowChange(K::kDelete, FullRow(2), std::nullopt)},
          {"delete, old row not known", RowChange(K::kDelete, std::nullopt, std::nullopt)},
          {"snapshot", snapshot},
          {"plain put", KeyChange(K::kPut, "session:1", "v1")},
          {"plain put, binary", KeyChange(K::kPut, "k\xff", std::string("\x00\x01", 2))},
          {"plain delete", KeyChange(K::kDelete, "session:1", std::nullopt)}};
}

// What a protocol says, in the form of its golden file.
std::string Story(Protocol protocol) {
  const auto encoder = MakeEncoder(protocol, "to-kafka");
  std::string out;
  const auto add = [&out](const std::string& name, const StatusOr<Message>& message) {
    out += "== " + name + "\n";
    if (!message.ok()) {
      out += "refused: " + std::string(MessageOf(message.status())) + "\n";
      return;
    }
    out += "id    " + message->id + "\n";
    if (!message->key.empty()) {
      out += "key   " + (IsValidUtf8(message->key) ? message->key : "base64 " + Base64(message->key)) + "\n";
    }
    out += "value " + message->value + "\n";
  };
  const std::string header = encoder->Header(Changes()[0].second);
  if (!header.empty()) out += "== header\n" + header + "\n";
  for (const auto& [name, change] : Changes()) add(name, encoder->Encode(change));
  add("schema",
      encoder->Encode(SchemaEvent{kTs, "shop", "orders", 4, "ALTER TABLE orders ADD COLUMN \"x\" int64"}));
  add("resolved", encoder->Encode(ResolvedEvent{kTs, "shop"}));
  return out;
}

class Golden : public testing::TestWithParam<Protocol> {};

TEST_P(Golden, MessagesAreThoseOfTheFile) {
  const std::string path =
      std::string(TENURE_SOURCE_DIR) + "/tests/changefeed/golden/" + std::string(NameOf(GetParam())) + ".txt";
  const std::string story = Story(GetParam());
  if (std::getenv("REWRITE") != nullptr) {
    std::ofstream(path, std::ios::binary) << story;
    GTEST_SKIP() << "written: " << path;
  }
  std::ifstream file(path, std::ios::binary);
  ASSERT_TRUE(file.good()) << path << " is missing; REWRITE=1 writes it";
  std::stringstream expected;
  expected << file.rdbuf();
  EXPECT_EQ(story, expected.str());
}

INSTANTIATE_TEST_SUITE_P(All, Golden, testing::Values(Protocol::kJson, Protocol::kDebezium, Protocol::kCsv),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

// An independent reader understands what is written, and reads the same values.
TEST(Encoder, JsonIsReadByAnotherParser) {
  for (const Protocol protocol : {Protocol::kJson, Protocol::kDebezium}) {
    const auto encoder = MakeEncoder(protocol, "c");
    for (const auto& [name, change] : Changes()) {
      const auto message = encoder->Encode(change);
      ASSERT_TRUE(message.ok()) << name;
      const auto json = nlohmann::json::parse(message->value);
      const auto& row = protocol == Protocol::kJson ? json.value("new", nlohmann::json())
                                                    : json.value("after", nlohmann::json());
      if (change.new_row) {
        EXPECT_EQ(row.at("note").get<std::string>(), std::get<std::string>((*change.new_row)[3].value));
        EXPECT_EQ(row.at("qty").get<int64_t>(), std::get<int64_t>((*change.new_row)[0].value));
        EXPECT_TRUE(row.at("gone").is_null());
      }
    }
  }
}

TEST(Encoder, DebeziumHasOperationsConsumersKnow) {
  const auto encoder = MakeEncoder(Protocol::kDebezium, "c");
  std::string operations;
  for (const auto& [name, change] : Changes()) {
    operations += nlohmann::json::parse(encoder->Encode(change)->value).at("op").get<std::string>();
  }
  EXPECT_EQ(operations, "cuddrccd");
}

TEST(Encoder, RowsOfASnapshotHaveIdsOfTheirOwnAlthoughTheyAreOfOneEntry) {
  const auto encoder = MakeEncoder(Protocol::kJson, "c");
  std::set<std::string> ids;
  Change change = KeyChange(Change::Kind::kPut, "a", "v");
  ids.insert(encoder->Encode(change)->id);
  change.snapshot = true;
  ids.insert(encoder->Encode(change)->id);
  EXPECT_THAT(encoder->Encode(change)->id, testing::StartsWith(fmt::format("s-{}-8-", kTs)));
  EXPECT_TRUE(ids.contains(encoder->Encode(change)->id)) << "the same in each attempt";
  change.key = "b";
  ids.insert(encoder->Encode(change)->id);
  EXPECT_EQ(ids.size(), 3u);
}

TEST(Encoder, ProtocolsAreNamed) {
  EXPECT_EQ(*ProtocolNamed("debezium"), Protocol::kDebezium);
  EXPECT_THAT(std::string(MessageOf(ProtocolNamed("avro").status())), HasSubstr("json, debezium and csv"));
}

TEST(JsonWriter, NumbersReadBackAsTheyWere) {
  for (const double value : {0.1, 1e300, -2.5e-300, 123456789.0, 5e-324}) {
    std::string out;
    JsonWriter(out).Double(value);
    EXPECT_EQ(nlohmann::json::parse(out).get<double>(), value) << out;
  }
  std::string out;
  JsonWriter json(out);
  json.BeginArray();
  json.Double(std::nan(""));
  json.Double(-std::numeric_limits<double>::infinity());
  json.Int(std::numeric_limits<int64_t>::min());
  json.Uint(std::numeric_limits<uint64_t>::max());
  json.EndArray();
  EXPECT_EQ(out, R"(["NaN","-Infinity",-9223372036854775808,18446744073709551615])");
}

TEST(JsonWriter, EveryByteIsEscapedTheSameWhereverItStands) {
  const auto write = [](std::string_view text) {
    std::string out;
    JsonWriter(out).String(text);
    return out.substr(1, out.size() - 2);
  };
  for (int c = 0; c < 256; ++c) {
    const std::string byte(1, static_cast<char>(c));
    const std::string alone = write(byte);
    for (size_t at = 0; at < 20; ++at) {
      const std::string before(at, 'a');
      const std::string after(20 - at, '~');
      ASSERT_EQ(write(before + byte + after), before + alone + after) << "byte " << c << " at " << at;
    }
  }
}

TEST(JsonWriter, WhatIsNoUtf8IsReplacedInTextAndBase64InKeys) {
  for (const char* bad : {"\x80", "\xC0\xAF", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xE2\x82"}) {
    std::string out;
    JsonWriter(out).String(bad);
    EXPECT_NO_THROW((void)nlohmann::json::parse(out)) << out;
  }
}

}  // namespace
}  // namespace tenure::changefeed
