#include "daemon/cluster_check.h"

#include <algorithm>
#include <utility>

#include "catalog/refusal.h"

namespace tenure::daemon {
namespace {

namespace pb = ::tenure::v1;
constexpr std::string_view kStatus = "tenure.v1.Cluster/Status";
constexpr Duration kTimeout = std::chrono::seconds(1);
constexpr Duration kInterval = std::chrono::seconds(2);

}  // namespace

ClusterCheck::ClusterCheck(runtime::Executor& executor, runtime::Network& network, Self self, Logger logger)
    : executor_(executor), network_(network), self_(std::move(self)), logger_(std::move(logger)) {}

ClusterCheck::~ClusterCheck() {
  *alive_ = false;
}

void ClusterCheck::Stop() {
  timer_.Cancel();
  refused_ = nullptr;
}

void ClusterCheck::AskAll(const std::vector<runtime::Endpoint>& others,
                          Callback<std::vector<pb::StatusResponse>> done) {
  auto round = std::make_shared<Round>();
  round->missing = others.size();
  round->done = std::move(done);
  if (others.empty()) return round->done({});
  for (const runtime::Endpoint& other : others) {
    network_.Call(other, kStatus, pb::StatusRequest().SerializeAsString(), kTimeout,
                  [round](StatusOr<std::string> bytes) {
                    pb::StatusResponse response;
                    if (bytes.ok() && response.ParseFromString(*bytes) && !response.cluster_id().empty()) {
                      round->answers.push_back(std::move(response));
                    }
                    if (--round->missing == 0) round->done(std::move(round->answers));
                  });
  }
}

void ClusterCheck::LookAround(const std::vector<runtime::Endpoint>& others, Callback<StatusOr<Found>> done) {
  AskAll(others,
         [this, alive = alive_, done = std::move(done)](std::vector<pb::StatusResponse> answers) mutable {
           if (*alive) done(Judge(answers));
         });
}

StatusOr<ClusterCheck::Found> ClusterCheck::Judge(const std::vector<pb::StatusResponse>& answers) const {
  Found found;
  bool member = false;
  for (const pb::StatusResponse& answer : answers) {
    if (!found.cluster_id.empty() && found.cluster_id != answer.cluster_id()) {
      return catalog::Refuse(pb::REASON_WRONG_CLUSTER,
                             "--initial-controllers names controllers of two clusters, {} and {}",
                             found.cluster_id, answer.cluster_id());
    }
    found.cluster_id = answer.cluster_id();
    if (answer.incarnation() > found.incarnation) {
      found.incarnation = answer.incarnation();
      member = false;
    }
    for (const pb::ControllerStatus& controller : answer.controllers()) {
      if (controller.record().id() != self_.controller_id) continue;
      member = member || answer.incarnation() == found.incarnation;
      if (controller.record().address() != self_.address) {
        return catalog::Refuse(
            pb::REASON_WRONG_CLUSTER, "cluster {} has its controller {} at {}, this process advertises {}",
            found.cluster_id, self_.controller_id, controller.record().address(), self_.address);
      }
      const std::string& uuid = controller.record().uuid();
      if (controller.match_index() > 0 || (!uuid.empty() && uuid != self_.uuid)) {
        return catalog::Refuse(
            pb::REASON_CONDITION_FAILED,
            "controller {} has taken part in cluster {} before, but {} is empty: with its votes "
            "forgotten it must not return under this id. Restore the directory, or replace the "
            "controller (tenure controller remove, add)",
            self_.controller_id, found.cluster_id, self_.data);
      }
    }
  }
  if (found.incarnation > 1 && !member) {
    return catalog::Refuse(
        pb::REASON_STALE_INCARNATION,
        "controller {} is no member of cluster {} since its recovery to incarnation {}; a new "
        "controller joins under a new id (tenure controller add)",
        self_.controller_id, found.cluster_id, found.incarnation);
  }
  return found;
}

void ClusterCheck::Watch(std::string cluster_id, std::function<std::vector<runtime::Endpoint>()> others,
                         std::function<void(Status)> refused) {
  cluster_id_ = std::move(cluster_id);
  others_ = std::move(others);
  refused_ = std::move(refused);
  WatchOnce();
}

void ClusterCheck::WatchOnce() {
  const std::vector<runtime::Endpoint> others = others_();
  AskAll(others,
         [this, alive = alive_, count = others.size()](const std::vector<pb::StatusResponse>& answers) {
           if (*alive && refused_) OnWatchAnswers(count, answers);
         });
}

void ClusterCheck::OnWatchAnswers(size_t others, const std::vector<pb::StatusResponse>& answers) {
  for (const pb::StatusResponse& answer : answers) {
    if (answer.cluster_id() == cluster_id_) return Stop();
  }
  const size_t majority = (others + 1) / 2 + 1;
  if (!answers.empty() && answers.size() >= std::min(majority, others)) {
    const pb::StatusResponse& stranger = answers.front();
    const auto refused = std::exchange(refused_, nullptr);
    return refused(catalog::Refuse(pb::REASON_WRONG_CLUSTER,
                                   "the data directory {} belongs to cluster {}, controller {} to cluster {}",
                                   self_.data, cluster_id_, stranger.answered_by(), stranger.cluster_id()));
  }
  timer_ = executor_.After(kInterval, [this] { WatchOnce(); });
}

}  // namespace tenure::daemon
