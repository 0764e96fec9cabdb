#include "catalog/format.h"

#include <algorithm>
#include <array>

#include "catalog/keys.h"

namespace tenure::catalog {
namespace {

using Command = ::tenure::internal::v1::CatalogCommand;

constexpr std::array kCommandTypes = {
    CommandType{Command::kInitializeCluster, "InitializeCluster", 1},
    CommandType{Command::kPutEntry, "PutEntry", 1},
    CommandType{Command::kDeleteEntry, "DeleteEntry", 1},
    CommandType{Command::kRegisterNode, "RegisterNode", 1},
    CommandType{Command::kSetNodeState, "SetNodeState", 1},
    CommandType{Command::kCreateDatabase, "CreateDatabase", 1},
    CommandType{Command::kSetDatabaseState, "SetDatabaseState", 1},
    CommandType{Command::kSetRegionState, "SetRegionState", 1},
    CommandType{Command::kRemoveRegion, "RemoveRegion", 1},
    CommandType{Command::kRemoveDatabase, "RemoveDatabase", 1},
    CommandType{Command::kUpdateController, "UpdateController", 1},
    CommandType{Command::kAddController, "AddController", 2},
    CommandType{Command::kRemoveController, "RemoveController", 2},
    CommandType{Command::kPromoteController, "PromoteController", 2},
    CommandType{Command::kSetVoterTarget, "SetVoterTarget", 2},
    CommandType{Command::kSetControllerRole, "SetControllerRole", 2},
    // Read by whoever goes on with the log it stands in: members of before its time are left behind by its
    // incarnation, which they do not send.
    CommandType{Command::kRecoverCluster, "RecoverCluster", 1},
    CommandType{Command::kRecoverRegions, "RecoverRegions", 2},
    CommandType{Command::kRaiseFormat, "RaiseFormat", 1},
    CommandType{Command::kSubmitProcedure, "SubmitProcedure", 3},
    CommandType{Command::kAdvanceProcedure, "AdvanceProcedure", 3},
    CommandType{Command::kCancelProcedure, "CancelProcedure", 3},
    CommandType{Command::kForgetProcedures, "ForgetProcedures", 3},
    CommandType{Command::kReportRegions, "ReportRegions", 3},
    CommandType{Command::kSetFencing, "SetFencing", 4},
    CommandType{Command::kLowerFencingBound, "LowerFencingBound", 4},
    CommandType{Command::kCreateChangefeed, "CreateChangefeed", kFormatOfChangefeeds},
    CommandType{Command::kSetChangefeedOwner, "SetChangefeedOwner", kFormatOfChangefeeds},
    CommandType{Command::kProgressChangefeed, "ProgressChangefeed", kFormatOfChangefeeds},
    CommandType{Command::kChangeChangefeed, "ChangeChangefeed", kFormatOfChangefeeds},
    CommandType{Command::kDropChangefeed, "DropChangefeed", kFormatOfChangefeeds},
    // Was never in use: what every build shows that it can pass over.
    CommandType{99, "Retired", 1, /*retired=*/true},
};

constexpr std::array kSections = {
    Section{kClusterKey[0], "cluster"},
    Section{kIdsKey[0], "ids"},
    Section{kControllerPrefix, "controllers"},
    Section{kNodePrefix, "nodes"},
    Section{kDatabasePrefix, "databases"},
    Section{kRegionPrefix, "regions"},
    Section{kProcedurePrefix, "procedures"},
    Section{kTablePrefix, "tables"},
    Section{kViewPrefix, "views"},
    Section{kChangefeedPrefix, "changefeeds"},
    Section{kEntryPrefix, "entries"},
    Section{kClientPrefix, "clients"},
    // As the command type 99.
    Section{'z', "retired", /*retired=*/true},
};

constexpr std::array kFeatures = {Feature{"controller-membership", 2},
                                  Feature{"recovery", 2},
                                  Feature{"procedures", 3},
                                  Feature{"leases", 4},
                                  Feature{"tables", kFormatOfTables},
                                  Feature{"changefeeds", kFormatOfChangefeeds}};

// A program that does not know an effect would pass over it in silence: commands that carry one are of its
// format.
uint32_t FormatOf(const ::tenure::internal::v1::ProcedureEffect& effect) {
  using Step = ::tenure::internal::v1::SchemaStep;
  if (effect.has_schema_step() && effect.schema_step().op() == Step::SEAL) return kFormatOfChangefeeds;
  return effect.has_schema_intent() || effect.has_schema_step() ? kFormatOfTables : 0;
}

}  // namespace

std::span<const CommandType> CommandTypes() {
  return kCommandTypes;
}
std::span<const Section> Sections() {
  return kSections;
}
std::span<const Feature> Features() {
  return kFeatures;
}

uint32_t FormatOf(const Command& command) {
  const CommandType* type = TypeOf(command);
  if (type == nullptr) return 0;
  if (command.has_submit_procedure())
    return std::max(type->since, FormatOf(command.submit_procedure().effect()));
  if (command.has_advance_procedure())
    return std::max(type->since, FormatOf(command.advance_procedure().effect()));
  return type->since;
}

const CommandType* TypeOf(const Command& command) {
  const auto find = [](int number) -> const CommandType* {
    const auto* const found =
        std::find_if(kCommandTypes.begin(), kCommandTypes.end(),
                     [number](const CommandType& type) { return type.number == number; });
    return found == kCommandTypes.end() ? nullptr : found;
  };
  if (command.body_case() != Command::BODY_NOT_SET) return find(command.body_case());
  // The fields of retired types are gone from the message: they arrive as unknown ones.
  const auto& unknown = command.GetReflection()->GetUnknownFields(command);
  for (int i = 0; i < unknown.field_count(); ++i) {
    if (const CommandType* type = find(unknown.field(i).number())) return type;
  }
  return nullptr;
}

}  // namespace tenure::catalog
