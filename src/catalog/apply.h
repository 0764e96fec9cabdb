// One function per command: looks at the state, refuses or changes it. Internal to catalog/.
//
// Every function checks all of its conditions before its first write: a refusal changes nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

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
  std::map<std::string, uint64_t, std::less<>> node_by_uuid;
  std::map<std::string, uint64_t, std::less<>> database_by_name;  // not those being dropped

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

}  // namespace apply
}  // namespace tenure::catalog
