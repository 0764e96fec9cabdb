#include "planner/database_creation.h"

#include "base/hash.h"
#include "catalog/refusal.h"
#include "planner/placement.h"

namespace tenure::planner {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

StatusOr<ipb::CreateDatabase> PlanCreateDatabase(const DatabaseRequest& request, const PlacementView& view) {
  if (request.regions == 0 || request.regions > kSlotCount) {
    return catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "regions: {} is not in 1..{}", request.regions,
                           kSlotCount);
  }
  CreateRegionsRequest wanted{.database = request.name,
                              .regions = request.regions,
                              .replicas = request.replicas,
                              .seed = HashBytes(request.name)};
  wanted.explain.decisions = 0;
  TENURE_ASSIGN_OR_RETURN(const CreateRegionsPlan plan, PlanCreateRegions(view, wanted));
  ipb::CreateDatabase command;
  command.set_name(request.name);
  command.set_replicas(request.replicas);
  command.set_strict(request.strict);
  for (uint32_t i = 0; i < request.regions; ++i) {
    auto& placement = *command.add_regions();
    placement.mutable_slots()->set_first(static_cast<uint32_t>(uint64_t{i} * kSlotCount / request.regions));
    placement.mutable_slots()->set_last(
        static_cast<uint32_t>(uint64_t{i + 1} * kSlotCount / request.regions - 1));
    for (const NodeId node : plan.regions[i]) placement.add_nodes(node.value());
  }
  return command;
}

}  // namespace tenure::planner
