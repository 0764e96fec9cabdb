// The address of a sink, as it is given to `changefeed create --sink`.
//
//   kafka://HOST:PORT[,HOST:PORT...]/TOPIC?protocol=debezium|json&partition=key|table|ts&auto-create=true|false
//         &exactly-once=true|false&compression=none|gzip|snappy|lz4|zstd&max-message-bytes=N&timeout=10s
//         TOPIC may hold {database} and {table}. Default: debezium, key, auto-create, at least once.
//   file:///DIRECTORY?rotate=64MiB&format=json|csv&flush=100ms&timeout=10s
//   redis://[USER:PASSWORD@]HOST[:PORT]/STREAM?protocol=json|debezium&maxlen=N&timeout=10s
//         STREAM: template as TOPIC
//   nats://[USER:PASSWORD@]HOST[:PORT]/SUBJECT?protocol=json|debezium&timeout=10s
//         SUBJECT: template as TOPIC
//   stdout:?protocol=json|debezium|csv
//
// Threading:  values.
// Errors:     INVALID_ARGUMENT naming the field and what it may be; passwords are not repeated.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/time.h"
#include "changefeed/format/encoder.h"
#include "changefeed/protocol/feed_error.h"

namespace tenure::changefeed {

struct SinkAddress {
  enum class Kind : uint8_t { kKafka, kFile, kRedis, kNats, kStdout };
  enum class Partition : uint8_t { kKey, kTable, kTs };
  Kind kind = Kind::kStdout;
  std::vector<std::string> hosts;  // "host:port"; one but for Kafka
  std::string target;              // topic, directory, stream or subject
  std::string user;
  std::string password;
  Protocol protocol = Protocol::kJson;
  Duration timeout = std::chrono::seconds(10);
  // kafka
  Partition partition = Partition::kKey;
  bool auto_create = true;
  bool exactly_once = false;
  std::string compression = "none";
  uint64_t max_message_bytes = 1'000'000;
  // file
  uint64_t rotate_bytes = uint64_t{64} << 20;
  Duration flush = std::chrono::milliseconds(100);
  // redis
  uint64_t max_length = 0;  // 0: streams are not trimmed
};

StatusOr<SinkAddress> ParseSinkAddress(std::string_view text);
// For people and logs: the password is left out.
std::string WithoutSecrets(const SinkAddress& address);
// "{database}.{table}" filled in; plain keys have the table "keys".
std::string FillTemplate(std::string_view pattern, std::string_view database, std::string_view table);

// What a filled template has that no topic or subject may have: a table may have any name. None: it is fine.
std::optional<FeedError> CheckFilled(const SinkAddress& address, const std::string& filled);

// The streams or subjects that a template came to in one delivery.
class FilledTargets {
 public:
  explicit FilledTargets(std::string pattern) : pattern_(std::move(pattern)) {}
  // Where a message goes. What is said of all changes goes wherever any went; nowhere, if none did yet.
  std::vector<std::string> Of(const Message& message);

 private:
  const std::string pattern_;
  std::set<std::string> seen_;
};

}  // namespace tenure::changefeed
