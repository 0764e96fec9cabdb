// The promise of fencing, looked at from outside: at the moment at which a barrier for revision R proceeds no
// node serves a request from a view of the catalog older than R, and none will.
//
// Checked whenever a barrier proceeds, whenever a result leaves a node, and between events all the time: by
// the node's own clock, which drifts and goes on while the process stands still.
//
// Threading: the simulation's thread. Lives as long as the world.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/ids.h"
#include "controller/barriers/barrier_service.h"
#include "node/lease/request_fence.h"

namespace tenure::sim {

class World;

class LeaseChecker final : public controller::BarrierTrace {
 public:
  explicit LeaseChecker(World& world);
  ~LeaseChecker() override;

  void OnProceeded(Revision revision) override;
  // For the node on that machine.
  node::FenceTrace* TraceOf(uint64_t machine);
  // Between events.
  void Check();
  // A recovery goes on from a catalog that may stand at an older revision.
  void Forget() { proceeded_ = Revision(); }
  // A node that serves nothing, empty if there is none among the machines that are up.
  std::string NotServing() const;

  uint64_t proceeded() const { return count_; }
  // The newest revision whose barrier has proceeded.
  Revision proceeded_revision() const { return proceeded_; }
  uint64_t results() const { return results_; }

 private:
  class Trace;
  void OnResult(uint64_t machine, Revision view);

  World& world_;
  Revision proceeded_;  // the newest revision whose barrier has proceeded
  uint64_t count_ = 0;
  uint64_t results_ = 0;
  std::map<uint64_t, std::unique_ptr<Trace>> traces_;
};

}  // namespace tenure::sim
