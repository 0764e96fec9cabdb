// One process with a group host on a simulated disk, for tests that start replicas on it.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "group/group_host.h"
#include "kv/memory_engine.h"
#include "sim/scheduler.h"
#include "sim/sim_disk.h"
#include "sim/sim_executor.h"
#include "tests/group/silent_transport.h"

namespace tenure::group {

class Unobserved final : public GroupObserver {
  void OnRoleChange(GroupId, const raft::RoleChange&) override {}
  void OnServing(GroupId, Term) override {}
  void OnConfiguration(GroupId, const raft::Configuration&) override {}
};

// Keeps the last command, as "value", and answers with it.
class Register final : public StateMachine {
 public:
  void Reset(const kv::Reader&, LogIndex) override {}
  std::string Apply(const ApplyContext&, std::string_view command, kv::View& state) override;
};

// A voter on the host with its number, each.
raft::Configuration VotersOf(std::initializer_list<uint64_t> replicas);

// The options may be set before Begin; what the disk and `store` hold stays from run to run.
class OneProcessTest : public testing::Test {
 protected:
  ~OneProcessTest() override;

  void Begin();
  // It is killed; the disk has lost nothing yet (sim::SimDisk::Crash).
  void End();
  // On the executor of the groups.
  void Do(std::function<void()> work) { executor->Post(std::move(work)); }

  sim::Scheduler world;
  sim::SimClock clock{world, Instant(std::chrono::hours(1)), WallFromMillis(0)};
  sim::SimDisk disk{world, "disk", Prng(1)};
  std::shared_ptr<kv::MemoryStore> store = std::make_shared<kv::MemoryStore>();
  wal::WalOptions log_options;
  kv::MemoryEngineOptions engine_options;
  GroupHostOptions options;
  SilentTransport silent;
  Transport* transport = &silent;
  Unobserved observer;
  GroupTrace* trace = nullptr;
  Status log_failure;  // with which the log ended its process

  std::unique_ptr<sim::SimProcess> process;
  sim::SimExecutor* executor = nullptr;
  std::unique_ptr<runtime::Disk> log_disk;
  std::unique_ptr<runtime::Disk> background_disk;
  std::unique_ptr<wal::Wal> wal;
  std::unique_ptr<kv::MemoryEngine> engine;
  std::unique_ptr<wal::SnapshotStore> snapshots;
  std::unique_ptr<GroupHost> host;
};

}  // namespace tenure::group
