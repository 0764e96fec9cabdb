// CLUSTER's replies, read back as clients do.
#include "resp/cluster_format.h"

#include <set>
#include <sstream>

#include "base/hash.h"
#include "tests/resp/session_fixture.h"

namespace tenure::resp {
namespace {

TEST_F(SessionTest, ClusterNodes) {
  const std::string text = ClusterNodesText(service.view, WallFromMillis(1700000000123));
  EXPECT_EQ(
      text,
      "1111111111111111111111111111111111111111 10.0.0.1:7101@7100 myself,master - 0 0 7 connected 0-5460\n"
      "2222222222222222222222222222222222222222 10.0.0.2:7101@7100 master - 0 1700000000123 7 connected "
      "5461-10922\n"
      "3333333333333333333333333333333333333333 10.0.0.3:7101@7100 master - 0 1700000000123 7 connected "
      "10923-16383\n");
  EXPECT_EQ(Ask("CLUSTER NODES"), "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n");
}

TEST_F(SessionTest, ClusterNodesJoinsNeighboursAndShowsDeadNodes) {
  service.view.shards[1].replicas[0].node = NodeId(1);  // node 1 leads regions 1 and 2
  service.view.nodes[1].alive = false;
  const std::string text = ClusterNodesText(service.view, WallFromMillis(5));
  EXPECT_NE(text.find("myself,master - 0 0 7 connected 0-10922\n"), std::string::npos) << text;
  EXPECT_NE(text.find("10.0.0.2:7101@7100 master,fail - 0 5 7 disconnected\n"), std::string::npos) << text;
}

TEST_F(SessionTest, ClusterInfo) {
  EXPECT_TRUE(ClusterInfoText(&service.view, false)
                  .starts_with("cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:"
                               "16384\r\ncluster_slots_pfail:0\r\n"
                               "cluster_slots_fail:0\r\ncluster_known_nodes:3\r\ncluster_size:3\r\n"));
  service.view.nodes[2].alive = false;
  EXPECT_TRUE(
      ClusterInfoText(&service.view, false)
          .starts_with("cluster_state:fail\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:10923\r\n"));
  service.view.nodes[2].alive = true;
  service.view.shards[0].replicas[0].leader = false;
  EXPECT_TRUE(ClusterInfoText(&service.view, false).starts_with("cluster_state:fail"));
  EXPECT_TRUE(ClusterInfoText(nullptr, true).starts_with("cluster_state:fail\r\ncluster_slots_assigned:0"));
}

// As redis-py reads it: covers all slots once, and no node that leads is met as a follower first.
TEST_F(SessionTest, ClusterSlots) {
  const std::string reply = Ask("CLUSTER SLOTS");
  std::istringstream lines(reply);
  const auto next = [&lines] {
    std::string line;
    std::getline(lines, line);
    return line.substr(0, line.size() - 1);
  };
  const auto integer = [&](char type) {
    const std::string line = next();
    EXPECT_EQ(line[0], type);
    return std::stoi(line.substr(1));
  };
  const int entries = integer('*');
  std::vector<int> covered(kSlotCount);
  std::set<std::string> followers_met;
  std::set<std::string> leaders_met;
  for (int e = 0; e < entries; ++e) {
    const int fields = integer('*');
    const int first = integer(':');
    const int last = integer(':');
    for (int slot = first; slot <= last; ++slot) ++covered[static_cast<size_t>(slot)];
    for (int n = 0; n < fields - 2; ++n) {
      EXPECT_EQ(integer('*'), 4);
      integer('$');
      const std::string host = next();
      EXPECT_EQ(integer(':'), 7101);
      EXPECT_EQ(integer('$'), 40);
      next();
      EXPECT_EQ(integer('*'), 0);
      if (n == 0) {
        EXPECT_FALSE(followers_met.contains(host)) << host;
        leaders_met.insert(host);
      } else if (!leaders_met.contains(host)) {
        followers_met.insert(host);
      }
    }
  }
  EXPECT_EQ(covered, std::vector<int>(kSlotCount, 1));
  EXPECT_EQ(leaders_met.size(), 3u);
}

TEST_F(SessionTest, AConnectionFollowsADatabaseThatWasMadeAnew) {
  service.data["1"] = {"x", 1};
  const std::string slots = Ask("CLUSTER SLOTS");
  EXPECT_EQ(Ask("WAIT 1 0"), ":1\r\n");
  service.databases.erase("default");
  EXPECT_EQ(Ask("CLUSTER SLOTS"),
            "-CLUSTERDOWN there is no database `default`: tenure db create default\r\n");
  EXPECT_TRUE(Ask("CLUSTER COUNTKEYSINSLOT 9842").starts_with("-CLUSTERDOWN "));
  EXPECT_TRUE(Ask("DBSIZE").starts_with("-CLUSTERDOWN "));
  service.databases["default"] = DatabaseId(9);
  EXPECT_EQ(Ask("CLUSTER SLOTS"), slots);
  EXPECT_EQ(Ask("CLUSTER COUNTKEYSINSLOT 9842"), ":1\r\n");
  EXPECT_EQ(Ask("DBSIZE"), ":1\r\n");
  EXPECT_EQ(Ask("WAIT 1 0"), ":1\r\n");
}

TEST_F(SessionTest, ClusterSlotsOfOneRegion) {
  service.view = OneNodeView("127.0.0.1:7101");
  EXPECT_EQ(Ask("CLUSTER SLOTS"), "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:7101\r\n$40\r\n" +
                                      std::string(40, 'a') + "\r\n*0\r\n");
  Ask("HELLO 3");
  EXPECT_TRUE(Ask("CLUSTER SLOTS").ends_with(std::string(40, 'a') + "\r\n%0\r\n"));
}

TEST_F(SessionTest, ClusterSlotsLeavesOutWhoCannotServe) {
  service.view.nodes[1].alive = false;
  service.view.shards[0].replicas[2].healthy = false;
  std::string out;
  ReplyWriter writer(out, 2);
  WriteClusterSlots(service.view, writer);
  // Region 1 is left with its leader; region 2 keeps its dead leader in front, as Redis does.
  EXPECT_NE(out.find("*3\r\n:0\r\n:5460\r\n"), std::string::npos) << out;
  EXPECT_NE(out.find(":5461\r\n:10922\r\n*4\r\n$8\r\n10.0.0.2"), std::string::npos) << out;
}

TEST_F(SessionTest, ClusterShards) {
  const std::string reply = Ask("CLUSTER SHARDS");
  EXPECT_TRUE(reply.starts_with(
      "*3\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:5460\r\n$5\r\nnodes\r\n*3\r\n*14\r\n$2\r\nid\r\n$40\r\n"
      "1111111111111111111111111111111111111111\r\n$4\r\nport\r\n:7101\r\n$2\r\nip\r\n$8\r\n10.0.0.1\r\n$"
      "8\r\nendpoint"
      "\r\n$8\r\n10.0.0.1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$18\r\nreplication-offset\r\n:7\r\n$"
      "6\r\nhealth\r\n$6\r\n"
      "online\r\n"))
      << reply;
  Ask("HELLO 3");
  EXPECT_TRUE(Ask("CLUSTER SHARDS").starts_with("*3\r\n%2\r\n"));
}

TEST_F(SessionTest, ClusterSmallOnes) {
  EXPECT_EQ(Ask("CLUSTER MYID"), "$40\r\n1111111111111111111111111111111111111111\r\n");
  EXPECT_TRUE(Ask("CLUSTER MYSHARDID").starts_with("$40\r\n"));
  EXPECT_EQ(Ask("CLUSTER KEYSLOT foo"), ":12182\r\n");
  EXPECT_EQ(Ask("CLUSTER KEYSLOT {foo}bar"), ":12182\r\n");
  Ask("SET {x}1 v");
  const std::string slot = std::to_string(SlotOfKey("x"));
  EXPECT_EQ(Ask("CLUSTER COUNTKEYSINSLOT " + slot), ":1\r\n");
  EXPECT_EQ(Ask("CLUSTER GETKEYSINSLOT " + slot + " 10"), "*1\r\n$4\r\n{x}1\r\n");
  EXPECT_EQ(Ask("CLUSTER COUNTKEYSINSLOT 16384"), "-ERR Invalid slot\r\n");
  EXPECT_EQ(Ask("CLUSTER GETKEYSINSLOT 1 -1"), "-ERR Invalid slot or number of keys\r\n");
  EXPECT_EQ(Ask("CLUSTER REPLICAS " + std::string(40, '2')), "*0\r\n");
  EXPECT_EQ(Ask("CLUSTER REPLICAS x"), "-ERR Unknown node x\r\n");
  EXPECT_EQ(Ask("CLUSTER COUNT-FAILURE-REPORTS " + std::string(40, '2')), ":0\r\n");
  EXPECT_TRUE(Ask("CLUSTER LINKS").starts_with("*4\r\n*12\r\n$9\r\ndirection\r\n$2\r\nto\r\n"));
  EXPECT_EQ(Ask("CLUSTER FAILOVER FORCE"), "+OK\r\n");
  EXPECT_EQ(service.takeovers, 1);
  EXPECT_EQ(Ask("CLUSTER FAILOVER NOW"), "-ERR syntax error\r\n");
  EXPECT_TRUE(Ask("CLUSTER HELP").starts_with("*"));
}

TEST_F(SessionTest, ClusterChangesAreMadeElsewhere) {
  for (const char* line : {"MEET 1.1.1.1 1", "FORGET x", "RESET", "RESET HARD", "REPLICATE x", "ADDSLOTS 1",
                           "ADDSLOTSRANGE 1 2", "DELSLOTS 1", "DELSLOTSRANGE 1 2", "FLUSHSLOTS",
                           "SETSLOT 1 STABLE", "SET-CONFIG-EPOCH 1", "BUMPEPOCH"}) {
    const std::string reply = Ask("CLUSTER " + std::string(line));
    EXPECT_TRUE(reply.starts_with("-ERR CLUSTER ")) << line << ": " << reply;
    EXPECT_NE(reply.find("tenure"), std::string::npos) << line << ": " << reply;
  }
}

TEST_F(SessionTest, ClusterWithoutDatabase) {
  service.databases.clear();
  service.down = "no database exists yet: tenure db create default";
  EXPECT_EQ(Ask("CLUSTER SLOTS"), "-CLUSTERDOWN no database exists yet: tenure db create default\r\n");
  EXPECT_TRUE(Ask("CLUSTER INFO").find("cluster_state:fail") != std::string::npos);
}

TEST(SplitAddress, Table) {
  EXPECT_EQ(SplitAddress("127.0.0.1:80").host, "127.0.0.1");
  EXPECT_EQ(SplitAddress("[::1]:80").host, "::1");
  EXPECT_EQ(SplitAddress("[::1]:80").port, 80);
  EXPECT_EQ(SplitAddress("host").port, 0);
}

}  // namespace
}  // namespace tenure::resp
