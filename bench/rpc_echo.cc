// Calls and stream messages per second through runtime::Network over gRPC on loopback: client and server are
// two processes' worth of objects in one process (two GrpcProcesses, two executors).
//
//   bin/rpc_echo                          # everything
//   bin/rpc_echo --benchmark_filter=Unary
#include <benchmark/benchmark.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "base/check.h"
#include "rpc/grpc_process.h"
#include "runtime/real/real_executor.h"

namespace tenure {
namespace {

using namespace std::chrono_literals;
using runtime::CallInfo;
using runtime::RealExecutor;

class EchoStream final : public runtime::StreamHandler {
 public:
  explicit EchoStream(std::unique_ptr<runtime::Stream> stream) : stream_(std::move(stream)) {}
  void OnMessage(std::string message) override { stream_->Send(std::move(message)); }
  void OnClosed(Status) override {}

 private:
  std::unique_ptr<runtime::Stream> stream_;
};

class Echo final : public runtime::Service {
 public:
  bool IsStream(std::string_view method) const override { return method == "Stream"; }
  void OnCall(const CallInfo&, std::string request, runtime::Reply reply) override {
    reply(std::move(request));
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const CallInfo&,
                                                   std::unique_ptr<runtime::Stream> stream) override {
    return std::make_unique<EchoStream>(std::move(stream));
  }
};

// A process: gRPC, one executor, one Network on it.
struct Process {
  explicit Process(const char* name) : executor(name) { network = grpc.MakeNetwork(executor); }
  ~Process() {
    executor.RunAndWait([this] { network.reset(); });
    executor.Stop();
  }
  rpc::GrpcProcess grpc;
  RealExecutor executor;
  std::unique_ptr<runtime::Network> network;
};

struct Pair {
  Pair() {
    server.network->Serve("bench.Echo", echo);
    const Status listening = server.grpc.Listen("127.0.0.1:0");
    TENURE_CHECK(listening.ok(), "{}", MessageOf(listening));
    to = "127.0.0.1:" + std::to_string(server.grpc.port());
  }
  Echo echo;
  Process server{"server"};
  Process client{"client"};
  runtime::Endpoint to;
};

// Keeps `outstanding` unary calls in the air until `total` are answered.
class UnaryLoad {
 public:
  UnaryLoad(Pair& pair, int64_t total, int outstanding, size_t bytes)
      : pair_(pair), left_(total), missing_(total), request_(bytes, 'x') {
    pair_.client.executor.Post([this, outstanding] {
      for (int i = 0; i < outstanding; ++i) Next();
    });
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return finished_; });
  }

 private:
  void Next() {
    if (left_ == 0) return;
    --left_;
    pair_.client.network->Call(
        pair_.to, "bench.Echo/Unary", request_, 10s, [this](StatusOr<std::string> answer) {
          TENURE_CHECK(answer.ok() && answer->size() == request_.size(), "{}", MessageOf(answer.status()));
          if (--missing_ == 0) {
            const std::lock_guard lock(mutex_);
            finished_ = true;
            done_.notify_one();
            return;
          }
          Next();
        });
  }
  Pair& pair_;
  int64_t left_;
  int64_t missing_;
  const std::string request_;
  std::mutex mutex_;
  std::condition_variable done_;
  bool finished_ = false;
};

void Unary(benchmark::State& state) {
  Pair pair;
  const int64_t calls = 50'000;
  UnaryLoad(pair, 1000, 64, 100).Wait();
  for (auto _ : state) UnaryLoad(pair, calls, static_cast<int>(state.range(0)), 100).Wait();
  state.SetItemsProcessed(state.iterations() * calls);
}
BENCHMARK(Unary)
    ->Arg(1)
    ->Arg(16)
    ->Arg(64)
    ->Arg(256)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(3);

// Keeps `window` messages of 300 bytes in the air on one echoed stream.
class StreamLoad final : public runtime::StreamHandler {
 public:
  StreamLoad(Pair& pair, int64_t total, int window, runtime::StreamOptions options)
      : pair_(pair), left_(total), missing_(total), message_(300, 'x') {
    pair_.client.executor.Post([this, window, options] {
      stream_ = pair_.client.network->OpenStream(pair_.to, "bench.Echo/Stream", *this, options);
      for (int i = 0; i < window; ++i) Next();
    });
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return finished_; });
    lock.unlock();
    pair_.client.executor.RunAndWait([this] { stream_.reset(); });
  }
  void OnMessage(std::string message) override {
    TENURE_CHECK(message.size() == message_.size(), "size {}", message.size());
    Next();
    if (--missing_ > 0) return;
    const std::lock_guard lock(mutex_);
    finished_ = true;
    done_.notify_one();
  }
  void OnClosed(Status status) override { TENURE_CHECK(false, "closed: {}", MessageOf(status)); }

 private:
  void Next() {
    if (left_ == 0) return;
    --left_;
    stream_->Send(message_);
  }
  Pair& pair_;
  int64_t left_;
  int64_t missing_;
  const std::string message_;
  std::unique_ptr<runtime::Stream> stream_;
  std::mutex mutex_;
  std::condition_variable done_;
  bool finished_ = false;
};

// One item is one message there and back: over gRPC, and over a connection of its own.
void Echoes(benchmark::State& state, runtime::StreamOptions options) {
  Pair pair;
  const int64_t messages = state.range(0) == 1 ? 50'000 : 500'000;
  StreamLoad(pair, 10'000, 64, options).Wait();
  for (auto _ : state) StreamLoad(pair, messages, static_cast<int>(state.range(0)), options).Wait();
  state.SetItemsProcessed(state.iterations() * messages);
}
void StreamEcho(benchmark::State& state) {
  Echoes(state, {});
}
void LinkEcho(benchmark::State& state) {
  Echoes(state, {.direct = true});
}
BENCHMARK(StreamEcho)
    ->Arg(1)
    ->Arg(64)
    ->Arg(1024)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(2);
BENCHMARK(LinkEcho)
    ->Arg(1)
    ->Arg(64)
    ->Arg(1024)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(2);

// The executor by itself: one thread posts, the executor runs.
void PostFromOutside(benchmark::State& state) {
  RealExecutor executor("post");
  int64_t ran = 0;
  for (auto _ : state) executor.Post([&ran] { ++ran; });
  executor.RunAndWait([] {});
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(PostFromOutside);

void PostAndWait(benchmark::State& state) {
  RealExecutor executor("ping");
  for (auto _ : state) executor.RunAndWait([] {});
}
BENCHMARK(PostAndWait)->UseRealTime();

}  // namespace
}  // namespace tenure
