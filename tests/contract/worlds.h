// The two worlds in which every contract is tested: threads, files and sockets of this machine, and the
// simulator.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "runtime/disk.h"
#include "runtime/executor.h"
#include "runtime/network.h"

namespace tenure::contract {

// A process that can be killed: its executors, its disk, its network.
class Process {
 public:
  virtual ~Process() = default;
  virtual runtime::Executor& executor() = 0;
  virtual runtime::Disk& disk() = 0;
  virtual runtime::Network& network() = 0;
  // Where others reach it.
  virtual runtime::Endpoint address() = 0;
  // Destroys the network view on the executor.
  virtual void CloseNetwork() = 0;
  // Nothing of it runs or answers any more. (The real world stops it, which its peers cannot tell from a
  // crash.)
  virtual void Kill() = 0;
};

class World {
 public:
  virtual ~World() = default;
  virtual std::unique_ptr<Process> NewProcess(const std::string& name) = 0;
  // Runs `closure` on `executor` and waits for it.
  virtual void Do(runtime::Executor& executor, std::function<void()> closure) = 0;
  // Waits until `condition`, evaluated on `executor`, holds; a failure after 20 seconds.
  void Await(runtime::Executor& executor, const std::function<bool()>& condition, const char* what);
  // Lets time pass; for what must not happen.
  virtual void Pass(Duration duration) = 0;
  // A directory on the disk of every process of this world.
  virtual std::string directory() = 0;
};

std::unique_ptr<World> MakeRealWorld();
std::unique_ptr<World> MakeSimWorld();

// kLink: the real world, where streams are opened `direct` and so have connections of their own.
enum class Kind { kReal, kLink, kSim };

// Base of the suites: INSTANTIATE_TEST_SUITE_P(.., kBothWorlds, WorldName).
class ContractTest : public testing::TestWithParam<Kind> {
 protected:
  ContractTest() : world(GetParam() == Kind::kSim ? MakeSimWorld() : MakeRealWorld()) {}
  std::unique_ptr<World> world;
};

inline const auto kBothWorlds = testing::Values(Kind::kReal, Kind::kSim);
inline std::string WorldName(const testing::TestParamInfo<Kind>& info) {
  if (info.param == Kind::kLink) return "Link";
  return info.param == Kind::kReal ? "Real" : "Sim";
}

}  // namespace tenure::contract
