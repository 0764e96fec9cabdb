// What the cluster looks like to this controller, as the messages of tenure.v1.Cluster and Regions.
//
// Threading: the controller's executor. Computed anew for each request.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controller/catalog_access.h"
#include "controller/controller_directory.h"
#include "controller/leadership/leadership.h"
#include "controller/leadership/standby_view.h"
#include "controller/nodes/agent_service.h"
#include "runtime/executor.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::controller {

class Observation {
 public:
  Observation(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
              const ControllerDirectory& directory, const AgentService& agents, const StandbyView& standby,
              std::string cluster_id, uint64_t incarnation)
      : executor_(executor),
        access_(access),
        leadership_(leadership),
        directory_(directory),
        agents_(agents),
        standby_(standby),
        cluster_id_(std::move(cluster_id)),
        incarnation_(incarnation) {}

  // Services that have more to say in alarms; asked for each status.
  using AlarmSource = std::function<void(::tenure::v1::StatusResponse&)>;
  void AddAlarmSource(AlarmSource source) { alarm_sources_.push_back(std::move(source)); }

  ::tenure::v1::StatusResponse Status() const;
  ::tenure::v1::ListControllersResponse Controllers() const;
  // Only the leader has heard from nodes; others give the records.
  ::tenure::v1::ListNodesResponse Nodes() const;
  // Of one database, or of all if it is none.
  ::tenure::v1::ListRegionsResponse Regions(std::optional<uint64_t> database) const;

 private:
  void AddAlarms(const std::optional<group::GroupStatus>& group,
                 ::tenure::v1::StatusResponse& response) const;
  ::tenure::v1::ControllerStatus ControllerOf(const ::tenure::v1::ControllerRecord& record,
                                              const std::optional<group::GroupStatus>& group) const;
  // Regions of which the node has a replica.
  std::map<uint64_t, uint32_t> RegionsByNode() const;
  ::tenure::v1::NodeStatus NodeOf(const ::tenure::v1::NodeRecord& record, uint32_t regions) const;
  ::tenure::v1::RegionStatus RegionOf(const ::tenure::v1::RegionRecord& record) const;

  runtime::Executor& executor_;
  CatalogAccess& access_;
  const Leadership& leadership_;
  const ControllerDirectory& directory_;
  const AgentService& agents_;
  const StandbyView& standby_;
  const std::string cluster_id_;
  const uint64_t incarnation_;
  std::vector<AlarmSource> alarm_sources_;
};

}  // namespace tenure::controller
