// What a watch asks for; what it makes of the answers is tested against a controller in tests/controller/client_test.cc.
#include "client/catalog_watch.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/client/fake_controllers.h"

namespace tenure::client {
namespace {

class NoObserver : public WatchObserver {
  void OnSnapshot(Revision, std::vector<pb::Record>) override {}
  void OnChanges(std::vector<pb::Event>, Revision) override {}
};

// The stream brings all kinds if none is named: the snapshot before it must hold them, too.
TEST(CatalogWatchTest, NoKindsMeansAllOfThem) {
  FakeCluster cluster;
  std::set<int> listed;
  cluster.Everyone([&listed](const auto&, const std::string& bytes) {
    pb::ListRequest request;
    EXPECT_TRUE(request.ParseFromString(bytes));
    listed.insert(request.kinds().begin(), request.kinds().end());
    if (request.kinds().empty()) listed.insert(request.kind());
    return pb::ListResponse().SerializeAsString();
  });
  ControllerClient client(cluster.executor, *cluster.view, cluster.endpoints, Prng(1));
  NoObserver observer;
  CatalogWatch watch(cluster.executor, *cluster.view, client, {}, observer, Prng(2));
  watch.Start();
  cluster.executor.Advance(std::chrono::milliseconds(100));
  for (int kind = pb::RecordKind_MIN + 1; kind <= pb::RecordKind_MAX; ++kind) {
    if (pb::RecordKind_IsValid(kind))
      EXPECT_TRUE(listed.contains(kind)) << pb::RecordKind_Name(static_cast<pb::RecordKind>(kind));
  }
}

}  // namespace
}  // namespace tenure::client
