// What a session answers while its node is fenced, and what it holds back.
#include "tests/resp/session_fixture.h"

namespace tenure::resp {
namespace {

using namespace std::chrono_literals;  // NOLINT

constexpr char kFenced[] = "-FENCED lease expired: fenced for 5 ms\r\n";
constexpr char kHeldBack[] = "-FENCED lease expired before the answer left\r\n";
constexpr char kUnknown[] =
    "-UNKNOWN the outcome of this command is unknown, it may have been executed: this node was fenced before "
    "the answer left\r\n";

class RespFencingTest : public SessionTest {
 protected:
  void ExpectAllTicketsBack() { EXPECT_EQ(service.entered, service.left + service.held_back); }
};

TEST_F(RespFencingTest, WhatUsesTheViewIsRefused) {
  service.fenced = true;
  for (const char* line : {"GET a", "SET a 1", "SCAN 0", "WATCH a", "SELECT other", "DBSIZE", "CLUSTER SLOTS",
                           "CLUSTER SHARDS", "CLUSTER NODES", "CLUSTER LINKS", "CLUSTER COUNTKEYSINSLOT 1",
                           "CLUSTER GETKEYSINSLOT 1 1", "CLUSTER FAILOVER", "WAIT 1 1"}) {
    EXPECT_EQ(Ask(line), kFenced) << line;
  }
  EXPECT_EQ(service.entered, 0u);
  service.fenced = false;
  EXPECT_EQ(Ask("SET a 1"), "+OK\r\n");
  ExpectAllTicketsBack();
}

TEST_F(RespFencingTest, TheRestGoesOn) {
  service.fenced = true;
  EXPECT_EQ(Ask("PING"), "+PONG\r\n");
  EXPECT_EQ(Ask("CLUSTER KEYSLOT a"), ":15495\r\n");
  EXPECT_NE(Ask("CLUSTER INFO").find("cluster_state"), std::string::npos);
  EXPECT_NE(Ask("INFO").find("redis_version"), std::string::npos);
  EXPECT_EQ(Ask("CLUSTER MYID").substr(0, 1), "$");
}

TEST_F(RespFencingTest, ATransactionIsRefusedWhereItUsesTheView) {
  EXPECT_EQ(Ask("MULTI"), "+OK\r\n");
  EXPECT_EQ(Ask("SET b 1"), "+QUEUED\r\n");
  service.fenced = true;
  EXPECT_EQ(Ask("EXEC"), kFenced);
  EXPECT_EQ(Ask("MULTI"), "+OK\r\n");
  EXPECT_EQ(Ask("SET b 1"), kFenced);
  EXPECT_EQ(Ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
  EXPECT_EQ(Ask("MULTI"), "+OK\r\n");
  EXPECT_EQ(Ask("PING"), "+QUEUED\r\n");
  EXPECT_EQ(Ask("EXEC"), "*1\r\n+PONG\r\n");
  ExpectAllTicketsBack();
}

TEST_F(RespFencingTest, AResultThatIsNotTakenInTimeDoesNotLeave) {
  client->Send("GET a\r\nPING\r\nSET a 1\r\nGET a\r\n");
  service.fenced = true;  // the process stood still before the bytes were handed over
  EXPECT_EQ(client->Take(), std::string(kHeldBack) + "+PONG\r\n" + kUnknown + kHeldBack);
  EXPECT_EQ(service.held_back, 3u);
  ExpectAllTicketsBack();
}

TEST_F(RespFencingTest, ARequestFromBeforeARecoveryIsNotAnswered) {
  service.hold = true;
  client->Send("GET a\r\nSET b 1\r\n");
  ++service.recovery;
  service.ReleaseAll();
  service.hold = false;
  client->Send("GET a\r\n");
  EXPECT_EQ(client->Take(), std::string(kHeldBack) + kUnknown + "$-1\r\n");
  ExpectAllTicketsBack();
}

TEST_F(RespFencingTest, ARepliesTurnComesLate) {
  service.hold = true;
  client->Send("GET a\r\n");
  client->Send("SET b 1\r\n");
  service.Release(1);  // done, and waits for the first
  EXPECT_EQ(client->Take(), "");
  service.fenced = true;
  service.Release();
  EXPECT_EQ(client->Take(), std::string(kHeldBack) + kUnknown);
  ExpectAllTicketsBack();
}

TEST_F(RespFencingTest, SaysUntilWhenTheBytesMayBeSent) {
  service.serves_until = clock.now + 7s;
  EXPECT_EQ(Ask("PING"), "+PONG\r\n");
  EXPECT_EQ(client->session->output_valid_until(), kFarFuture) << "nothing of the catalog in it";
  EXPECT_EQ(Ask("GET a"), "$-1\r\n");
  EXPECT_EQ(client->session->output_valid_until(), clock.now + 7s);
}

TEST_F(RespFencingTest, TicketsComeBackHoweverAConnectionEnds) {
  service.hold = true;
  client->Send("GET a\r\nSET b 1\r\nCLUSTER SLOTS\r\n");
  EXPECT_EQ(service.entered, 3u);
  client.reset();
  ExpectAllTicketsBack();
  client = std::make_unique<Client>(*front);
  service.hold = false;
  service.held.clear();
  client->Send("GET a\r\nCLIENT REPLY OFF\r\nGET a\r\n");
  client->session->Abort();
  ExpectAllTicketsBack();
}

}  // namespace
}  // namespace tenure::resp
