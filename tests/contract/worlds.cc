#include "tests/contract/worlds.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/check.h"
#include "rpc/grpc_process.h"
#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"
#include "sim/scheduler.h"
#include "sim/sim_disk.h"
#include "sim/sim_executor.h"
#include "sim/sim_network.h"

namespace tenure::contract {
namespace {

using namespace std::chrono_literals;

class RealProcess final : public Process {
 public:
  explicit RealProcess(const std::string& name) : executor_(name), disk_(executor_) {
    network_ = grpc_->MakeNetwork(executor_);
    const Status listening = grpc_->Listen("127.0.0.1:0");
    TENURE_CHECK(listening.ok(), "{}", MessageOf(listening));
  }
  ~RealProcess() override { Kill(); }
  runtime::Executor& executor() override { return executor_; }
  runtime::Disk& disk() override { return disk_; }
  runtime::Network& network() override { return *network_; }
  runtime::Endpoint address() override {
    return fmt::format("127.0.0.1:{}", port_ ? port_ : port_ = grpc_->port());
  }
  void CloseNetwork() override {
    executor_.RunAndWait([this] { network_.reset(); });
  }
  void Kill() override {
    address();
    executor_.Stop();
    network_.reset();
    grpc_.reset();
  }

 private:
  std::unique_ptr<rpc::GrpcProcess> grpc_ = std::make_unique<rpc::GrpcProcess>();
  runtime::RealExecutor executor_;
  runtime::RealDisk disk_;
  std::unique_ptr<runtime::Network> network_;
  int port_ = 0;
};

class RealWorld final : public World {
 public:
  RealWorld() {
    char path[] = "/tmp/tenure-contract-XXXXXX";
    TENURE_CHECK(mkdtemp(path) != nullptr, "mkdtemp failed");
    directory_ = path;
  }
  ~RealWorld() override { std::filesystem::remove_all(directory_); }
  std::unique_ptr<Process> NewProcess(const std::string& name) override {
    return std::make_unique<RealProcess>(name);
  }
  void Do(runtime::Executor& executor, std::function<void()> closure) override {
    dynamic_cast<runtime::RealExecutor&>(executor).RunAndWait([&] { closure(); });
  }
  void Pass(Duration duration) override { std::this_thread::sleep_for(duration); }
  std::string directory() override { return directory_; }

 private:
  std::string directory_;
};

class SimProcessOfTest final : public Process {
 public:
  SimProcessOfTest(sim::Scheduler& world, sim::SimClock& clock, sim::SimDisk& disk, sim::SimNetwork& network,
                   const std::string& name)
      : address_(name + ":7100"),
        process_(world, clock, name, Prng(1).Fork(name)),
        executor_(process_.AddExecutor("main")) {
    network.AddHost(process_, address_);
    disk_ = disk.MakeView(process_, executor_);
    network_ = network.MakeView(process_, executor_);
  }
  runtime::Executor& executor() override { return executor_; }
  runtime::Disk& disk() override { return *disk_; }
  runtime::Network& network() override { return *network_; }
  runtime::Endpoint address() override { return address_; }
  void CloseNetwork() override { network_.reset(); }
  void Kill() override {
    process_.Kill();
    network_.reset();
  }

 private:
  const std::string address_;
  sim::SimProcess process_;
  sim::SimExecutor& executor_;
  std::unique_ptr<runtime::Disk> disk_;
  std::unique_ptr<runtime::Network> network_;
};

class SimWorldOfTest final : public World {
 public:
  SimWorldOfTest()
      : clock_(scheduler_, Instant(1h), WallFromMillis(1'700'000'000'000)),
        disk_(scheduler_, "disk", Prng(7)),
        network_(scheduler_, Prng(8)) {
    clock_.SetDrift(200'000);
  }
  std::unique_ptr<Process> NewProcess(const std::string& name) override {
    return std::make_unique<SimProcessOfTest>(scheduler_, clock_, disk_, network_, name);
  }
  void Do(runtime::Executor& executor, std::function<void()> closure) override {
    bool ran = false;
    executor.Post([&] {
      closure();
      ran = true;
    });
    scheduler_.RunUntil([&] { return ran || executor.IsStopped(); }, 1h);
  }
  void Pass(Duration duration) override { scheduler_.RunFor(duration); }
  std::string directory() override { return "/"; }

 private:
  sim::Scheduler scheduler_;
  sim::SimClock clock_;
  sim::SimDisk disk_;
  sim::SimNetwork network_;
};

}  // namespace

void World::Await(runtime::Executor& executor, const std::function<bool()>& condition, const char* what) {
  const Instant give_up = executor.Now() + 20s;
  bool holds = false;
  while (!holds && executor.Now() < give_up) {
    Do(executor, [&] { holds = condition(); });
    if (!holds) Pass(1ms);
  }
  EXPECT_TRUE(holds) << "waited in vain for: " << what;
}

std::unique_ptr<World> MakeRealWorld() {
  return std::make_unique<RealWorld>();
}
std::unique_ptr<World> MakeSimWorld() {
  return std::make_unique<SimWorldOfTest>();
}

}  // namespace tenure::contract
