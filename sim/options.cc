#include "sim/options.h"

#include <fmt/format.h>

namespace tenure::sim {
namespace {

// Absent in half of the seeds, else common or rare.
uint32_t DrawWeight(Prng& prng, uint32_t common) {
  return prng.Chance(1, 2) ? 0 : prng.Chance(1, 3) ? 1 : common;
}

}  // namespace

SimOptions DrawOptions(uint64_t seed) {
  Prng prng = Prng(seed).Fork("options");
  SimOptions options;
  options.seed = seed;
  options.processes = prng.Chance(1, 5) ? 5 : 3;
  options.regions = static_cast<uint32_t>(prng.Between(1, 4));
  options.key_clients = static_cast<uint32_t>(prng.Between(2, 5));
  options.entry_clients = static_cast<uint32_t>(prng.Between(1, 3));
  options.registers = static_cast<uint32_t>(prng.Between(2, 6));
  options.mean_fault_gap = std::chrono::milliseconds(prng.Between(500, 6000));
  options.max_fault_length = std::chrono::milliseconds(prng.Between(1000, 12000));

  FaultWeights& faults = options.faults;
  faults.crash = DrawWeight(prng, 4);
  faults.power_loss = DrawWeight(prng, 4);
  faults.total_loss = DrawWeight(prng, 1);
  faults.pause = DrawWeight(prng, 4);
  faults.isolate = DrawWeight(prng, 3);
  faults.one_way = DrawWeight(prng, 3);
  faults.split = DrawWeight(prng, 2);
  faults.hang_disk = DrawWeight(prng, 2);
  faults.reset = DrawWeight(prng, 2);
  faults.transfer = DrawWeight(prng, 2);
  if (faults.total() == 0) faults.crash = faults.isolate = 1;

  if (prng.Chance(1, 2)) {
    options.links.loss_per_million = static_cast<uint32_t>(prng.Between(0, 50'000));
    options.links.duplicate_per_million = static_cast<uint32_t>(prng.Between(0, 50'000));
    options.links.reorder_per_million = static_cast<uint32_t>(prng.Between(0, 50'000));
    options.links.lost_answers_per_million = static_cast<uint32_t>(prng.Between(0, 20'000));
    options.links.lost_requests_per_million = static_cast<uint32_t>(prng.Between(0, 20'000));
  }
  if (prng.Chance(1, 3)) options.links.max_delay = std::chrono::milliseconds(prng.Between(1, 40));
  if (prng.Chance(1, 2)) options.disks.stalls_per_million = static_cast<uint32_t>(prng.Between(0, 20'000));
  if (prng.Chance(1, 2))
    options.max_drift_ppm = prng.Between(0, 4'500);  // the bound is 1 % between two clocks
  options.small_log = prng.Chance(1, 2);
  options.quiesce_after = std::chrono::milliseconds(prng.Between(150, 1500));
  if (prng.Chance(2, 3)) options.max_rest = std::chrono::milliseconds(prng.Between(500, 8000));
  if (prng.Chance(1, 3)) {
    options.spares = 3;
    options.replace_after = std::chrono::milliseconds(prng.Between(2500, 8000));
  }
  // A group that lost a replica has none to spare: not together with machines that come and go.
  if (options.spares == 0 && prng.Chance(1, 4)) faults.rot = 2;
  // From a moment in which every group has all its replicas.
  options.recovery = options.processes == 3 && options.spares == 0 && faults.rot == 0 && prng.Chance(1, 2);
  return options;
}

std::string Describe(const SimOptions& o) {
  const FaultWeights& f = o.faults;
  return fmt::format(
      "processes={} regions={} clients={}+{} registers={} gap={}ms length={}ms faults(crash={} power={} "
      "total={} pause={} "
      "isolate={} one_way={} split={} hang={} reset={} transfer={} rot={}) loss={}ppm delay={}us "
      "stalls={}ppm "
      "drift={}ppm "
      "small_log={} quiesce={}ms rest={}ms spares={} replace_after={}ms recovery={}",
      o.processes, o.regions, o.key_clients, o.entry_clients, o.registers, ToMillis(o.mean_fault_gap),
      ToMillis(o.max_fault_length), f.crash, f.power_loss, f.total_loss, f.pause, f.isolate, f.one_way,
      f.split, f.hang_disk, f.reset, f.transfer, f.rot, o.links.loss_per_million,
      std::chrono::duration_cast<std::chrono::microseconds>(o.links.max_delay).count(),
      o.disks.stalls_per_million, o.max_drift_ppm, o.small_log, ToMillis(o.quiesce_after),
      ToMillis(o.max_rest), o.spares, ToMillis(o.replace_after), o.recovery);
}

}  // namespace tenure::sim
