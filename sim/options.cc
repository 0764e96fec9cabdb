#include "sim/options.h"

#include <fmt/format.h>

namespace tenure::sim {
namespace {

constexpr OptionField kFields[] = {
    {"cluster", "processes", 1, 9,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.processes); },
     [](SimOptions& o, int64_t v) { o.processes = static_cast<decltype(o.processes)>(v); }},
    {"cluster", "spares", 0, 5, [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.spares); },
     [](SimOptions& o, int64_t v) { o.spares = static_cast<decltype(o.spares)>(v); }},
    {"cluster", "regions", 1, 16,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.regions); },
     [](SimOptions& o, int64_t v) { o.regions = static_cast<decltype(o.regions)>(v); }},
    {"cluster", "data_nodes", 0, 5,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.data_nodes); },
     [](SimOptions& o, int64_t v) { o.data_nodes = static_cast<decltype(o.data_nodes)>(v); }},
    {"cluster", "down_after_ms", 1000, 3600000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::milliseconds>(o.down_after).count();
     },
     [](SimOptions& o, int64_t v) { o.down_after = std::chrono::milliseconds(v); }},
    {"cluster", "repair_after_ms", 100, 3600000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::milliseconds>(o.repair_after).count();
     },
     [](SimOptions& o, int64_t v) { o.repair_after = std::chrono::milliseconds(v); }},
    {"cluster", "replace_after_ms", 100, 3600000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::milliseconds>(o.replace_after).count();
     },
     [](SimOptions& o, int64_t v) { o.replace_after = std::chrono::milliseconds(v); }},
    {"cluster", "quiesce_after_ms", 50, 3600000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::milliseconds>(o.quiesce_after).count();
     },
     [](SimOptions& o, int64_t v) { o.quiesce_after = std::chrono::milliseconds(v); }},
    {"cluster", "small_log", 0, 1,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.small_log); },
     [](SimOptions& o, int64_t v) { o.small_log = v != 0; }},
    {"cluster", "token", 0, 1, [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.token); },
     [](SimOptions& o, int64_t v) { o.token = v != 0; }},
    {"cluster", "erratic_services", 0, 4,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.erratic_services); },
     [](SimOptions& o, int64_t v) { o.erratic_services = static_cast<decltype(o.erratic_services)>(v); }},
    {"cluster", "fence_ms", 2000, 60000,
     [](const SimOptions& o) -> int64_t { return ToMillis(o.fence_time); },
     [](SimOptions& o, int64_t v) { o.fence_time = std::chrono::milliseconds(v); }},
    {"cluster", "change_fencing", 0, 1,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.change_fencing); },
     [](SimOptions& o, int64_t v) { o.change_fencing = v != 0; }},
    {"workload", "slot_moves", 0, 1,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.slot_moves); },
     [](SimOptions& o, int64_t v) { o.slot_moves = v != 0; }},
    {"workload", "key_clients", 1, 100,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.key_clients); },
     [](SimOptions& o, int64_t v) { o.key_clients = static_cast<decltype(o.key_clients)>(v); }},
    {"workload", "entry_clients", 1, 100,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.entry_clients); },
     [](SimOptions& o, int64_t v) { o.entry_clients = static_cast<decltype(o.entry_clients)>(v); }},
    {"workload", "registers", 1, 1000,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.registers); },
     [](SimOptions& o, int64_t v) { o.registers = static_cast<decltype(o.registers)>(v); }},
    {"workload", "think_time_ms", 1, 60000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::milliseconds>(o.think_time).count();
     },
     [](SimOptions& o, int64_t v) { o.think_time = std::chrono::milliseconds(v); }},
    {"workload", "max_rest_ms", 0, 600000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::milliseconds>(o.max_rest).count();
     },
     [](SimOptions& o, int64_t v) { o.max_rest = std::chrono::milliseconds(v); }},
    {"workload", "tables", 0, 8,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.tables); },
     [](SimOptions& o, int64_t v) { o.tables = static_cast<decltype(o.tables)>(v); }},
    {"workload", "changefeeds", 0, 4,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.changefeeds); },
     [](SimOptions& o, int64_t v) { o.changefeeds = static_cast<decltype(o.changefeeds)>(v); }},
    {"workload", "databases", 0, 8,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.databases); },
     [](SimOptions& o, int64_t v) { o.databases = static_cast<decltype(o.databases)>(v); }},
    {"workload", "placement", 0, 1,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.placement); },
     [](SimOptions& o, int64_t v) { o.placement = v != 0; }},
    {"workload", "storms", 0, 1,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.storms); },
     [](SimOptions& o, int64_t v) { o.storms = v != 0; }},
    {"run", "fault_phase_ms", 1000, 3600000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::milliseconds>(o.fault_phase).count();
     },
     [](SimOptions& o, int64_t v) { o.fault_phase = std::chrono::milliseconds(v); }},
    {"run", "convergence_limit_ms", 1000, 3600000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::milliseconds>(o.convergence_limit).count();
     },
     [](SimOptions& o, int64_t v) { o.convergence_limit = std::chrono::milliseconds(v); }},
    {"run", "mean_fault_gap_ms", 10, 3600000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::milliseconds>(o.mean_fault_gap).count();
     },
     [](SimOptions& o, int64_t v) { o.mean_fault_gap = std::chrono::milliseconds(v); }},
    {"run", "max_fault_length_ms", 10, 3600000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::milliseconds>(o.max_fault_length).count();
     },
     [](SimOptions& o, int64_t v) { o.max_fault_length = std::chrono::milliseconds(v); }},
    {"run", "more_phases", 0, 1,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.more_phases); },
     [](SimOptions& o, int64_t v) { o.more_phases = v != 0; }},
    {"run", "recovery", 0, 1, [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.recovery); },
     [](SimOptions& o, int64_t v) { o.recovery = v != 0; }},
    {"network", "min_delay_us", 1, 1000000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::microseconds>(o.links.min_delay).count();
     },
     [](SimOptions& o, int64_t v) { o.links.min_delay = std::chrono::microseconds(v); }},
    {"network", "max_delay_us", 1, 1000000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::microseconds>(o.links.max_delay).count();
     },
     [](SimOptions& o, int64_t v) { o.links.max_delay = std::chrono::microseconds(v); }},
    {"network", "max_reorder_us", 1, 1000000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::microseconds>(o.links.max_reorder).count();
     },
     [](SimOptions& o, int64_t v) { o.links.max_reorder = std::chrono::microseconds(v); }},
    {"network", "loss_ppm", 0, 500000,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.links.loss_per_million); },
     [](SimOptions& o, int64_t v) {
       o.links.loss_per_million = static_cast<decltype(o.links.loss_per_million)>(v);
     }},
    {"network", "duplicate_ppm", 0, 500000,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.links.duplicate_per_million); },
     [](SimOptions& o, int64_t v) {
       o.links.duplicate_per_million = static_cast<decltype(o.links.duplicate_per_million)>(v);
     }},
    {"network", "reorder_ppm", 0, 500000,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.links.reorder_per_million); },
     [](SimOptions& o, int64_t v) {
       o.links.reorder_per_million = static_cast<decltype(o.links.reorder_per_million)>(v);
     }},
    {"network", "lost_requests_ppm", 0, 500000,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.links.lost_requests_per_million); },
     [](SimOptions& o, int64_t v) {
       o.links.lost_requests_per_million = static_cast<decltype(o.links.lost_requests_per_million)>(v);
     }},
    {"network", "lost_answers_ppm", 0, 500000,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.links.lost_answers_per_million); },
     [](SimOptions& o, int64_t v) {
       o.links.lost_answers_per_million = static_cast<decltype(o.links.lost_answers_per_million)>(v);
     }},
    {"disk", "min_sync_us", 1, 1000000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::microseconds>(o.disks.min_sync).count();
     },
     [](SimOptions& o, int64_t v) { o.disks.min_sync = std::chrono::microseconds(v); }},
    {"disk", "max_sync_us", 1, 1000000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::microseconds>(o.disks.max_sync).count();
     },
     [](SimOptions& o, int64_t v) { o.disks.max_sync = std::chrono::microseconds(v); }},
    {"disk", "stalls_ppm", 0, 1000000,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.disks.stalls_per_million); },
     [](SimOptions& o, int64_t v) {
       o.disks.stalls_per_million = static_cast<decltype(o.disks.stalls_per_million)>(v);
     }},
    {"disk", "max_stall_us", 1, 10000000,
     [](const SimOptions& o) -> int64_t {
       return std::chrono::duration_cast<std::chrono::microseconds>(o.disks.max_stall).count();
     },
     [](SimOptions& o, int64_t v) { o.disks.max_stall = std::chrono::microseconds(v); }},
    {"clock", "max_drift_ppm", 0, kMaxDriftPpm,
     [](const SimOptions& o) -> int64_t { return static_cast<int64_t>(o.max_drift_ppm); },
     [](SimOptions& o, int64_t v) { o.max_drift_ppm = static_cast<decltype(o.max_drift_ppm)>(v); }},
};

// Absent in half of the seeds, else common or rare.
uint32_t DrawWeight(Prng& prng, uint32_t common) {
  return prng.Chance(1, 2) ? 0 : prng.Chance(1, 3) ? 1 : common;
}

void DrawLinks(Prng& prng, SimLinkOptions& links) {
  if (prng.Chance(1, 2)) {
    links.loss_per_million = static_cast<uint32_t>(prng.Between(0, 50'000));
    links.duplicate_per_million = static_cast<uint32_t>(prng.Between(0, 50'000));
    links.reorder_per_million = static_cast<uint32_t>(prng.Between(0, 50'000));
    links.lost_answers_per_million = static_cast<uint32_t>(prng.Between(0, 20'000));
    links.lost_requests_per_million = static_cast<uint32_t>(prng.Between(0, 20'000));
  }
  if (prng.Chance(1, 3)) links.max_delay = std::chrono::milliseconds(prng.Between(1, 40));
}

// Worlds with more nodes than a region has replicas.
void DrawPlacement(Prng prng, SimOptions& options) {
  if (!prng.Chance(2, 5)) return;
  options.placement = true;
  options.data_nodes =
      static_cast<uint32_t>(options.processes == 3 ? prng.Between(1, 3) : prng.Between(0, 1));
  options.down_after = std::chrono::milliseconds(prng.Between(2500, 8000));
  options.repair_after = std::chrono::milliseconds(prng.Between(500, 5000));
  options.convergence_limit = std::chrono::minutes(3);  // drains and repairs have to end as well
  options.recovery = false;
}

}  // namespace

std::span<const OptionField> OptionFields() {
  return kFields;
}

SimOptions DrawOptions(uint64_t seed) {
  Prng prng = Prng(seed).Fork("options");
  SimOptions options;
  options.seed = seed;
  options.processes = prng.Chance(1, 5) ? 5 : 3;
  options.regions = static_cast<uint32_t>(prng.Between(1, 4));
  options.key_clients = static_cast<uint32_t>(prng.Between(2, 5));
  options.entry_clients = static_cast<uint32_t>(prng.Between(1, 3));
  options.registers = static_cast<uint32_t>(prng.Between(2, 6));
  // Busy clusters and calm ones.
  options.think_time = std::chrono::milliseconds(prng.Between(50, prng.Chance(1, 2) ? 250 : 1200));
  options.mean_fault_gap = std::chrono::milliseconds(prng.Between(500, 6000));
  options.max_fault_length = std::chrono::milliseconds(prng.Between(1000, 12000));
  DrawLinks(prng, options.links);
  if (prng.Chance(1, 2)) options.disks.stalls_per_million = static_cast<uint32_t>(prng.Between(0, 20'000));
  if (prng.Chance(1, 2)) options.max_drift_ppm = prng.Between(0, kMaxDriftPpm);
  options.small_log = prng.Chance(1, 2);
  options.quiesce_after = std::chrono::milliseconds(prng.Between(150, 1500));
  if (prng.Chance(2, 3)) options.max_rest = std::chrono::milliseconds(prng.Between(500, 8000));
  if (prng.Chance(1, 3)) {
    options.spares = 3;
    options.replace_after = std::chrono::milliseconds(prng.Between(2500, 8000));
  }

  uint32_t total = 0;
  for (const FaultSpec& spec : Atlas())
    total += options.faults[static_cast<size_t>(spec.kind)] = DrawWeight(prng, spec.weight);
  // A group that lost a replica has none to spare: not together with machines that come and go.
  if (options.spares > 0) options.faults[static_cast<size_t>(FaultKind::kRot)] = 0;
  if (total == 0) options.faults[static_cast<size_t>(FaultKind::kCrash)] = 1;
  options.token = Prng(seed).Fork("token").Chance(1, 3);
  options.slot_moves = Prng(seed).Fork("slot moves").Chance(1, 3);
  // From a moment in which every group has all its replicas.
  options.recovery = options.processes == 3 && options.spares == 0 &&
                     options.faults[static_cast<size_t>(FaultKind::kRot)] == 0 && prng.Chance(1, 2);
  Prng fencing = Prng(seed).Fork("fencing");
  // Shorter than most faults, so that nodes are fenced all the time; or so long that few are.
  if (fencing.Chance(2, 3)) options.fence_time = std::chrono::milliseconds(fencing.Between(3000, 5000));
  options.change_fencing = fencing.Chance(1, 4);
  Prng tables = Prng(seed).Fork("tables");
  if (tables.Chance(1, 2)) options.tables = static_cast<uint32_t>(tables.Between(1, 3));
  Prng databases = Prng(seed).Fork("databases");
  if (databases.Chance(1, 2)) options.databases = static_cast<uint32_t>(databases.Between(1, 3));
  Prng changefeeds = Prng(seed).Fork("changefeeds");
  if (changefeeds.Chance(1, 3)) options.changefeeds = static_cast<uint32_t>(changefeeds.Between(1, 2));
  DrawPlacement(Prng(seed).Fork("placement"), options);
  Prng leadership = Prng(seed).Fork("leadership");
  if (leadership.Chance(1, 3)) options.erratic_services = static_cast<uint32_t>(leadership.Between(1, 2));
  options.storms = leadership.Chance(1, options.erratic_services > 0 ? 2 : 8);
  return options;
}

std::vector<Fault> PlanOf(const SimOptions& options) {
  if (options.plan) return *options.plan;
  return DrawPlan(Prng(options.seed).Fork("plan"), options.faults,
                  {.machines = options.processes + options.spares + options.data_nodes,
                   .phase = options.fault_phase,
                   .mean_gap = options.mean_fault_gap,
                   .max_length = options.max_fault_length});
}

std::string Describe(const SimOptions& options) {
  const SimOptions defaults;
  std::string text;
  for (const OptionField& field : kFields) {
    if (const int64_t value = field.get(options); value != field.get(defaults)) {
      text += fmt::format("{}={} ", field.key, value);
    }
  }
  if (options.plan) return text + fmt::format("faults: {} planned", options.plan->size());
  text += "faults:";
  for (const FaultSpec& spec : Atlas()) {
    if (const uint32_t weight = options.faults[static_cast<size_t>(spec.kind)]; weight > 0) {
      text += fmt::format(" {}={}", spec.name, weight);
    }
  }
  return text;
}

}  // namespace tenure::sim
