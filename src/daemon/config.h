// What `tenured` was started with: command line over configuration file over defaults, checked.
//
// Threading: pure functions (the configuration file and the token file are read here).
// Errors:    INVALID_ARGUMENT naming the flag (or the file's key and line), what was given and what is
//            allowed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/duration.h"
#include "base/host_port.h"
#include "base/log.h"
#include "base/status.h"
#include "base/time.h"
#include "catalog/join_tokens.h"

namespace tenure::daemon {

struct Config {
  std::string data;
  bool controller = false;
  bool node = false;
  HostPort listen;
  HostPort advertise;
  std::optional<HostPort> resp;  // role node
  HostPort resp_advertise;       // as clients reach it: the host of `advertise` if --resp is a wildcard
  std::optional<HostPort> http;
  std::map<uint64_t, HostPort> initial_controllers;
  uint64_t id = 0;  // controller id; 0: not a controller, or known from the data directory
  std::vector<HostPort> controllers;
  std::string name;
  std::string zone;
  std::vector<std::pair<std::string, std::string>> labels;
  catalog::JoinTokens join_tokens;  // what --token-file holds

  LogLevel log_level = LogLevel::kInfo;
  Duration max_staleness = std::chrono::seconds(5);
  Duration write_timeout = std::chrono::seconds(5);
  Duration heartbeat_interval = std::chrono::milliseconds(100);  // Raft
  Duration election_timeout = std::chrono::seconds(1);
  // A silent voter of group 0 is replaced after this, if there is a learner.
  Duration replace_after = std::chrono::seconds(30);
  size_t max_clients = 10000;

  // What the leading controller keeps regions to. A node that is DOWN for repair_after loses its replicas to
  // others.
  Duration repair_after = std::chrono::minutes(5);
  size_t max_repairs = 16;  // at once, in the whole cluster
  size_t max_moves = 4;     // at once: for balance, and for each node that is drained
  bool balance = true;      // replicas and leaderships are evened out while nothing is being repaired
};

struct CommandLine {
  std::optional<Config> config;
  // Without a config: --help or --version; print this and exit 0.
  std::string output;
};

// INVALID_ARGUMENT: wrong usage, exit code 2.
StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv);

}  // namespace tenure::daemon
