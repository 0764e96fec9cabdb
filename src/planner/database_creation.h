// The command that creates a database: its slots cut into regions, and the regions placed (placement.h).
//
// Called by controller/api; keeps nothing.
// Threading:  pure function. Determinism: inputs alone.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "planner/placement_view.h"
#include "tenure/internal/v1/command.pb.h"

namespace tenure::planner {

struct DatabaseRequest {
  std::string name;
  uint32_t regions = 8;
  uint32_t replicas = 3;
  bool strict = false;
};

// A complete command. Ties are broken by a seed made of the name. INVALID_ARGUMENT: regions or replicas out
// of range; NOT_ENOUGH_NODES as PlanCreateRegions.
StatusOr<::tenure::internal::v1::CreateDatabase> PlanCreateDatabase(const DatabaseRequest& request,
                                                                    const PlacementView& view);

}  // namespace tenure::planner
