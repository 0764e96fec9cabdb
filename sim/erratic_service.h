// A leader service that keeps to the contract of controller::LeaderService and to nothing kinder: it starts
// at once, late, only when it is tried again, or not before its epoch ends, and then takes a while to let go.
// So an epoch ends in the middle of starts, and the next one may have begun before the last one's services
// are stopped. What it is told must fit:
//
//   L1 it is started, and goes on, in the current epoch only
//   L2 when its token is stopped the epoch has ended; while it is not, it has not
//   L3 it is started in one epoch at a time, stopped once after that, and never while it starts
//
// Threading: the controller's executor. Lives as long as the controller.
#pragma once

#include <string>
#include <string_view>

#include "base/prng.h"
#include "controller/leadership/leader_service.h"
#include "controller/leadership/leadership.h"
#include "runtime/executor.h"

namespace tenure::sim {

class World;

class ErraticService final : public controller::LeaderService {
 public:
  // `machine`: its name, for reports.
  ErraticService(World& world, std::string machine, runtime::Executor& executor, Prng prng);

  // Before the controller starts.
  void Watch(const controller::Leadership& leadership) { leadership_ = &leadership; }

  // LeaderService
  std::string_view name() const override { return "erratic"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  // What its token says and the epoch that is led agree.
  void Check(Term epoch, const runtime::StopToken& stop, std::string_view when);
  void Fail(std::string_view invariant, std::string_view what, Term epoch);

  World& world_;
  const std::string machine_;
  runtime::Executor& executor_;
  Prng prng_;
  const controller::Leadership* leadership_ = nullptr;
  Term epoch_;  // none: stopped
  bool starting_ = false;
};

}  // namespace tenure::sim
