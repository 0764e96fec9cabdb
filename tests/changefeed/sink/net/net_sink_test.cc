// The sinks behind a network, each against the real thing (Kafka: librdkafka's mock cluster), with the same
// demands: everything arrives in order, memory is bounded, errors come within their time limit, and nothing
// is reported flushed that is not there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <nats/nats.h>

#include <chrono>
#include <filesystem>
#include <set>

#include "changefeed/sink/net/factory.h"
#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"
#include "tests/changefeed/sink/net/servers.h"
#include "tests/changefeed/sink/recording_observer.h"

namespace tenure::changefeed {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

// One system behind a sink.
class System {
 public:
  virtual ~System() = default;
  // `port`, if not 0, stands for the server's.
  virtual std::string Address(std::string_view parameters, int port = 0) = 0;
  // Where a proxy leads; 0: there is none for it.
  virtual int port() const = 0;
  // Values in the order in which the server has them.
  virtual std::vector<std::string> Delivered() = 0;
  virtual void Hang() = 0;
  // Cuts connections once.
  virtual void Cut() = 0;
  virtual bool recovers() const { return false; }
};

class RedisSystem final : public System {
 public:
  std::string Address(std::string_view parameters, int port) override {
    return fmt::format("redis://127.0.0.1:{}/feed?{}", port == 0 ? proxy_.port() : port, parameters);
  }
  int port() const override { return port_; }
  std::vector<std::string> Delivered() override { return Read("feed"); }
  std::vector<std::string> Read(const std::string& stream) {
    redisContext* context = redisConnect("127.0.0.1", port_);
    auto* reply = static_cast<redisReply*>(redisCommand(context, "XRANGE %s - +", stream.c_str()));
    std::vector<std::string> values;
    for (size_t i = 0; reply != nullptr && i < reply->elements; ++i) {
      const redisReply* fields = reply->element[i]->element[1];
      EXPECT_STREQ(fields->element[8]->str, "value");
      values.emplace_back(fields->element[9]->str, fields->element[9]->len);
    }
    freeReplyObject(reply);
    redisFree(context);
    return values;
  }
  void Hang() override { proxy_.Hang(); }
  void Cut() override { proxy_.Cut(); }

 private:
  const int port_ = FreePort();
  ServerProcess server_{
      {"/usr/bin/redis-server", "--port", std::to_string(port_), "--bind", "127.0.0.1", "--save", "",
       "--appendonly", "no", "--dir", "{folder}", "--logfile", "{folder}/log"},
      port_};
  Proxy proxy_{port_};
};

class NatsSystem final : public System {
 public:
  NatsSystem() {
    natsConnection_ConnectTo(&connection_, fmt::format("nats://127.0.0.1:{}", port_).c_str());
    natsConnection_JetStream(&stream_, connection_, nullptr);
    AddStream("FEED", "feed");
  }
  void AddStream(const char* name, const char* subject) {
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = name;
    config.Subjects = &subject;
    config.SubjectsLen = 1;
    EXPECT_EQ(js_AddStream(nullptr, stream_, &config, nullptr, nullptr), NATS_OK);
  }
  ~NatsSystem() override {
    jsCtx_Destroy(stream_);
    natsConnection_Destroy(connection_);
  }
  std::string Address(std::string_view parameters, int port) override {
    return fmt::format("nats://127.0.0.1:{}/feed?{}", port == 0 ? proxy_.port() : port, parameters);
  }
  int port() const override { return port_; }
  std::vector<std::string> Delivered() override { return Read("FEED"); }
  std::vector<std::string> Read(const char* name) {
    jsStreamInfo* info = nullptr;
    EXPECT_EQ(js_GetStreamInfo(&info, stream_, name, nullptr, nullptr), NATS_OK);
    std::vector<std::string> values;
    for (uint64_t sequence = 1; sequence <= info->State.LastSeq; ++sequence) {
      natsMsg* message = nullptr;
      EXPECT_EQ(js_GetMsg(&message, stream_, name, sequence, nullptr, nullptr), NATS_OK);
      values.emplace_back(natsMsg_GetData(message), static_cast<size_t>(natsMsg_GetDataLength(message)));
      natsMsg_Destroy(message);
    }
    jsStreamInfo_Destroy(info);
    return values;
  }
  void Hang() override { proxy_.Hang(); }
  void Cut() override { proxy_.Cut(); }

 private:
  const int port_ = FreePort();
  ServerProcess server_{{"/usr/sbin/nats-server", "-a", "127.0.0.1", "-p", std::to_string(port_), "-js",
                         "-sd", "{folder}", "-l", "{folder}/log"},
                        port_};
  Proxy proxy_{port_};
  natsConnection* connection_ = nullptr;
  jsCtx* stream_ = nullptr;
};

class KafkaSystem final : public System {
 public:
  KafkaSystem() {
    char text[512];
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, [](const rd_kafka_t*, int, const char*, const char*) {});
    client_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    cluster_ = rd_kafka_mock_cluster_new(client_, 1);
    bootstrap_ = rd_kafka_mock_cluster_bootstraps(cluster_);
    rd_kafka_mock_topic_create(cluster_, "feed", 1, 1);
  }
  ~KafkaSystem() override {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(client_);
  }
  std::string Address(std::string_view parameters, int port) override {
    const std::string host = port == 0 ? bootstrap_ : fmt::format("127.0.0.1:{}", port);
    return fmt::format("kafka://{}/feed?protocol=json&{}", host, parameters);
  }
  int port() const override { return 0; }
  std::vector<std::string> Delivered() override {
    Recover();
    return Read("feed", 1);
  }
  // All messages of a topic, partition by partition.
  std::vector<std::string> Read(const std::string& topic, int partitions) {
    char text[512];
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap_.c_str(), text, sizeof(text));
    rd_kafka_conf_set(conf, "group.id", "test", text, sizeof(text));
    rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof(text));
    rd_kafka_t* consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    rd_kafka_poll_set_consumer(consumer);
    std::vector<std::string> values;
    for (int partition = 0; partition < partitions; ++partition) {
      rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(1);
      rd_kafka_topic_partition_list_add(list, topic.c_str(), partition)->offset = 0;
      rd_kafka_assign(consumer, list);
      rd_kafka_topic_partition_list_destroy(list);
      const auto deadline = steady_clock::now() + seconds(20);
      for (bool end = false; !end && steady_clock::now() < deadline;) {
        rd_kafka_message_t* message = rd_kafka_consumer_poll(consumer, 100);
        if (message == nullptr) continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) end = true;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
          values.emplace_back(static_cast<const char*>(message->payload), message->len);
        }
        rd_kafka_message_destroy(message);
      }
    }
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return values;
  }
  void Hang() override { rd_kafka_mock_broker_set_rtt(cluster_, 1, 60'000); }
  void Cut() override {
    rd_kafka_mock_broker_set_down(cluster_, 1);
    std::this_thread::sleep_for(milliseconds(50));
    rd_kafka_mock_broker_set_up(cluster_, 1);
  }
  void Recover() { rd_kafka_mock_broker_set_rtt(cluster_, 1, 0); }
  bool recovers() const override { return true; }
  rd_kafka_mock_cluster_t* cluster() { return cluster_; }

 private:
  rd_kafka_t* client_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
  std::string bootstrap_;
};

// A sink on a thread, driven as a dispatcher does.
class Driver {
 public:
  explicit Driver(const std::string& address, std::string dispatcher = "7-1", size_t max_bytes = 64 << 10,
                  std::string feed = "feed", uint32_t refused = 0) {
    const auto parsed = ParseSinkAddress(address);
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    executor_.RunAndWait([&] {
      sink_ = MakeSink(
          executor_, [this](const std::string&) { return background_; }, observer_,
          {std::move(feed), std::move(dispatcher), OwnerEpoch(3), refused}, *parsed,
          {.max_buffered_bytes = max_bytes}, [this] { return permitted_.load(); });
    });
  }
  ~Driver() { Destroy(); }
  void Destroy() {
    executor_.RunAndWait([this] { sink_.reset(); });
  }

  bool Write(uint64_t position, Message message) {
    bool taken = false;
    executor_.RunAndWait([&] {
      taken = sink_->Write(position, message);
      most_ = std::max(most_, sink_->buffered_bytes());
    });
    return taken;
  }
  // Writes `from` to `to`, waiting for room; false if the sink failed meanwhile.
  bool WriteAll(uint64_t from, uint64_t to, size_t bytes = 200) {
    for (uint64_t n = from; n <= to; ++n) {
      while (!Write(n, LineOf(n, bytes))) {
        if (Seen().error) return false;
        std::this_thread::sleep_for(milliseconds(1));
      }
    }
    return true;
  }
  RecordingObserver Seen() {
    RecordingObserver seen;
    executor_.RunAndWait([&] { seen = observer_; });
    return seen;
  }
  // Waits for that position or a failure.
  RecordingObserver WaitFor(uint64_t position, Duration limit = seconds(30)) {
    const auto deadline = steady_clock::now() + limit;
    for (;;) {
      RecordingObserver seen = Seen();
      if (seen.flushed >= position || seen.error || steady_clock::now() > deadline) return seen;
      std::this_thread::sleep_for(milliseconds(2));
    }
  }
  size_t most_buffered() const { return most_; }
  void Revoke() { permitted_ = false; }

 private:
  runtime::RealExecutor executor_{"sink-test"};
  runtime::RealExecutor endings_{"sink-endings"};
  runtime::RealDisk disk_{endings_};
  const std::shared_ptr<Background> background_ = std::make_shared<Background>(endings_, disk_);
  RecordingObserver observer_;
  std::atomic<bool> permitted_{true};
  size_t most_ = 0;
  std::unique_ptr<Sink> sink_;
};

// All that was reported flushed is there, in order: no gap before `flushed`, nothing twice unless `repeats`.
void ExpectDelivered(const std::vector<std::string>& delivered, uint64_t flushed, size_t bytes = 200) {
  size_t at = 0;
  for (uint64_t n = 1; n <= flushed; ++n) {
    const std::string line = LineOf(n, bytes).value;
    while (at < delivered.size() && delivered[at] != line) ++at;
    ASSERT_LT(at, delivered.size()) << "line " << n << " of " << flushed << " is missing";
  }
}

class NetSink : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "redis" && !std::filesystem::exists("/usr/bin/redis-server")) {
      GTEST_SKIP() << "redis-server is not installed";
    }
    if (GetParam() == "nats" && !std::filesystem::exists("/usr/sbin/nats-server")) {
      GTEST_SKIP() << "nats-server is not installed";
    }
    if (GetParam() == "redis") system_ = std::make_unique<RedisSystem>();
    if (GetParam() == "nats") system_ = std::make_unique<NatsSystem>();
    if (GetParam() == "kafka") system_ = std::make_unique<KafkaSystem>();
  }
  std::unique_ptr<System> system_;
};

TEST_P(NetSink, DeliversEverythingInOrder) {
  Driver driver(system_->Address(""));
  ASSERT_TRUE(driver.WriteAll(1, 3000));
  const auto seen = driver.WaitFor(3000);
  EXPECT_EQ(seen.flushed, 3000u) << (seen.error ? seen.error->message : "");
  EXPECT_TRUE(seen.rising);
  EXPECT_LE(driver.most_buffered(), 64u << 10);
  const auto delivered = system_->Delivered();
  EXPECT_EQ(delivered.size(), 3000u);
  ExpectDelivered(delivered, 3000);
}

TEST_P(NetSink, ARefusedConnectionIsAnErrorInTime) {
  const auto start = steady_clock::now();
  Driver driver(system_->Address("timeout=1s", FreePort()));
  (void)driver.Write(1, LineOf(1));
  const auto seen = driver.WaitFor(1);
  ASSERT_TRUE(seen.error.has_value());
  EXPECT_EQ(seen.error->code, FeedErrorCode::kSinkUnavailable) << seen.error->message;
  EXPECT_THAT(seen.error->message, HasSubstr("127.0.0.1"));
  EXPECT_EQ(seen.flushed, 0u);
  EXPECT_LT(steady_clock::now() - start, seconds(15));
}

TEST_P(NetSink, AServerThatHangsIsAnErrorInTimeAndMemoryIsBounded) {
  Driver driver(system_->Address("timeout=1s"));
  ASSERT_TRUE(driver.WriteAll(1, 200));
  ASSERT_EQ(driver.WaitFor(200).flushed, 200u);
  system_->Hang();
  const auto start = steady_clock::now();
  EXPECT_FALSE(driver.WriteAll(201, 100'000));
  const auto seen = driver.WaitFor(100'000);
  ASSERT_TRUE(seen.error.has_value());
  EXPECT_LT(steady_clock::now() - start, seconds(15));
  EXPECT_EQ(seen.error->code, FeedErrorCode::kSinkUnavailable) << seen.error->message;
  EXPECT_LE(driver.most_buffered(), 64u << 10);
  EXPECT_TRUE(seen.once && seen.rising);
  driver.Destroy();
  ExpectDelivered(system_->Delivered(), seen.flushed);
}

TEST_P(NetSink, ADisconnectInTheMiddleLosesNothingThatWasReported) {
  Driver driver(system_->Address("timeout=5s"));
  ASSERT_TRUE(driver.WriteAll(1, 500));
  system_->Cut();
  const bool all = driver.WriteAll(501, 2000);
  const auto seen = driver.WaitFor(2000);
  if (system_->recovers()) {
    EXPECT_TRUE(all);
    EXPECT_EQ(seen.flushed, 2000u) << (seen.error ? seen.error->message : "");
  } else {
    ASSERT_TRUE(seen.error.has_value());
    EXPECT_EQ(seen.error->code, FeedErrorCode::kSinkUnavailable) << seen.error->message;
  }
  ExpectDelivered(system_->Delivered(), seen.flushed);
}

TEST_P(NetSink, WithoutPermitNothingMoreIsSent) {
  Driver driver(system_->Address(""));
  ASSERT_TRUE(driver.WriteAll(1, 100));
  ASSERT_EQ(driver.WaitFor(100).flushed, 100u);
  driver.Revoke();
  (void)driver.Write(101, LineOf(101, 200));
  const auto seen = driver.WaitFor(101);
  ASSERT_TRUE(seen.error.has_value());
  EXPECT_THAT(seen.error->message, HasSubstr("lease"));
  driver.Destroy();
  EXPECT_EQ(system_->Delivered().size(), 100u);
}

TEST_P(NetSink, DestroyingOneThatHangsDoesNotWaitForItsTimeLimit) {
  auto driver = std::make_unique<Driver>(system_->Address("timeout=60s"));
  ASSERT_TRUE(driver->WriteAll(1, 10));
  ASSERT_EQ(driver->WaitFor(10).flushed, 10u);
  system_->Hang();
  ASSERT_TRUE(driver->WriteAll(11, 20));
  std::this_thread::sleep_for(milliseconds(100));
  const auto start = steady_clock::now();
  driver->Destroy();
  EXPECT_LT(steady_clock::now() - start, seconds(10));
}

INSTANTIATE_TEST_SUITE_P(All, NetSink, testing::Values("redis", "nats", "kafka"),
                         [](const auto& info) { return info.param; });

// ---- what only one of them has ----

TEST(RedisSink, AnErrorOfTheServerIsTold) {
  RedisSystem system;
  redisContext* context = redisConnect("127.0.0.1", system.port());
  freeReplyObject(redisCommand(context, "SET feed string"));
  redisFree(context);
  Driver driver(system.Address("", 0));
  (void)driver.Write(1, LineOf(1));
  const auto seen = driver.WaitFor(1);
  ASSERT_TRUE(seen.error.has_value());
  EXPECT_EQ(seen.error->code, FeedErrorCode::kIncompatibleProtocol) << seen.error->message;
  EXPECT_THAT(seen.error->message, HasSubstr("WRONGTYPE"));
}

// One row of `orders`, one of `items`, and what is said of all, before and after them.
void WriteToTwoTables(Driver& driver) {
  Message resolved = LineOf(9);
  resolved.kind = Message::Kind::kResolved;
  resolved.table.clear();
  ASSERT_TRUE(driver.Write(1, resolved));
  ASSERT_TRUE(driver.Write(2, LineOf(2)));
  Message item = LineOf(3);
  item.table = "items";
  ASSERT_TRUE(driver.Write(3, item));
  ASSERT_TRUE(driver.Write(4, resolved));
  const auto seen = driver.WaitFor(4);
  EXPECT_EQ(seen.flushed, 4u) << (seen.error ? seen.error->message : "");
}

TEST(RedisSink, ResolvedTimestampsGoToEveryStreamOfATemplate) {
  RedisSystem system;
  Driver driver(fmt::format("redis://127.0.0.1:{}/{{database}}.{{table}}", system.port()));
  WriteToTwoTables(driver);
  EXPECT_THAT(system.Read("shop.orders"), testing::ElementsAre("line 2", "line 9"));
  EXPECT_THAT(system.Read("shop.items"), testing::ElementsAre("line 3", "line 9"));
  EXPECT_THAT(system.Read("shop.keys"), testing::IsEmpty());
}

TEST(NatsSink, ResolvedTimestampsGoToEverySubjectOfATemplate) {
  NatsSystem system;
  // One for each table: nothing takes "shop.keys".
  system.AddStream("ORDERS", "shop.orders");
  system.AddStream("ITEMS", "shop.items");
  Driver driver(fmt::format("nats://127.0.0.1:{}/{{database}}.{{table}}?timeout=5s", system.port()));
  WriteToTwoTables(driver);
  EXPECT_THAT(system.Read("ORDERS"), testing::ElementsAre("line 2", "line 9"));
  EXPECT_THAT(system.Read("ITEMS"), testing::ElementsAre("line 3", "line 9"));
}

// A table may have any name.
TEST(NetSinks, ANameThatIsNoTopicOrSubjectIsSaidPlainly) {
  KafkaSystem kafka;
  NatsSystem nats;
  const std::string host = kafka.Address("", 0).substr(0, kafka.Address("", 0).rfind('/'));
  for (const std::string& address :
       {host + "/{table}?protocol=json", fmt::format("nats://127.0.0.1:{}/{{table}}", nats.port())}) {
    Driver driver(address);
    Message message = LineOf(1);
    message.table = "big orders";
    ASSERT_TRUE(driver.Write(1, message));
    const auto seen = driver.WaitFor(1);
    ASSERT_TRUE(seen.error.has_value()) << address;
    EXPECT_EQ(seen.error->code, FeedErrorCode::kBadSinkAddress) << seen.error->message;
    EXPECT_THAT(seen.error->message, HasSubstr("\"big orders\""));
  }
}

TEST(RedisSink, StreamsAreTrimmed) {
  RedisSystem system;
  Driver driver(system.Address("maxlen=100", 0));
  ASSERT_TRUE(driver.WriteAll(1, 2000));
  EXPECT_EQ(driver.WaitFor(2000).flushed, 2000u);
  EXPECT_LT(system.Delivered().size(), 400u);
}

// The server keeps one message of an id: what comes again after a crash is there already. What another changefeed
// says is no repetition, and what is delivered again after a refusal has to lie behind what was stored of it.
TEST(NatsSink, WhatIsTakenForARepetition) {
  NatsSystem system;
  const auto deliver = [&](const std::string& feed, uint32_t refused) {
    Driver driver(system.Address("", 0), "7-1", 64 << 10, feed, refused);
    ASSERT_TRUE(driver.WriteAll(1, 50));
    EXPECT_EQ(driver.WaitFor(50).flushed, 50u);
  };
  deliver("feed", 0);
  EXPECT_EQ(system.Delivered().size(), 50u);
  deliver("feed", 0);
  EXPECT_EQ(system.Delivered().size(), 50u);
  deliver("another", 0);
  EXPECT_EQ(system.Delivered().size(), 100u);
  deliver("feed", 1);
  EXPECT_EQ(system.Delivered().size(), 150u);
  deliver("feed", 2);
  EXPECT_EQ(system.Delivered().size(), 200u);
}

TEST(NatsSink, ASubjectWithoutStreamIsAnErrorThatDoesNotHeal) {
  NatsSystem system;
  Driver driver(fmt::format("nats://127.0.0.1:{}/nobody?timeout=2s", system.port()));
  (void)driver.Write(1, LineOf(1));
  const auto seen = driver.WaitFor(1);
  ASSERT_TRUE(seen.error.has_value());
  EXPECT_EQ(seen.error->code, FeedErrorCode::kUnknownTopic) << seen.error->message;
  EXPECT_EQ(seen.flushed, 0u);
}

TEST(KafkaSink, SchemaChangesAndResolvedTimestampsGoToAllPartitionsAndKeysToTheirs) {
  KafkaSystem system;
  rd_kafka_mock_topic_create(system.cluster(), "shop.orders", 4, 1);
  const std::string host = system.Address("", 0).substr(0, system.Address("", 0).rfind('/'));
  Driver driver(host + "/{database}.{table}?protocol=json");
  for (uint64_t n = 1; n <= 100; ++n) ASSERT_TRUE(driver.Write(n, LineOf(n)));
  Message schema = LineOf(101);
  schema.kind = Message::Kind::kSchema;
  Message resolved = LineOf(102);
  resolved.kind = Message::Kind::kResolved;
  ASSERT_TRUE(driver.Write(101, schema));
  ASSERT_TRUE(driver.Write(102, resolved));
  EXPECT_EQ(driver.WaitFor(102).flushed, 102u);
  const auto values = system.Read("shop.orders", 4);
  EXPECT_EQ(values.size(), 108u);
  EXPECT_EQ(std::count(values.begin(), values.end(), "line 101"), 4);
  EXPECT_EQ(std::count(values.begin(), values.end(), "line 102"), 4);
}

TEST(KafkaSink, ATopicThatMayNotBeCreatedIsAnErrorThatDoesNotHeal) {
  KafkaSystem system;
  const std::string host = system.Address("", 0).substr(0, system.Address("", 0).rfind('/'));
  Driver driver(host + "/nothing?auto-create=false&timeout=5s");
  const auto seen = driver.WaitFor(1);
  ASSERT_TRUE(seen.error.has_value());
  EXPECT_EQ(seen.error->code, FeedErrorCode::kUnknownTopic) << seen.error->message;
}

TEST(KafkaSink, AMessageBeyondTheLimitIsAnErrorThatDoesNotHeal) {
  KafkaSystem system;
  Driver driver(system.Address("max-message-bytes=2000", 0));
  ASSERT_TRUE(driver.Write(1, LineOf(1)));
  ASSERT_TRUE(driver.Write(2, LineOf(2, 5000)));
  const auto seen = driver.WaitFor(2);
  ASSERT_TRUE(seen.error.has_value());
  EXPECT_EQ(seen.error->code, FeedErrorCode::kMessageTooLarge) << seen.error->message;
}

TEST(KafkaSink, RetriableErrorsOfTheBrokerAreRetriedInOrder) {
  KafkaSystem system;
  Driver driver(system.Address("timeout=20s", 0));
  ASSERT_TRUE(driver.WriteAll(1, 100));
  ASSERT_EQ(driver.WaitFor(100).flushed, 100u);
  rd_kafka_mock_push_request_errors(
      system.cluster(), 0 /*Produce*/, 3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
      RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
  ASSERT_TRUE(driver.WriteAll(101, 1000));
  const auto seen = driver.WaitFor(1000);
  EXPECT_EQ(seen.flushed, 1000u) << (seen.error ? seen.error->message : "");
  const auto delivered = system.Delivered();
  ExpectDelivered(delivered, 1000);
}

// The mock cluster does not fence producers by itself: the answer that a broker gives an older one is put
// into it.
TEST(KafkaSink, ExactlyOnceCommitsAndAFencedWriterReportsNothing) {
  KafkaSystem system;
  Driver driver(system.Address("exactly-once=true&timeout=10s", 0));
  ASSERT_TRUE(driver.WriteAll(1, 100));
  const auto committed = driver.WaitFor(100);
  ASSERT_EQ(committed.flushed, 100u) << (committed.error ? committed.error->message : "");
  rd_kafka_mock_push_request_errors(system.cluster(), 26 /*EndTxn*/, 1, RD_KAFKA_RESP_ERR_PRODUCER_FENCED);
  (void)driver.Write(101, LineOf(101, 200));
  const auto fenced = driver.WaitFor(101);
  ASSERT_TRUE(fenced.error.has_value());
  EXPECT_EQ(fenced.error->code, FeedErrorCode::kFencedBySink) << fenced.error->message;
  EXPECT_EQ(fenced.flushed, 100u) << "what is not committed is not there";
}

TEST(KafkaSink, AWriterWhosePermitEndsWhileItBeginsDoesNotTryAgain) {
  KafkaSystem system;
  rd_kafka_mock_broker_set_rtt(system.cluster(), 1, 2000);
  Driver driver(system.Address("exactly-once=true&timeout=60s", 0));
  std::this_thread::sleep_for(milliseconds(100));
  driver.Revoke();
  const auto start = steady_clock::now();
  const auto seen = driver.WaitFor(1);
  ASSERT_TRUE(seen.error.has_value());
  EXPECT_EQ(seen.error->message, NotPermitted().message);
  EXPECT_FALSE(seen.opened);
  EXPECT_LT(steady_clock::now() - start, seconds(10));
}

}  // namespace
}  // namespace tenure::changefeed
