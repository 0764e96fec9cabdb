#include "tests/group/one_process.h"

namespace tenure::group {

using namespace std::chrono_literals;

std::string Register::Apply(const ApplyContext&, std::string_view command, kv::View& state) {
  state.Put("value", command);
  return "applied " + std::string(command);
}

raft::Configuration VotersOf(std::initializer_list<uint64_t> replicas) {
  raft::Configuration configuration;
  for (const uint64_t id : replicas) {
    configuration.members.push_back({.id = ReplicaId(id), .host = id, .role = raft::MemberRole::kVoter});
  }
  return configuration;
}

OneProcessTest::~OneProcessTest() {
  if (process) End();
}

void OneProcessTest::Begin() {
  process = std::make_unique<sim::SimProcess>(world, clock, "p", Prng(3));
  executor = &process->AddExecutor("groups");
  sim::SimExecutor& log = process->AddExecutor("log");
  sim::SimExecutor& background = process->AddExecutor("background");
  log_disk = disk.MakeView(*process, log);
  background_disk = disk.MakeView(*process, background);
  wal = *wal::Wal::Open(*log_disk, log, "/wal", log_options, Logger(),
                        [this](Status status) { log_failure = std::move(status); });
  engine = std::make_unique<kv::MemoryEngine>(store, background, engine_options);
  snapshots = *wal::SnapshotStore::Open(*background_disk, "/snapshots");
  Do([this, &background] {
    host =
        std::make_unique<GroupHost>(GroupHost::Dependencies{*executor, background, *wal, *engine, *snapshots,
                                                            *transport, observer, Prng(4), Logger(), trace},
                                    options);
  });
  world.RunFor(1ms);
}

void OneProcessTest::End() {
  process->Kill();
  host.reset();
  snapshots.reset();
  engine.reset();
  wal.reset();
  log_disk.reset();
  background_disk.reset();
  process.reset();
}

}  // namespace tenure::group
