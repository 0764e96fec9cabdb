// Changes as messages: which bytes go to a sink.
//
//   json       one flat object per change; for people and new consumers
//   debezium   the envelope of Debezium's connectors (before, after, source, op, ts_ms), with its key;
//   tombstones are
//              not sent
//   csv        one line per change; for files of one table
//
// Golden files: tests/changefeed/golden/. Formats: docs/changefeeds.md, "Messages".
// Threading: one owner; encoders keep nothing between calls.
// Errors: INVALID_ARGUMENT for what a format cannot say (a plain key as CSV).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "changefeed/format/change.h"

namespace tenure::changefeed {

enum class Protocol : uint8_t { kJson, kDebezium, kCsv };
std::string_view NameOf(Protocol protocol);
// INVALID_ARGUMENT naming what there is.
StatusOr<Protocol> ProtocolNamed(std::string_view name);

// What a sink delivers.
struct Message {
  enum class Kind : uint8_t { kChange, kSchema, kResolved };
  Kind kind = Kind::kChange;
  CommitTs commit_ts;
  std::string database;
  std::string table;
  std::string key;  // what partitions and compaction go by; empty: none
  std::string value;
  // Names it for ever, for de-duplication: "<region>-<index>[.<n>]", of a snapshot "s-<start>-<region>-<hash of
  // table and key>", "d-<commit ts>-<table>", "r-<ts>". Of the same changes two changefeeds say the same.
  std::string id;
  size_t bytes() const { return sizeof(Message) + key.size() + value.size() + id.size() + table.size(); }
};

class Encoder {
 public:
  virtual ~Encoder() = default;
  virtual StatusOr<Message> Encode(const Change& change) const = 0;
  virtual StatusOr<Message> Encode(const SchemaEvent& event) const = 0;
  virtual StatusOr<Message> Encode(const ResolvedEvent& event) const = 0;
  // A first line for a file that begins, without the line's end; empty: none.
  virtual std::string Header(const Change& /*first*/) const { return {}; }
};

// `connector`: the changefeed's name, as Debezium's `source.name`.
std::unique_ptr<Encoder> MakeEncoder(Protocol protocol, std::string connector);

}  // namespace tenure::changefeed
