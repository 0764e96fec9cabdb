// The numbers of /metrics, as Prometheus text.
//
// Threading: values.
#pragma once

#include <optional>
#include <string>

#include "changefeed/agent/changefeed_agent.h"
#include "controller/controller.h"
#include "kv/rocksdb/rocksdb_engine.h"
#include "node/node.h"
#include "resp/front_end.h"

namespace tenure::daemon {

struct ControllerNumbers {
  bool serving = false;
  uint64_t epoch = 0;
  uint64_t applied = 0;
  uint64_t diverged = 0;  // controllers whose catalog differs, as the leader sees it
  std::string phase = "joining";
  bool load_ready = false;
  uint64_t warm_up_missing = 0;  // members without a sample that are waited for
  uint64_t unsampled = 0;        // without which it went on
  uint64_t failed_services = 0;
  uint64_t transitions = 0;
  int64_t standby_view_age_ms = -1;
  uint64_t slow_turns = 0;  // closures on the controller's executor that took longer than they may
  int64_t slowest_turn_us = 0;
  std::optional<controller::ProcedureNumbers> procedures;  // of the leader
  std::optional<controller::BarrierNumbers> barriers;      // of the leader
  controller::ChangefeedCoordinator::Numbers changefeeds;  // of the leader
};

struct ProcessNumbers {
  std::optional<ControllerNumbers> controller;
  std::optional<node::Node::Stats> node;
  std::optional<resp::FrontEndCounters> resp;
  size_t resp_connections = 0;
  std::optional<changefeed::ChangefeedAgent::Numbers> changefeeds;
  kv::RocksStats engine;
  uint64_t wal_bytes = 0;
  bool wal_low_on_space = false;
  uint64_t disk_free_bytes = 0;
  uint64_t resident_bytes = 0;
  double cpu_seconds = 0;
  int64_t started_at_s = 0;
};

std::string MetricsText(const ProcessNumbers& numbers);

}  // namespace tenure::daemon
