// An operator who asks for barriers all the time, several at once, with budgets that are too short now and
// then, and changes how long leases are.
//
// Threading: the simulation's thread; acts through events of a process of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "client/controller_client.h"
#include "client/request_ids.h"
#include "sim/sim_clock.h"
#include "sim/sim_executor.h"
#include "sim/world.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::sim {

class BarrierOperator {
 public:
  BarrierOperator(World& world, Prng prng);
  ~BarrierOperator();
  BarrierOperator(const BarrierOperator&) = delete;
  BarrierOperator& operator=(const BarrierOperator&) = delete;

  void Start();
  void Finish() { finishing_ = true; }
  // One barrier for the present revision; `done` with the answer, or none if there was no definite one.
  void Ask(std::function<void(std::optional<::tenure::v1::BarrierResponse>)> done);

  uint64_t proceeded() const { return proceeded_; }
  uint64_t failed() const { return failed_; }
  uint64_t settings() const { return settings_; }

 private:
  void Pause(size_t lane);
  void Next(size_t lane);
  void ChangeSettings(size_t lane);
  void Send(const ::tenure::v1::BarrierRequest& request,
            std::function<void(const StatusOr<::tenure::v1::BarrierResponse>&)> done);

  World& world_;
  Prng prng_;
  SimClock clock_;
  SimProcess process_;
  SimExecutor& executor_;
  std::unique_ptr<runtime::Network> network_;
  std::unique_ptr<client::ControllerClient> controllers_;
  client::RequestIds ids_;
  std::vector<runtime::Timer> lanes_;
  bool finishing_ = false;
  uint64_t proceeded_ = 0;
  uint64_t failed_ = 0;
  uint64_t settings_ = 0;
};

}  // namespace tenure::sim
