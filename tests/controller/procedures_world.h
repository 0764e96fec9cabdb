// Procedures over fake nodes and regions that change their configuration when asked.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "controller/procedure/types/create_replica.h"
#include "tenure/internal/v1/node.pb.h"
#include "tenure/internal/v1/procedure.pb.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {

using catalog::ReasonOf;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::HasSubstr;

// A region's own view of its configuration, and the leader that changes it.
struct FakeRegion : public runtime::Service {
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override {
    ipb::ChangeConfigurationRequest change;
    ASSERT_EQ(info.method, "ChangeConfiguration");
    ASSERT_TRUE(change.ParseFromString(request));
    ++asked;
    if (refuse) return reply(absl::UnavailableError("no majority"));
    if (change.if_index() != index) return reply(absl::AbortedError("another configuration is in force"));
    index += 10;
    replicas.assign(change.replicas().begin(), change.replicas().end());
    history.push_back(Text());
    ipb::ChangeConfigurationResponse response;
    response.set_index(index);
    reply(response.SerializeAsString());
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  std::string Text() const {
    std::string text;
    for (const auto& replica : replicas) {
      text += fmt::format("{}{}@{}", text.empty() ? "" : " ", replica.id(), replica.node());
      if (replica.role() == pb::REPLICA_LEARNER) text += "L";
    }
    return text;
  }
  uint64_t index = 0;
  int asked = 0;
  bool refuse = false;
  std::vector<pb::ReplicaRecord> replicas;
  std::vector<std::string> history;
};

class ProceduresTest : public ::testing::Test {
 protected:
  void SetUp() override {
    t.Lead();
    for (int i = 1; i <= 4; ++i) {
      nodes.push_back(std::make_unique<FakeNode>(t, "n" + std::to_string(i)));
      nodes.back()->Register();
      nodes.back()->Connect();
    }
  }
  FakeNode& node(uint64_t id) { return *nodes[id - 1]; }
  void Work(int rounds = 4) {
    for (int i = 0; i < rounds; ++i) {
      t.executor.Advance(milliseconds(30));
      for (auto& one : nodes) {
        if (!stopped.contains(one->id)) one->Beat();
      }
    }
    t.executor.Advance(milliseconds(30));
  }
  // One region, led by its first replica, on nodes 1 to 3 (in some order).
  void CreateDatabase(const std::string& name = "d") {
    pb::CreateDatabaseRequest request;
    request.set_name(name);
    request.set_regions(1);
    request.set_replicas(replicas);
    t.Start<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", request, seconds(100),
                                [this](auto answer) { created = std::move(answer); });
    t.executor.Advance(milliseconds(1));
  }
  const pb::RegionRecord& Region() const { return t.machine.catalog().regions().at(1).region(); }
  void StartRegion() {
    CreateDatabase();
    region.replicas.assign(Region().replicas().begin(), Region().replicas().end());
    leader = Region().replicas(0).node();
    for (auto& one : nodes) {
      views.push_back(t.fake_network.MakeView(fmt::format("n{}:1", one->id)));
      views.back()->Serve("tenure.internal.v1.NodeInternal", region);
    }
    Report();
    Work();
    ASSERT_EQ(t.machine.catalog().databases().at(1).database().state(), pb::DATABASE_PUBLIC);
    for (uint64_t id = 1; id <= 4; ++id) {
      if (std::none_of(region.replicas.begin(), region.replicas.end(),
                       [id](const auto& r) { return r.node() == id; }))
        spare = id;
    }
  }
  // Every replica of the configuration says how it stands; `applied` of those that are new.
  void Report(uint64_t applied = 5000) {
    for (const pb::ReplicaRecord& replica : region.replicas) {
      pb::RegionLoad load;
      load.set_region(1);
      load.set_replica(replica.id());
      load.set_term(2);
      load.set_is_leader(replica.node() == leader);
      load.set_leader_replica(LeaderReplica());
      load.set_applied(replica.id() > replicas ? applied : 5000);
      load.set_configuration_index(region.index);
      if (replica.node() == leader) {
        load.mutable_configuration()->set_index(region.index);
        load.mutable_configuration()->mutable_replicas()->Assign(region.replicas.begin(),
                                                                 region.replicas.end());
      }
      node(replica.node()).regions[1] = load;
      *node(replica.node()).next.add_regions() = load;
    }
  }
  uint64_t LeaderReplica() const {
    for (const auto& replica : region.replicas) {
      if (replica.node() == leader) return replica.id();
    }
    return 0;
  }
  void ReportAndWork(int rounds = 6, uint64_t applied = 5000) {
    for (int i = 0; i < rounds; ++i) {
      Report(applied);
      Work(2);
    }
  }
  // Its node says nothing any more.
  void Lose(uint64_t id) {
    stopped = {id};
    node(id).stream.reset();
  }
  // Almost a second each: after forty a node that is lost is DOWN.
  void PassSeconds(int count) {
    for (int i = 0; i < count; ++i) {
      Report();
      Work(1);
      t.executor.Advance(std::chrono::milliseconds(900));
    }
  }
  // The new replica votes, and does not say that it has the configuration in which it does.
  uint64_t MoveUntilConfirmed() {
    StartRegion();
    region.index = 4990;
    ReportAndWork();
    const uint64_t id =
        Submit(ChangeReplica::New(ChangeReplica::kMove, Region(), NodeId(spare), ReplicaId(2)));
    ReportAndWork();
    EXPECT_EQ(Procedure(id).step(), "confirm");
    return id;
  }
  uint64_t Submit(pb::ProcedureRecord procedure) {
    ipb::CatalogCommand command;
    *command.mutable_submit_procedure()->mutable_procedure() = std::move(procedure);
    uint64_t id = 0;
    t.access.ProposeInEpoch(std::move(command), t.leadership.epoch(),
                            [&](StatusOr<ipb::CatalogResult> result) {
                              ASSERT_TRUE(result.ok()) << result.status();
                              id = result->object_id();
                            });
    t.executor.Advance(milliseconds(1));
    return id;
  }
  const pb::ProcedureRecord& Procedure(uint64_t id) const {
    return t.machine.catalog().procedures().at(id).procedure();
  }
  // The record that is of this type, the newest.
  const pb::ProcedureRecord& Procedure(const std::string& type) const {
    const pb::ProcedureRecord* found = nullptr;
    for (const auto& [id, record] : t.machine.catalog().procedures()) {
      if (record.procedure().type() == type) found = &record.procedure();
    }
    static const pb::ProcedureRecord kNone;
    EXPECT_NE(found, nullptr) << type;
    return found == nullptr ? kNone : *found;
  }
  StatusOr<pb::ChangeResponse> Cancel(uint64_t id) {
    pb::CancelProcedureRequest request;
    request.set_procedure(id);
    return t.Call<pb::ChangeResponse>("tenure.v1.Procedures/Cancel", request);
  }
  std::string Joining() const {
    std::string text;
    for (const auto& replica : Region().joining())
      text += fmt::format("+{}@{}", replica.id(), replica.node());
    for (const auto& replica : Region().leaving())
      text += fmt::format("-{}@{}", replica.id(), replica.node());
    return text;
  }
  pb::ProcedureStatus StatusOf(uint64_t id) {
    pb::GetProcedureRequest request;
    request.set_id(id);
    return t.Call<pb::GetProcedureResponse>("tenure.v1.Procedures/Get", request)->procedure();
  }

  FakeRegion region;
  std::vector<std::unique_ptr<runtime::Network>> views;
  std::optional<StatusOr<pb::ChangeResponse>> created;
  std::set<uint64_t> stopped;  // nodes that say nothing
  uint32_t replicas = 3;       // of a region
  uint64_t leader = 0;
  uint64_t spare = 0;  // a node without a replica
  TestController t;
  std::vector<std::unique_ptr<FakeNode>> nodes;
};

}  // namespace tenure::controller
