// Messages per second to Kafka: the sink of changefeeds, and bare librdkafka with the same settings producing
// the same messages. Both to librdkafka's mock cluster in this process, one run after the other; what the
// mock cluster costs is in both then.
//
//   changefeed_sink_bench --seconds 5 --bytes 1000 [--what sink|encode|bare] [--servers HOST:PORT]
//                         [--messages FILE]                       prints one JSON object per run
//
// sink: ready messages through the sink. encode: rows through the Debezium encoder and the sink. bare:
// librdkafka alone. With --servers they go to the topic "feed" of a cluster elsewhere. With --messages, bare
// sends those of the file over and over: of each its key and its value, both behind their length (32 bits,
// little endian).

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <sys/resource.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/codec.h"
#include "changefeed/sink/net/factory.h"
#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"

namespace tenure::changefeed {
namespace {

using std::chrono::steady_clock;

constexpr int kPartitions = 4;
constexpr size_t kBufferBytes = size_t{64} << 20;

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

class MockCluster {
 public:
  MockCluster() {
    char text[512];
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, [](const rd_kafka_t*, int, const char*, const char*) {});
    client_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    cluster_ = rd_kafka_mock_cluster_new(client_, 1);
    rd_kafka_mock_topic_create(cluster_, "feed", kPartitions, 1);
  }
  ~MockCluster() {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(client_);
  }
  std::string bootstrap() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }

 private:
  rd_kafka_t* client_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

std::string KeyOf(uint64_t n) {
  return fmt::format("key:{}", n % 100'000);
}

using KeyAndValue = std::pair<std::string, std::string>;

std::vector<KeyAndValue> ReadMessages(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  ByteReader reader(bytes);
  const auto text = [&reader] {
    const size_t size = reader.Fixed32();
    return std::string(reader.Raw(size));
  };
  std::vector<KeyAndValue> messages;
  while (reader.ok() && !reader.AtEnd()) {
    std::string key = text();
    messages.emplace_back(std::move(key), text());
  }
  if (!reader.ok() || messages.empty()) {
    fmt::print(stderr, "{}: no messages, or damaged\n", path);
    std::exit(1);
  }
  return messages;
}

Change RowOf(uint64_t n, size_t bytes) {
  return {.region = RegionId(1),
          .index = LogIndex(n),
          .commit_ts = CommitTsFromMillis(1'700'000'000'000, n),
          .database = "shop",
          .table = "orders",
          .schema_version = 1,
          .key = KeyOf(n),
          .new_row = Row{{"qty", ColumnType::kInt64, static_cast<int64_t>(n)},
                         {"note", ColumnType::kText, std::string(bytes > 330 ? bytes - 330 : 0, 'x')}}};
}

class Waiter final : public SinkObserver {
 public:
  void OnFlushed(uint64_t position) override {
    const std::lock_guard lock(mutex_);
    flushed_ = position;
    wake_.notify_all();
  }
  void OnWritable() override {
    const std::lock_guard lock(mutex_);
    writable_ = true;
    wake_.notify_all();
  }
  void OnFailed(FeedError error) override {
    fmt::print(stderr, "{}\n", error.message);
    std::exit(1);
  }
  void WaitWritable() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return writable_; });
    writable_ = false;
  }
  void WaitFlushed(uint64_t position) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return flushed_ >= position; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  uint64_t flushed_ = 0;
  bool writable_ = false;
};

uint64_t RunSink(const std::string& bootstrap, Duration time, size_t bytes, bool encode,
                 size_t& value_bytes) {
  runtime::RealExecutor executor("sink-bench");
  runtime::RealExecutor endings("sink-endings");
  runtime::RealDisk disk(endings);
  const auto background = std::make_shared<Background>(endings, disk);
  Waiter waiter;
  const auto address = ParseSinkAddress(fmt::format("kafka://{}/feed?timeout=60s", bootstrap));
  std::unique_ptr<Sink> sink;
  executor.RunAndWait([&] {
    sink = MakeSink(
        executor, [&](const std::string&) { return background; }, waiter, {"bench", "1", OwnerEpoch(1)},
        *address, {.max_buffered_bytes = kBufferBytes}, [] { return true; });
  });
  const auto encoder = MakeEncoder(Protocol::kDebezium, "bench");
  const std::string value(bytes, 'x');
  const auto end = steady_clock::now() + time;
  uint64_t sent = 0;
  while (steady_clock::now() < end) {
    // As a dispatcher does: a batch in one turn of the executor.
    bool full = false;
    executor.RunAndWait([&] {
      for (int i = 0; i < 1000 && !full; ++i) {
        Message message;
        if (encode) {
          message = *encoder->Encode(RowOf(sent + 1, bytes));
        } else {
          message = {.commit_ts = CommitTs(sent + 1),
                     .database = "shop",
                     .table = "orders",
                     .key = KeyOf(sent),
                     .value = value};
        }
        value_bytes = message.value.size();
        full = !sink->Write(sent + 1, message);
        if (!full) ++sent;
      }
    });
    if (full) waiter.WaitWritable();
  }
  waiter.WaitFlushed(sent);
  executor.RunAndWait([&] { sink.reset(); });
  return sent;
}

// What somebody would write by hand: the same settings, payloads copied, polled by the producing thread.
uint64_t RunBare(const std::string& bootstrap, Duration time, const std::vector<KeyAndValue>& messages) {
  char text[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  const std::pair<const char*, std::string> settings[] = {
      {"bootstrap.servers", bootstrap},
      {"acks", "all"},
      {"enable.idempotence", "true"},
      {"partitioner", "murmur2_random"},
      {"linger.ms", "5"},
      {"message.timeout.ms", "60000"},
      {"queue.buffering.max.messages", "1000000"},
      {"queue.buffering.max.kbytes", std::to_string(kBufferBytes / 1024)}};
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name, value.c_str(), text, sizeof(text)) != RD_KAFKA_CONF_OK) {
      fmt::print(stderr, "{}\n", text);
      std::exit(1);
    }
  }
  rd_kafka_conf_set_dr_msg_cb(conf, [](rd_kafka_t*, const rd_kafka_message_t* message, void*) {
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
    fmt::print(stderr, "{}\n", rd_kafka_err2str(message->err));
    std::exit(1);
  });
  rd_kafka_t* kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
  rd_kafka_topic_t* topic = rd_kafka_topic_new(kafka, "feed", nullptr);
  const auto end = steady_clock::now() + time;
  uint64_t sent = 0;
  while (steady_clock::now() < end) {
    for (int i = 0; i < 1000; ++i) {
      const auto& [key, value] = messages[sent % messages.size()];
      while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
                              const_cast<char*>(value.data()), value.size(), key.data(), key.size(),
                              nullptr) != 0) {
        rd_kafka_poll(kafka, 10);
      }
      ++sent;
    }
    rd_kafka_poll(kafka, 0);
  }
  if (rd_kafka_flush(kafka, 60'000) != RD_KAFKA_RESP_ERR_NO_ERROR) std::exit(1);
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(kafka);
  return sent;
}

int Main(int argc, char** argv) {
  double seconds = 5;
  size_t bytes = 1000;
  std::string_view what = "sink";
  std::string servers;
  std::string file;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--seconds") seconds = std::strtod(argv[i + 1], nullptr);
    if (name == "--bytes") bytes = std::strtoull(argv[i + 1], nullptr, 10);
    if (name == "--what") what = argv[i + 1];
    if (name == "--servers") servers = argv[i + 1];
    if (name == "--messages") file = argv[i + 1];
  }
  std::optional<MockCluster> cluster;
  if (servers.empty()) servers = cluster.emplace().bootstrap();
  std::vector<KeyAndValue> messages;
  if (what == "bare" && !file.empty()) messages = ReadMessages(file);
  if (what == "bare" && file.empty()) {
    for (uint64_t n = 0; n < 1000; ++n) messages.emplace_back(KeyOf(n), std::string(bytes, 'x'));
  }
  const auto time = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
  const auto start = steady_clock::now();
  const double cpu = CpuSeconds();
  size_t value_bytes = messages.empty() ? bytes : messages.front().second.size();
  const uint64_t sent = what == "bare" ? RunBare(servers, time, messages)
                                       : RunSink(servers, time, bytes, what == "encode", value_bytes);
  const double took = std::chrono::duration<double>(steady_clock::now() - start).count();
  fmt::print(
      "{{\"what\": \"{}\", \"rows\": {}, \"seconds\": {:.2f}, \"per_second\": {:.0f}, \"value_bytes\": {}, "
      "\"cpu_us_per_row\": {:.2f}}}\n",
      what, sent, took, static_cast<double>(sent) / took, value_bytes,
      (CpuSeconds() - cpu) * 1e6 / static_cast<double>(sent));
  return 0;
}

}  // namespace
}  // namespace tenure::changefeed

int main(int argc, char** argv) {
  return tenure::changefeed::Main(argc, argv);
}
