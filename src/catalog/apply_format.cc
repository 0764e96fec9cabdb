#include <fmt/format.h>

#include "base/check.h"
#include "base/format.h"
#include "catalog/apply.h"
#include "catalog/controllers.h"
#include "catalog/format.h"
#include "catalog/keys.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;

CatalogResult RaiseFormat(Records& records, commands::RaiseFormat& command, Change& change) {
  const uint32_t to = command.to();
  TENURE_CHECK(
      to <= kNewestFormat,
      "revision {} raises the cluster's format to {}; this program reads formats {} to {}: start a newer one",
      change.revision, to, kOldestFormat, kNewestFormat);
  const uint32_t from = records.cluster->cluster().format_version();
  if (to <= from) return Done(change, false);
  for (const auto& [id, record] : records.controllers.all()) {
    const uint32_t newest = NewestFormatOr1(record.controller().newest_format());
    if (newest >= to || IsRemoved(record.controller())) continue;
    return Refused(
        REASON_CONDITION_FAILED,
        fmt::format("controller {} runs a program that reads formats up to {}, not {}", id, newest, to));
  }
  for (const auto& [id, record] : records.nodes.all()) {
    const uint32_t newest = NewestFormatOr1(record.node().newest_format());
    if (newest >= to || record.node().state() == NODE_REMOVED) continue;
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("node {} runs a program that reads formats up to {}, not {}", id, newest, to));
  }
  for (const Section& section : Sections()) {
    if (section.retired) change.state.DeleteRange(PrefixLower(section.letter), PrefixUpper(section.letter));
  }
  Record record = *records.cluster;
  record.set_modify_revision(change.revision.value());
  record.mutable_cluster()->set_format_version(to);
  change.state.Put(kClusterKey, record.SerializeAsString());
  Event& event = change.events.records.emplace_back();
  event.set_revision(change.revision.value());
  *event.mutable_old_record() = *records.cluster;
  *event.mutable_new_record() = record;
  records.cluster = std::move(record);
  return Done(change);
}

}  // namespace tenure::catalog::apply
