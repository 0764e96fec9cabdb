// The same random commands on a region and on a real redis-server; every reply must be the same.
//
//   TENURE_TEST_SEED=7 TENURE_TEST_COMMANDS=1000000 test_store --gtest_filter='RedisReference.*'
//
// Expiries lie days ahead, so that none passes during the test; how long something still lives is compared
// with a tolerance, because the two take the time at different moments.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <deque>
#include <set>

#include "store/errors.h"
#include "tests/store/random_commands.h"
#include "tests/store/redis_server.h"
#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

constexpr int64_t kDay = 86'400'000;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

int64_t RealMillis() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void SortPairs(std::vector<Reply>& elements) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (size_t i = 0; i + 1 < elements.size(); i += 2)
    pairs.emplace_back(elements[i].text, elements[i + 1].text);
  std::ranges::sort(pairs);
  for (size_t i = 0; i < pairs.size(); ++i) {
    elements[2 * i].text = pairs[i].first;
    elements[2 * i + 1].text = pairs[i].second;
  }
}

// What RESP2 does not show, and orders that are nobody's promise.
void Normalize(std::string_view command, Reply& reply) {
  if (reply.kind == Reply::Kind::kMap) reply.kind = Reply::Kind::kArray;
  if (command == "hgetall") SortPairs(reply.elements);
  if (command == "hkeys" || command == "hvals") {
    std::ranges::sort(reply.elements, {}, &Reply::text);
  }
}

bool TellsTime(std::string_view command) {
  return command == "ttl" || command == "pttl" || command == "expiretime" || command == "pexpiretime";
}

class Reference : public testing::Test {
 protected:
  void SetUp() override {
    if (!RedisServer::IsInstalled()) GTEST_SKIP() << "redis-server is not installed: nothing to compare with";
    redis_ = std::make_unique<RedisServer>();
    ASSERT_TRUE(redis_->ok());
    region_.now = WallFromMillis(RealMillis());
    history_.clear();
  }

  Arguments Next(Prng& prng) {
    RandomCommandOptions options;
    options.now_ms = ToMillis(region_.now);
    options.min_ahead_ms = 10 * kDay;
    options.max_ahead_ms = 10'000 * kDay;
    return RandomCommand(prng, options);
  }

  // Without Validate: everything has to hold at apply as well.
  Reply RunOnRegion(const Arguments& arguments) {
    region_.now = WallFromMillis(RealMillis());
    WriteCommand command{.now = region_.now, .commands = {arguments}, .max_value_bytes = 512 << 20};
    region_.index = region_.index.Next();
    const CommandSpec* const spec = FindCommand(arguments[0]);
    if (spec != nullptr && !spec->write) return region_.store.Read(arguments, region_.now, region_.state);
    return region_.store.Apply(command, region_.index, region_.state);
  }

  // Both steps through a hash to its end.
  template <class Run>
  Reply ScanAll(Arguments arguments, Run run) {
    Reply all = Reply::Array({});
    for (int steps = 0; steps < 10'000; ++steps) {
      Reply reply = run(arguments);
      if (reply.kind != Reply::Kind::kArray || reply.elements.size() != 2) return reply;
      for (Reply& element : reply.elements[1].elements) all.elements.push_back(std::move(element));
      arguments[2] = reply.elements[0].text;
      if (arguments[2] == "0") break;
    }
    SortPairs(all.elements);
    return all;
  }

  void Compare(const Arguments& arguments) {
    history_.push_back(ShowCommand(arguments));
    if (history_.size() > 40) history_.pop_front();
    const std::string name = Lowercase(arguments[0]);
    Reply ours;
    Reply theirs;
    if (name == "hscan" && arguments.size() >= 3) {
      ours = ScanAll(arguments, [this](const Arguments& step) { return RunOnRegion(step); });
      theirs = ScanAll(arguments, [this](const Arguments& step) { return redis_->Run(step); });
    } else {
      ours = RunOnRegion(arguments);
      theirs = redis_->Run(arguments);
    }
    // A cursor that no step handed out may lead anywhere; it only has to be refused or not.
    const bool any_cursor = name == "hscan" && arguments.size() >= 3 && arguments[2] != "0";
    if (any_cursor && !ours.IsError() && !theirs.IsError()) return;
    Normalize(name, ours);
    Normalize(name, theirs);
    ExpectSame(name, ours, theirs);
  }

  void ExpectSame(std::string_view command, const Reply& ours, const Reply& theirs) {
    if (theirs.IsError()) errors_.insert(theirs.text);
    if (!theirs.IsError()) executed_.insert(std::string(command));
    if (TellsTime(command) && ours.integer > 0 && std::abs(ours.integer - theirs.integer) <= 2'000) return;
    EXPECT_EQ(Show(ours), Show(theirs)) << "(ours, Redis') after\n" << History();
  }

  void CompareTransaction(const std::vector<Arguments>& commands) {
    redis_->Run({"MULTI"});
    WriteCommand command{.kind = WriteCommand::Kind::kTransaction, .max_value_bytes = 512 << 20};
    for (const Arguments& arguments : commands) {
      if (!ValidateQueued(arguments, Limits{}).ok() || Lowercase(arguments[0]) == "hscan") continue;
      history_.push_back("  MULTI: " + ShowCommand(arguments));
      const Reply queued = redis_->Run(arguments);
      EXPECT_EQ(Show(queued), "QUEUED") << History();
      command.commands.push_back(arguments);
    }
    region_.now = command.now = WallFromMillis(RealMillis());
    region_.index = region_.index.Next();
    Reply ours = region_.store.Apply(command, region_.index, region_.state);
    const Reply theirs = redis_->Run({"EXEC"});
    ASSERT_EQ(ours.elements.size(), theirs.elements.size()) << History();
    for (size_t i = 0; i < ours.elements.size(); ++i) {
      const std::string name = Lowercase(command.commands[i][0]);
      Normalize(name, ours.elements[i]);
      Reply reply = theirs.elements[i];
      Normalize(name, reply);
      ExpectSame(name, ours.elements[i], reply);
    }
  }

  // Everything that is there, read back. SCAN makes Redis drop what has expired, DBSIZE then is exact.
  void CompareContent() {
    std::vector<std::string> theirs;
    std::string cursor = "0";
    do {
      const Reply reply = redis_->Run({"SCAN", cursor});
      cursor = reply.elements.at(0).text;
      for (const Reply& key : reply.elements.at(1).elements) theirs.push_back(key.text);
    } while (cursor != "0");
    std::vector<std::string> ours;
    std::string position;
    do {
      auto step = region_.store.Scan(position, 3, std::nullopt, std::nullopt, region_.now, region_.state);
      ours.insert(ours.end(), step.keys.begin(), step.keys.end());
      position = step.next;
    } while (!position.empty());
    std::ranges::sort(ours);
    std::ranges::sort(theirs);
    EXPECT_EQ(ours, theirs) << History();
    EXPECT_EQ(static_cast<int64_t>(region_.store.KeyCount(region_.state)), redis_->Run({"DBSIZE"}).integer)
        << History();
    for (const std::string& key : ours) {
      Compare({"type", key});
      Compare({"get", key});
      Compare({"hgetall", key});
      Compare({"hlen", key});
      Compare({"pexpiretime", key});
    }
    CheckInvariants(region_.state);
  }

  std::string History() const {
    std::string out;
    for (const std::string& line : history_) out += "  " + line + "\n";
    return out;
  }

  std::unique_ptr<RedisServer> redis_;
  TestRegion region_;
  std::deque<std::string> history_;
  std::set<std::string> executed_;  // commands that succeeded
  std::set<std::string> errors_;
};

using RedisReference = Reference;

TEST_F(RedisReference, RandomCommands) {
  const uint64_t seed = FromEnvironment("TENURE_TEST_SEED", 1);
  const uint64_t count = FromEnvironment("TENURE_TEST_COMMANDS", 30'000);
  Prng prng(seed);
  for (uint64_t i = 0; i < count && !HasFailure(); ++i) {
    SCOPED_TRACE(fmt::format("seed {}, command {}", seed, i));
    if (prng.Chance(1, 40)) {
      std::vector<Arguments> commands;
      for (uint64_t n = prng.Below(6); n > 0; --n) commands.push_back(Next(prng));
      CompareTransaction(commands);
    } else if (prng.Chance(1, 300)) {
      CompareContent();
    } else {
      const Arguments arguments = Next(prng);
      Compare(arguments);
      // What the reply did not show.
      if (arguments.size() > 1 && prng.Chance(1, 4)) Compare({"pexpiretime", arguments[1]});
    }
  }
  if (HasFailure()) return;
  // The comparison is worth what it came across.
  for (const CommandSpec& spec : AllCommands())
    EXPECT_TRUE(executed_.contains(std::string(spec.name))) << spec.name;
  for (const char* const text : {"WRONGTYPE Operation against a key holding the wrong kind of value",
                                 "ERR syntax error",
                                 "ERR value is not an integer or out of range",
                                 "ERR value is not a valid float",
                                 "ERR increment or decrement would overflow",
                                 "ERR increment would produce NaN or Infinity",
                                 "ERR value is NaN or Infinity",
                                 "ERR hash value is not an integer",
                                 "ERR hash value is not a float",
                                 "ERR offset is out of range",
                                 "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
                                 "ERR invalid expire time in 'set' command",
                                 "ERR invalid expire time in 'getex' command",
                                 "ERR invalid expire time in 'expire' command",
                                 "ERR Unsupported option zz",
                                 "ERR NX and XX, GT or LT options at the same time are not compatible",
                                 "ERR GT and LT options at the same time are not compatible",
                                 "ERR decrement would overflow",
                                 "ERR wrong number of arguments for 'mset' command",
                                 "ERR wrong number of arguments for 'hset' command",
                                 "ERR invalid cursor"}) {
    EXPECT_TRUE(errors_.contains(text)) << text;
  }
}

TEST_F(RedisReference, LargeHashes) {
  for (int i = 0; i < 2'000; ++i) Compare({"HSET", "h", fmt::format("field:{}", i), std::to_string(i)});
  Compare({"HLEN", "h"});
  Compare({"HGETALL", "h"});
  Compare({"HSCAN", "h", "0"});
  Compare({"HSCAN", "h", "0", "COUNT", "1000", "MATCH", "field:1[0-4]*"});
  for (int i = 0; i < 1'950; ++i) Compare({"HDEL", "h", fmt::format("field:{}", i)});
  Compare({"HGETALL", "h"});
  Compare({"SET", "h", "1"});
  Compare({"DEL", "h"});
  Compare({"HSET", "h", "f", "v"});
  CompareContent();
}

// Expiry as it happens: as soon as Redis takes a key for gone, so do we. Redis got the command later, so its
// key lives at least as long.
TEST_F(RedisReference, KeysExpire) {
  Compare({"SET", "a", "v", "PX", "20"});
  Compare({"HSET", "h", "f", "v"});
  Compare({"PEXPIRE", "h", "20"});
  const int64_t deadline = RealMillis() + 10'000;
  while (redis_->Run({"EXISTS", "a", "h"}).integer != 0 && RealMillis() < deadline) {
  }
  for (const char* const line :
       {"GET a", "TTL a", "PTTL h", "EXISTS a h", "TYPE h", "HGETALL h", "PERSIST a", "EXPIRE h 10",
        "SET a 1 XX", "HSETNX h g 1", "HGETALL h", "PTTL h", "INCR a", "PTTL a"}) {
    Compare(Words(line));
  }
  CompareContent();
}

TEST_F(RedisReference, UnknownCommands) {
  for (const char* const line :
       {"FOO", "foo a", "FOO \"a b\" \"c\\r\\nd\"", "\"f\\x00oo\" \"a\\x00b\" c", "\"\" a"}) {
    Compare(Words(line));
  }
  Compare({std::string(300, 'c'), std::string(300, 'a'), "b"});
  Compare({"FOO", std::string(100, 'a'), std::string(100, 'b'), "c"});
  Compare({"FOO", std::string(125, 'a'), "b", "c"});
}

}  // namespace
}  // namespace tenure::store
