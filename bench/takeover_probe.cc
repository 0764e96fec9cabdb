// Kills controllers and measures how long it takes until the catalog is led again, takes a change, decides by
// load and has created a database; prints one JSON object. bench/run-takeover drives it.
//
// Puts and questions for the status go to every controller every 10 ms, so they show the cluster's share. The
// database is asked for once, through the client that the CLI uses (client/controller_client.h), so it shows
// what a user waits.

#include <signal.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <future>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "client/controller_client.h"
#include "client/request_ids.h"
#include "rpc/grpc_process.h"
#include "runtime/network.h"
#include "runtime/real/real_executor.h"
#include "tenure/v1/catalog.pb.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::bench {
namespace {

namespace pb = ::tenure::v1;
using SteadyClock = std::chrono::steady_clock;

constexpr Duration kInterval = std::chrono::milliseconds(10);
constexpr Duration kAttempt = std::chrono::milliseconds(500);
constexpr Duration kLimit = std::chrono::seconds(60);

struct Options {
  std::vector<std::string> controllers;
  std::vector<int> kill_pids;
  std::string database;
};

uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

// Lives on the executor.
class Probe {
 public:
  Probe(runtime::RealExecutor& executor, runtime::Network& network, const Options& options)
      : executor_(executor),
        network_(network),
        options_(options),
        client_(executor, network, options.controllers, Prng(RandomSeed())),
        ids_(Prng(RandomSeed())) {}

  // Connects to everybody, so that no connection has to be made later to who stays.
  void Connect(std::function<void()> done) {
    left_ = options_.controllers.size();
    for (const std::string& controller : options_.controllers) {
      network_.Call(controller, "tenure.v1.Cluster/Status", {}, kAttempt,
                    [this, done](const StatusOr<std::string>&) {
                      if (--left_ == 0) done();
                    });
    }
  }

  void Start(std::function<void(nlohmann::ordered_json)> done) {
    done_ = std::move(done);
    for (const int pid : options_.kill_pids) ::kill(pid, SIGKILL);
    begin_ = SteadyClock::now();
    std::cout << "killed" << std::endl;
    CreateDatabase();
    Ask();
  }

 private:
  double Passed() const { return std::chrono::duration<double>(SteadyClock::now() - begin_).count(); }
  void Note(const char* what) {
    if (!done_ || result_.contains(what)) return;
    result_[what] = Passed();
    FinishIfComplete();
  }

  void Ask() {
    pb::PutEntryRequest put;
    put.set_key("takeover");
    put.set_value("probe");
    for (const std::string& controller : options_.controllers) {
      network_.Call(controller, "tenure.v1.Catalog/PutEntry", put.SerializeAsString(), kAttempt,
                    [this](const StatusOr<std::string>& answer) {
                      if (answer.ok()) Note("first_put_s");
                    });
      network_.Call(controller, "tenure.v1.Cluster/Status", {}, kAttempt,
                    [this](const StatusOr<std::string>& answer) { OnStatus(answer); });
    }
    timer_ = executor_.After(kInterval, [this] { Ask(); });
  }

  // Only what the leader says of itself counts: the others remember the one that is gone.
  void OnStatus(const StatusOr<std::string>& answer) {
    pb::StatusResponse status;
    if (!done_ || !answer.ok() || !status.ParseFromString(*answer)) return;
    if (status.leader_id() == 0 || status.leader_id() != status.answered_by()) return;
    Note("elected_s");
    if (status.phase() != "serving") return;
    for (const pb::Transition& transition : status.transitions()) {
      if (transition.epoch() != status.leader_epoch() || transition.to() != "serving") continue;
      result_["ready_after_s"] = static_cast<double>(transition.duration_ms()) / 1000;
      result_["how"] = transition.reason();
      Note("ready_s");
      return;
    }
  }

  void CreateDatabase() {
    pb::CreateDatabaseRequest request;
    *request.mutable_id() = ids_.Next();
    request.set_name(options_.database);
    request.set_regions(1);
    request.set_replicas(1);
    const client::CallOptions options{.timeout = kLimit, .changes = true};
    client_.Call<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", request, options,
                                     [this](const StatusOr<pb::ChangeResponse>& answer) {
                                       if (!answer.ok())
                                         result_["error"] = std::string(answer.status().message());
                                       Note("database_s");
                                     });
  }

  void FinishIfComplete() {
    for (const char* what : {"elected_s", "first_put_s", "ready_s", "database_s"}) {
      if (!result_.contains(what)) return;
    }
    timer_.Cancel();
    std::exchange(done_, nullptr)(result_);
  }

  runtime::RealExecutor& executor_;
  runtime::Network& network_;
  const Options& options_;
  client::ControllerClient client_;
  client::RequestIds ids_;
  size_t left_ = 0;
  SteadyClock::time_point begin_;
  runtime::Timer timer_;
  std::function<void(nlohmann::ordered_json)> done_;
  nlohmann::ordered_json result_;
};

int Run(const Options& options) {
  runtime::RealExecutor executor("probe");
  rpc::GrpcProcess grpc;
  std::unique_ptr<runtime::Network> network;
  std::unique_ptr<Probe> probe;
  std::promise<void> connected;
  std::promise<nlohmann::ordered_json> finished;
  executor.RunAndWait([&] {
    network = grpc.MakeNetwork(executor);
    probe = std::make_unique<Probe>(executor, *network, options);
    probe->Connect([&] { connected.set_value(); });
  });
  connected.get_future().wait();
  executor.Post([&] {
    probe->Start([&finished](nlohmann::ordered_json result) { finished.set_value(std::move(result)); });
  });
  auto result = finished.get_future();
  const bool complete = result.wait_for(kLimit) == std::future_status::ready;
  executor.Stop();
  if (complete) std::cout << result.get().dump() << std::endl;
  probe.reset();
  network.reset();
  return complete ? 0 : 1;
}

}  // namespace
}  // namespace tenure::bench

int main(int argc, char** argv) {
  tenure::bench::Options options;
  CLI::App app("Kills controllers and prints when the catalog was led, changed and decided by load again");
  app.add_option("--controllers", options.controllers, "HOST:PORT of all")->delimiter(',')->required();
  app.add_option("--kill", options.kill_pids, "Whom to kill with -9")->delimiter(',')->required();
  app.add_option("--database", options.database, "Name of the one to create, with one region")->required();
  CLI11_PARSE(app, argc, argv);
  return tenure::bench::Run(options);
}
