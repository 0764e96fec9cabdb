// What work that is owned by one node at a time (changefeeds) sees of its node, and hears from it.
//
// Implemented by Node; a fake stands in for tests.
// Threading: the node's executor.
#pragma once

#include <cstdint>
#include <string>

#include "base/ids.h"
#include "base/time.h"
#include "node/catalog_view.h"

namespace tenure::node {

class NodeFacts {
 public:
  virtual ~NodeFacts() = default;
  // From which the node serves.
  virtual const CatalogView& catalog() const = 0;
  // This run of the process, as it is registered; none (0) while it is not.
  virtual NodeId self() const = 0;
  virtual uint64_t registration_epoch() const = 0;
  // What is owned may be used until then; in the past while there is no lease.
  virtual Instant owns_until() const = 0;
  // Rises with every lease that began: work of an earlier one has to end even if nobody saw it run out.
  virtual uint64_t lease_recoveries() const = 0;
  // The node that leads a region, as far as known; none: nobody.
  virtual NodeId LeaderOf(RegionId region) const = 0;
  virtual const std::string& cluster_id() const = 0;
  virtual uint64_t cluster_incarnation() const = 0;
};

// Called within the turn in which it happens, before the node reports it to anybody.
class NodeObserver {
 public:
  virtual ~NodeObserver() = default;
  // The view was taken over, or the lease may have changed.
  virtual void OnNodeChanged() = 0;
  // A new registration is about to be asked for: what was owned under the present one ends now.
  virtual void OnRegistering() = 0;
};

}  // namespace tenure::node
