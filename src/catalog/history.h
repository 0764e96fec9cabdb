// What is kept of the past for changefeeds, which deliver late: former versions of tables, dropped tables,
// former generations of regions. Internal to catalog/ but for HistoryFloorOf.
//
// Bounds: the newest few stay in any case, older ones while a changefeed has not delivered all that was
// committed under them. When there are too many of those, what would add to them is refused
// (docs/changefeeds.md).
#pragma once

#include <cstdint>
#include <optional>

#include "catalog/apply.h"

namespace tenure::catalog {

// What was committed after it has to be kept for this changefeed; 0: everything. None: it needs nothing more.
std::optional<uint64_t> HistoryFloorOf(const ::tenure::v1::ChangefeedRecord& feed);

namespace apply {

using ::tenure::internal::v1::CatalogResult;

// ---- tables ----

// Refusals that name the object, the changefeed that is behind and the limit; empty if there is room.
CatalogResult CheckRoomForVersion(const Records& records, const ::tenure::v1::Record& table);
CatalogResult CheckRoomForDrop(const Records& records, const ::tenure::v1::Record& table);

// The next shape is about to be published. Its timestamp is not known before all regions refuse older ones.
void AddVersion(const Records& records, ::tenure::v1::TableRecord& table);
// The version that was added last is in force from a timestamp that is taken now.
void Seal(Records& records, ::tenure::v1::TableRecord& table, uint64_t announced_ts, Change& change);
// The shape in force has a new version and is else what it was. Changefeeds wait for no region: none has yet
// seen the version.
void AddSame(Records& records, const ::tenure::v1::TableShape& before, ::tenure::v1::TableRecord& table,
             Change& change);
// The table is about to be erased.
void AddDropped(Records& records, const ::tenure::v1::TableRecord& table, uint64_t announced_ts,
                Change& change);

// ---- ranges of regions ----

// Of the region that is about to be split, with its whole database's.
CatalogResult CheckRoomForGeneration(const Records& records, const ::tenure::v1::Record& region);

// The generations that end when slots go from one region to another.
struct EndedGenerations {
  uint64_t of_giver = 0;
  uint64_t of_taker = 0;  // 0: it has none, it is new
};
// Before the regions' ranges and their versions change.
EndedGenerations EndGenerations(const commands::ProcedureEffect::PublishSlots& command, bool taker_is_new,
                                ::tenure::v1::RegionRecord& giver, ::tenure::v1::RegionRecord& taker);
// And after. Without timestamps, nobody kept change logs, nothing begins.
void BeginGenerations(const Records& records, const commands::ProcedureEffect::PublishSlots& command,
                      const EndedGenerations& ended, ::tenure::v1::RegionRecord& giver,
                      ::tenure::v1::RegionRecord& taker);

}  // namespace apply
}  // namespace tenure::catalog
