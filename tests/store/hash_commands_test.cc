#include <gtest/gtest.h>

#include <set>

#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

TEST(Hashes, FieldsComeAndGo) {
  TestRegion().Script(R"(
    > HSET h a 1 b 2 a 3
    (integer) 2
    > HLEN h
    (integer) 2
    > HGET h a
    "3"
    > HGET h nope
    (nil)
    > HGET nope a
    (nil)
    > HMGET h a nope b
    ["3", (nil), "2"]
    > HMGET nope a b
    [(nil), (nil)]
    > HSET h a 4
    (integer) 0
    > HMSET h c "" d 5
    OK
    > HLEN h
    (integer) 4
    > HSTRLEN h c
    (integer) 0
    > HSTRLEN h a
    (integer) 1
    > HSTRLEN nope a
    (integer) 0
    > HEXISTS h c
    (integer) 1
    > HEXISTS h nope
    (integer) 0
    > HSETNX h a 9
    (integer) 0
    > HSETNX h e 9
    (integer) 1
    > HSETNX new "" 9
    (integer) 1
    > HGETALL new
    {"": "9"}
    > HDEL h a nope a b
    (integer) 2
    > HDEL h c d e
    (integer) 3
    > EXISTS h
    (integer) 0
    > TYPE h
    none
    > HGETALL h
    {}
    > HKEYS h
    []
    > HVALS h
    []
    > HLEN h
    (integer) 0
    > HDEL h a
    (integer) 0
    > TYPE new
    hash
  )");
}

TEST(Hashes, OtherTypesAreRefused) {
  TestRegion region;
  region.Run("SET a 1");
  for (const std::string_view line : {"HSET a f v", "HMSET a f v", "HSETNX a f v", "HGET a f", "HMGET a f",
                                      "HGETALL a", "HDEL a f", "HEXISTS a f", "HKEYS a", "HVALS a", "HLEN a",
                                      "HSTRLEN a f", "HINCRBY a f 1", "HINCRBYFLOAT a f 1", "HSCAN a 0"}) {
    EXPECT_EQ(region.Ask(line), "(error) WRONGTYPE Operation against a key holding the wrong kind of value")
        << line;
  }
  EXPECT_EQ(region.Ask("GET a"), R"("1")");
}

TEST(Hashes, Counters) {
  TestRegion().Script(R"(
    > HINCRBY h n 5
    (integer) 5
    > HINCRBY h n -7
    (integer) -2
    > HSET h n 9223372036854775807
    (integer) 0
    > HINCRBY h n 1
    (error) ERR increment or decrement would overflow
    > HSET h n x
    (integer) 0
    > HINCRBY h n 1
    (error) ERR hash value is not an integer
    > HINCRBYFLOAT h n 1
    (error) ERR hash value is not a float
    > HINCRBYFLOAT h m 1.50
    "1.5"
    > HINCRBYFLOAT h m inf
    (error) ERR value is NaN or Infinity
    > HINCRBYFLOAT nope m x
    (error) ERR value is not a valid float
    > EXISTS nope
    (integer) 0
    > HLEN h
    (integer) 2
  )");
}

// A key that is a prefix of another, bytes that occur in the format: fields stay with their own key.
TEST(Hashes, NeighboursAreNotTouched) {
  TestRegion().Script(R"(
    > HSET "{t}a" f 1
    (integer) 1
    > HSET "{t}a\x00" f 2
    (integer) 1
    > HSET "{t}aa" f 3
    (integer) 1
    > HSET "{t}" f 4
    (integer) 1
    > DEL "{t}a"
    (integer) 1
    > HGETALL "{t}a\x00"
    {"f": "2"}
    > HGETALL "{t}aa"
    {"f": "3"}
    > HGETALL "{t}"
    {"f": "4"}
  )");
}

void Fill(TestRegion& region, std::string_view key, int fields) {
  for (int i = 0; i < fields; ++i) region.Run({"HSET", std::string(key), fmt::format("field:{}", i), "v"});
}

TEST(Hashes, OverwritingSmallOnesDeletesFieldsAndLargeOnesARange) {
  TestRegion region;
  Fill(region, "small", 64);
  Fill(region, "large", 65);
  region.state.TakeCalls();
  region.Run("SET small 1");
  EXPECT_EQ(region.state.TakeCalls(), (MapView::Calls{.gets = 1, .puts = 1, .deletes = 64}));
  region.Run("SET large 1");
  EXPECT_EQ(region.state.TakeCalls(), (MapView::Calls{.gets = 1, .puts = 1, .range_deletes = 1}));
  CheckInvariants(region.state);
}

// What a HSCAN to the end gives, with what happens between its steps.
std::multiset<std::string> ScanAll(TestRegion& region, const std::string& options,
                                   const std::function<void()>& between, int& steps) {
  std::multiset<std::string> seen;
  std::string cursor = "0";
  steps = 0;
  do {
    const Reply reply = region.Run(fmt::format("HSCAN h {} {}", cursor, options));
    cursor = reply.elements.at(0).text;
    const std::vector<Reply>& pairs = reply.elements.at(1).elements;
    for (size_t i = 0; i < pairs.size(); i += 2) seen.insert(pairs[i].text);
    ++steps;
    between();
  } while (cursor != "0");
  return seen;
}

TEST(Hashes, ScanOfASmallHashIsOneStep) {
  TestRegion region;
  Fill(region, "h", 512);
  int steps = 0;
  EXPECT_EQ(ScanAll(region, "COUNT 5", [] {}, steps).size(), 512u);
  EXPECT_EQ(steps, 1);
  EXPECT_EQ(ScanAll(region, "MATCH field:1?", [] {}, steps).size(), 10u);
}

TEST(Hashes, ScanOfALargeHashSeesWhatStaysExactlyOnce) {
  TestRegion region;
  Fill(region, "h", 3'000);
  int steps = 0;
  EXPECT_EQ(ScanAll(region, "COUNT 100", [] {}, steps).size(), 3'000u);
  EXPECT_EQ(steps, 30);
  int round = 0;
  const auto seen = ScanAll(
      region, "COUNT 100",
      [&] {
        region.Run(fmt::format("HSET h new:{} v", round));
        region.Run(fmt::format("HDEL h field:{}", round));
        ++round;
      },
      steps);
  for (int i = round; i < 3'000; ++i) EXPECT_EQ(seen.count(fmt::format("field:{}", i)), 1u) << i;
}

TEST(Hashes, ScanOfLargeValuesIsCutByBytes) {
  TestRegion region;
  for (int i = 0; i < 10; ++i)
    region.Run({"HSET", "h", fmt::format("field:{}", i), std::string(40'000, 'x')});
  int steps = 0;
  EXPECT_EQ(ScanAll(region, "COUNT 1", [] {}, steps).size(), 10u);
  EXPECT_EQ(steps, 5);  // the second field of a step comes with less than 64 KiB before it
}

TEST(Hashes, ScanArguments) {
  TestRegion().Script(R"(
    > HSCAN h 0
    ["0", []]
    > HSCAN h x
    (error) ERR invalid cursor
    > HSCAN h " 0"
    (error) ERR invalid cursor
    > HSCAN h 0 FOO
    ["0", []]
    > HSET h a 1
    (integer) 1
    > HSCAN h 0 FOO
    (error) ERR syntax error
    > HSCAN h 0 COUNT 0
    (error) ERR syntax error
    > HSCAN h 0 COUNT x
    (error) ERR value is not an integer or out of range
    > HSCAN h 0 COUNT 1 MATCH a
    ["0", ["a", "1"]]
    > HSCAN h 0 MATCH b
    ["0", []]
    > HSCAN h 18446744073709551615
    ["0", []]
    > HSCAN h 18446744073709551616
    (error) ERR invalid cursor
  )");
}

}  // namespace
}  // namespace tenure::store
