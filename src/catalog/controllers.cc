#include "catalog/controllers.h"

#include <algorithm>

namespace tenure::catalog {

namespace pb = ::tenure::v1;

bool IsRemoved(const pb::ControllerRecord& controller) {
  return controller.state() == pb::CONTROLLER_REMOVED;
}

bool IsRemoving(const pb::ControllerRecord& controller) {
  return controller.state() == pb::CONTROLLER_REMOVING;
}

Census CensusOf(const std::map<uint64_t, pb::Record>& controllers) {
  Census census;
  for (const auto& [id, record] : controllers) {
    const pb::ControllerRecord& controller = record.controller();
    if (IsRemoved(controller)) continue;
    if (IsRemoving(controller)) {
      ++census.removing;
      census.removing_id = id;
    } else {
      ++(controller.voter() ? census.voters : census.learners);
    }
  }
  return census;
}

uint32_t VoterTarget(const pb::ClusterRecord& cluster, uint32_t voters) {
  return cluster.voter_target() != 0 ? cluster.voter_target() : DefaultVoterTarget(voters);
}

uint32_t DefaultVoterTarget(uint32_t voters) {
  return std::clamp<uint32_t>(voters + (voters % 2 == 0 ? 1 : 0), 3, kMaxVoterTarget);
}

}  // namespace tenure::catalog
