// CreateDatabase: makes the replicas of a new database's regions, all at once, and publishes it.
//
//   create_replicas --every region has its majority--> SUCCEEDED: regions SERVING, database PUBLIC; each
//   replica that is
//        |                                             missing by then is a CreateReplica procedure of its
//        own
//        '--a region cannot get its majority, or cancelled--> FAILED or CANCELLED: the database is dropped, a
//        RemoveRegions
//                                                             procedure takes away what was made; ids are not
//                                                             used again
//
// Submitted with the effect that writes the database and its regions (CREATING); the procedure's object is
// the database.
#pragma once

#include "controller/procedure/procedure_type.h"
#include "controller/procedure/step_context.h"

namespace tenure::controller {

struct CreateDatabaseOptions {
  // Once every region has its majority: how long replicas that are still missing are waited for.
  Duration grace = std::chrono::seconds(3);
  // A node whose task failed that often is not waited for.
  uint32_t max_failures = 3;
};

class CreateDatabase : public ProcedureType {
 public:
  static constexpr std::string_view kName = "CreateDatabase";
  explicit CreateDatabase(CreateDatabaseOptions options) : options_(options) {}

  static ::tenure::v1::ProcedureRecord New(const std::string& database, int regions);

  std::string_view name() const override { return kName; }
  std::string_view first_step() const override { return "create_replicas"; }
  size_t max_running() const override { return 16; }
  bool IsCancellable(std::string_view) const override { return true; }
  Status Check(const ::tenure::v1::ProcedureRecord& procedure) const override;
  runtime::Task<StatusOr<StepEnd>> Run(StepContext& context) override;

 private:
  struct Census;
  Census Count(StepContext& context, const std::vector<const ::tenure::v1::RegionRecord*>& regions,
               const TaskLooks& looks) const;

  const CreateDatabaseOptions options_;
};

}  // namespace tenure::controller
