// Where the processes of a `tenure up` cluster live: names, directories, ports and roles, kept in DIR/up.toml
// so that later runs need only the directory.
//
//   combined (default)  processes 1..N, ports base+10*i (gRPC), +1 (RESP), +2 (HTTP); the first 3 are controllers
//                       too, of 1 or 2 the first one
//   separate            controllers c1..c3 at base+10*i, nodes n1..nN at base+100+10*i
//
// Threading: values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace tenure::cli {

struct LayoutChoice {
  int nodes = 3;
  int base_port = 7100;
  bool separate = false;
  std::string token_file = {};  // absolute; empty: the cluster has no token
  friend bool operator==(const LayoutChoice&, const LayoutChoice&) = default;
};

struct ProcessPlace {
  std::string name;       // "1", "c1", "n1"
  std::string directory;  // absolute; the process's data directory
  int controller_id = 0;  // 0: no controller
  bool node = false;
  int rpc_port = 0;
  int resp_port = 0;  // 0: no node
  int http_port = 0;

  std::string config_path() const { return directory + "/tenured.toml"; }
  std::string pid_path() const { return directory + "/tenured.pid"; }
  std::string log_path() const { return directory + "/tenured.log"; }
  std::string rpc_address() const { return "127.0.0.1:" + std::to_string(rpc_port); }
  std::string resp_address() const { return "127.0.0.1:" + std::to_string(resp_port); }
};

class ClusterLayout {
 public:
  // `directory` need not exist. INVALID_ARGUMENT naming the flag and its limit.
  static StatusOr<ClusterLayout> Make(const std::string& directory, const LayoutChoice& choice);
  // What DIR/up.toml says; NOT_FOUND if the directory holds no cluster of `tenure up`.
  static StatusOr<ClusterLayout> Load(const std::string& directory);

  // Writes up.toml and each process's directory and tenured.toml; a tenured.toml that is there stays as it
  // is. A file is written as a whole or not at all: RESOURCE_EXHAUSTED if the disk is full.
  Status Save() const;

  const std::string& directory() const { return directory_; }
  const LayoutChoice& choice() const { return choice_; }
  const std::vector<ProcessPlace>& processes() const { return processes_; }
  // host:port,host:port: for --controllers and tenured.toml.
  std::string controllers() const;

 private:
  std::string ConfigOf(const ProcessPlace& place) const;

  std::string directory_;  // absolute
  LayoutChoice choice_;
  std::vector<ProcessPlace> processes_;
};

}  // namespace tenure::cli
