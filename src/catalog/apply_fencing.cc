#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "catalog/apply.h"
#include "catalog/fencing.h"
#include "catalog/keys.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;

namespace {

void Write(Records& records, FencingSettings settings, Change& change) {
  Record record = *records.cluster;
  record.set_modify_revision(change.revision.value());
  *record.mutable_cluster()->mutable_fencing() = std::move(settings);
  change.state.Put(kClusterKey, record.SerializeAsString());
  Event& event = change.events.records.emplace_back();
  event.set_revision(change.revision.value());
  *event.mutable_old_record() = *records.cluster;
  *event.mutable_new_record() = record;
  records.cluster = std::move(record);
}

}  // namespace

CatalogResult SetFencing(Records& records, commands::SetFencing& command, Change& change) {
  const Fencing before = FencingOf(&records.cluster->cluster());
  const Duration wanted = std::chrono::milliseconds(command.fence_ms());
  if (before.mode == command.mode() && before.fence_time == wanted) return Done(change, false);
  FencingSettings settings;
  settings.set_mode(command.mode());
  settings.set_fence_ms(command.fence_ms());
  settings.set_version(change.revision.value());
  // A node that holds a longer lease may do so until it has confirmed this version.
  settings.set_bound_ms(std::max(command.fence_ms(), ToMillis(before.bound)));
  settings.set_bound_available(before.bound_available || command.mode() == FENCING_AVAILABLE);
  Write(records, std::move(settings), change);
  return Done(change);
}

CatalogResult LowerFencingBound(Records& records, commands::LowerFencingBound& command, Change& change) {
  const Fencing fencing = FencingOf(&records.cluster->cluster());
  if (fencing.version != Revision(command.version())) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("the fencing settings are of version {}, not {}", fencing.version.value(),
                               command.version()),
                   records.cluster->modify_revision());
  }
  if (IsBoundLowered(fencing)) return Done(change, false);
  FencingSettings settings = records.cluster->cluster().fencing();
  settings.set_bound_ms(ToMillis(fencing.fence_time));
  settings.set_bound_available(fencing.mode == FENCING_AVAILABLE);
  Write(records, std::move(settings), change);
  return Done(change);
}

}  // namespace tenure::catalog::apply
