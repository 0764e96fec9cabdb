// A new controller's way into a cluster: asks the controllers it was told of until their leader has written
// its directory down for its id. Until an operator has added the id it waits; whatever else is said against
// it is final.
//
// Threading: the controller's executor.
// Lifetime:  Stop before destruction, or the executor has stopped for good.
// Errors:    WRONG_CLUSTER, NOT_FOUND (removed), CONDITION_FAILED (the id belongs to another directory),
//            ALREADY_EXISTS (the address), UNSUPPORTED_FORMAT, WRONG_TOKEN.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/log.h"
#include "base/status.h"
#include "controller/membership/announcing.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/internal/v1/controllers.pb.h"

namespace tenure::controller {

class Joining {
 public:
  // `own`: of the directory. `done` with the cluster that it is a member of.
  Joining(runtime::Executor& executor, runtime::Network& network, ::tenure::v1::ControllerRecord self,
          OwnCluster own, std::vector<runtime::Endpoint> hints, Logger logger);
  ~Joining() { *alive_ = false; }

  void Start(Callback<StatusOr<OwnCluster>> done);
  void Stop();
  // What it waits for, for /readyz and the log.
  const std::string& waiting() const { return waiting_; }
  // The given ones and those that were named in answers.
  const std::vector<runtime::Endpoint>& addresses() const { return addresses_; }

 private:
  void OnTick();
  void OnAnswer(const ::tenure::internal::v1::AnnouncementAnswer& answer);
  void Finish(StatusOr<OwnCluster> result);

  runtime::Executor& executor_;
  runtime::Network& network_;
  const ::tenure::v1::ControllerRecord self_;
  const OwnCluster own_;
  std::vector<runtime::Endpoint> addresses_;
  Logger logger_;
  Callback<StatusOr<OwnCluster>> done_;
  std::string waiting_ = "no controller has answered";
  runtime::Timer tick_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::controller
