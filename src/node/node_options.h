// Settings of a node, parsed once by whoever builds it, and who it is.
//
// Threading: values.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "catalog/join_tokens.h"
#include "group/group_host.h"
#include "store/region_store.h"

namespace tenure::node {

struct NodeOptions {
  store::Limits limits;
  group::GroupHostOptions groups;

  // A write that is not acknowledged by then is answered Unknown, a read that is not confirmed is refused.
  Duration write_timeout = std::chrono::seconds(5);
  // READONLY reads of a replica that has not heard from its leader for longer are sent to the leader.
  Duration max_staleness = std::chrono::seconds(5);
  size_t max_pending_operations = 100000;
  size_t max_waiting_bytes = 64 << 20;  // of operations that wait for a read confirmation
  size_t max_scan_count = 10000;        // keys looked at in one step of SCAN

  Duration sweep_interval = std::chrono::milliseconds(200);
  size_t sweep_regions = 16;  // looked at per interval
  uint32_t sweep_keys = 200;  // removed by one command

  // Of regions that changefeeds follow: how often their leaders say up to when nothing more will be
  // committed, and how much of their changes is kept, whoever still needs it.
  Duration resolve_interval = std::chrono::seconds(1);
  uint64_t change_log_bytes = store::kDefaultChangeLogBytes;

  size_t copy_chunk_bytes = 256 << 10;  // of slots that are copied to another region, at once

  Duration heartbeat_interval = std::chrono::seconds(1);
  Duration heartbeat_timeout = std::chrono::seconds(3);  // without an answer the leader is looked for again
  Duration farewell_timeout = std::chrono::milliseconds(500);  // the same, for a node that stops
  Duration full_report_interval = std::chrono::seconds(60);
  Duration min_report_gap = std::chrono::milliseconds(20);  // between two reports caused by changes
  Duration register_timeout = std::chrono::seconds(5);
  Duration retry_min = std::chrono::milliseconds(100);
  Duration retry_max = std::chrono::seconds(2);
  Duration watch_lag = std::chrono::seconds(3);  // behind the leader's revision for that long: watch anew
  Duration reconcile_interval = std::chrono::seconds(5);
  Duration min_take_over_gap = std::chrono::milliseconds(50);  // between two looks at a changed catalog
  Duration save_delay = std::chrono::milliseconds(200);
};

struct NodeIdentity {
  std::string uuid;            // of the data directory
  std::string cluster_id;      // empty: never joined one
  uint64_t incarnation = 1;    // of that cluster, as the data directory says
  uint64_t controller_id = 0;  // the process is this controller as well; 0: none
  std::string name;
  std::string address;       // gRPC host:port, as others reach it
  std::string resp_address;  // Redis protocol host:port, as clients reach it
  std::string zone;
  std::vector<std::pair<std::string, std::string>> labels;
  std::string software_version;
  catalog::JoinTokens join_tokens{};  // that it is let in with
};

}  // namespace tenure::node
