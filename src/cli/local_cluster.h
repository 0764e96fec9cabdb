// The processes of a `tenure up` cluster on this machine: which of them run, starting the others, stopping
// them.
//
// Driven by `tenure up` and `tenure down`. It knows nothing of what happens inside the cluster (readiness.h
// does).
// Threading:  one owner.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/time.h"
#include "cli/cluster_layout.h"
#include "cli/process.h"

namespace tenure::cli {

class LocalCluster {
 public:
  explicit LocalCluster(ClusterLayout layout) : layout_(std::move(layout)) {}

  const ClusterLayout& layout() const { return layout_; }
  // Looks which processes run, whoever started them; a pid file that names no process of this cluster is
  // stale.
  void FindRunning();
  bool AnyRunning();
  std::vector<std::string> RunningNames();
  // Names of those that Start started.
  const std::vector<std::string>& started() const { return started_; }

  // Starts what is down. Nothing is started if a port is occupied: FAILED_PRECONDITION naming port and
  // process.
  Status Start(const std::string& tenured);
  // One process that ran at FindRunning or was started here and has ended since the last call.
  struct Ended {
    std::string name;
    bool cleanly = false;
    std::string message;  // "process 2 exited with 1: <reason in its log> (log: ...)"
  };
  std::optional<Ended> TakeEnded();
  // Sends `signal` to those that run (`names` empty: all) and waits; the names of those that still run after
  // `limit`.
  std::vector<std::string> Stop(int signal, const std::vector<std::string>& names, Duration limit);

 private:
  Status CheckPorts() const;
  std::string ReasonInLog(const ProcessPlace& place) const;

  ClusterLayout layout_;
  std::map<std::string, Process> running_;       // by name
  std::map<std::string, uintmax_t> log_begins_;  // size of the log when the process was started
  std::vector<std::string> started_;
};

// "1, 2 and 3".
std::string Join(const std::vector<std::string>& names);

}  // namespace tenure::cli
