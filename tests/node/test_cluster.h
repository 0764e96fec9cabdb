// Three nodes on one manual executor, with real GroupHosts, stores and agents, and fake controllers.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "kv/memory_engine.h"
#include "node/node.h"
#include "tests/node/fake_surroundings.h"
#include "tests/node/memory_wal.h"

namespace tenure::node {

using namespace std::chrono_literals;  // NOLINT

class TestNode final : public NodeOwner {
 public:
  TestNode(Fabric& fabric, FakeControllers& controllers, int number)
      : uuid("uuid-" + std::to_string(number)), fabric_(fabric), controllers_(controllers), number_(number) {}
  ~TestNode() override { Crash(); }

  NodeOptions options;
  std::string uuid;
  std::string cluster_id;
  uint64_t incarnation = 1;
  uint64_t controller_id = 0;
  std::optional<Status> refused;
  std::map<uint64_t, std::string> controllers_kept;  // in the directory, where they are

  std::string address() const { return "n" + std::to_string(number_) + ":1"; }
  std::string resp_address() const { return "n" + std::to_string(number_) + ":2"; }

  void Start() {
    engine_ = std::make_unique<kv::MemoryEngine>(store_, fabric_.executor());
    wal_ = std::make_unique<MemoryWal>(log_, fabric_.executor());
    transport_ = std::make_unique<FabricTransport>(fabric_);
    network_ = std::make_unique<FabricNetwork>(fabric_, address());
    link_ = std::make_unique<FakeLink>(controllers_);
    NodeIdentity identity;
    identity.uuid = uuid;
    identity.cluster_id = cluster_id;
    identity.incarnation = incarnation;
    identity.controller_id = controller_id;
    identity.name = std::to_string(number_);
    identity.address = address();
    identity.resp_address = resp_address();
    auto saved = CatalogFile::Load(disk_, "catalog-view", {});
    node_ = std::make_unique<Node>(
        Node::Dependencies{.executor = fabric_.executor(),
                           .background = fabric_.executor(),
                           .disk = disk_,
                           .network = *network_,
                           .link = *link_,
                           .wal = *wal_,
                           .engine = *engine_,
                           .snapshots = *snapshots_,
                           .transport = *transport_,
                           .owner = *this,
                           .prng = Prng(static_cast<uint64_t>(number_) * 7919 + ++runs_),
                           .logger = {}},
        std::move(identity), options, "catalog-view", std::move(saved));
    node_->Start();
  }
  // The process dies where it stands. Its tasks are joined first, since the other nodes share the executor.
  void Crash() {
    if (!node_) return;
    node_->Stop(Duration::zero(), [] {});
    fabric_.executor().Drain();
    fabric_.executor().Advance(50ms);
    node_.reset();
    link_.reset();
    network_.reset();
    transport_.reset();
    wal_.reset();
    engine_.reset();
  }

  Node& node() { return *node_; }
  bool running() const { return node_ != nullptr; }
  FakeLink& link() { return *link_; }
  MemoryWal& wal() { return *wal_; }
  MemoryLog& log() { return log_; }
  MemoryDisk& disk() { return disk_; }
  kv::MemoryEngine& engine() { return *engine_; }

  void OnJoined(const std::string& id, uint64_t of, NodeId) override {
    cluster_id = id;
    incarnation = of;
  }
  void OnControllers(const std::map<uint64_t, std::string>& addresses) override {
    controllers_kept = addresses;
  }
  void OnRefused(const Status& status) override { refused = status; }

 private:
  Fabric& fabric_;
  FakeControllers& controllers_;
  const int number_;
  uint64_t runs_ = 0;
  std::shared_ptr<kv::MemoryStore> store_ = std::make_shared<kv::MemoryStore>();
  MemoryLog log_;
  MemoryDisk disk_;
  std::unique_ptr<wal::SnapshotStore> snapshots_ = *wal::SnapshotStore::Open(disk_, "snapshots");
  std::unique_ptr<kv::MemoryEngine> engine_;
  std::unique_ptr<MemoryWal> wal_;
  std::unique_ptr<FabricTransport> transport_;
  std::unique_ptr<FabricNetwork> network_;
  std::unique_ptr<FakeLink> link_;
  std::unique_ptr<Node> node_;
};

class TestCluster : public ::testing::Test {
 protected:
  explicit TestCluster(int nodes = 3) {
    for (int i = 1; i <= nodes; ++i) nodes_.push_back(std::make_unique<TestNode>(fabric_, controllers_, i));
  }
  ~TestCluster() override {
    for (auto& node : nodes_) node->Crash();
  }

  static constexpr DatabaseId kDatabase{1};

  // Nodes 1..3 registered in that order, database `default` with one region over all slots (id 1).
  void StartWithDatabase() {
    for (auto& node : nodes_) {
      node->Start();
      executor_.Advance(10ms);
    }
    controllers_.PutDatabase(1, "default");
    controllers_.PutRegion(1, 1, 0, 16383, {1, 2, 3});
    executor_.Advance(3s);
  }
  TestNode& at(int number) { return *nodes_[static_cast<size_t>(number - 1)]; }
  // The node that leads and serves a region; 0 if none does.
  int LeaderOf(uint64_t region) {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i]->running() && nodes_[i]->node().groups().Serving(GroupId(region)))
        return static_cast<int>(i + 1);
    }
    return 0;
  }
  bool AdvanceUntilLed(uint64_t region, int other_than = 0) {
    for (int i = 0; i < 200; ++i) {
      const int leader = LeaderOf(region);
      if (leader != 0 && leader != other_than) return true;
      executor_.Advance(50ms);
    }
    return false;
  }

  // Submits a command; its outcome appears when it has one.
  std::shared_ptr<std::optional<Outcome>> Submit(int node, store::Arguments arguments,
                                                 ReadMode mode = ReadMode::kLinearizable) {
    auto outcome = std::make_shared<std::optional<Outcome>>();
    const uint16_t slot = SlotOfKey(arguments.at(1));
    at(node).node().Execute(kDatabase, slot, std::move(arguments), mode,
                            [outcome](Outcome result) { *outcome = std::move(result); });
    return outcome;
  }
  // Submits and waits for at most `limit`.
  Outcome Do(int node, store::Arguments arguments, ReadMode mode = ReadMode::kLinearizable,
             Duration limit = 8s) {
    auto outcome = Submit(node, std::move(arguments), mode);
    for (Duration waited{}; !outcome->has_value() && waited < limit; waited += 10ms) executor_.Advance(10ms);
    EXPECT_TRUE(outcome->has_value()) << "no answer";
    return outcome->has_value() ? **outcome : Outcome(Unknown{"no answer at all"});
  }
  static std::string Text(const Outcome& outcome) {
    if (const auto* reply = std::get_if<store::Reply>(&outcome)) {
      switch (reply->kind) {
        case store::Reply::Kind::kInteger:
          return std::to_string(reply->integer);
        case store::Reply::Kind::kNull:
          return "(null)";
        case store::Reply::Kind::kArray: {
          std::string text = "[";
          for (const auto& element : reply->elements) text += (text.size() > 1 ? " " : "") + Text(element);
          return text + "]";
        }
        default:
          return reply->text;
      }
    }
    if (const auto* moved = std::get_if<Moved>(&outcome)) return "MOVED " + moved->resp_address;
    if (const auto* refused = std::get_if<Refused>(&outcome)) {
      static const char* const kKinds[] = {"CLUSTERDOWN", "TRYAGAIN", "OVERLOADED", "OUTOFSPACE",
                                           "NODATABASE"};
      return std::string(kKinds[static_cast<int>(refused->kind)]) + " " + refused->message;
    }
    return "UNKNOWN " + std::get<Unknown>(outcome).message;
  }

  runtime::ManualExecutor executor_;
  Fabric fabric_{executor_};
  FakeControllers controllers_{executor_};
  std::vector<std::unique_ptr<TestNode>> nodes_;
};

}  // namespace tenure::node
