#include "changefeed/sink/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tenure::changefeed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Kind = SinkAddress::Kind;

SinkAddress Of(std::string_view text) {
  const auto address = ParseSinkAddress(text);
  EXPECT_TRUE(address.ok()) << text << ": " << address.status();
  return address.ok() ? *address : SinkAddress();
}

TEST(SinkAddress, Kafka) {
  const SinkAddress plain = Of("kafka://a:9092,b:9093/{database}.{table}");
  EXPECT_EQ(plain.kind, Kind::kKafka);
  EXPECT_THAT(plain.hosts, ElementsAre("a:9092", "b:9093"));
  EXPECT_EQ(plain.protocol, Protocol::kDebezium) << "existing consumers understand it";
  EXPECT_EQ(FillTemplate(plain.target, "shop", "orders"), "shop.orders");
  EXPECT_EQ(FillTemplate(plain.target, "shop", ""), "shop.keys");
  const SinkAddress full =
      Of("kafka://a:1/t?protocol=json&partition=ts&auto-create=false&exactly-once=true&compression=zstd&"
         "max-message-bytes=2MiB&timeout=30s");
  EXPECT_EQ(full.protocol, Protocol::kJson);
  EXPECT_EQ(full.partition, SinkAddress::Partition::kTs);
  EXPECT_FALSE(full.auto_create);
  EXPECT_TRUE(full.exactly_once);
  EXPECT_EQ(full.compression, "zstd");
  EXPECT_EQ(full.max_message_bytes, uint64_t{2} << 20);
  EXPECT_EQ(full.timeout, std::chrono::seconds(30));
}

TEST(SinkAddress, TheOthers) {
  const SinkAddress file = Of("file:///var/feeds%20x?rotate=1GiB&format=csv&flush=5ms");
  EXPECT_EQ(file.target, "/var/feeds x");
  EXPECT_EQ(file.rotate_bytes, uint64_t{1} << 30);
  EXPECT_EQ(file.protocol, Protocol::kCsv);
  const SinkAddress redis = Of("redis://u:p%40ss@host/feed:{table}?maxlen=1000");
  EXPECT_THAT(redis.hosts, ElementsAre("host:6379"));
  EXPECT_EQ(redis.user, "u");
  EXPECT_EQ(redis.password, "p@ss");
  EXPECT_EQ(redis.max_length, 1000u);
  EXPECT_THAT(WithoutSecrets(redis), testing::Not(HasSubstr("p@ss")));
  EXPECT_THAT(Of("nats://[::1]:4333/feeds.{table}").hosts, ElementsAre("[::1]:4333"));
  EXPECT_THAT(Of("redis://::1:6379/t").hosts, ElementsAre("[::1]:6379"));
  EXPECT_EQ(Of("stdout:").kind, Kind::kStdout);
  EXPECT_EQ(Of("stdout:?protocol=csv").protocol, Protocol::kCsv);
}

TEST(SinkAddress, ErrorsNameTheField) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "begins with none of kafka://"},
      {"http://a/b", "\"http\" begins with none of"},
      {"kafka:a:1/t", "\"//\" is missing"},
      {"kafka://a/t", "port: \"a\" has none"},
      {"kafka://:9092/t", "host: \":9092\" has none"},
      {"redis://[]:6379/t", "host: \"[]:6379\" has none"},
      {"kafka://a:0/t", "port: \"0\""},
      {"kafka://a:70000/t", "port: \"70000\""},
      {"kafka://a:1x/t", "port: \"1x\""},
      {"kafka://a:1,,b:2/t", "host: \"\" has none"},
      {"kafka://a:1", "topic: is missing"},
      {"kafka://a:1/a b", "topic: \"a b\" has ' '"},
      {"kafka://a:1/{schema}", "topic: \"{schema}\" has '{'"},
      {"kafka://u:p@a:1/t", "user: kafka:// takes none"},
      {"kafka://a:1/t?protocol=csv", "protocol: \"csv\" is none of debezium,json"},
      {"kafka://a:1/t?partition=x", "partition: \"x\""},
      {"kafka://a:1/t?auto-create=yes", "auto-create: \"yes\" is neither"},
      {"kafka://a:1/t?compression=rar", "compression: \"rar\""},
      {"kafka://a:1/t?max-message-bytes=10", "max-message-bytes: \"10\" is not between 1000"},
      {"kafka://a:1/t?max-message-bytes=9999999999GiB",
       "max-message-bytes: \"9999999999GiB\" is not between"},
      {"kafka://a:1/t?timeout=1h", "timeout: \"1h\" is no duration between 100 ms"},
      {"kafka://a:1/t?colour=red", "has no parameter \"colour\"; there are protocol,partition"},
      {"kafka://a:1/t?protocol", "parameter \"protocol\" has no value"},
      {"kafka://a:1/t?timeout=1s&timeout=2s", "parameter \"timeout\" is given twice"},
      {"kafka://a:1/t?rotate=1MiB", "has no parameter \"rotate\""},
      {"file://var/x", "directory: \"var\" is no absolute path"},
      {"file:///", "directory: is missing"},
      {"file:///x?rotate=5", "rotate: \"5\" is not between 1024"},
      {"file:///x?rotate=5MB", "rotate: \"5MB\" is no size"},
      {"file:///x?format=debezium", "format: \"debezium\" is none of json,csv"},
      {"file:///x%2", "directory: '%'"},
      {"redis://a,b/s", "host: redis:// takes one, 2 are given"},
      {"redis://secret@a/s", "user: has no password"},
      {"nats://a/s:x", "subject: \"s:x\" has ':'"},
      {"stdout:x", "stdout: takes no host or path"}};
  for (const auto& [text, message] : cases) {
    const auto address = ParseSinkAddress(text);
    ASSERT_EQ(address.status().code(), StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(MessageOf(address.status())), HasSubstr(message)) << text;
    EXPECT_THAT(std::string(MessageOf(address.status())), testing::Not(HasSubstr("secret")));
  }
}

}  // namespace
}  // namespace tenure::changefeed
