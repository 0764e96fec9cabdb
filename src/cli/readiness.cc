#include "cli/readiness.h"
#include "catalog/refusal.h"

#include "cli/queries.h"
#include "cli/resp_probe.h"

namespace tenure::cli {
namespace {

constexpr Duration kCallTimeout = std::chrono::seconds(2);
constexpr std::string_view kDatabase = "default";
constexpr int kRegions = 8;
constexpr int kMaxReplicas = 3;

}  // namespace

int Readiness::nodes() const {
  const auto& processes = layout_.processes();
  return static_cast<int>(std::count_if(processes.begin(), processes.end(),
                                        [](const ProcessPlace& place) { return place.node; }));
}

StatusOr<std::string> Readiness::Look() {
  const StatusOr<pb::StatusResponse> status = session_.ClusterStatus(kCallTimeout);
  std::string missing = MissingControllers(status);
  if (missing.empty()) missing = MissingNodes(*status);
  if (!missing.empty()) return missing;
  TENURE_ASSIGN_OR_RETURN(missing, MissingDatabase());
  if (missing.empty()) missing = MissingLeaders();
  if (missing.empty()) missing = MissingPorts();
  return missing;
}

std::string Readiness::MissingControllers(const StatusOr<pb::StatusResponse>& status) const {
  if (!status.ok()) return "waiting for a controller to answer";
  if (status->leader_id() == 0) return "electing a leader";
  if (status->phase() != "serving") return fmt::format("the leader is {}", status->phase());
  return "";
}

std::string Readiness::MissingNodes(const pb::StatusResponse& status) const {
  // One that is being drained serves what it has left, and may stay like this.
  const auto up = std::count_if(status.nodes().begin(), status.nodes().end(), [](const pb::NodeStatus& node) {
    return node.state() == "UP" || node.state() == "DRAINING";
  });
  return up >= nodes() ? "" : fmt::format("waiting for nodes, {} of {} are up", up, nodes());
}

StatusOr<std::string> Readiness::MissingDatabase() {
  const std::string creating = fmt::format("creating the database {}", kDatabase);
  const auto found = GetDatabase(session_, std::string(kDatabase), kCallTimeout);
  if (found.ok()) return found->record().database().state() == pb::DATABASE_PUBLIC ? "" : creating;
  if (!catalog::IsReason(found.status(), pb::REASON_NOT_FOUND)) return "waiting for the catalog";
  pb::CreateDatabaseRequest create;
  *create.mutable_id() = session_.NextRequestId();
  create.set_name(std::string(kDatabase));
  create.set_regions(kRegions);
  create.set_replicas(static_cast<uint32_t>(std::min(kMaxReplicas, nodes())));
  const auto created =
      session_.Call<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", create, kCallTimeout);
  if (created.ok() || DescribeFailure(created.status()).retryable) return creating;
  // Somebody else, or this very process a look ago, has asked for it.
  const bool asked = catalog::IsReason(created.status(), pb::REASON_ALREADY_EXISTS) ||
                     catalog::IsReason(created.status(), pb::REASON_UNKNOWN_OUTCOME);
  if (asked) return creating;
  return created.status();
}

std::string Readiness::MissingLeaders() {
  const auto list = ListRegions(session_, "", kCallTimeout);
  if (!list.ok()) return "waiting for the list of regions";
  const auto led =
      std::count_if(list->regions().begin(), list->regions().end(), [](const pb::RegionStatus& region) {
        return region.leader_node() != 0 && region.record().state() != pb::REGION_CREATING;
      });
  if (led == list->regions_size() && led > 0) return "";
  return fmt::format("waiting for regions, {} of {} have a leader", led, list->regions_size());
}

std::string Readiness::MissingPorts() const {
  for (const ProcessPlace& place : layout_.processes()) {
    if (!place.node) continue;
    const Status answer = ProbeResp(place.resp_port, kCallTimeout);
    if (!answer.ok())
      return fmt::format("waiting for the Redis protocol, {}", std::string(MessageOf(answer)));
  }
  return "";
}

}  // namespace tenure::cli
