// The commands the front end answers itself.
#include "resp/commands.h"

#include "tests/resp/session_fixture.h"

namespace tenure::resp {
namespace {

TEST_F(SessionTest, Connection) {
  EXPECT_EQ(Ask("PING"), "+PONG\r\n");
  EXPECT_EQ(Ask("PING hi"), "$2\r\nhi\r\n");
  EXPECT_EQ(Ask("PING a b"), "-ERR wrong number of arguments for 'ping' command\r\n");
  EXPECT_EQ(Ask("ECHO hi"), "$2\r\nhi\r\n");
  EXPECT_EQ(Ask("ASKING"), "+OK\r\n");
  EXPECT_EQ(Ask("TIME"), "*2\r\n$10\r\n1700000000\r\n$6\r\n123000\r\n");
  EXPECT_EQ(Ask("WAIT 1 0"), ":1\r\n");
  EXPECT_EQ(Ask("WAIT x 0"), "-ERR value is not an integer or out of range\r\n");
}

TEST_F(SessionTest, Auth) {
  EXPECT_EQ(
      Ask("AUTH x"),
      "-ERR AUTH <password> called without any password configured for the default user. Are you sure your "
      "configuration is correct?\r\n");
  EXPECT_EQ(Ask("AUTH default x"), "+OK\r\n");
  EXPECT_EQ(Ask("AUTH bob x"), "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
}

TEST_F(SessionTest, Select) {
  EXPECT_EQ(Ask("SELECT 0"), "+OK\r\n");
  EXPECT_EQ(Ask("SELECT other"), "+OK\r\n");
  EXPECT_EQ(Ask("SELECT 1"), "-ERR DB index is out of range\r\n");
  EXPECT_EQ(Ask("SELECT none"), "-ERR no such database 'none'\r\n");
  service.hold = true;
  client->Send("GET a\r\nSELECT default\r\nGET a\r\n");
  EXPECT_EQ(service.held[0].database, DatabaseId(2));
  EXPECT_EQ(service.held[1].database, DatabaseId(1));
}

TEST_F(SessionTest, Hello) {
  EXPECT_EQ(Ask("HELLO 4"), "-NOPROTO unsupported protocol version\r\n");
  EXPECT_EQ(Ask("HELLO x"), "-ERR Protocol version is not an integer or out of range\r\n");
  EXPECT_EQ(Ask("HELLO 3 AUTH bob x"), "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  EXPECT_EQ(Ask("HELLO 3 SETNAME"), "-ERR Syntax error in HELLO option 'SETNAME'\r\n");
  EXPECT_EQ(Ask("HELLO 3 AUTH default x SETNAME me"),
            "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$"
            "2\r\nid\r\n:1"
            "\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n");
  EXPECT_EQ(Ask("CLIENT GETNAME"), "$2\r\nme\r\n");
  EXPECT_EQ(Ask("GET none"), "_\r\n");
  EXPECT_EQ(Ask("HGETALL h"), "%1\r\n$1\r\nf\r\n$1\r\nv\r\n");
  EXPECT_EQ(Ask("RESET"), "+RESET\r\n");
  EXPECT_EQ(Ask("GET none"), "$-1\r\n");
  EXPECT_EQ(Ask("CLIENT GETNAME"), "$-1\r\n");
}

TEST_F(SessionTest, ProtocolOfAReplyIsThatOfItsRequest) {
  service.hold = true;
  client->Send("GET a\r\nHELLO 3\r\nGET a\r\n");
  service.ReleaseAll();
  const std::string out = client->Take();
  EXPECT_TRUE(out.starts_with("$-1\r\n%7\r\n"));
  EXPECT_TRUE(out.ends_with("*0\r\n_\r\n"));
}

TEST_F(SessionTest, ReadOnly) {
  service.hold = true;
  client->Send("GET a\r\nREADONLY\r\nGET a\r\nREADWRITE\r\nGET a\r\n");
  ASSERT_EQ(service.held.size(), 3u);
  EXPECT_EQ(service.held[0].mode, node::ReadMode::kLinearizable);
  EXPECT_EQ(service.held[1].mode, node::ReadMode::kReplica);
  EXPECT_EQ(service.held[2].mode, node::ReadMode::kLinearizable);
}

TEST_F(SessionTest, ClientReply) {
  EXPECT_EQ(Ask("CLIENT REPLY SKIP"), "");
  EXPECT_EQ(Ask("PING"), "");
  EXPECT_EQ(Ask("PING"), "+PONG\r\n");
  EXPECT_EQ(Ask("CLIENT REPLY OFF"), "");
  EXPECT_EQ(Ask("SET a 1"), "");
  EXPECT_EQ(Ask("NOTHING"), "");
  EXPECT_EQ(Ask("CLIENT REPLY ON"), "+OK\r\n");
  EXPECT_EQ(Ask("GET a"), "$1\r\n1\r\n");
}

TEST_F(SessionTest, ClientNamesAndList) {
  EXPECT_EQ(Ask("CLIENT ID"), ":1\r\n");
  EXPECT_EQ(Ask("CLIENT SETNAME a"), "+OK\r\n");
  EXPECT_EQ(Ask("CLIENT SETNAME 'a b'"),
            "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
  EXPECT_EQ(Ask("CLIENT SETINFO LIB-NAME x"), "+OK\r\n");
  EXPECT_EQ(Ask("CLIENT SETINFO nope x"), "-ERR Unrecognized option 'nope'\r\n");
  Client other(*front, "10.1.1.2:6000");
  clock.now += std::chrono::seconds(5);
  const std::string list = Ask("CLIENT LIST");
  EXPECT_NE(list.find("id=1 addr=10.1.1.1:5000 laddr=10.0.0.1:7101 fd=-1 name=a age=5 idle=0 flags=N db=0"),
            std::string::npos);
  EXPECT_NE(list.find("id=2 addr=10.1.1.2:6000"), std::string::npos);
  EXPECT_NE(list.find("cmd=client|list"), std::string::npos);
  EXPECT_EQ(Ask("CLIENT LIST ID 2").find("id=1 "), std::string::npos);
  EXPECT_NE(Ask("CLIENT INFO").find("lib-name=x"), std::string::npos);
  EXPECT_EQ(Ask("CLIENT NO-EVICT on"), "+OK\r\n");
  EXPECT_EQ(Ask("CLIENT NO-EVICT x"), "-ERR syntax error\r\n");
  EXPECT_NE(Ask("CLIENT INFO").find(" flags=e "), std::string::npos);
  EXPECT_EQ(Ask("CLIENT UNPAUSE"), "+OK\r\n");
  EXPECT_TRUE(Ask("CLIENT HELP").starts_with("*"));
}

TEST_F(SessionTest, ClientKill) {
  Client other(*front, "10.1.1.2:6000");
  EXPECT_EQ(Ask("CLIENT KILL 1.1.1.1:1"), "-ERR No such client\r\n");
  EXPECT_EQ(Ask("CLIENT KILL ID 99"), ":0\r\n");
  EXPECT_EQ(Ask("CLIENT KILL ID 2"), ":1\r\n");
  EXPECT_EQ(other.session->state(), Session::State::kAborted);
  EXPECT_EQ(other.notified, 1);
  EXPECT_EQ(Ask("CLIENT KILL 10.1.1.1:5000"), "+OK\r\n");
  EXPECT_TRUE(client->session->IsOver());
  other.session.reset();
}

TEST_F(SessionTest, Command) {
  const std::string get = Ask("COMMAND INFO get nothing");
  EXPECT_EQ(get,
            "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n*2\r\n+@read\r\n+@"
            "string\r\n*0\r\n*0"
            "\r\n*0\r\n$-1\r\n");
  EXPECT_EQ(Ask("COMMAND GETKEYS mset a 1 b 2"), "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
  EXPECT_EQ(Ask("COMMAND GETKEYS ping x"), "-ERR The command has no key arguments\r\n");
  EXPECT_EQ(Ask("COMMAND GETKEYS nope x"), "-ERR Invalid command specified\r\n");
  EXPECT_TRUE(Ask("COMMAND COUNT").starts_with(":"));
  EXPECT_TRUE(Ask("COMMAND DOCS get").starts_with("*2\r\n$3\r\nget\r\n*4\r\n$7\r\nsummary\r\n"));
  EXPECT_EQ(Ask("COMMAND LIST FILTERBY PATTERN mge*"), "*1\r\n$4\r\nmget\r\n");
  EXPECT_TRUE(Ask("COMMAND").starts_with("*"));
  EXPECT_EQ(Ask("COMMAND NOPE"), "-ERR unknown subcommand 'NOPE'. Try COMMAND HELP.\r\n");
}

TEST_F(SessionTest, InfoAndConfig) {
  Ask("SET a 1");
  const std::string info = Ask("INFO");
  for (const char* line : {"# Server\r\n", "redis_version:7.0.15\r\n", "redis_mode:cluster\r\n",
                           "role:master\r\n", "cluster_enabled:1\r\n", "tenure_fake:1\r\n", "loading:0\r\n",
                           "db0:keys=1,expires=0,avg_ttl=0\r\n"}) {
    EXPECT_NE(info.find(line), std::string::npos) << line;
  }
  EXPECT_EQ(Ask("INFO cluster"), "$30\r\n# Cluster\r\ncluster_enabled:1\r\n\r\n");
  EXPECT_EQ(Ask("CONFIG GET save"), "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
  EXPECT_EQ(Ask("CONFIG GET appendo* MAXMEMORY"),
            "*4\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n");
  EXPECT_EQ(Ask("CONFIG GET nothing"), "*0\r\n");
  EXPECT_TRUE(Ask("CONFIG SET a b").starts_with("-ERR settings are not changed"));
  EXPECT_EQ(Ask("CONFIG RESETSTAT"), "+OK\r\n");
}

TEST_F(SessionTest, ScanOptions) {
  Ask("SET a 1");
  EXPECT_EQ(Ask("SCAN 0"), "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n");
  EXPECT_EQ(service.last_scan, "0/10/-/-");
  Ask("SCAN 18446744073709551615 MATCH x* COUNT 100 TYPE String");
  EXPECT_EQ(service.last_scan, "18446744073709551615/100/x*/string");
  EXPECT_EQ(Ask("SCAN x"), "-ERR invalid cursor\r\n");
  EXPECT_EQ(Ask("SCAN 0 COUNT"), "-ERR syntax error\r\n");
  EXPECT_EQ(Ask("SCAN 0 COUNT 0"), "-ERR syntax error\r\n");
  EXPECT_EQ(Ask("SCAN 0 COUNT x"), "-ERR value is not an integer or out of range\r\n");
}

TEST(MatchesPattern, Table) {
  EXPECT_TRUE(MatchesPattern("*", ""));
  EXPECT_TRUE(MatchesPattern("max*", "maxmemory"));
  EXPECT_TRUE(MatchesPattern("*mem*y", "maxmemory"));
  EXPECT_TRUE(MatchesPattern("s?ve", "save"));
  EXPECT_TRUE(MatchesPattern("s[a-c]ve", "save"));
  EXPECT_FALSE(MatchesPattern("s[^a-c]ve", "save"));
  EXPECT_TRUE(MatchesPattern("a\\*", "a*"));
  EXPECT_FALSE(MatchesPattern("a\\*", "ab"));
  EXPECT_FALSE(MatchesPattern("", "a"));
  EXPECT_FALSE(MatchesPattern("[", "a"));
}

// Every command of the list in data-nodes.md is known to one of the two tables.
TEST(Commands, AllOfTheDesign) {
  for (const char* name :
       {"hset",     "hmset",    "hsetnx",   "hget",      "hmget",        "hgetall",  "hdel",    "hexists",
        "hkeys",    "hvals",    "hlen",     "hincrby",   "hincrbyfloat", "del",      "exists",  "ttl",
        "pttl",     "get",      "set",      "getset",    "getdel",       "getex",    "mget",    "mset",
        "setnx",    "append",   "strlen",   "incr",      "incrby",       "decr",     "decrby",  "incrbyfloat",
        "getrange", "setrange", "unlink",   "type",      "expire",       "expireat", "pexpire", "pexpireat",
        "persist",  "scan",     "dbsize",   "multi",     "exec",         "discard",  "watch",   "unwatch",
        "ping",     "echo",     "select",   "auth",      "hello",        "reset",    "client",  "command",
        "info",     "config",   "readonly", "readwrite", "asking",       "wait",     "quit",    "cluster"}) {
    EXPECT_TRUE(store::FindCommand(name) != nullptr || FindFrontCommandByName(name) != nullptr) << name;
  }
}

}  // namespace
}  // namespace tenure::resp
