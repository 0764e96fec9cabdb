#include "store/region_store.h"
#include "store/transaction_work.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "kv/kv.h"
#include "store/layout.h"
#include "tests/store/random_commands.h"
#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

TEST(RegionStore, TransactionsExecuteAllWhateverFails) {
  TestRegion region;
  region.Run("SET s text");
  EXPECT_EQ(Show(region.Transaction({"SET a 1", "INCR s", "FOO", "GET", "GET a", "HGETALL h", "INCR a"})),
            "[OK, (error) ERR value is not an integer or out of range, "
            "(error) ERR unknown command 'FOO', with args beginning with: , "
            "(error) ERR wrong number of arguments for 'get' command, \"1\", {}, (integer) 2]");
  EXPECT_EQ(Show(region.Transaction({})), "[]");
  CheckInvariants(region.state);
}

TEST(RegionStore, WatchesGuardTransactions) {
  TestRegion region;
  region.now = WallFromMillis(1000);
  const auto version = [&region](std::string_view key) {
    return region.store.VersionOf(key, region.now, region.state);
  };
  region.Run("SET a 1 PX 100");
  const WatchedKey a{"a", version("a")};
  const WatchedKey absent{"b", version("b")};
  EXPECT_EQ(a.version, 1u);
  EXPECT_EQ(absent.version, 0u);
  EXPECT_EQ(Show(region.Transaction({"GET a"}, {a, absent})), R"(["1"])");
  region.Run("INCRBY a 0");  // the same value is a change, as in Redis
  EXPECT_EQ(Show(region.Transaction({"SET c 1"}, {a, absent})), "(nil)");
  EXPECT_EQ(region.Ask("EXISTS c"), "(integer) 0");
  region.Run("SET b 1");
  EXPECT_EQ(Show(region.Transaction({"SET c 1"}, {absent})), "(nil)");
  const WatchedKey again{"a", version("a")};
  region.Run("INCR b");  // another key's change is none
  EXPECT_EQ(Show(region.Transaction({"GET a"}, {again})), R"(["1"])");
  region.now += std::chrono::milliseconds(101);  // expired is changed
  EXPECT_EQ(Show(region.Transaction({"GET a"}, {again})), "(nil)");
  EXPECT_EQ(Show(region.Transaction({"GET a"}, {{"a", 0}})), "[(nil)]");
}

TEST(RegionStore, TellsAVersionWhereItStandsInTheLog) {
  TestRegion region;
  region.now = WallFromMillis(1000);
  region.Run("SET a 1 PX 100");
  EXPECT_EQ(Show(region.Transaction({}, {{"a", kAskForVersion}})), "[(integer) 1]");
  EXPECT_EQ(Show(region.Transaction({}, {{"b", kAskForVersion}})), "[(integer) 0]");
  EXPECT_EQ(Show(region.Transaction({"GET a"}, {{"a", kAskForVersion}})), "(nil)");
  region.now += std::chrono::milliseconds(101);
  EXPECT_EQ(Show(region.Transaction({}, {{"a", kAskForVersion}})), "[(integer) 0]");
}

TEST(RegionStore, EveryChangeOfAKeyIsANewVersion) {
  TestRegion region;
  region.now = WallFromMillis(1000);
  uint64_t last = 0;
  for (const std::string_view line :
       {"SET k 1", "APPEND k 2", "SETRANGE k 0 1", "INCR k", "INCRBYFLOAT k 1", "PEXPIRE k 100",
        "GETEX k PX 50", "PERSIST k", "GETSET k 1", "MSET k 2"}) {
    ASSERT_FALSE(region.Run(line).IsError()) << line;
    const uint64_t version = region.store.VersionOf("k", region.now, region.state);
    EXPECT_GT(version, last) << line;
    last = version;
  }
  for (const std::string_view line :
       {"GETEX k", "SET k 1 NX", "MSETNX k 1", "PERSIST k", "HSET k f v", "EXPIRE k 1 GT"}) {
    region.Run(line);
    EXPECT_EQ(region.store.VersionOf("k", region.now, region.state), last) << line;
  }
}

TEST(RegionStore, TimeDoesNotGoBack) {
  TestRegion region;
  region.Script(R"(
    @ 1000
    > SET a 1 PX 100
    OK
    > SET b 1 PX 1000
    OK
    @ 1200
    > INCR a
    (integer) 1
    A leader whose clock is behind.
    @ 1050
    > SET c 1 PX 100
    OK
    > PEXPIRETIME c
    (integer) 1300
    > PTTL b
    (integer) 800
    @ 1400
    > PTTL b
    (integer) 600
  )");
}

TEST(RegionStore, CommandsThatNeedNoTimeLeaveItAlone) {
  TestRegion region;
  region.now = WallFromMillis(1000);
  region.Run("SET a 1");
  region.state.TakeCalls();
  region.now = WallFromMillis(2000);
  region.Run("SET a 2");
  // One look at the old value, one write.
  EXPECT_EQ(region.state.TakeCalls(), (MapView::Calls{.gets = 1, .puts = 1}));
  region.Run("SET b 1");
  EXPECT_EQ(region.state.TakeCalls(), (MapView::Calls{.gets = 2, .puts = 2}));
  region.Run("HSET h f v");
  EXPECT_EQ(region.state.TakeCalls(), (MapView::Calls{.gets = 2, .puts = 3}));
  region.Run("HSET h f w");
  EXPECT_EQ(region.state.TakeCalls(), (MapView::Calls{.gets = 2, .puts = 2}));
  region.Run("GET a");
  EXPECT_EQ(region.state.TakeCalls(), (MapView::Calls{.gets = 1}));
  EXPECT_EQ(DecodeCounters(*region.state.Get("m")), (Counters{.keys = 3, .newest_ms = 0}));
}

TEST(RegionStore, SweepRemovesTheOldestFirst) {
  TestRegion region;
  region.now = WallFromMillis(1000);
  for (int i = 0; i < 10; ++i) region.Run(fmt::format("SET s:{} v PX {}", i, 100 - i));
  region.Run("HSET h f v");
  region.Run("PEXPIRE h 95");
  region.Run("SET stays v");
  EXPECT_FALSE(region.store.HasExpired(region.now, region.state));
  EXPECT_EQ(region.Sweep(100), 0);
  region.now = WallFromMillis(1096);  // expired: 1091 to 1095
  EXPECT_TRUE(region.store.HasExpired(region.now, region.state));
  EXPECT_EQ(region.Sweep(2), 2);
  EXPECT_EQ(region.store.KeyCount(region.state), 10u);
  EXPECT_EQ(region.Sweep(100), 4);
  EXPECT_FALSE(region.store.HasExpired(region.now, region.state));
  EXPECT_EQ(region.Sweep(100), 0);
  EXPECT_EQ(region.Ask("EXISTS s:4"), "(integer) 1");
  EXPECT_EQ(region.Ask("EXISTS s:5"), "(integer) 0");
  CheckInvariants(region.state);
}

TEST(RegionStore, KeysOfASlot) {
  TestRegion region;
  region.now = WallFromMillis(1000);
  for (const std::string_view key : {"{t}c", "{t}a", "{t}b", "{u}x"})
    region.Run(Arguments{"SET", std::string(key), "v"});
  region.Run("PEXPIRE {t}b 10");
  const uint16_t slot = SlotOfKey("{t}");
  EXPECT_EQ(region.store.KeysInSlot(slot, 10, region.now, region.state),
            (std::vector<std::string>{"{t}a", "{t}b", "{t}c"}));
  EXPECT_EQ(region.store.KeysInSlot(slot, 1, region.now, region.state), (std::vector<std::string>{"{t}a"}));
  EXPECT_TRUE(region.store.KeysInSlot(slot, 0, region.now, region.state).empty());
  region.now += std::chrono::milliseconds(11);
  EXPECT_EQ(region.store.CountKeysInSlot(slot, region.now, region.state), 2u);
  EXPECT_EQ(region.store.CountKeysInSlot(SlotOfKey("nope"), region.now, region.state), 0u);
  EXPECT_EQ(region.store.KeyCount(region.state), 4u);
}

std::vector<std::string> ScanAll(const TestRegion& region, size_t count,
                                 std::optional<std::string_view> match,
                                 std::optional<std::string_view> type) {
  std::vector<std::string> keys;
  std::string position;
  do {
    auto step = region.store.Scan(position, count, match, type, region.now, region.state);
    EXPECT_LE(step.keys.size(), count);
    keys.insert(keys.end(), step.keys.begin(), step.keys.end());
    position = step.next;
  } while (!position.empty());
  std::ranges::sort(keys);
  return keys;
}

TEST(RegionStore, Scan) {
  TestRegion region;
  region.now = WallFromMillis(1000);
  using Keys = std::vector<std::string>;
  EXPECT_EQ(ScanAll(region, 5, std::nullopt, std::nullopt), Keys{});
  for (int i = 0; i < 5; ++i) region.Run(fmt::format("SET s{} v", i));
  for (int i = 0; i < 3; ++i) region.Run(fmt::format("HSET h{} f v", i));
  region.Run("SET \"\" v");
  region.Run("SET gone v PX 1");
  region.now += std::chrono::milliseconds(2);
  for (const size_t count : {1u, 2u, 3u, 100u}) {
    EXPECT_EQ(ScanAll(region, count, std::nullopt, std::nullopt),
              (Keys{"", "h0", "h1", "h2", "s0", "s1", "s2", "s3", "s4"}));
    EXPECT_EQ(ScanAll(region, count, "*", std::nullopt).size(), 9u);
    EXPECT_EQ(ScanAll(region, count, "?[0-1]", std::nullopt), (Keys{"h0", "h1", "s0", "s1"}));
    EXPECT_EQ(ScanAll(region, count, std::nullopt, "hash"), (Keys{"h0", "h1", "h2"}));
    EXPECT_EQ(ScanAll(region, count, "*0", "string"), (Keys{"s0"}));
    EXPECT_EQ(ScanAll(region, count, std::nullopt, "list"), Keys{});
  }
}

TEST(RegionStore, KeysOfOtherRegionsAreRefused) {
  const uint16_t slot = SlotOfKey("a");
  MapView state;
  RegionStore region(SlotRange{slot, slot});
  const auto apply = [&](const Arguments& arguments) {
    return Show(region.Apply({.commands = {arguments}}, LogIndex{1}, state));
  };
  EXPECT_EQ(apply({"SET", "a", "1"}), "OK");
  EXPECT_EQ(apply({"SET", "b", "1"}), "(error) TRYAGAIN The region does not hold this slot any more");
  EXPECT_EQ(apply({"MSET", "a", "2", "b", "1"}),
            "(error) TRYAGAIN The region does not hold this slot any more");
  EXPECT_EQ(Show(region.Read({"GET", "b"}, {}, state)),
            "(error) TRYAGAIN The region does not hold this slot any more");
  EXPECT_EQ(Show(region.Read({"GET", "a"}, {}, state)), R"("1")");
}

TEST(RegionStore, ReadsDoNotWrite) {
  MapView state;
  RegionStore region(SlotRange{0, 16383});
  for (const CommandSpec& spec : AllCommands()) {
    Arguments arguments(static_cast<size_t>(std::abs(spec.arity)), "1");
    arguments[0] = spec.name;
    const Reply reply = region.Read(arguments, {}, state);
    EXPECT_EQ(reply.IsError() && reply.text.ends_with("was given to be read"), spec.write) << spec.name;
  }
  EXPECT_EQ(Show(region.Read(Arguments{}, {}, state)),
            "(error) ERR unknown command '', with args beginning with: ");
}

// Every replica builds a reply that goes through the log: what does not fit is left out, what was to be done is done.
TEST(RegionStore, RepliesAreBounded) {
  TestRegion region;
  const std::string large(30 << 20, 'x');
  region.Run(Arguments{"SET", "{a}v", large});
  for (int i = 0; i < 5; ++i) region.Run(Arguments{"HSET", "{a}h", "f" + std::to_string(i), large});
  EXPECT_EQ(Show(region.Run("HLEN {a}h")), "(integer) 5");

  const Reply all = region.Transaction({"GET {a}v", "GET {a}v", "GET {a}v", "GET {a}v", "GET {a}v",
                                        "SET {a}w 1", "GETSET {a}v 2", "GET {a}v", "HGETALL {a}h"});
  ASSERT_EQ(all.elements.size(), 9U);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(all.elements[i].text.size(), large.size()) << i;
  const std::string left_out =
      "ERR executed, but the reply is left out: those of the transaction would take more than 134217728 "
      "bytes";
  EXPECT_EQ(all.elements[4].text, left_out);
  EXPECT_EQ(all.elements[5], Reply::Ok());
  EXPECT_EQ(all.elements[6].text, left_out);
  EXPECT_EQ(all.elements[7].text, "2");
  const std::string too_large = "ERR the reply would take more than 134217728 bytes, the limit";
  EXPECT_EQ(all.elements[8].text, too_large);
  EXPECT_EQ(region.Run("GET {a}w").text, "1");

  for (const char* line :
       {"HGETALL {a}h", "HVALS {a}h", "HMGET {a}h f1 f1 f1 f1 f1", "HSCAN {a}h 0 COUNT 10"})
    EXPECT_EQ(region.Run(line).text, too_large) << line;
  EXPECT_EQ(region.Run("HKEYS {a}h").elements.size(), 5U);
  region.Run(Arguments{"SET", "{a}v", large});
  EXPECT_EQ(region.Run("MGET {a}v {a}v {a}v {a}v {a}v").text, too_large);
  EXPECT_EQ(region.Run("MGET {a}v {a}v {a}v {a}v").elements.size(), 4U);
}

TEST(RegionStore, TheWorkOfATransactionIsBounded) {
  TestRegion region;
  region.Run(Arguments{"SET", "{a}v", std::string(30 << 20, 'x')});
  const auto check = [&](const std::string& line, int times) {
    WriteCommand command{.kind = WriteCommand::Kind::kTransaction};
    for (int i = 0; i < times; ++i) {
      command.commands.push_back(Words(line));
      if (command.commands.back()[1] == "{a}#") command.commands.back()[1] += std::to_string(i);
    }
    const Status status = CheckTransactionWork(command, region.state);
    const bool names_limit = MessageOf(status).find("1073741824") != std::string::npos;
    EXPECT_EQ(status.ok(), !names_limit) << status;
    return status.ok();
  };
  EXPECT_TRUE(check("GET {a}v", 10));
  EXPECT_TRUE(check("GET {a}v", 30));
  EXPECT_FALSE(check("GET {a}v", 40));
  EXPECT_TRUE(check("GET {a}w", 60'000));
  EXPECT_TRUE(check("SETRANGE {a}v 0 x", 20));
  EXPECT_FALSE(check("SETRANGE {a}v 0 x", 60'000));
  EXPECT_TRUE(check("SETRANGE {a}# 33554431 x", 30));
  EXPECT_FALSE(check("SETRANGE {a}# 33554431 x", 40));
  EXPECT_TRUE(check("APPEND {a}w x", 20'000));
  EXPECT_TRUE(check("SET {a}v x", 60'000));
  EXPECT_TRUE(check("nonsense {a}v", 60'000));
}

// Two replicas that apply the same commands, one through the overlay that a daemon uses, are equal byte by
// byte.
TEST(RegionStore, ReplicasStayEqual) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Prng prng(seed);
    MapView direct;
    MapView base;
    RegionStore region(SlotRange{0, 16383});
    int64_t now_ms = 1'000'000;
    for (uint64_t i = 1; i <= 3'000; ++i) {
      now_ms += prng.Between(-100, 300);  // a new leader's clock may be behind
      WriteCommand command{.now = WallFromMillis(now_ms)};
      if (prng.Chance(1, 50)) {
        command.kind = WriteCommand::Kind::kSweep;
        command.sweep_limit = 2;
      } else {
        command.kind = WriteCommand::Kind::kTransaction;
        for (uint64_t n = prng.Below(4); n > 0; --n)
          command.commands.push_back(RandomCommand(prng, {.now_ms = now_ms}));
      }
      const Reply reply = region.Apply(command, LogIndex{i}, direct);
      kv::Overlay overlay(base, "");
      ASSERT_EQ(Show(region.Apply(command, LogIndex{i}, overlay)), Show(reply))
          << "seed " << seed << ", command " << i;
      base.Write(overlay.TakeBatch());
      ASSERT_EQ(direct.map(), base.map()) << "seed " << seed << ", command " << i;
      ASSERT_NO_FATAL_FAILURE(CheckInvariants(direct));
      ASSERT_FALSE(testing::Test::HasFailure());
    }
  }
}

}  // namespace
}  // namespace tenure::store
