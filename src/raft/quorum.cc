#include "raft/quorum.h"

namespace tenure::raft {

size_t VoterCount(const Configuration& configuration, Half half) {
  return static_cast<size_t>(
      std::count_if(configuration.members.begin(), configuration.members.end(),
                    [half](const Member& member) { return VotesIn(member.role, half); }));
}

}  // namespace tenure::raft
