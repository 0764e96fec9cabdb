// The Redis-protocol front end alone: server, sessions and a DataService that is a hash map, on one executor. Point
// redis-benchmark at it:
//
//   resp_bench --port 7777 [--io-threads N] [--delay-us N]  &
//   redis-benchmark -p 7777 -t set,get -P 16 -n 2000000
//
// --delay-us answers commands that much later, together, as a log write would. Ends when standard input does.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "resp/asio/server.h"
#include "resp/front_end.h"
#include "runtime/real/real_executor.h"
#include "tests/resp/fake_data_service.h"

namespace {

using namespace tenure;

// Keeps what is held until a timer lets all of it go.
class DelayedService : public resp::FakeDataService {
 public:
  DelayedService(runtime::Executor& executor, Duration delay) : executor_(executor), delay_(delay) {
    hold = delay > Duration::zero();
  }
  void Execute(DatabaseId database, uint16_t slot, store::Arguments arguments, node::ReadMode mode,
               Callback<Outcome> done) override {
    FakeDataService::Execute(database, slot, std::move(arguments), mode, std::move(done));
    if (!hold || armed_) return;
    armed_ = true;
    timer_ = executor_.After(delay_, [this] {
      armed_ = false;
      ReleaseAll();
    });
  }

 private:
  runtime::Executor& executor_;
  Duration delay_;
  runtime::Timer timer_;
  bool armed_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  std::string port = "7777";
  int io_threads = 1;
  long delay_us = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--port") port = argv[i + 1];
    if (flag == "--io-threads") io_threads = std::atoi(argv[i + 1]);
    if (flag == "--delay-us") delay_us = std::atol(argv[i + 1]);
  }
  runtime::RealExecutor executor("node");
  DelayedService service(executor, std::chrono::microseconds(delay_us));
  service.view = resp::OneNodeView("127.0.0.1:" + port);
  resp::FrontEnd front(resp::FrontEndSettings{}, service, executor, Logger());
  resp::ServerSettings settings;
  settings.listen = "127.0.0.1:" + port;
  settings.io_threads = io_threads;
  auto server = resp::Server::Start(settings, front, executor, Logger());
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", std::string(MessageOf(server.status())).c_str());
    return 1;
  }
  std::printf("listening on 127.0.0.1:%u\n", unsigned{(*server)->port()});
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  (*server)->Stop();
  executor.Stop();
  std::printf("executed %llu commands\n", static_cast<unsigned long long>(service.executed));
  return 0;
}
