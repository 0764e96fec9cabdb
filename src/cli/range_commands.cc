// tenure region split | merge

#include "cli/invocation.h"
#include "cli/procedures.h"
#include "cli/records.h"
#include "cli/session.h"

namespace tenure::cli {
namespace {

struct SplitOptions {
  uint64_t region = 0;
  uint32_t at_slot = 0;
  bool dry_run = false;
  bool wait = true;
};
struct MergeOptions {
  uint64_t region = 0;
  uint64_t with = 0;
  bool dry_run = false;
  bool wait = true;
};

Status Split(const Invocation& invocation, const SplitOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::SplitRegionRequest request;
  *request.mutable_id() = session->NextRequestId();
  request.set_region(options.region);
  request.set_at_slot(options.at_slot);
  request.set_dry_run(options.dry_run);
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      session->Call<pb::SplitRegionResponse>("tenure.v1.Regions/Split", request, invocation.load_timeout()));
  if (!options.dry_run) return FinishProcedure(*session, invocation, answer.procedure(), options.wait);
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"region", IdText(options.region)}, {"at_slot", answer.at_slot()}});
  } else {
    Print(
        fmt::format("region {}: the slots from {} on would go to a new region (dry run: nothing was done)\n",
                    options.region, answer.at_slot()));
  }
  return OkStatus();
}

Status Merge(const Invocation& invocation, const MergeOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::MergeRegionsRequest request;
  *request.mutable_id() = session->NextRequestId();
  request.set_region(options.region);
  request.set_with(options.with);
  request.set_dry_run(options.dry_run);
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      session->Call<pb::MergeRegionsResponse>("tenure.v1.Regions/Merge", request, invocation.load_timeout()));
  if (!options.dry_run) return FinishProcedure(*session, invocation, answer.procedure(), options.wait);
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"region", IdText(options.region)}, {"with", IdText(options.with)}});
  } else {
    Print(fmt::format("region {} would go into region {} (dry run: nothing was done)\n", options.region,
                      options.with));
  }
  return OkStatus();
}

}  // namespace

void AddRangeCommands(CLI::App& family, Invocation& invocation) {
  const auto split = std::make_shared<SplitOptions>();
  CLI::App* command =
      family.add_subcommand("split", "Give the upper part of a region's slots to a new region");
  command->add_option("region", split->region, "Region id")->required();
  command->add_option("--at", split->at_slot, "The new region's first slot; without it the middle")
      ->check(CLI::Range(1, 16383));
  command->add_flag("--dry-run", split->dry_run, "Say what would be done");
  AddWaitFlag(command, split->wait);
  OnCommand(command, invocation, split, Split);

  const auto merge = std::make_shared<MergeOptions>();
  command =
      family.add_subcommand("merge", "Give all slots of a region to the region beside it, and remove it");
  command->add_option("region", merge->region, "Region id, of the one that ends")->required();
  command->add_option("with", merge->with, "Region id, of the one that goes on")->required();
  command->add_flag("--dry-run", merge->dry_run, "Say what would be done");
  AddWaitFlag(command, merge->wait);
  OnCommand(command, invocation, merge, Merge);
}

}  // namespace tenure::cli
