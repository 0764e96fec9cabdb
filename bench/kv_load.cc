// One load generator for etcd and for Tenure's catalog: keeps a number of puts or linearizable gets
// outstanding for a number of seconds and prints one JSON object with rate, latencies and CPU per operation.
// bench/run-kv drives it.
//
// Both systems are spoken to through the same client code (rpc/, gRPC's generic interface): unary calls to
// etcdserverpb.KV and tenure.v1.Catalog, where only the messages differ. Tenure's pipelined Catalog.Stream
// besides: as client/ opens it, on a connection of its own, and over gRPC, as a client of another make does.

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <functional>
#include <future>
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
  bool fill = false;
  int kill_pid = 0;
  std::vector<std::string> probe;
  std::vector<int> server_pids;
};

// ---- messages of either system ----

// Values of letters in no order, another one for each key, so that they take about as much space on disk
// whoever compresses.
class Values {
 public:
  explicit Values(const Options& options) : bytes_(options.value_bytes) {
    Prng prng(2);
    while (text_.size() < bytes_ + kOffsets) text_.push_back(static_cast<char>('0' + prng.Below(64)));
  }
  std::string Of(uint64_t key) const { return text_.substr(key * 7919 % kOffsets, bytes_); }

 private:
  static constexpr size_t kOffsets = 1 << 20;
  const size_t bytes_;
  std::string text_;
};

// Which key comes next: any, or one after the other.
class Keys {
 public:
  explicit Keys(const Options& options) : options_(options) {}
  uint64_t Next() { return options_.fill ? next_++ % options_.keys : prng_.Below(options_.keys); }

 private:
  const Options& options_;
  Prng prng_{1};
  uint64_t next_ = 0;
};

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
  // Nothing is sent any more.
  virtual void Stop() = 0;
};

// Each answer sends the next request.
class UnaryLoad final : public Load {
 public:
  UnaryLoad(runtime::Network& network, const Options& options, Dialect dialect, Recorder& recorder)
      : network_(network),
        options_(options),
        dialect_(std::move(dialect)),
        recorder_(recorder),
        values_(options) {}

  void Start() override {
    for (int i = 0; i < options_.outstanding; ++i) Send();
  }
  void Stop() override { stopped_ = true; }

 private:
  void Send() {
    if (stopped_) return;
    const auto sent = SteadyClock::now();
    const uint64_t key = keys_.Next();
    network_.Call(options_.endpoint, dialect_.method, dialect_.request(KeyOf(options_, key), values_.Of(key)),
                  std::chrono::seconds(10), [this, sent](const StatusOr<std::string>& answer) {
                    recorder_.Done(sent, answer.status());
                    Send();
                  });
  }

  runtime::Network& network_;
  const Options& options_;
  const Dialect dialect_;
  Recorder& recorder_;
  const Values values_;
  Keys keys_{options_};
  bool stopped_ = false;
};

// One bidirectional stream; what the answers of one message set free is sent as one message.
class StreamLoad final : public Load, public runtime::StreamHandler {
 public:
  StreamLoad(runtime::Network& network, const Options& options, Recorder& recorder)
      : options_(options),
        recorder_(recorder),
        put_(options.operation == "put"),
        values_(options),
        sent_(static_cast<size_t>(options.outstanding)),
        stream_(network.OpenStream(options.endpoint, "tenure.v1.Catalog/Stream", *this,
                                   {.direct = options.mode == "stream"})) {}

  void Start() override {
    for (size_t tag = 0; tag < sent_.size(); ++tag) Add(tag);
    Send();
  }
  void Stop() override { stopped_ = true; }
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
    const uint64_t number = keys_.Next();
    const std::string key = KeyOf(options_, number);
    if (put_) {
      request.mutable_put()->set_key(key);
      request.mutable_put()->set_value(values_.Of(number));
    } else {
      request.mutable_get()->set_key(key);
    }
    sent_[tag] = SteadyClock::now();
  }
  void Send() {
    if (batch_.requests_size() == 0 || stopped_) return;
    stream_->Send(batch_.SerializeAsString());
    batch_.Clear();
  }

  const Options& options_;
  Recorder& recorder_;
  const bool put_;
  const Values values_;
  Keys keys_{options_};
  tenure::v1::StreamRequests batch_;
  bool stopped_ = false;
  std::vector<SteadyClock::time_point> sent_;  // by tag
  std::unique_ptr<runtime::Stream> stream_;
};

std::unique_ptr<Load> MakeLoad(runtime::Network& network, const Options& options, Recorder& recorder) {
  const bool put = options.operation == "put";
  if (options.mode != "unary") return std::make_unique<StreamLoad>(network, options, recorder);
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
  if (options.fill) {
    for (bool full = false; !full;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      executor.RunAndWait(
          [&] { full = recorder.count() >= options.keys || recorder.errors() > options.keys; });
    }
  } else {
    std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds));
  }
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

// Kills the leader, with whatever load it is under, and asks the others until one of them takes a put.
class Probe {
 public:
  Probe(runtime::RealExecutor& executor, runtime::Network& network, const Options& options)
      : executor_(executor),
        network_(network),
        options_(options),
        dialect_(options.system == "etcd" ? EtcdDialect(true) : TenureDialect(true)) {}

  void Start(std::function<void(double)> done) {
    done_ = std::move(done);
    ::kill(options_.kill_pid, SIGKILL);
    begin_ = SteadyClock::now();
    Ask();
  }

 private:
  // An attempt may hang until its deadline, in a member that waits for a leader: the next one does not wait
  // for it.
  void Ask() {
    for (const std::string& endpoint : options_.probe) {
      network_.Call(endpoint, dialect_.method, dialect_.request(KeyOf(options_, 0), "probe"),
                    std::chrono::milliseconds(500), [this](const StatusOr<std::string>& answer) {
                      if (!answer.ok() || !done_) return;
                      const std::chrono::duration<double> passed = SteadyClock::now() - begin_;
                      timer_.Cancel();
                      std::exchange(done_, nullptr)(passed.count());
                    });
    }
    timer_ = executor_.After(std::chrono::milliseconds(10), [this] { Ask(); });
  }

  runtime::RealExecutor& executor_;
  runtime::Network& network_;
  const Options& options_;
  const Dialect dialect_;
  SteadyClock::time_point begin_;
  std::function<void(double)> done_;
  runtime::Timer timer_;
};

int RunProbe(const Options& options) {
  runtime::RealExecutor executor("probe");
  rpc::GrpcProcess grpc;
  Recorder recorder;
  std::unique_ptr<runtime::Network> network;
  std::unique_ptr<Load> load;
  std::unique_ptr<Probe> probe;
  executor.RunAndWait([&] {
    network = grpc.MakeNetwork(executor);
    load = MakeLoad(*network, options, recorder);
    probe = std::make_unique<Probe>(executor, *network, options);
    if (options.outstanding > 1) load->Start();
  });
  std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds));
  std::promise<double> first;
  executor.Post([&] {
    load->Stop();
    probe->Start([&first](double seconds) { first.set_value(seconds); });
  });
  auto result = first.get_future();
  const bool answered = result.wait_for(std::chrono::seconds(60)) == std::future_status::ready;
  executor.Stop();
  if (answered) std::cout << nlohmann::ordered_json{{"first_put_s", result.get()}}.dump() << std::endl;
  probe.reset();
  load.reset();
  network.reset();
  return answered ? 0 : 1;
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
  app.add_option("--mode", options.mode, "stream, grpc-stream: tenure's Catalog.Stream")
      ->check(CLI::IsMember({"unary", "stream", "grpc-stream"}));
  app.add_option("--endpoint", options.endpoint, "The leader's HOST:PORT")->required();
  app.add_option("--outstanding", options.outstanding)->check(CLI::PositiveNumber);
  app.add_option("--seconds", options.seconds)->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up_seconds)->check(CLI::NonNegativeNumber);
  app.add_option("--key-bytes", options.key_bytes)->check(CLI::Range(6, 1024));
  app.add_option("--value-bytes", options.value_bytes);
  app.add_option("--keys", options.keys, "Distinct keys")->check(CLI::PositiveNumber);
  app.add_flag("--fill", options.fill, "Puts every key once, in order, however long it takes");
  auto* kill = app.add_option(
      "--kill", options.kill_pid,
      "The leader's process: killed with -9 after --seconds of load (with --outstanding above 1)");
  app.add_option("--probe", options.probe, "HOST:PORT of the others: how long until one takes a put")
      ->delimiter(',')
      ->needs(kill);
  app.add_option("--server-pids", options.server_pids, "Whose CPU counts")->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  if (options.mode != "unary" && options.system == "etcd") {
    std::cerr << "etcd has no stream of puts\n";
    return 2;
  }
  if (options.kill_pid != 0) return tenure::bench::RunProbe(options);
  return tenure::bench::Run(options);
}
