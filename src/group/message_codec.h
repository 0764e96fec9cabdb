// The wire form of Raft messages, version 1: a concatenation of envelopes, each
//   group, from, to, host of the sender (varints), kind (1 byte), fields in the order of raft/messages.h as
//   varints; entries: count, then per entry type (1 byte), term, payload (length-prefixed); indexes are
//   consecutive.
//
// Threading:  pure functions.
// Errors:     INVALID_ARGUMENT on anything malformed; nothing is returned of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "raft/messages.h"

namespace tenure::group {

inline constexpr uint32_t kMessageCodecVersion = 1;

struct Envelope {
  GroupId group;
  ReplicaId from;
  ReplicaId to;
  uint64_t from_host = 0;
  raft::Message message;
};

void AppendEnvelope(GroupId group, ReplicaId from, ReplicaId to, uint64_t from_host,
                    const raft::Message& message, std::string& out);
StatusOr<std::vector<Envelope>> DecodeEnvelopes(std::string_view bytes);

}  // namespace tenure::group
