// What operators ask for about where replicas are: moving, adding and removing one, explaining, draining and
// removing nodes, and whether a node may be stopped. Checks the wish, lets the planner choose what was left
// open, submits a procedure.
//
// Threading: the controller's executor.
// Errors:    refusals name the region or node and why; with dry_run nothing is submitted.
#pragma once

#include <string>
#include <vector>

#include "base/prng.h"
#include "controller/api/call.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leadership.h"
#include "controller/nodes/agent_service.h"
#include "planner/placement.h"
#include "runtime/executor.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::controller {

class PlacementApi {
 public:
  PlacementApi(runtime::Executor& executor, CatalogAccess& access, const Leadership& leadership,
               AgentService& agents, Prng prng)
      : executor_(executor), access_(access), leadership_(leadership), agents_(agents), prng_(prng) {}

  void ChangeReplica(const ::tenure::v1::ChangeReplicaRequest& request,
                     Answer<::tenure::v1::ChangeReplicaResponse> done);
  void Explain(const ::tenure::v1::ExplainRegionRequest& request,
               Answer<::tenure::v1::ExplainRegionResponse> done) const;
  void Drain(const ::tenure::v1::DrainNodeRequest& request, Answer<::tenure::v1::DrainNodeResponse> done);
  void Remove(const ::tenure::v1::RemoveNodeRequest& request, Answer<::tenure::v1::RemoveNodeResponse> done);
  void CanStop(const ::tenure::v1::CanStopRequest& request, Answer<::tenure::v1::CanStopResponse> done);

 private:
  using Response = ::tenure::v1::ChangeReplicaResponse;

  // Fills in nodes and explanation.
  Status Choose(const ::tenure::v1::ChangeReplicaRequest& request, const ::tenure::v1::RegionRecord& region,
                Response& response);
  Status ChooseTarget(const ::tenure::v1::RegionRecord& region, NodeId from, Response& response);
  Status ChooseSource(const ::tenure::v1::RegionRecord& region, Response& response);
  Status CheckTarget(const ::tenure::v1::RegionRecord& region, NodeId node) const;
  StatusOr<const ::tenure::v1::RegionRecord*> FindRegion(uint64_t id) const;
  StatusOr<const ::tenure::v1::NodeRecord*> FindNode(uint64_t id) const;
  void Resume(const ::tenure::v1::DrainNodeRequest& request, Answer<::tenure::v1::DrainNodeResponse> done);
  // Regions whose only good copies are on the node.
  std::vector<uint64_t> LastCopiesOn(NodeId node) const;
  // Why the node cannot be stopped; empty if it can.
  std::vector<std::string> WhyNotStop(NodeId node) const;
  bool IsAlive(NodeId node) const;
  // Submits and answers with the record (0: an id to be found in the result).
  template <class Answered>
  void Submit(::tenure::internal::v1::CatalogCommand command, Answered response, Answer<Answered> done);

  runtime::Executor& executor_;
  CatalogAccess& access_;
  const Leadership& leadership_;
  AgentService& agents_;
  Prng prng_;
  bool promising_ = false;  // a reservation has been proposed and is not in the catalog yet
};

}  // namespace tenure::controller
