#include "controller/procedure/adoption.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/procedures.h"
#include "controller/procedure/types/create_database.h"
#include "controller/procedure/types/remove_regions.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

bool HasProcedure(const catalog::Catalog& catalog, std::string_view type, uint64_t object) {
  return std::any_of(catalog.procedures().begin(), catalog.procedures().end(), [&](const auto& entry) {
    const pb::ProcedureRecord& procedure = entry.second.procedure();
    return procedure.type() == type && procedure.object() == object && !catalog::IsEnded(procedure.state());
  });
}

}  // namespace

Adoption::Adoption(runtime::Executor& executor, CatalogAccess& access, Logger logger)
    : executor_(executor),
      access_(access),
      logger_(std::move(logger)),
      self_(std::make_shared<Adoption*>(this)) {}

Adoption::~Adoption() {
  *self_ = nullptr;
}

runtime::Task<Status> Adoption::Start(Term epoch, runtime::StopToken) {
  epoch_ = epoch;
  ScheduleLook();
  co_return OkStatus();
}

void Adoption::OnCatalogChanged(const std::vector<pb::Event>& events, Revision) {
  const bool format = std::any_of(events.begin(), events.end(), [](const pb::Event& event) {
    return event.has_old_record() && event.new_record().has_cluster() &&
           event.old_record().cluster().format_version() != event.new_record().cluster().format_version();
  });
  if (format && !epoch_.IsNone()) ScheduleLook();
}

void Adoption::ScheduleLook() {
  executor_.Post([self = self_] {
    if (*self != nullptr) (*self)->Look();
  });
}

void Adoption::Look() {
  const catalog::Catalog& catalog = access_.catalog();
  if (epoch_.IsNone() || catalog.format_version() < catalog::kFormatOfProcedures) return;
  for (const auto& [id, record] : catalog.databases()) {
    const pb::DatabaseRecord& database = record.database();
    const bool creating = database.state() == pb::DATABASE_CREATING;
    if (!creating && database.state() != pb::DATABASE_PRE_DELETE) continue;
    if (HasProcedure(catalog, creating ? CreateDatabase::kName : RemoveRegions::kName, id)) continue;
    ipb::CatalogCommand command;
    pb::ProcedureRecord& procedure = *command.mutable_submit_procedure()->mutable_procedure();
    procedure = creating ? CreateDatabase::New(database.name(), static_cast<int>(database.regions()))
                         : RemoveRegions::New(catalog, id);
    procedure.set_object(id);
    for (pb::ProcedureLock& lock : *procedure.mutable_locks()) lock.set_id(id);
    logger_.Info("database {} ('{}') is {} without a procedure: it is given one", id, database.name(),
                 creating ? "created" : "dropped");
    access_.ProposeInEpoch(
        std::move(command), epoch_, [self = self_](const StatusOr<ipb::CatalogResult>& result) {
          if (*self != nullptr && !result.ok())
            (*self)->logger_.Warn("a procedure was not taken: {}", MessageOf(result.status()));
        });
  }
}

}  // namespace tenure::controller
