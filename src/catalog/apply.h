// One function per command: looks at the state, refuses or changes it. Internal to catalog/.
//
// Every function checks all of its conditions before its first write: a refusal changes nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "catalog/record_table.h"
#include "tenure/internal/v1/command.pb.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::catalog {

// The memory-resident records and what is derived from them.
struct Records {
  std::optional<::tenure::v1::Record> cluster;
  ::tenure::internal::v1::CatalogIds ids;
  RecordTable controllers{'C'};
  RecordTable nodes{'N'};
  RecordTable databases{'D'};
  RecordTable regions{'R'};
  RecordTable procedures{'P'};
  RecordTable tables{'T'};
  RecordTable views{'V'};
  RecordTable changefeeds{'F'};
  std::map<std::string, uint64_t, std::less<>> node_by_uuid;
  std::map<std::string, uint64_t, std::less<>> database_by_name;  // not those being dropped
  std::map<std::string, uint64_t, std::less<>> changefeed_by_name;

  // Of tables and views, by database and name: the name in force, and the one that it is being given.
  std::map<std::pair<uint64_t, std::string>, uint64_t, std::less<>> schema_names;

  void Load(const kv::Reader& state);
};

namespace apply {

using ::tenure::internal::v1::CatalogResult;
namespace commands = ::tenure::internal::v1;

// An empty result, as checks return it, is none.
inline bool IsRefusal(const CatalogResult& result) {
  return result.reason() != ::tenure::v1::REASON_UNSPECIFIED;
}
CatalogResult Done(const Change& change, bool changed = true, uint64_t object_id = 0);
CatalogResult Refused(::tenure::v1::Reason reason, std::string message, uint64_t revision = 0);

CatalogResult InitializeCluster(Records& records, commands::InitializeCluster& command, Change& change);
CatalogResult UpdateController(Records& records, commands::UpdateController& command, Change& change);
CatalogResult RaiseFormat(Records& records, commands::RaiseFormat& command, Change& change);
CatalogResult AddController(Records& records, commands::AddController& command, Change& change);
CatalogResult RemoveController(Records& records, commands::RemoveController& command, Change& change);
CatalogResult PromoteController(Records& records, commands::PromoteController& command, Change& change);
CatalogResult SetVoterTarget(Records& records, commands::SetVoterTarget& command, Change& change);
CatalogResult SetControllerRole(Records& records, commands::SetControllerRole& command, Change& change);
CatalogResult PutEntry(commands::PutEntry& command, Change& change);
CatalogResult DeleteEntry(commands::DeleteEntry& command, Change& change);
CatalogResult RegisterNode(Records& records, commands::RegisterNode& command, Change& change);
CatalogResult SetNodeState(Records& records, commands::SetNodeState& command, Change& change);
CatalogResult CreateDatabase(Records& records, commands::CreateDatabase& command, Change& change);
CatalogResult SetDatabaseState(Records& records, commands::SetDatabaseState& command, Change& change);
CatalogResult SetRegionState(Records& records, commands::SetRegionState& command, Change& change);
CatalogResult RemoveRegion(Records& records, commands::RemoveRegion& command, Change& change);
CatalogResult RecoverCluster(Records& records, commands::RecoverCluster& command, Change& change);
CatalogResult RecoverRegions(Records& records, commands::RecoverRegions& command, Change& change);
CatalogResult RemoveDatabase(Records& records, commands::RemoveDatabase& command, Change& change);
CatalogResult SubmitProcedure(Records& records, commands::SubmitProcedure& command, Change& change);
CatalogResult AdvanceProcedure(Records& records, commands::AdvanceProcedure& command, Change& change);
CatalogResult CancelProcedure(Records& records, commands::CancelProcedure& command, Change& change);
CatalogResult ForgetProcedures(Records& records, commands::ForgetProcedures& command, Change& change);
CatalogResult ReportRegions(Records& records, commands::ReportRegions& command, Change& change);
CatalogResult SetFencing(Records& records, commands::SetFencing& command, Change& change);
CatalogResult LowerFencingBound(Records& records, commands::LowerFencingBound& command, Change& change);
// apply_changefeeds.cc
CatalogResult CreateChangefeed(Records& records, commands::CreateChangefeed& command, Change& change);
CatalogResult SetChangefeedOwner(Records& records, commands::SetChangefeedOwner& command, Change& change);
CatalogResult ProgressChangefeed(Records& records, commands::ProgressChangefeed& command, Change& change);
CatalogResult ChangeChangefeed(Records& records, commands::ChangeChangefeed& command, Change& change);
CatalogResult DropChangefeed(Records& records, commands::DropChangefeed& command, Change& change);
// A refusal that names the changefeed that follows the database; an empty result if none does.
CatalogResult CheckNotFollowed(const Records& records, uint64_t database);

// Effects of procedures. As commands: all conditions are checked before the first write.
CatalogResult DropDatabase(Records& records, uint64_t database, Change& change);
CatalogResult PublishDatabase(Records& records, uint64_t database, Change& change);
CatalogResult RemoveRegions(Records& records, const commands::ProcedureEffect::RemoveRegions& command,
                            Change& change);
CatalogResult ChangeReplica(Records& records, commands::ProcedureEffect::ChangeReplica& command,
                            Change& change);
CatalogResult BeginSplit(Records& records, const commands::ProcedureEffect::BeginSplit& command,
                         Change& change);
CatalogResult PublishSlots(Records& records, const commands::ProcedureEffect::PublishSlots& command,
                           Change& change);
CatalogResult AbandonSplit(Records& records, const commands::ProcedureEffect::AbandonSplit& command,
                           Change& change);
// apply_schema.cc. The first answers with the id of what it creates, else with none.
CatalogResult BeginSchemaChange(Records& records, const commands::SchemaIntent& intent, Change& change);
CatalogResult AdvanceSchema(Records& records, const commands::SchemaStep& step, Change& change);
// True from format 5 on: what changefeeds need is kept in records.
bool KeepsHistory(const Records& records);
// After a recovery of the catalog: versions and columns that may have been given in the lost part are not
// given again. What is in force gets a version above them, too: regions that were told of a lost one refuse
// every write that was checked against an older one.
void LeaveOutVersions(Records& records, uint32_t count, Change& change);
// The tables and views of a database go with its record.
void EraseSchemaOf(Records& records, uint64_t database, Change& change);
void IndexSchemaNames(Records& records);

}  // namespace apply
}  // namespace tenure::catalog
