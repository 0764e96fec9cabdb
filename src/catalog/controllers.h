// What follows from the records of the controllers: who counts, and how many voters there should be.
//
// Threading:  pure functions.
// Reference:  docs/consensus.md, "membership of group 0".
#pragma once

#include <cstdint>
#include <map>

#include "tenure/v1/catalog.pb.h"

namespace tenure::catalog {

// Members of any state but REMOVED.
inline constexpr uint32_t kMaxControllers = 16;
inline constexpr uint32_t kMaxVoterTarget = 7;

// The record of a removed controller is kept so that its id is never used again; it is nobody's address.
bool IsRemoved(const ::tenure::v1::ControllerRecord& controller);
bool IsRemoving(const ::tenure::v1::ControllerRecord& controller);

struct Census {
  uint32_t voters = 0;    // that stay
  uint32_t learners = 0;  // that stay
  uint32_t removing = 0;
  uint64_t removing_id = 0;  // of one of them
};
Census CensusOf(const std::map<uint64_t, ::tenure::v1::Record>& controllers);

// 1, 3, 5 or 7: what the operator set, else the odd number that `voters` (of now, or at first) suggests, at
// least 3.
uint32_t VoterTarget(const ::tenure::v1::ClusterRecord& cluster, uint32_t voters);
uint32_t DefaultVoterTarget(uint32_t voters);

}  // namespace tenure::catalog
