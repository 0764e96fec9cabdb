// Compares notes with the other controllers about which cluster this is, before and after this controller
// starts.
//
// Before (LookAround): a controller with an empty data directory asks whether the cluster exists already. If
// it does, and its leader has replicated to this very controller id, the directory was lost: joining again
// with forgotten votes could lose committed changes, so it is refused. (The leader only knows of this since
// it leads: a guard, not a proof.) After a recovery (docs/recovery.md) a controller that is no
// member any more is refused as well: the members that its command line names are those of an earlier
// incarnation. After (Watch): a controller that knows its cluster asks the others, where they are by now,
// until one of them names the same; if a majority of all controllers names another, this data directory is in
// the wrong place. (A minority is: then they are the ones to go.) Where others were when the cluster was
// formed may be another cluster's place by now, and proves nothing.
//
// Threading: the controller's executor.
// Errors:    WRONG_CLUSTER, CONDITION_FAILED.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::daemon {

class ClusterCheck {
 public:
  struct Self {
    uint64_t controller_id = 0;
    std::string uuid;  // of its data directory
    std::string address;
    std::string data;  // directory, for messages
  };
  ClusterCheck(runtime::Executor& executor, runtime::Network& network, Self self, Logger logger);
  ~ClusterCheck();

  // The cluster that exists already.
  struct Found {
    std::string cluster_id;  // empty if there is none yet
    uint64_t incarnation = 1;
  };
  // `others`: the other controllers that this one was told to form a cluster with.
  void LookAround(const std::vector<runtime::Endpoint>& others, Callback<StatusOr<Found>> done);
  // `others`: where the other controllers are, as far as is known now. Calls `refused` at most once.
  void Watch(std::string cluster_id, std::function<std::vector<runtime::Endpoint>()> others,
             std::function<void(Status)> refused);
  void Stop();

 private:
  struct Round {
    std::vector<::tenure::v1::StatusResponse> answers;
    size_t missing = 0;
    Callback<std::vector<::tenure::v1::StatusResponse>> done;
  };
  void AskAll(const std::vector<runtime::Endpoint>& others,
              Callback<std::vector<::tenure::v1::StatusResponse>> done);
  StatusOr<Found> Judge(const std::vector<::tenure::v1::StatusResponse>& answers) const;
  void WatchOnce();
  void OnWatchAnswers(size_t others, const std::vector<::tenure::v1::StatusResponse>& answers);

  runtime::Executor& executor_;
  runtime::Network& network_;
  const Self self_;
  Logger logger_;
  std::string cluster_id_;
  std::function<std::vector<runtime::Endpoint>()> others_;
  std::function<void(Status)> refused_;
  runtime::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::daemon
