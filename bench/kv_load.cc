// One load generator for etcd and for Tenure's catalog: keeps a number of puts or linearizable gets
// outstanding for a number of seconds and prints one JSON object with rate, latencies and CPU per operation.
// bench/run-kv drives it.
//
// Both systems are spoken to through the same client code (rpc/, gRPC's generic interface): unary calls to
// etcdserverpb.KV and tenure.v1.Catalog, and Tenure's pipelined Catalog.Stream. Only the messages differ.

#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/prng.h"
#include "etcd.pb.h"
#include "rpc/grpc_process.h"
#include "runtime/network.h"
#include "runtime/real/real_executor.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Options {
  std::string system = "tenure";
  std::string operation = "put";
  std::string mode = "unary";
  std::string endpoint;
  int outstanding = 1;
  double seconds = 5;
  double warm_up_seconds = 1;
  size_t key_bytes = 16;
  size_t value_bytes = 256;
  uint64_t keys = 100000;
  std::vector<int> server_pids;
};

// ---- messages of either system ----

std::string KeyOf(const Options& options, uint64_t number) {
  return fmt::format("{:0{}}", number, options.key_bytes);
}

struct Dialect {
  std::string method;
  std::function<std::string(std::string key, const std::string& value)> request;
};

Dialect EtcdDialect(bool put) {
  if (put) {
    return {"etcdserverpb.KV/Put", [](std::string key, const std::string& value) {
              etcd::PutRequest request;
              request.set_key(std::move(key));
              request.set_value(value);
              return request.SerializeAsString();
            }};
  }
  return {"etcdserverpb.KV/Range", [](std::string key, const std::string&) {
            etcd::RangeRequest request;
            request.set_key(std::move(key));
            return request.SerializeAsString();
          }};
}

Dialect TenureDialect(bool put) {
  if (put) {
    return {"tenure.v1.Catalog/PutEntry", [](std::string key, const std::string& value) {
              tenure::v1::PutEntryRequest request;
              request.set_key(std::move(key));
              request.set_value(value);
              return request.SerializeAsString();
            }};
  }
  return {"tenure.v1.Catalog/GetEntry", [](std::string key, const std::string&) {
            tenure::v1::GetEntryRequest request;
            request.set_key(std::move(key));
            return request.SerializeAsString();
          }};
}

// ---- measuring ----

double ServerCpuSeconds(const std::vector<int>& pids) {
  double seconds = 0;
  for (const int pid : pids) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string text((std::istreambuf_iterator<char>(file)), {});
    std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
    std::string skipped;
    for (int i = 0; i < 11; ++i) fields >> skipped;  // state .. cmajflt
    double user = 0, system = 0;
    fields >> user >> system;
    seconds += (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  return seconds;
}

double OwnCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Belongs to the executor; the main thread reads it when the executor has stopped.
class Recorder {
 public:
  void Begin() {
    latencies_.clear();
    errors_ = 0;
    recording_ = true;
  }
  void End() { recording_ = false; }
  void Done(SteadyClock::time_point sent, const Status& status) {
    if (!recording_) return;
    if (!status.ok()) {
      if (errors_++ == 0) first_error_ = status.ToString();
      return;
    }
    latencies_.push_back(static_cast<uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - sent).count()));
  }
  size_t count() const { return latencies_.size(); }
  uint64_t errors() const { return errors_; }
  const std::string& first_error() const { return first_error_; }
  void Sort() { std::sort(latencies_.begin(), latencies_.end()); }
  double QuantileMs(double q) const {
    if (latencies_.empty()) return 0;
    const auto index = static_cast<size_t>(q * static_cast<double>(latencies_.size() - 1));
    return static_cast<double>(latencies_[index]) / 1000;
  }

 private:
  bool recording_ = false;
  std::vector<uint32_t> latencies_;  // microseconds
  uint64_t errors_ = 0;
  std::string first_error_;
};

// ---- the two ways of keeping requests outstanding; both live on the executor ----

class Load {
 public:
  virtual ~Load() = default;
  virtual void Start() = 0;
};

// Each answer sends the next request.
class UnaryLoad final : public Load {
 public:
  UnaryLoad(runtime::Network& network, const Options& options, Dialect dialect, Recorder& recorder)
      : network_(network),
        options_(options),
        dialect_(std::move(dialect)),
        recorder_(recorder),
        value_(options.value_bytes, 'v') {}

  void Start() override {
    for (int i = 0; i < options_.outstanding; ++i) Send();
  }

 private:
  void Send() {
    const auto sent = SteadyClock::now();
    network_.Call(options_.endpoint, dialect_.method,
                  dialect_.request(KeyOf(options_, prng_.Below(options_.keys)), value_),
                  std::chrono::seconds(10), [this, sent](const StatusOr<std::string>& answer) {
                    recorder_.Done(sent, answer.status());
                    Send();
                  });
  }

  runtime::Network& network_;
  const Options& options_;
  const Dialect dialect_;
  Recorder& recorder_;
  const std::string value_;
  Prng prng_{1};
};

// One bidirectional stream; what the answers of one message set free is sent as one message.
class StreamLoad final : public Load, public runtime::StreamHandler {
 public:
  StreamLoad(runtime::Network& network, const Options& options, Recorder& recorder)
      : options_(options),
        recorder_(recorder),
        put_(options.operation == "put"),
        value_(options.value_bytes, 'v'),
        sent_(static_cast<size_t>(options.outstanding)),
        stream_(network.OpenStream(options.endpoint, "tenure.v1.Catalog/Stream", *this, {})) {}

  void Start() override {
    for (size_t tag = 0; tag < sent_.size(); ++tag) Add(tag);
    Send();
  }
  void OnMessage(std::string message) override {
    tenure::v1::StreamResponses responses;
    if (!responses.ParseFromString(message)) return OnClosed(absl::InternalError("an answer cannot be read"));
    for (const auto& response : responses.responses()) {
      const bool refused = response.has_refusal();
      const std::string why = refused ? response.refusal().message() : "";
      recorder_.Done(sent_[response.tag()], refused ? Error(StatusCode::kAborted, "{}", why) : OkStatus());
      Add(response.tag());
    }
    Send();
  }
  void OnClosed(Status status) override {
    std::cerr << "the stream ended: " << status.ToString() << "\n";
    recorder_.Done(SteadyClock::now(), status.ok() ? absl::UnavailableError("closed") : status);
  }

 private:
  void Add(size_t tag) {
    tenure::v1::StreamRequest& request = *batch_.add_requests();
    request.set_tag(tag);
    const std::string key = KeyOf(options_, prng_.Below(options_.keys));
    if (put_) {
      request.mutable_put()->set_key(key);
      request.mutable_put()->set_value(value_);
    } else {
      request.mutable_get()->set_key(key);
    }
    sent_[tag] = SteadyClock::now();
  }
  void Send() {
    if (batch_.requests_size() == 0) return;
    stream_->Send(batch_.SerializeAsString());
    batch_.Clear();
  }

  const Options& options_;
  Recorder& recorder_;
  const bool put_;
  const std::string value_;
  Prng prng_{1};
  tenure::v1::StreamRequests batch_;
  std::vector<SteadyClock::time_point> sent_;  // by tag
  std::unique_ptr<runtime::Stream> stream_;
};

std::unique_ptr<Load> MakeLoad(runtime::Network& network, const Options& options, Recorder& recorder) {
  const bool put = options.operation == "put";
  if (options.mode == "stream") return std::make_unique<StreamLoad>(network, options, recorder);
  return std::make_unique<UnaryLoad>(
      network, options, options.system == "etcd" ? EtcdDialect(put) : TenureDialect(put), recorder);
}

struct Window {
  double seconds = 0;
  double server_cpu = 0;
  double own_cpu = 0;
};

Window Measure(runtime::RealExecutor& executor, Recorder& recorder, const Options& options) {
  std::this_thread::sleep_for(std::chrono::duration<double>(options.warm_up_seconds));
  const double server_before = ServerCpuSeconds(options.server_pids), own_before = OwnCpuSeconds();
  executor.RunAndWait([&] { recorder.Begin(); });
  const auto begin = SteadyClock::now();
  std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds));
  executor.RunAndWait([&] { recorder.End(); });
  Window window;
  window.seconds = std::chrono::duration<double>(SteadyClock::now() - begin).count();
  window.server_cpu = ServerCpuSeconds(options.server_pids) - server_before;
  window.own_cpu = OwnCpuSeconds() - own_before;
  return window;
}

nlohmann::ordered_json Report(const Options& options, Recorder& recorder, const Window& window) {
  recorder.Sort();
  const auto operations = static_cast<double>(std::max<size_t>(1, recorder.count()));
  nlohmann::ordered_json json;
  json["system"] = options.system;
  json["mode"] = options.mode;
  json["operation"] = options.operation;
  json["outstanding"] = options.outstanding;
  json["seconds"] = window.seconds;
  json["operations"] = recorder.count();
  json["errors"] = recorder.errors();
  if (recorder.errors() > 0) json["first_error"] = recorder.first_error();
  json["per_second"] = static_cast<double>(recorder.count()) / window.seconds;
  json["p50_ms"] = recorder.QuantileMs(0.5);
  json["p99_ms"] = recorder.QuantileMs(0.99);
  json["max_ms"] = recorder.QuantileMs(1);
  json["server_cpu_us"] = window.server_cpu * 1e6 / operations;
  json["client_cpu_us"] = window.own_cpu * 1e6 / operations;
  return json;
}

int Run(const Options& options) {
  runtime::RealExecutor executor("load");
  rpc::GrpcProcess grpc;
  Recorder recorder;
  std::unique_ptr<runtime::Network> network;
  std::unique_ptr<Load> load;
  executor.RunAndWait([&] {
    network = grpc.MakeNetwork(executor);
    load = MakeLoad(*network, options, recorder);
    load->Start();
  });
  const Window window = Measure(executor, recorder, options);
  executor.Stop();
  std::cout << Report(options, recorder, window).dump() << std::endl;
  load.reset();
  network.reset();
  return recorder.count() > 0 ? 0 : 1;
}

}  // namespace
}  // namespace tenure::bench

int main(int argc, char** argv) {
  tenure::bench::Options options;
  CLI::App app("Keeps puts or gets outstanding against etcd or Tenure and prints what came of it");
  app.add_option("--system", options.system)->check(CLI::IsMember({"etcd", "tenure"}));
  app.add_option("--operation", options.operation)->check(CLI::IsMember({"put", "get"}));
  app.add_option("--mode", options.mode, "stream: tenure's Catalog.Stream")
      ->check(CLI::IsMember({"unary", "stream"}));
  app.add_option("--endpoint", options.endpoint, "The leader's HOST:PORT")->required();
  app.add_option("--outstanding", options.outstanding)->check(CLI::PositiveNumber);
  app.add_option("--seconds", options.seconds)->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up_seconds)->check(CLI::NonNegativeNumber);
  app.add_option("--key-bytes", options.key_bytes)->check(CLI::Range(6, 1024));
  app.add_option("--value-bytes", options.value_bytes);
  app.add_option("--keys", options.keys, "Distinct keys")->check(CLI::PositiveNumber);
  app.add_option("--server-pids", options.server_pids, "Whose CPU counts")->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  if (options.mode == "stream" && options.system == "etcd") {
    std::cerr << "etcd has no stream of puts\n";
    return 2;
  }
  return tenure::bench::Run(options);
}
