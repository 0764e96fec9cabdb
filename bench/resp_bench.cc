// The Redis-protocol front end alone: server, sessions and a DataService that is a hash map, on one executor.
// Point redis-benchmark at it:
//
//   resp_bench --port 7777 [--io-threads N] [--delay-us N] [--peers 7777,7778,7779] &
//   redis-benchmark -p 7777 -t set,get -P 16 -n 2000000
//
// --delay-us answers commands that much later, together, as a log write would. --peers makes it one of
// several such processes that share the slots evenly and redirect to each other, for trying cluster clients.
// Ends when standard input does.
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
    if (auto moved = MovedElsewhere(database, slot, arguments)) return done(*std::move(moved));
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

node::ClusterView PeersView(const std::string& peers, const std::string& port) {
  std::vector<std::string> ports;
  for (size_t at = 0; at <= peers.size(); at = std::min(peers.find(',', at), peers.size()) + 1) {
    ports.push_back(peers.substr(at, peers.find(',', at) - at));
  }
  node::ClusterView view;
  view.database = DatabaseId(1);
  view.revision = 1;
  const size_t share = kSlotCount / ports.size();
  for (size_t i = 0; i < ports.size(); ++i) {
    const NodeId id(i + 1);
    if (ports[i] == port) view.self = id;
    view.nodes.push_back({id, "n" + ports[i], std::string(40, static_cast<char>('1' + i)), "127.0.0.1:1",
                          "127.0.0.1:" + ports[i], true});
    const size_t last = i + 1 == ports.size() ? kSlotCount - 1 : (i + 1) * share - 1;
    node::ShardView shard{
        RegionId(i + 1), {static_cast<uint16_t>(i * share), static_cast<uint16_t>(last)}, {}};
    for (size_t k = 0; k < ports.size(); ++k) {
      shard.replicas.push_back({NodeId((i + k) % ports.size() + 1), k == 0, true});
    }
    view.shards.push_back(std::move(shard));
  }
  return view;
}

}  // namespace

int main(int argc, char** argv) {
  std::string port = "7777";
  int io_threads = 1;
  long delay_us = 0;
  std::string peers;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--port") port = argv[i + 1];
    if (flag == "--io-threads") io_threads = std::atoi(argv[i + 1]);
    if (flag == "--peers") peers = argv[i + 1];
    if (flag == "--delay-us") delay_us = std::atol(argv[i + 1]);
  }
  runtime::RealExecutor executor("node");
  DelayedService service(executor, std::chrono::microseconds(delay_us));
  service.view = PeersView(peers.empty() ? port : peers, port);
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
