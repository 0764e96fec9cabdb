// Waits until a local cluster serves: controllers lead, nodes are up, the database `default` exists, its
// regions have leaders and every RESP port says so. Each look asks for the first thing that is missing.
//
// Threading: one owner; blocks.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "cli/cluster_layout.h"
#include "cli/session.h"

namespace tenure::cli {

class Readiness {
 public:
  Readiness(Session& session, const ClusterLayout& layout) : session_(session), layout_(layout) {}

  // One look: empty when everything is ready, else what is missing, for the progress line. An error is final.
  StatusOr<std::string> Look();

 private:
  std::string MissingControllers(const StatusOr<pb::StatusResponse>& status) const;
  std::string MissingNodes(const pb::StatusResponse& status) const;
  StatusOr<std::string> MissingDatabase();
  std::string MissingLeaders();
  std::string MissingPorts() const;
  int nodes() const;

  Session& session_;
  const ClusterLayout& layout_;
};

}  // namespace tenure::cli
