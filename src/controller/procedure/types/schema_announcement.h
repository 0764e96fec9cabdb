// Tells every region of a database of a schema change, through the regions' logs (store/schema_state.h): asks
// the nodes that lead them until each of them has applied it.
//
// Regions come and go meanwhile, and slots move between them: a pass counts only if the regions are the same
// at its end as at its beginning and no slots were on their way. Repeating the request in a region changes
// nothing.
//
// Driven by one step's body; dropped with it.
// Threading:  the controller's executor.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "controller/procedure/step_context.h"
#include "runtime/task.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::controller {

class SchemaAnnouncement {
 public:
  // `change`: table, and version or drop.
  SchemaAnnouncement(StepContext& context, uint64_t database,
                     ::tenure::internal::v1::ChangeSchemaRequest change, Duration call_timeout);

  // OK when every region has applied it. NOT_FOUND: the database is gone or being dropped. CANCELLED:
  // stopped.
  runtime::Task<Status> Run();
  // The latest commit timestamp at which a region that has a change log was told; 0: none has.
  uint64_t announced_ts() const { return announced_ts_; }

 private:
  // Region -> range version.
  using Regions = std::map<uint64_t, uint64_t>;

  Regions RegionsNow() const;
  bool SlotsAreMoving(const Regions& regions) const;
  bool DatabaseIsThere() const;
  // Starts a call to each leader that is not being called; what cannot be asked now, for people.
  std::string AskLeaders(runtime::TaskScope& calls, const Regions& regions);
  runtime::Task<void> Call(NodeId node, std::set<uint64_t> regions, runtime::StopToken stop);

  StepContext& context_;
  const uint64_t database_;
  const ::tenure::internal::v1::ChangeSchemaRequest change_;
  const Duration call_timeout_;
  std::set<uint64_t> done_;  // in this pass
  std::set<NodeId> calling_;
  std::map<NodeId, Instant> not_before_;
  std::string last_error_;
  uint64_t announced_ts_ = 0;
};

}  // namespace tenure::controller
