// Whether a controller's directory is in the right place, as far as the others can tell.
#include "daemon/cluster_check.h"

#include <gtest/gtest.h>

#include "catalog/refusal.h"
#include "tests/client/fake_network.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::daemon {
namespace {

namespace pb = ::tenure::v1;
using std::chrono::seconds;

struct Other : runtime::Service {
  void OnCall(const runtime::CallInfo&, std::string, runtime::Reply reply) override {
    pb::StatusResponse response;
    response.set_cluster_id(cluster);
    reply(response.SerializeAsString());
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  std::string cluster;
};

class ClusterCheckTest : public ::testing::Test {
 protected:
  void Is(const runtime::Endpoint& address, const std::string& cluster) {
    views_[address] = network.MakeView(address);
    others_[address].cluster = cluster;
    views_[address]->Serve("tenure.v1.Cluster", others_[address]);
  }
  void Watch() {
    check.Watch("ours", [this] { return known; }, [this](const Status& status) { refused = status; });
  }

  runtime::ManualExecutor executor;
  runtime::FakeNetwork network{executor};
  std::unique_ptr<runtime::Network> view = network.MakeView("self:1");
  std::map<runtime::Endpoint, Other> others_;
  std::map<runtime::Endpoint, std::unique_ptr<runtime::Network>> views_;
  std::vector<runtime::Endpoint> known = {"a:1", "b:1"};
  std::optional<Status> refused;
  ClusterCheck check{executor, *view, {.controller_id = 3, .data = "/d"}, {}};
};

TEST_F(ClusterCheckTest, AMajorityOfAnotherClusterEndsIt) {
  Is("a:1", "theirs");
  Watch();
  executor.Advance(seconds(10));
  EXPECT_FALSE(refused) << "one of three may be the one in the wrong place";
  Is("b:1", "theirs");
  executor.Advance(seconds(10));
  ASSERT_TRUE(refused);
  EXPECT_TRUE(catalog::IsReason(*refused, pb::REASON_WRONG_CLUSTER)) << *refused;
}

TEST_F(ClusterCheckTest, AsksWhereTheOthersAreByNow) {
  Is("a:1", "theirs");
  Watch();
  executor.Advance(seconds(3));
  // The others have moved; another cluster has taken their places.
  known = {"d:1", "e:1"};
  Is("b:1", "theirs");
  executor.Advance(seconds(20));
  EXPECT_FALSE(refused);
  Is("d:1", "ours");
  executor.Advance(seconds(5));
  const size_t asked = network.calls.size();
  executor.Advance(seconds(20));
  EXPECT_FALSE(refused);
  EXPECT_EQ(network.calls.size(), asked) << "one that names the same cluster is enough";
}

}  // namespace
}  // namespace tenure::daemon
