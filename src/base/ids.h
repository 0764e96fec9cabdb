// Strong types for every identifier and counter, so that a term is never taken for an index.
//
// Threading: values. Zero means "none" for every id; the first real value is 1.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace tenure {

template <class Tag>
class StrongId {
 public:
  using Rep = uint64_t;
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  constexpr bool IsNone() const { return value_ == 0; }
  constexpr StrongId Next() const { return StrongId(value_ + 1); }
  // The id before this one; none stays none.
  constexpr StrongId Previous() const { return StrongId(value_ == 0 ? 0 : value_ - 1); }
  constexpr StrongId Plus(uint64_t n) const { return StrongId(value_ + n); }
  friend constexpr auto operator<=>(StrongId, StrongId) = default;

 private:
  Rep value_ = 0;
};

using GroupId = StrongId<struct GroupIdTag>;            // a Raft group; the catalog is kCatalogGroup
using ReplicaId = StrongId<struct ReplicaIdTag>;        // a member of one group, never reused in it
using Term = StrongId<struct TermTag>;                  // Raft term; group 0's is the leadership epoch
using LogIndex = StrongId<struct LogIndexTag>;          // position in one group's log, first entry is 1
using Revision = StrongId<struct RevisionTag>;          // log index of a catalog change
using NodeId = StrongId<struct NodeIdTag>;              // a data node, never reused
using ControllerId = StrongId<struct ControllerIdTag>;  // a controller; its replica id in group 0
using DatabaseId = StrongId<struct DatabaseIdTag>;      // never reused
using RegionId = StrongId<struct RegionIdTag>;          // never reused; its group id has the same value
using ClientId = StrongId<struct ClientIdTag>;          // a requester known to the deduplication table
using Sequence = StrongId<struct SequenceTag>;          // of one client's requests, rising

// The catalog's group. Regions use their region id, which starts at 1, so the two never meet.
inline constexpr GroupId kCatalogGroup{0};

}  // namespace tenure

template <class Tag>
struct std::hash<tenure::StrongId<Tag>> {
  size_t operator()(tenure::StrongId<Tag> id) const noexcept { return std::hash<uint64_t>{}(id.value()); }
};
