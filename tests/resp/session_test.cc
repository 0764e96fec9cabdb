// Order, errors, limits and transactions of one connection.
#include "resp/session.h"

#include "tests/resp/session_fixture.h"

namespace tenure::resp {
namespace {

TEST_F(SessionTest, DataCommands) {
  EXPECT_EQ(Ask("SET a 1"), "+OK\r\n");
  EXPECT_EQ(Ask("get a"), "$1\r\n1\r\n");
  EXPECT_EQ(Ask("GET none"), "$-1\r\n");
  EXPECT_EQ(Ask("DEL a"), ":1\r\n");
  EXPECT_EQ(Ask("HGETALL h"), "*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
}

TEST_F(SessionTest, Errors) {
  EXPECT_EQ(Ask("foo a 'b c'"), "-ERR unknown command 'foo', with args beginning with: 'a' 'b c' \r\n");
  EXPECT_EQ(Ask("FOO"), "-ERR unknown command 'FOO', with args beginning with: \r\n");
  EXPECT_EQ(Ask("GET"), "-ERR wrong number of arguments for 'get' command\r\n");
  EXPECT_EQ(Ask("ECHO"), "-ERR wrong number of arguments for 'echo' command\r\n");
  EXPECT_EQ(Ask("CLUSTER KEYSLOT"), "-ERR wrong number of arguments for 'cluster|keyslot' command\r\n");
  EXPECT_EQ(Ask("CLUSTER"), "-ERR wrong number of arguments for 'cluster' command\r\n");
  EXPECT_EQ(Ask("CLUSTER foo"), "-ERR unknown subcommand 'foo'. Try CLUSTER HELP.\r\n");
  EXPECT_EQ(Ask("cluster|slots"), "-ERR unknown command 'cluster|slots', with args beginning with: \r\n");
  EXPECT_EQ(Ask("MGET a b"), "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
  EXPECT_EQ(Ask("MGET {a}1 {a}2"), "*2\r\n$-1\r\n$-1\r\n");
  EXPECT_EQ(service.executed, 1u);
}

TEST_F(SessionTest, Outcomes) {
  const auto ask = [&](node::Outcome outcome) {
    service.next_outcome = std::move(outcome);
    return Ask("GET a");
  };
  using Kind = node::Refused::Kind;
  EXPECT_EQ(ask(node::Moved{15495, "10.0.0.3:7101"}), "-MOVED 15495 10.0.0.3:7101\r\n");
  EXPECT_EQ(ask(node::Refused{Kind::kClusterDown, "no leader"}), "-CLUSTERDOWN no leader\r\n");
  EXPECT_EQ(ask(node::Refused{Kind::kTryAgain, "moving"}), "-TRYAGAIN moving\r\n");
  EXPECT_EQ(ask(node::Refused{Kind::kOverloaded, "full"}), "-TRYAGAIN full\r\n");
  EXPECT_EQ(ask(node::Refused{Kind::kOutOfSpace, "disk full"}), "-MISCONF disk full\r\n");
  EXPECT_EQ(
      ask(node::Unknown{"leadership lost"}),
      "-UNKNOWN the outcome of this command is unknown, it may have been executed: leadership lost\r\n");
}

TEST_F(SessionTest, NoDatabase) {
  service.databases.clear();
  EXPECT_EQ(Ask("GET a"), "-CLUSTERDOWN there is no database `default`: tenure db create default\r\n");
  service.down = "no database exists yet: tenure db create default";
  EXPECT_EQ(Ask("GET a"), "-CLUSTERDOWN no database exists yet: tenure db create default\r\n");
  EXPECT_EQ(Ask("PING"), "+PONG\r\n");
  // The same connection works once there is one.
  service.down.reset();
  service.databases = {{"default", DatabaseId(4)}};
  EXPECT_EQ(Ask("SET a 1"), "+OK\r\n");
}

TEST_F(SessionTest, DatabaseIsLookedUpAgainWhenItIsGone) {
  EXPECT_EQ(Ask("SELECT other"), "+OK\r\n");
  service.databases.erase("other");
  EXPECT_EQ(Ask("GET a"), "-ERR no such database 'other'\r\n");
  service.databases["other"] = DatabaseId(9);
  service.hold = true;
  client->Send("GET a\r\n");
  EXPECT_EQ(service.held[0].database, DatabaseId(9));
}

// ---- Order

TEST_F(SessionTest, RepliesInOrderOfRequests) {
  service.hold = true;
  client->Send("GET a\r\nGET b\r\nPING\r\nGET c\r\n");
  EXPECT_EQ(Held(), (Names{"GET a", "GET b", "GET c"}));
  service.Put("a", "1");
  service.Put("c", "3");
  service.Release(2);
  service.Release(1);
  EXPECT_EQ(client->Take(), "");
  service.Release(0);
  EXPECT_EQ(client->Take(), "$1\r\n1\r\n$-1\r\n+PONG\r\n$1\r\n3\r\n");
}

TEST_F(SessionTest, WritesAreUnderWayTogether) {
  service.hold = true;
  client->Send("SET a 1\r\nSET b 1\r\nSET a 2\r\n");
  EXPECT_EQ(Held(), (Names{"SET a 1", "SET b 1", "SET a 2"}));
}

TEST_F(SessionTest, ReadWaitsForWriteOfItsSlot) {
  service.hold = true;
  client->Send("SET a 1\r\nGET b\r\nGET a\r\nGET b\r\n");
  EXPECT_EQ(Held(), (Names{"SET a 1", "GET b"}));
  service.Release(0);
  EXPECT_EQ(Held(), (Names{"GET b", "GET a", "GET b"}));
  service.ReleaseAll();
  EXPECT_EQ(client->Take(), "+OK\r\n$-1\r\n$1\r\n1\r\n$-1\r\n");
}

TEST_F(SessionTest, WriteWaitsForReadOfItsSlot) {
  service.hold = true;
  service.Put("a", "old");
  client->Send("GET a\r\nSET a new\r\n");
  EXPECT_EQ(Held(), (Names{"GET a"}));
  service.ReleaseAll();
  EXPECT_EQ(client->Take(), "$3\r\nold\r\n+OK\r\n");
}

TEST_F(SessionTest, DbSizeAndScanSeeEarlierWrites) {
  service.hold = true;
  client->Send("SET a 1\r\nDBSIZE\r\n");
  service.ReleaseAll();
  EXPECT_EQ(client->Take(), "+OK\r\n:1\r\n");
  client->Send("SET b 1\r\nSCAN 0\r\n");
  EXPECT_EQ(Held(), (Names{"SET b 1"}));
  service.Release();
  EXPECT_EQ(Held(), (Names{"SCAN 0"}));
}

TEST_F(SessionTest, SessionMayGoWhileCommandsAreUnderWay) {
  service.hold = true;
  client->Send("SET a 1\r\nWATCH b\r\n");
  client->session.reset();
  service.ReleaseAll();
  EXPECT_EQ(front->client_count(), 0u);
  EXPECT_EQ(front->total_bytes(), 0u);
}

TEST_F(SessionTest, NotifiedOncePerTake) {
  service.hold = true;
  client->Send("GET a\r\nGET b\r\n");
  EXPECT_EQ(client->notified, 0);
  service.ReleaseAll();
  EXPECT_EQ(client->notified, 1);
  client->Take();
  client->Send("PING\r\n");
  EXPECT_EQ(client->notified, 2);
}

// ---- Ends

TEST_F(SessionTest, ProtocolErrorIsAnsweredInOrderAndEnds) {
  service.hold = true;
  client->Send("GET a\r\n*1\r\n!\r\nPING\r\n");
  EXPECT_FALSE(client->session->IsOver());
  service.ReleaseAll();
  EXPECT_EQ(client->Take(), "$-1\r\n-ERR Protocol error: expected '$', got '!'\r\n");
  EXPECT_TRUE(client->session->IsOver());
  EXPECT_EQ(client->session->state(), Session::State::kFinishing);
  EXPECT_EQ(Ask("PING"), "");
}

TEST_F(SessionTest, QuitIgnoresWhatFollows) {
  client->Send("QUIT\r\nSET a 1\r\n");
  EXPECT_EQ(client->Take(), "+OK\r\n");
  EXPECT_TRUE(client->session->IsOver());
  EXPECT_TRUE(service.data.empty());
}

TEST_F(SessionTest, EndOfInputFinishesWhatWasAsked) {
  service.hold = true;
  client->Send("SET a 1\r\nGET a\r\n");
  client->session->OnEndOfInput();
  EXPECT_FALSE(client->session->IsOver());
  service.ReleaseAll();
  EXPECT_EQ(client->Take(), "+OK\r\n$1\r\n1\r\n");
  EXPECT_TRUE(client->session->IsOver());
}

TEST_F(SessionTest, HalfRequestAndEnd) {
  client->Send("*2\r\n$3\r\nGET\r\n$1");
  client->session->OnEndOfInput();
  EXPECT_TRUE(client->session->IsOver());
  EXPECT_EQ(client->Take(), "");
}

TEST_F(SessionTest, HttpIsDisconnected) {
  client->Send("POST / HTTP/1.1\r\nHost: x\r\nSET a 1\r\n");
  EXPECT_EQ(client->session->state(), Session::State::kAborted);
  EXPECT_TRUE(service.data.empty());
}

// ---- Limits

TEST_F(SessionTest, OversizedValue) {
  std::string request = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$67108864\r\n";
  client->Send(request);
  const std::string megabyte(1 << 20, 'x');
  for (int i = 0; i < 64; ++i) client->Send(megabyte);
  EXPECT_LT(front->total_bytes(), 1000u);
  client->Send("\r\nPING\r\n");
  EXPECT_EQ(client->Take(),
            "-ERR argument of 67108864 bytes exceeds the limit of 33554432 bytes\r\n+PONG\r\n");
}

TEST_F(SessionTest, OversizedKey) {
  client->Command({"SET", std::string((64 << 10) + 1, 'k'), "v"});
  EXPECT_TRUE(client->Take().starts_with("-ERR key exceeds"));
  client->Command({"MULTI"});
  client->Command({"SET", std::string((64 << 10) + 1, 'k'), "v"});
  client->Take();
  EXPECT_EQ(Ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
}

TEST_F(SessionTest, InFlightIsBounded) {
  FrontEndSettings settings;
  settings.max_in_flight = 4;
  Settings(settings);
  service.hold = true;
  std::string pipeline;
  for (int i = 0; i < 10; ++i) pipeline += "INCR n\r\n";
  client->Send(pipeline);
  EXPECT_EQ(service.held.size(), 4u);
  EXPECT_FALSE(client->session->WantsRead());
  const int notified = client->notified;
  service.ReleaseAll();
  EXPECT_GT(client->notified, notified);
  EXPECT_TRUE(client->session->WantsRead());
  std::string expected;
  for (int i = 1; i <= 10; ++i) expected += ":" + std::to_string(i) + "\r\n";
  EXPECT_EQ(client->Take(), expected);
}

TEST_F(SessionTest, LocalRepliesBehindASlowOneAreBounded) {
  FrontEndSettings settings;
  settings.max_in_flight = 4;
  Settings(settings);
  service.hold = true;
  std::string pipeline = "GET a\r\n";
  for (int i = 0; i < 100; ++i) pipeline += "PING\r\n";
  client->Send(pipeline);
  EXPECT_FALSE(client->session->WantsRead());
  service.ReleaseAll();
  std::string expected = "$-1\r\n";
  for (int i = 0; i < 100; ++i) expected += "+PONG\r\n";
  EXPECT_EQ(client->Take(), expected);
  EXPECT_TRUE(client->session->WantsRead());
}

TEST_F(SessionTest, UntakenOutputPausesExecution) {
  FrontEndSettings settings;
  settings.output_pause_bytes = 1000;
  Settings(settings);
  service.Put("a", std::string(600, 'v'));
  std::string pipeline;
  for (int i = 0; i < 10; ++i) pipeline += "GET a\r\n";
  client->Send(pipeline);
  EXPECT_EQ(service.executed, 2u);
  EXPECT_FALSE(client->session->WantsRead());
  const std::string first = client->session->TakeOutput();
  client->session->SetUnsent(first.size());
  EXPECT_EQ(service.executed, 2u);
  client->session->SetUnsent(0);
  EXPECT_EQ(service.executed, 4u);
}

// Reads that wait are all answered in one turn, whatever the client has taken by then.
TEST_F(SessionTest, ReadsUnderWayDoNotFillTheOutput) {
  FrontEndSettings settings;
  settings.output_pause_bytes = 2000;
  settings.output_limit_bytes = 20000;
  settings.store.max_value_bytes = 1000;
  Settings(settings);
  service.Put("a", std::string(900, 'v'));
  service.Put("b", "small");
  service.hold = true;
  const auto pipeline = [&](const std::string& key) {
    std::string commands;
    for (int i = 0; i < 100; ++i) commands += "GET " + key + "\r\n";
    client->Send(commands);
  };
  const auto take_all = [&] {
    size_t taken = 0;
    while (!service.held.empty() || client->session->HasOutput()) {
      service.ReleaseAll();
      taken += client->Take().size();
    }
    return taken;
  };
  pipeline("a");
  EXPECT_EQ(service.held.size(), 10u);
  EXPECT_EQ(take_all(), 100 * (900 + 8u));
  pipeline("b");
  EXPECT_EQ(take_all(), 100 * (5 + 6u));
  // Small replies do not hold each other up.
  pipeline("b");
  EXPECT_EQ(service.held.size(), 100u);
  EXPECT_EQ(take_all(), 100 * (5 + 6u));
  clock.now += std::chrono::seconds(2);
  pipeline("a");
  EXPECT_EQ(service.held.size(), 10u);
  EXPECT_EQ(take_all(), 100 * (900 + 8u));
  EXPECT_EQ(client->session->state(), Session::State::kOpen);
}

TEST_F(SessionTest, TooMuchOutputEndsTheConnection) {
  FrontEndSettings settings;
  settings.output_limit_bytes = 2000;
  Settings(settings);
  service.Put("a", std::string(2000, 'v'));
  Ask("GET a");
  EXPECT_EQ(client->session->state(), Session::State::kAborted);
  EXPECT_EQ(front->counters().output_limit_clients, 1u);
  EXPECT_EQ(front->total_bytes(), 0u);
}

TEST_F(SessionTest, LargestClientGoesWhenAllHoldTooMuch) {
  FrontEndSettings settings;
  settings.max_total_bytes = 3000;
  Settings(settings);
  Client small(*front);
  small.Send("*2\r\n$3\r\nGET\r\n$2000\r\n" + std::string(500, 'x'));
  client->Send("*2\r\n$3\r\nGET\r\n$4000\r\n" + std::string(2800, 'x'));
  EXPECT_EQ(client->session->state(), Session::State::kAborted);
  EXPECT_EQ(small.session->state(), Session::State::kOpen);
  EXPECT_EQ(front->counters().evicted_clients, 1u);
  small.session.reset();
}

// ---- MULTI

// Keys 1 and 2 are in slots that node 2 leads.
class TransactionTest : public SessionTest {
 protected:
  TransactionTest() { service.view.self = NodeId(2); }
};

TEST_F(TransactionTest, Transaction) {
  EXPECT_EQ(Ask("MULTI"), "+OK\r\n");
  EXPECT_EQ(Ask("SET {1}a 1"), "+QUEUED\r\n");
  EXPECT_EQ(Ask("PING"), "+QUEUED\r\n");
  EXPECT_EQ(Ask("GET {1}a"), "+QUEUED\r\n");
  EXPECT_TRUE(service.data.empty());
  EXPECT_EQ(Ask("EXEC"), "*3\r\n+OK\r\n+PONG\r\n$1\r\n1\r\n");
  EXPECT_EQ(Ask("EXEC"), "-ERR EXEC without MULTI\r\n");
  EXPECT_EQ(Ask("DISCARD"), "-ERR DISCARD without MULTI\r\n");
}

TEST_F(TransactionTest, TransactionErrors) {
  Ask("MULTI");
  EXPECT_EQ(Ask("MULTI"), "-ERR MULTI calls can not be nested\r\n");
  EXPECT_EQ(Ask("WATCH 1"), "-ERR WATCH inside MULTI is not allowed\r\n");
  EXPECT_EQ(Ask("SET 1"), "-ERR wrong number of arguments for 'set' command\r\n");
  EXPECT_EQ(Ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
  Ask("MULTI");
  EXPECT_EQ(Ask("nothing"), "-ERR unknown command 'nothing', with args beginning with: \r\n");
  EXPECT_EQ(Ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
  Ask("MULTI");
  EXPECT_EQ(Ask("SCAN 0"), "-ERR Command not allowed inside a transaction\r\n");
  EXPECT_EQ(Ask("DISCARD"), "+OK\r\n");
  EXPECT_EQ(Ask("GET 1"), "$-1\r\n");
}

TEST_F(TransactionTest, TransactionOfOneSlotLedHere) {
  Ask("MULTI");
  EXPECT_EQ(Ask("SET {1}a 1"), "+QUEUED\r\n");
  EXPECT_EQ(Ask("SET {2}a 1"), "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
  EXPECT_EQ(Ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
  Ask("MULTI");
  // Slot 15495 is node 3's.
  EXPECT_EQ(Ask("SET a 1"), "-MOVED 15495 10.0.0.3:7101\r\n");
  EXPECT_EQ(Ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
}

TEST_F(TransactionTest, EmptyTransactionAndLocalOnes) {
  Ask("MULTI");
  EXPECT_EQ(Ask("EXEC"), "*0\r\n");
  Ask("MULTI");
  Ask("ECHO hi");
  Ask("UNWATCH");
  EXPECT_EQ(Ask("EXEC"), "*2\r\n$2\r\nhi\r\n+OK\r\n");
}

TEST_F(TransactionTest, QueuedWrongValuesAreFoundByExec) {
  Ask("MULTI");
  EXPECT_EQ(Ask("INCRBY 1 abc"), "+QUEUED\r\n");
  EXPECT_EQ(Ask("EXEC"), "*1\r\n-ERR the fake does not know incrby\r\n");
  EXPECT_EQ(Ask("INCRBY 1 abc"), "-ERR value is not an integer or out of range\r\n");
}

TEST_F(TransactionTest, Watch) {
  EXPECT_EQ(Ask("WATCH 1"), "+OK\r\n");
  Ask("MULTI");
  Ask("SET 1 mine");
  service.Put("1", "theirs");
  EXPECT_EQ(Ask("EXEC"), "*-1\r\n");
  EXPECT_EQ(service.data["1"].value, "theirs");
  // EXEC dropped the watch.
  Ask("MULTI");
  Ask("SET 1 mine");
  EXPECT_EQ(Ask("EXEC"), "*1\r\n+OK\r\n");
  Ask("WATCH 1");
  EXPECT_EQ(Ask("UNWATCH"), "+OK\r\n");
  Ask("MULTI");
  Ask("GET 1");
  service.Put("1", "theirs");
  EXPECT_EQ(Ask("EXEC"), "*1\r\n$6\r\ntheirs\r\n");
}

TEST_F(TransactionTest, WatchAloneDecidesAnEmptyTransaction) {
  Ask("WATCH 1");
  service.Put("1", "x");
  Ask("MULTI");
  EXPECT_EQ(Ask("EXEC"), "*-1\r\n");
}

TEST_F(TransactionTest, WatchPipelinedWithItsTransaction) {
  service.hold = true;
  client->Send("SET 1 a\r\nWATCH 1\r\nMULTI\r\nSET 1 b\r\nEXEC\r\nGET 1\r\n");
  EXPECT_EQ(Held(), (Names{"SET 1 a"}));
  service.Release();
  EXPECT_EQ(Held(), (Names{"VERSION 1"}));
  service.Release();
  EXPECT_EQ(Held(), (Names{"EXEC [SET 1 b]"}));
  service.Release();
  EXPECT_EQ(Held(), (Names{"GET 1"}));
  service.Release();
  EXPECT_EQ(client->Take(), "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n$1\r\nb\r\n");
}

TEST_F(TransactionTest, FailedWatchRefusesExec) {
  service.next_outcome = node::Refused{node::Refused::Kind::kTryAgain, "moving"};
  EXPECT_EQ(Ask("WATCH 1"), "-TRYAGAIN moving\r\n");
  Ask("MULTI");
  Ask("SET 1 b");
  EXPECT_EQ(Ask("EXEC"), "*-1\r\n");
  EXPECT_TRUE(service.data.empty());
  EXPECT_EQ(Ask("EXEC"), "-ERR EXEC without MULTI\r\n");
}

// The client may have sent all of it in one go.
TEST_F(TransactionTest, AWatchRefusedAtTheFrontRefusesExec) {
  FrontEndSettings settings;
  settings.max_watched_keys = 2;
  Settings(settings);
  const auto refused = [&](const std::vector<std::string>& watch, std::string_view error) {
    client->Command(watch);
    const std::string answer = client->Take();
    EXPECT_EQ(answer.substr(0, error.size()), error);
    service.fenced = false;
    service.databases = {{"default", DatabaseId(1)}};
    Ask("MULTI");
    Ask("SET 1 b");
    EXPECT_EQ(Ask("EXEC"), "*-1\r\n") << error;
    Ask("MULTI");
    Ask("GET 1");
    EXPECT_EQ(Ask("EXEC"), "*1\r\n$-1\r\n") << error;
  };
  service.databases.clear();
  refused({"WATCH", "1"}, "-CLUSTERDOWN ");
  refused({"WATCH", "1", "2"}, "-CROSSSLOT ");
  refused({"WATCH", "{1}a", "{1}b", "{1}c"}, "-ERR more than 2 watched keys");
  refused({"WATCH", "1", std::string(65537, 'k')}, "-ERR key of 65537 bytes exceeds");
  service.fenced = true;
  refused({"WATCH", "1"}, "-FENCED ");
}

TEST_F(TransactionTest, AKeyThatIsWatchedAlreadyStaysAsItIs) {
  for (int i = 0; i < 70000; ++i) ASSERT_EQ(Ask("WATCH 1"), "+OK\r\n");
  client->Command({"WATCH", "1", "{1}b", "{1}b"});
  EXPECT_EQ(client->Take(), "+OK\r\n");
  service.Put("1", "x");
  EXPECT_EQ(Ask("WATCH 1"), "+OK\r\n");
  Ask("MULTI");
  EXPECT_EQ(Ask("EXEC"), "*-1\r\n");
  // The same in one go, before the first version has come.
  service.hold = true;
  client->Send("WATCH 1\r\nWATCH 1\r\n");
  EXPECT_EQ(Held(), Names({"VERSION 1"}));
  service.ReleaseAll();
  EXPECT_EQ(client->Take(), "+OK\r\n+OK\r\n");
}

// Versions of two databases have nothing to do with each other.
TEST_F(TransactionTest, WatchesOfADatabaseThatIsGoneRefuseExec) {
  Ask("WATCH 1");
  service.databases["default"] = DatabaseId(5);
  Ask("MULTI");
  Ask("SET 1 b");
  EXPECT_EQ(Ask("EXEC"), "*-1\r\n");
  Ask("WATCH 1");
  service.databases["default"] = DatabaseId(6);
  EXPECT_EQ(Ask("WATCH {1}b"), "+OK\r\n");
  Ask("MULTI");
  EXPECT_EQ(Ask("EXEC"), "*-1\r\n");
}

TEST_F(TransactionTest, WatchedKeysAndNamesAreCounted) {
  EXPECT_EQ(client->session->memory(), 0u);
  client->Command({"WATCH", std::string(60000, 'k')});
  client->Take();
  EXPECT_GT(client->session->memory(), 60000u);
  EXPECT_LT(client->session->memory(), 61000u);
  Ask("UNWATCH");
  EXPECT_EQ(client->session->memory(), 0u);
  Ask("CLIENT SETNAME " + std::string(256, 'n'));
  EXPECT_EQ(client->session->memory(), 256u);
  EXPECT_EQ(Ask("CLIENT SETNAME " + std::string(257, 'n')),
            "-ERR Client names cannot be longer than 256 bytes, this has 257\r\n");
  EXPECT_EQ(Ask("CLIENT SETINFO lib-ver " + std::string(257, 'n')),
            "-ERR lib-ver cannot be longer than 256 bytes, this has 257\r\n");
  EXPECT_EQ(Ask("HELLO 2 SETNAME " + std::string(257, 'n')),
            "-ERR Client names cannot be longer than 256 bytes, this has 257\r\n");
  service.hold = true;
  client->Command({"SCAN", "0", "MATCH", std::string(5000, 'p')});
  EXPECT_GT(client->session->memory(), 5000u);
  service.ReleaseAll();
  client->Command({"WATCH", std::string(60000, 'k')});
  client->session->Abort();
  EXPECT_EQ(client->session->memory(), 0u);
}

TEST_F(TransactionTest, WhatCannotBeQueued) {
  Ask("MULTI");
  EXPECT_EQ(Ask("COMMAND nosuch"), "-ERR unknown subcommand 'nosuch'. Try COMMAND HELP.\r\n");
  EXPECT_EQ(Ask("CLUSTER COUNTKEYSINSLOT 1"), "-ERR Command not allowed inside a transaction\r\n");
  EXPECT_EQ(Ask("CLUSTER GETKEYSINSLOT 1 1"), "-ERR Command not allowed inside a transaction\r\n");
  EXPECT_EQ(Ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
}

TEST_F(TransactionTest, UnwatchBeforeTheVersionArrives) {
  service.hold = true;
  client->Send("WATCH 1\r\nUNWATCH\r\n");
  service.Release();
  service.Put("1", "x");
  client->Send("MULTI\r\nGET 1\r\nEXEC\r\n");
  service.ReleaseAll();
  EXPECT_EQ(client->Take(), "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\nx\r\n");
}

TEST_F(TransactionTest, WatchedKeysShareTheSlot) {
  EXPECT_EQ(Ask("WATCH 1 2"), "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
  EXPECT_EQ(Ask("WATCH 1"), "+OK\r\n");
  EXPECT_EQ(Ask("WATCH 2"), "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
  Ask("MULTI");
  EXPECT_EQ(Ask("SET 2 x"), "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
}

TEST_F(TransactionTest, TransactionOutcomes) {
  Ask("MULTI");
  Ask("SET 1 x");
  service.next_outcome = node::Unknown{"leadership lost"};
  EXPECT_TRUE(Ask("EXEC").starts_with("-UNKNOWN"));
  Ask("MULTI");
  Ask("SET 1 x");
  service.next_outcome = node::Moved{9842, "10.0.0.2:7101"};
  EXPECT_EQ(Ask("EXEC"), "-MOVED 9842 10.0.0.2:7101\r\n");
}

TEST_F(TransactionTest, TransactionIsBounded) {
  FrontEndSettings settings;
  settings.max_queued_commands = 2;
  Settings(settings);
  Ask("MULTI");
  Ask("GET 1");
  Ask("GET 1");
  EXPECT_TRUE(Ask("GET 1").starts_with("-ERR transaction exceeds the limit of 2 commands"));
  EXPECT_TRUE(Ask("EXEC").starts_with("-EXECABORT"));
  EXPECT_EQ(client->session->memory(), 0u);
}

}  // namespace
}  // namespace tenure::resp
