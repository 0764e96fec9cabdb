#include "daemon/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <utility>
#include <vector>

#include "daemon/version.h"

namespace tenure::daemon {
namespace {

class Families {
 public:
  void Gauge(const char* name, const char* help, double value) {
    Add(name, help, prometheus::MetricType::Gauge, value);
  }
  void Counter(const char* name, const char* help, double value) {
    Add(name, help, prometheus::MetricType::Counter, value);
  }
  void Info(const char* name, const char* help, const char* label, const std::string& value) {
    Add(name, help, prometheus::MetricType::Gauge, 1);
    families_.back().metric.back().label.push_back({label, value});
  }
  using Labels = std::vector<prometheus::ClientMetric::Label>;
  // A family with no sample yet; Sample and Durations add to the last one.
  void Begin(const char* name, const char* help, prometheus::MetricType type) {
    prometheus::MetricFamily& family = families_.emplace_back();
    family.name = name;
    family.help = help;
    family.type = type;
  }
  void Sample(Labels labels, double value) {
    prometheus::ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label = std::move(labels);
    const bool gauge = families_.back().type == prometheus::MetricType::Gauge;
    (gauge ? metric.gauge.value : metric.counter.value) = value;
  }
  void Durations(Labels labels, uint64_t count, double seconds) {
    prometheus::ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label = std::move(labels);
    metric.summary.sample_count = count;
    metric.summary.sample_sum = seconds;
  }
  std::string Text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  void Add(const char* name, const char* help, prometheus::MetricType type, double value) {
    prometheus::ClientMetric metric;
    (type == prometheus::MetricType::Gauge ? metric.gauge.value : metric.counter.value) = value;
    prometheus::MetricFamily family;
    family.name = name;
    family.help = help;
    family.type = type;
    family.metric.push_back(std::move(metric));
    families_.push_back(std::move(family));
  }
  std::vector<prometheus::MetricFamily> families_;
};

double D(uint64_t value) {
  return static_cast<double>(value);
}

void AddController(const ControllerNumbers& controller, Families& out) {
  out.Gauge("tenure_controller_serving", "1 while this controller leads and its services run",
            controller.serving);
  out.Gauge("tenure_controller_epoch", "leadership epoch while this controller leads, else 0",
            D(controller.epoch));
  out.Gauge("tenure_controller_diverged_members",
            "on the leader: controllers whose catalog is not that of the others at the same revision",
            D(controller.diverged));
  out.Gauge("tenure_controller_applied_index", "catalog revision applied here", D(controller.applied));
  out.Info("tenure_controller_phase",
           "electing, starting, warming_up or serving, of the cluster as seen here", "phase",
           controller.phase);
  out.Gauge("tenure_controller_load_ready", "1 while this controller leads and decides by load",
            controller.load_ready);
  out.Gauge("tenure_controller_warm_up_missing", "members that a new leader waits to hear from",
            D(controller.warm_up_missing));
  out.Gauge("tenure_controller_unsampled_members", "members without which the leader went on",
            D(controller.unsampled));
  out.Gauge("tenure_controller_failed_services", "services of the leader that did not start",
            D(controller.failed_services));
  out.Counter("tenure_controller_transitions_total", "changes of this controller's own leadership",
              D(controller.transitions));
  out.Gauge(
      "tenure_controller_standby_view_age_seconds",
      "age of the load view this controller would begin with as leader; -1: none",
      controller.standby_view_age_ms < 0 ? -1.0 : static_cast<double>(controller.standby_view_age_ms) / 1000);
  out.Counter("tenure_controller_slow_turns_total", "turns of the controller's executor of more than 10 ms",
              D(controller.slow_turns));
  out.Gauge("tenure_controller_slowest_turn_seconds", "the longest of them",
            static_cast<double>(controller.slowest_turn_us) / 1e6);
}

void AddBarriers(const controller::BarrierNumbers& barriers, Families& out) {
  out.Counter("tenure_barriers_proceeded_total", "barriers that have passed under this controller",
              D(barriers.proceeded));
  out.Counter("tenure_barriers_failed_total", "barriers whose time was over before", D(barriers.failed));
  out.Counter("tenure_barrier_wait_seconds_total", "how long they took together",
              std::chrono::duration<double>(barriers.waited).count());
  out.Gauge("tenure_barriers_waiting", "barriers that wait now", D(barriers.waiting));
  out.Begin("tenure_barrier_waiting_for", "1 for each node that a barrier waits for",
            prometheus::MetricType::Gauge);
  for (const uint64_t node : barriers.waiting_for) out.Sample({{"node", std::to_string(node)}}, 1);
}

void AddProcedures(const controller::ProcedureNumbers& procedures, Families& out) {
  using prometheus::MetricType;
  out.Begin("tenure_procedures", "procedures in the catalog, ended ones that are still listed included",
            MetricType::Gauge);
  for (const auto& [key, count] : procedures.records)
    out.Sample({{"type", key.first}, {"state", key.second}}, static_cast<double>(count));
  out.Begin("tenure_procedures_ended_total",
            "procedures that ended under this controller; cause: who wanted a replica changed",
            MetricType::Counter);
  for (const auto& [key, count] : procedures.ended) {
    const auto& [type, state, cause] = key;
    Families::Labels labels{{"type", type}, {"state", state}};
    if (!cause.empty()) labels.push_back({"cause", cause});
    out.Sample(std::move(labels), D(count));
  }
  out.Begin("tenure_procedure_step_seconds", "how long steps of procedures took under this controller",
            MetricType::Summary);
  for (const auto& [key, durations] : procedures.steps) {
    out.Durations({{"type", key.first}, {"step", key.second}}, durations.count,
                  std::chrono::duration<double>(durations.sum).count());
  }
  out.Gauge("tenure_procedures_isolated", "procedures that this program cannot run",
            static_cast<double>(procedures.isolated));
  out.Gauge("tenure_tasks_under_way", "tasks of procedures at nodes, without a result yet",
            static_cast<double>(procedures.tasks_under_way));
  out.Gauge("tenure_repairs_running", "lost or missing replicas that are being made anew",
            static_cast<double>(procedures.repairs_running));
  out.Gauge("tenure_repairs_stuck", "regions with a lost or missing replica that cannot be made anew",
            static_cast<double>(procedures.repairs_stuck));
  out.Gauge("tenure_repairs_queued", "lost or missing replicas whose turn has not come yet",
            static_cast<double>(procedures.repairs_queued));
}

void AddCoordinator(const controller::ChangefeedCoordinator::Numbers& changefeeds, Families& out) {
  using prometheus::MetricType;
  out.Begin("tenure_changefeed_state", "1 for each changefeed, with its state", MetricType::Gauge);
  for (const auto& feed : changefeeds.feeds)
    out.Sample({{"changefeed", feed.name}, {"state", feed.state}}, 1);
  out.Begin("tenure_changefeed_lag_seconds", "how far its checkpoint is behind now", MetricType::Gauge);
  for (const auto& feed : changefeeds.feeds)
    out.Sample({{"changefeed", feed.name}}, static_cast<double>(feed.lag_ms) / 1000);
  out.Begin("tenure_changefeed_lag_rows", "rows that are committed and not delivered, about",
            MetricType::Gauge);
  for (const auto& feed : changefeeds.feeds) {
    if (feed.lag_rows) out.Sample({{"changefeed", feed.name}}, D(*feed.lag_rows));
  }
  out.Begin("tenure_changefeed_rows_per_second", "what its dispatchers deliver", MetricType::Gauge);
  for (const auto& feed : changefeeds.feeds) out.Sample({{"changefeed", feed.name}}, D(feed.rows_per_second));
  out.Begin("tenure_changefeed_owner_epoch", "epoch of its owner", MetricType::Gauge);
  for (const auto& feed : changefeeds.feeds) out.Sample({{"changefeed", feed.name}}, D(feed.epoch));
  out.Begin("tenure_changefeed_reports_refused_total", "reports of maintainers that were refused, by kind",
            MetricType::Counter);
  for (const auto& [kind, count] : changefeeds.refusals) out.Sample({{"kind", kind}}, D(count));
}

void AddChangefeedAgent(const changefeed::ChangefeedAgent::Numbers& agent, Families& out) {
  out.Gauge("tenure_node_changefeed_maintainers", "maintainers that run here", D(agent.maintainers));
  out.Gauge("tenure_node_changefeed_dispatchers", "dispatchers that run here", D(agent.dispatchers));
  out.Gauge("tenure_node_changefeed_rows_per_second", "what they deliver", D(agent.rows_per_second));
  out.Begin("tenure_node_changefeed_messages_refused_total",
            "messages of the changefeed protocol that were refused here, by kind",
            prometheus::MetricType::Counter);
  for (const auto& [kind, count] : agent.refusals) out.Sample({{"kind", kind}}, D(count));
}

void AddNode(const node::Node::Stats& node, Families& out) {
  const auto seconds = [](Duration duration) { return std::chrono::duration<double>(duration).count(); };
  out.Gauge("tenure_node_fenced", "1 while nothing is served, for want of a lease", node.fenced);
  out.Gauge("tenure_node_fenced_seconds", "for how long; 0: it is not fenced", seconds(node.fenced_for));
  out.Gauge("tenure_node_lease_left_seconds", "what is left of the lease", seconds(node.lease_left));
  out.Counter("tenure_node_lease_recoveries_total", "how often the catalog was pulled to serve (again)",
              D(node.recoveries));
  out.Gauge("tenure_node_serving_revision", "catalog revision that is served from; 0: fenced",
            D(node.serving_revision));
  out.Gauge("tenure_node_regions", "region replicas that run here", D(node.regions));
  out.Gauge("tenure_node_regions_led", "regions led here", D(node.leaders));
  out.Gauge("tenure_node_regions_quiescent", "region replicas that are idle and send nothing",
            D(node.quiescent));
  out.Counter("tenure_node_raft_messages_total", "Raft messages of regions sent", D(node.transport.messages));
  out.Counter("tenure_node_raft_batches_total", "batches in which they were sent", D(node.transport.batches));
  out.Counter("tenure_node_host_heartbeats_total", "heartbeats sent to processes with common regions",
              D(node.transport.heartbeats));
  out.Gauge("tenure_node_regions_without_leader", "regions with a replica here that nobody leads",
            D(node.without_leader));
  out.Gauge("tenure_node_diverged_replicas",
            "replicas of regions led here whose data is not that of the others at the same index",
            D(node.diverged_replicas));
  out.Gauge("tenure_node_lost_replicas", "replicas that should be here and were dropped by a repair",
            D(node.lost_replicas));
  out.Gauge("tenure_node_kept_replicas", "replicas whose region's record a recovery of the catalog lost",
            D(node.kept_replicas));
  out.Gauge("tenure_node_operations_under_way", "client operations that wait for consensus",
            D(node.pending_operations));
  out.Gauge("tenure_node_catalog_revision", "catalog revision known here", D(node.catalog_revision));
  out.Gauge("tenure_node_controller_connected", "1 while a leading controller answers heartbeats",
            node.connected);
}

void AddResp(const resp::FrontEndCounters& counters, size_t connections, Families& out) {
  out.Gauge("tenure_resp_connections", "Redis protocol clients connected", D(connections));
  out.Counter("tenure_resp_connections_total", "Redis protocol clients ever connected",
              D(counters.connections));
  out.Counter("tenure_resp_rejected_connections_total", "clients beyond the limit",
              D(counters.rejected_connections));
  out.Counter("tenure_resp_commands_total", "commands received", D(counters.commands));
  out.Counter("tenure_resp_error_replies_total", "commands answered with an error",
              D(counters.error_replies));
  out.Counter("tenure_resp_protocol_errors_total", "connections closed for malformed input",
              D(counters.protocol_errors));
  out.Counter("tenure_resp_input_bytes_total", "bytes received", D(counters.input_bytes));
  out.Counter("tenure_resp_output_bytes_total", "bytes sent", D(counters.output_bytes));
  out.Counter("tenure_resp_evicted_clients_total", "clients closed for the memory of all",
              D(counters.evicted_clients));
}

void AddStorage(const ProcessNumbers& numbers, Families& out) {
  out.Gauge("tenure_wal_bytes", "bytes of the log on disk", D(numbers.wal_bytes));
  out.Gauge("tenure_wal_low_on_space", "1 when the disk's reserve is reached: writes are refused",
            numbers.wal_low_on_space);
  out.Gauge("tenure_kv_memtable_bytes", "RocksDB: not flushed", D(numbers.engine.memtable_bytes));
  out.Gauge("tenure_kv_table_bytes", "RocksDB: table files", D(numbers.engine.table_file_bytes));
  out.Gauge("tenure_kv_pending_compaction_bytes", "RocksDB: to be compacted",
            D(numbers.engine.pending_compaction_bytes));
  out.Gauge("tenure_kv_write_stopped", "1 while RocksDB takes no writes", numbers.engine.write_stopped);
  out.Gauge("tenure_disk_free_bytes", "free on the data directory's disk", D(numbers.disk_free_bytes));
}

}  // namespace

std::string MetricsText(const ProcessNumbers& numbers) {
  Families out;
  out.Info("tenure_build_info", "version of the program", "version", kVersion);
  if (numbers.controller) AddController(*numbers.controller, out);
  if (numbers.controller && numbers.controller->barriers) AddBarriers(*numbers.controller->barriers, out);
  if (numbers.controller && numbers.controller->procedures)
    AddProcedures(*numbers.controller->procedures, out);
  if (numbers.controller) AddCoordinator(numbers.controller->changefeeds, out);
  if (numbers.node) AddNode(*numbers.node, out);
  if (numbers.changefeeds) AddChangefeedAgent(*numbers.changefeeds, out);
  if (numbers.resp) AddResp(*numbers.resp, numbers.resp_connections, out);
  AddStorage(numbers, out);
  out.Gauge("process_resident_memory_bytes", "resident memory", D(numbers.resident_bytes));
  out.Counter("process_cpu_seconds_total", "user and system CPU time", numbers.cpu_seconds);
  out.Gauge("process_start_time_seconds", "start since the epoch", static_cast<double>(numbers.started_at_s));
  return out.Text();
}

}  // namespace tenure::daemon
