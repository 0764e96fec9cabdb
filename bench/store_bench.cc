// What a command costs in the region's state machine, on an overlay over an empty or a filled map, engine
// aside.
//
//   cmake --preset release && ninja -C build/release store_bench && build/release/bin/store_bench

#include <benchmark/benchmark.h>

#include "kv/kv.h"
#include "store/region_store.h"
#include "tests/store/map_view.h"

namespace tenure::store {
namespace {

// One command after the other over a thousand keys, each with its own overlay, as a node applies. `keeps`: a
// changefeed follows the database, so that the change goes to the region's change log as well.
void ApplyAll(benchmark::State& state, const std::vector<WriteCommand>& commands, bool keeps) {
  RegionStore region(SlotRange{0, 16383});
  MapView base;
  if (keeps) {
    const KeepChangesCommand keep{.keep = true, .max_bytes = ~uint64_t{0}};
    region.Apply({.kind = WriteCommand::Kind::kKeepChanges, .keep_changes = keep}, LogIndex{1}, base);
  }
  for (const WriteCommand& command : commands) region.Apply(command, LogIndex{1}, base);
  uint64_t index = 1;
  for (auto _ : state) {
    kv::Overlay overlay(base, "");
    ++index;
    benchmark::DoNotOptimize(region.Apply(commands[index % commands.size()], LogIndex{index}, overlay));
  }
  state.SetItemsProcessed(state.iterations());
}

void Apply(benchmark::State& state, const std::function<Arguments(int)>& make, bool keeps = false) {
  std::vector<WriteCommand> commands;
  for (int i = 0; i < 1'000; ++i)
    commands.push_back({.now = WallFromMillis(1'000'000), .commands = {make(i)}});
  ApplyAll(state, commands, keeps);
}

void ApplyRows(benchmark::State& state, size_t bytes, bool keeps) {
  std::vector<WriteCommand> commands;
  for (int i = 0; i < 1'000; ++i) {
    RowCommand row{.operation = RowOperation::kSet, .table = "orders"};
    row.keys.push_back({.table = 1, .version = 1, .slot = 5, .key = std::to_string(i)});
    row.columns = std::make_shared<RowColumns>(RowColumns{{.id = 1, .name = "note"}});
    row.values.emplace_back(bytes, 'v');
    WriteCommand command{.now = WallFromMillis(1'000'000), .kind = WriteCommand::Kind::kRows};
    command.steps.emplace_back(std::move(row));
    commands.push_back(std::move(command));
  }
  ApplyAll(state, commands, keeps);
}

std::string Key(int i) {
  return "key:000000000000" + std::to_string(i);
}

void BM_Set256(benchmark::State& state) {
  Apply(state, [](int i) { return Arguments{"SET", Key(i), std::string(256, 'v')}; });
}
BENCHMARK(BM_Set256);

void BM_Set256Followed(benchmark::State& state) {
  Apply(state, [](int i) { return Arguments{"SET", Key(i), std::string(256, 'v')}; }, true);
}
BENCHMARK(BM_Set256Followed);

void BM_Row1000(benchmark::State& state) {
  ApplyRows(state, 1000, false);
}
BENCHMARK(BM_Row1000);

void BM_Row1000Followed(benchmark::State& state) {
  ApplyRows(state, 1000, true);
}
BENCHMARK(BM_Row1000Followed);

void BM_Set256WithExpiry(benchmark::State& state) {
  Apply(state, [](int i) { return Arguments{"SET", Key(i), std::string(256, 'v'), "EX", "100"}; });
}
BENCHMARK(BM_Set256WithExpiry);

void BM_Incr(benchmark::State& state) {
  Apply(state, [](int i) { return Arguments{"INCR", Key(i)}; });
}
BENCHMARK(BM_Incr);

void BM_HSet(benchmark::State& state) {
  Apply(state, [](int i) { return Arguments{"HSET", Key(i), "field", std::string(64, 'v')}; });
}
BENCHMARK(BM_HSet);

void BM_OverlayAlone(benchmark::State& state) {
  MapView base;
  const std::string key = "k00" + Key(1);
  const std::string value(262, 'v');
  base.Put(key, value);
  for (auto _ : state) {
    kv::Overlay overlay(base, "");
    benchmark::DoNotOptimize(overlay.Get(key));
    overlay.Put(key, value);
  }
}
BENCHMARK(BM_OverlayAlone);

void BM_Get256(benchmark::State& state) {
  RegionStore region(SlotRange{0, 16383});
  MapView base;
  region.Apply({.commands = {{"SET", Key(1), std::string(256, 'v')}}}, LogIndex{1}, base);
  const Arguments get{"GET", Key(1)};
  for (auto _ : state) benchmark::DoNotOptimize(region.Read(get, {}, base));
}
BENCHMARK(BM_Get256);

void BM_EncodeAndDecodeSet256(benchmark::State& state) {
  const WriteCommand command{.now = WallFromMillis(1'700'000'000'000),
                             .commands = {{"SET", Key(1), std::string(256, 'v')}}};
  for (auto _ : state) {
    std::string encoded;
    EncodeWriteCommand(command, encoded);
    benchmark::DoNotOptimize(DecodeWriteCommand(encoded));
  }
}
BENCHMARK(BM_EncodeAndDecodeSet256);

void BM_ValidateSet(benchmark::State& state) {
  const Arguments set{"SET", Key(1), std::string(256, 'v')};
  for (auto _ : state) benchmark::DoNotOptimize(Validate(set, {}));
}
BENCHMARK(BM_ValidateSet);

}  // namespace
}  // namespace tenure::store
