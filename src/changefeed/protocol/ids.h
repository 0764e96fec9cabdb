// What identifies things in the changefeed protocol.
//
// Threading: values. Zero means "none", except OwnerEpoch 0 in a message, which means "predates epochs".
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>

#include "base/format.h"
#include "base/ids.h"

namespace tenure::changefeed {

using ChangefeedId = StrongId<struct ChangefeedIdTag>;          // never reused
using OwnerEpoch = StrongId<struct OwnerEpochTag>;              // of a changefeed's owner; rises, with gaps
using LeadershipEpoch = StrongId<struct LeadershipEpochTag>;    // term of group 0
using Incarnation = StrongId<struct IncarnationTag>;            // of a node's process: its registration epoch
using ScheduleSequence = StrongId<struct ScheduleSequenceTag>;  // of creates and removes, rising per epoch
using SpanId = StrongId<struct SpanIdTag>;                      // a dispatcher's work, within one changefeed

// A hybrid logical clock value, as a region's leader assigns it to a change: milliseconds since the Unix
// epoch in the upper 46 bits, a counter in the lower 18. Ordered as a whole.
using CommitTs = StrongId<struct CommitTsTag>;
inline constexpr int kCommitTsLogicalBits = 18;
constexpr int64_t PhysicalMillis(CommitTs ts) {
  return static_cast<int64_t>(ts.value() >> kCommitTsLogicalBits);
}
constexpr CommitTs CommitTsFromMillis(int64_t ms, uint64_t logical = 0) {
  return CommitTs((static_cast<uint64_t>(ms) << kCommitTsLogicalBits) | logical);
}

// One run of a node's process.
struct Process {
  NodeId node;
  Incarnation incarnation;
  friend auto operator<=>(const Process&, const Process&) = default;
};

}  // namespace tenure::changefeed

template <>
struct fmt::formatter<tenure::changefeed::Process> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const tenure::changefeed::Process& process, Context& context) const {
    return fmt::format_to(context.out(), "node {} (incarnation {})", process.node, process.incarnation);
  }
};
