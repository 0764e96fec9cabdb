#include "group/recovery.h"

#include <algorithm>

namespace tenure::group {

wal::Write RecoveryOf(GroupId group, raft::PersistedState& state, ReplicaId self, uint64_t host, Term above) {
  raft::Configuration alone;
  alone.members.push_back({.id = self, .host = host, .role = raft::MemberRole::kVoter});
  const Term last_term = state.terms.empty() ? state.mark.term : state.terms.back().term;
  // Nobody votes with the new id in an older term; its entries are its own from the first on.
  const Term term = std::max({state.hard_state.term, last_term, above}).Next();
  const LogIndex index = state.last_index.Next();
  wal::Write write;
  write.group = group;
  write.entries.push_back(
      {index, term, raft::EntryType::kConfiguration, Bytes(raft::EncodeConfiguration(alone))});
  write.hard_state = raft::HardState{term, self, state.hard_state.commit};

  state.hard_state = *write.hard_state;
  state.last_index = index;
  state.terms.push_back({index, term});
  state.configurations.emplace_back(index, std::move(alone));
  return write;
}

}  // namespace tenure::group
