// A log made of anything: the input becomes the files of a log directory, as bytes or as damage done to a
// good log, and is scanned, opened, inspected and repaired. Checked: nothing crashes; what Open takes is the
// same when it is opened again; what a repair leaves can be opened and holds no dropped group.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/format.h"
#include "tests/runtime/manual_executor.h"
#include "tests/wal/fake_disk.h"
#include "wal/format.h"
#include "wal/inspect.h"
#include "wal/repair.h"
#include "wal/wal.h"

namespace {

using namespace tenure;
using namespace tenure::wal;

constexpr uint64_t kSegmentBytes = 16 << 10;

struct World {
  runtime::ManualExecutor executor;
  FakeStorage storage{1};
  FakeDisk disk{storage, executor};

  StatusOr<std::unique_ptr<Wal>> Open() {
    WalOptions options;
    options.segment_bytes = kSegmentBytes;
    return Wal::Open(disk, executor, "d/wal", options, Logger(), [](Status) {});
  }
  void Append(Wal& wal, Write write) {
    std::vector<Write> writes;
    writes.push_back(std::move(write));
    wal.Append(std::move(writes),
               [](Status status) { TENURE_CHECK(status.ok(), "append: {}", MessageOf(status)); });
    executor.Advance(std::chrono::milliseconds(20));
  }
};

Write Entries(uint64_t group, uint64_t first, size_t bytes) {
  Write write;
  write.group = GroupId(group);
  write.entries.push_back(
      {LogIndex(first), Term(1), raft::EntryType::kCommand, Bytes(std::string(bytes, 'x'))});
  write.hard_state = raft::HardState{Term(1), ReplicaId(1), LogIndex(first - 1)};
  return write;
}

std::string GoodLog() {
  World world;
  auto wal = world.Open();
  TENURE_CHECK(wal.ok(), "{}", MessageOf(wal.status()));
  for (uint64_t i = 1; i <= 3; ++i) {
    world.Append(**wal, Entries(0, i, 40));
    world.Append(**wal, Entries(5, i, 700));
  }
  // One leaves and comes back, one leaves for ever.
  world.Append(**wal, Entries(6, 1, 40));
  world.Append(**wal, {.group = GroupId(6), .tombstone = true, .gone = ReplicaId(2)});
  world.Append(**wal, {.group = GroupId(6), .replica = ReplicaId(9), .reset_to = raft::SnapshotMark()});
  world.Append(**wal, Entries(6, 1, 40));
  world.Append(**wal, {.group = GroupId(7), .tombstone = true});
  wal->reset();
  return world.storage.ContentOf("d/wal/0000000000000001.wal");
}

// Writes the pieces of the input to places of the file: two bytes place, one byte length, the bytes.
void FlipPlaces(std::string_view input, std::string& file) {
  while (input.size() >= 3) {
    const size_t at = (static_cast<uint8_t>(input[0]) << 8 | static_cast<uint8_t>(input[1])) % file.size();
    const size_t bytes = std::min<size_t>(static_cast<uint8_t>(input[2]) % 64, input.size() - 3);
    for (size_t i = 0; i < bytes && at + i < file.size(); ++i) file[at + i] ^= input[3 + i];
    input.remove_prefix(3 + bytes);
  }
}

void AddFile(World& world, const std::string& name, std::string content) {
  auto inode = std::make_shared<FakeStorage::Inode>();
  inode->cached = inode->durable = std::move(content);
  world.storage.names()["d/wal/" + name] = std::move(inode);
}

void CheckRepair(World& world) {
  const auto plan = PlanRepair(world.disk, "d", {});
  if (!plan.ok() || plan->everything) return;
  Status built = Error(StatusCode::kUnknown, "not answered");
  WalOptions options;
  options.segment_bytes = kSegmentBytes;
  BuildRepairedLog(world.disk, world.executor, "d", *plan, options, Logger(),
                   [&](Status status) { built = status; });
  world.executor.Advance(std::chrono::seconds(1));
  if (!built.ok()) return;
  const auto repaired =
      Wal::Open(world.disk, world.executor, "d/wal.repaired", options, Logger(), [](Status) {});
  TENURE_CHECK(repaired.ok(), "the repaired log: {}", MessageOf(repaired.status()));
  for (const auto& [id, group] : (*repaired)->recovered())
    TENURE_CHECK(group.tombstone || !plan->dropped.contains(id), "group {} came back", id);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  static const std::string good = GoodLog();
  const uint8_t mode = data[0];
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  World world;
  std::string file = (mode & 1) != 0 ? std::string(input) : good;
  if ((mode & 1) == 0) FlipPlaces(input, file);
  if ((mode & 2) != 0) file.resize(std::min<size_t>(file.size(), mode * 64u));
  AddFile(world, SegmentName(1), std::move(file));
  if ((mode & 4) != 0) AddFile(world, SegmentName(2), std::string(kSegmentBytes, '\0'));

  (void)Inspect(world.disk, "d/wal", [](const InspectedEntry&) {});
  CheckRepair(world);
  auto opened = world.Open();
  if (!opened.ok()) return 0;
  const auto recovered = (*opened)->recovered();
  opened->reset();
  auto again = world.Open();
  TENURE_CHECK(again.ok(), "a log that was opened cannot be opened again: {}", MessageOf(again.status()));
  TENURE_CHECK((*again)->recovered().size() == recovered.size(), "opened again the log has other groups");
  for (const auto& [id, group] : (*again)->recovered()) {
    const auto before = recovered.find(id);
    TENURE_CHECK(before != recovered.end() && before->second.state.last_index == group.state.last_index &&
                     before->second.gone == group.gone && before->second.replica == group.replica &&
                     before->second.state.hard_state == group.state.hard_state,
                 "opened again the log says something else of group {}", id);
  }
  return 0;
}
