#include "changefeed/format/encoder.h"

#include "base/hash.h"
#include "base/utf8.h"
#include "changefeed/format/json_writer.h"

namespace tenure::changefeed {

namespace {

// Of a snapshot: its rows may come from one entry, and the version of one that moved here may be the index of
// another entry.
std::string SnapshotIdOf(const Change& change) {
  const std::string name = change.table + ":" + change.key;
  return fmt::format("s-{}-{}-{:016x}{:016x}", change.commit_ts, change.region, HashBytes(name),
                     HashBytes(name, 1));
}

std::string IdOf(const Change& change) {
  if (change.snapshot) return SnapshotIdOf(change);
  if (change.ordinal == 0) return fmt::format("{}-{}", change.region, change.index);
  return fmt::format("{}-{}.{}", change.region, change.index, change.ordinal);
}

void WriteFields(JsonWriter& json, const Change& change) {
  if (change.fields.empty()) return;
  json.Name("fields");
  json.BeginArray();
  for (const auto& [field, value] : change.fields) {
    json.BeginObject();
    json.TextOrBase64("field", field);
    if (value) json.TextOrBase64("value", *value);
    json.EndObject();
  }
  json.EndArray();
}

// Only of what has one: the first change of an entry is named by the entry.
void WriteOrdinal(JsonWriter& json, const Change& change) {
  if (change.ordinal == 0) return;
  json.Name("ordinal");
  json.Uint(change.ordinal);
}

Message Prepare(const Change& change) {
  return {.kind = Message::Kind::kChange,
          .commit_ts = change.commit_ts,
          .database = change.database,
          .table = change.table,
          .id = IdOf(change)};
}

Message Prepare(const SchemaEvent& event) {
  return {.kind = Message::Kind::kSchema,
          .commit_ts = event.commit_ts,
          .database = event.database,
          .table = event.table,
          .id = fmt::format("d-{}-{}", event.commit_ts, event.table)};
}

Message Prepare(const ResolvedEvent& event) {
  return {.kind = Message::Kind::kResolved,
          .commit_ts = event.resolved_ts,
          .database = event.database,
          .id = fmt::format("r-{}", event.resolved_ts)};
}

void WriteRow(JsonWriter& json, const std::optional<Row>& row) {
  if (!row) return json.Null();
  json.BeginObject();
  for (const Column& column : *row) {
    json.Name(column.name);
    json.Of(column.value);
  }
  json.EndObject();
}

std::string_view OperationOf(const Change& change) {
  if (change.kind == Change::Kind::kDelete) return "delete";
  if (change.snapshot) return "snapshot";
  return change.old_row ? "update" : "put";
}

// ---- json ----

class JsonEncoder final : public Encoder {
 public:
  StatusOr<Message> Encode(const Change& change) const override {
    Message message = Prepare(change);
    message.key = change.key;
    JsonWriter json(message.value);
    json.BeginObject();
    json.Name("type");
    json.String(OperationOf(change));
    json.Name("database");
    json.String(change.database);
    if (!change.table.empty()) {
      json.Name("table");
      json.String(change.table);
      json.Name("schema_version");
      json.Uint(change.schema_version);
    }
    json.TextOrBase64("key", change.key);
    json.Name("commit_ts");
    json.Uint(change.commit_ts.value());
    json.Name("region");
    json.Uint(change.region.value());
    json.Name("index");
    json.Uint(change.index.value());
    WriteOrdinal(json, change);
    if (change.table.empty()) {
      if (change.value) json.TextOrBase64("value", *change.value);
      WriteFields(json, change);
    } else {
      json.Name("old");
      WriteRow(json, change.old_row);
      json.Name("new");
      WriteRow(json, change.new_row);
    }
    json.EndObject();
    return message;
  }

  StatusOr<Message> Encode(const SchemaEvent& event) const override {
    Message message = Prepare(event);
    JsonWriter json(message.value);
    json.BeginObject();
    json.Name("type");
    json.String("schema");
    json.Name("database");
    json.String(event.database);
    json.Name("table");
    json.String(event.table);
    json.Name("schema_version");
    json.Uint(event.schema_version);
    json.Name("commit_ts");
    json.Uint(event.commit_ts.value());
    json.Name("statement");
    json.String(event.statement);
    json.EndObject();
    return message;
  }

  StatusOr<Message> Encode(const ResolvedEvent& event) const override {
    Message message = Prepare(event);
    JsonWriter json(message.value);
    json.BeginObject();
    json.Name("type");
    json.String("resolved");
    json.Name("database");
    json.String(event.database);
    json.Name("resolved_ts");
    json.Uint(event.resolved_ts.value());
    json.EndObject();
    return message;
  }
};

// ---- debezium ----

class DebeziumEncoder final : public Encoder {
 public:
  explicit DebeziumEncoder(std::string connector) : connector_(std::move(connector)) {}

  StatusOr<Message> Encode(const Change& change) const override {
    Message message = Prepare(change);
    JsonWriter key(message.key);
    key.BeginObject();
    key.TextOrBase64("key", change.key);
    key.EndObject();

    JsonWriter json(message.value);
    json.BeginObject();
    json.Name("before");
    WriteImage(json, change, change.old_row, /*is_new=*/false);
    json.Name("after");
    WriteImage(json, change, change.new_row, /*is_new=*/true);
    WriteSource(json, change.database, change.table, change.commit_ts, change.snapshot);
    json.Name("region");
    json.Uint(change.region.value());
    json.Name("index");
    json.Uint(change.index.value());
    WriteOrdinal(json, change);
    json.Name("schema_version");
    json.Uint(change.schema_version);
    json.EndObject();
    json.Name("op");
    json.String(Operation(change));
    json.Name("ts_ms");
    json.Int(PhysicalMillis(change.commit_ts));
    json.Name("transaction");
    json.Null();
    json.EndObject();
    return message;
  }

  // As on Debezium's schema change topic.
  StatusOr<Message> Encode(const SchemaEvent& event) const override {
    Message message = Prepare(event);
    JsonWriter json(message.value);
    json.BeginObject();
    WriteSource(json, event.database, event.table, event.commit_ts, false);
    json.Name("schema_version");
    json.Uint(event.schema_version);
    json.EndObject();
    json.Name("ts_ms");
    json.Int(PhysicalMillis(event.commit_ts));
    json.Name("databaseName");
    json.String(event.database);
    json.Name("ddl");
    json.String(event.statement);
    json.EndObject();
    return message;
  }

  // As Debezium's heartbeat.
  StatusOr<Message> Encode(const ResolvedEvent& event) const override {
    Message message = Prepare(event);
    JsonWriter json(message.value);
    json.BeginObject();
    json.Name("ts_ms");
    json.Int(PhysicalMillis(event.resolved_ts));
    json.Name("resolved_ts");
    json.Uint(event.resolved_ts.value());
    json.Name("databaseName");
    json.String(event.database);
    json.EndObject();
    return message;
  }

 private:
  static std::string_view Operation(const Change& change) {
    if (change.kind == Change::Kind::kDelete) return "d";
    if (change.snapshot) return "r";
    return change.old_row ? "u" : "c";
  }

  // A row with its key; a plain key as a row of "_key" and "value".
  static void WriteImage(JsonWriter& json, const Change& change, const std::optional<Row>& row, bool is_new) {
    const bool plain = change.table.empty() && is_new && change.kind == Change::Kind::kPut;
    if (!row && !plain) return json.Null();
    json.BeginObject();
    json.TextOrBase64("_key", change.key);  // beside a column that may be called "key"
    if (plain && change.value) json.TextOrBase64("value", *change.value);
    if (plain) WriteFields(json, change);
    if (row) {
      for (const Column& column : *row) {
        json.Name(column.name);
        json.Of(column.value);
      }
    }
    json.EndObject();
  }

  // Leaves the object open.
  void WriteSource(JsonWriter& json, std::string_view database, std::string_view table, CommitTs ts,
                   bool snapshot) const {
    json.Name("source");
    json.BeginObject();
    json.Name("version");
    json.String("1");
    json.Name("connector");
    json.String("tenure");
    json.Name("name");
    json.String(connector_);
    json.Name("ts_ms");
    json.Int(PhysicalMillis(ts));
    json.Name("snapshot");
    json.String(snapshot ? "true" : "false");
    json.Name("db");
    json.String(database);
    json.Name("table");
    json.String(table);
    json.Name("commit_ts");
    json.Uint(ts.value());
  }

  const std::string connector_;
};

// ---- csv ----

// RFC 4180. A null is an empty field, an empty text a quoted one. A zero byte, which no reader of CSV
// expects, becomes U+FFFD.
void AppendField(std::string& out, std::string_view text, bool quote_always) {
  const bool quote =
      quote_always || text.find_first_of(std::string_view(",\"\r\n\0", 5)) != std::string_view::npos;
  if (!quote) {
    out += text;
    return;
  }
  out += '"';
  for (const char c : text) {
    if (c == '"') out += '"';
    if (c == '\0') {
      out += "\xEF\xBF\xBD";
    } else {
      out += c;
    }
  }
  out += '"';
}

class CsvEncoder final : public Encoder {
 public:
  StatusOr<Message> Encode(const Change& change) const override {
    if (change.table.empty()) {
      return Error(StatusCode::kInvalidArgument,
                   "plain key \"{}\": the protocol csv has rows of tables only; use json", change.key);
    }
    Message message = Prepare(change);
    message.key = change.key;
    std::string& out = message.value;
    fmt::format_to(std::back_inserter(out), "{},{},{},{}", OperationOf(change), change.commit_ts,
                   change.region, change.index);
    if (change.ordinal != 0) fmt::format_to(std::back_inserter(out), ".{}", change.ordinal);
    out += ',';
    AppendField(out, IsValidUtf8(change.key) ? change.key : Base64(change.key), false);
    const auto& row = change.kind == Change::Kind::kDelete ? change.old_row : change.new_row;
    if (row) {
      for (const Column& column : *row) {
        out += ',';
        Append(out, column.value);
      }
    }
    return message;
  }

  StatusOr<Message> Encode(const SchemaEvent& event) const override {
    Message message = Prepare(event);
    message.value = fmt::format("#schema,{},{},", event.commit_ts, event.schema_version);
    AppendField(message.value, event.statement, false);
    return message;
  }
  StatusOr<Message> Encode(const ResolvedEvent& event) const override {
    Message message = Prepare(event);
    message.value = fmt::format("#resolved,{}", event.resolved_ts);
    return message;
  }

  std::string Header(const Change& first) const override {
    std::string out = "type,commit_ts,region,index,key";
    const auto& row = first.new_row ? first.new_row : first.old_row;
    if (!row) return out;
    for (const Column& column : *row) {
      out += ',';
      AppendField(out, column.name, false);
    }
    return out;
  }

 private:
  static void Append(std::string& out, const Value& value) {
    struct Visitor {
      std::string& to;
      void operator()(std::monostate) {}
      void operator()(int64_t v) { fmt::format_to(std::back_inserter(to), "{}", v); }
      void operator()(double v) { fmt::format_to(std::back_inserter(to), "{}", v); }
      void operator()(bool v) { to += v ? "true" : "false"; }
      void operator()(const std::string& v) { AppendField(to, v, v.empty()); }
      void operator()(const BytesValue& v) { AppendField(to, Base64(v.bytes), v.bytes.empty()); }
      void operator()(const TimestampValue& v) { fmt::format_to(std::back_inserter(to), "{}", v.micros); }
    };
    std::visit(Visitor{out}, value);
  }
};

}  // namespace

std::string_view NameOf(ColumnType type) {
  switch (type) {
    case ColumnType::kInt64:
      return "int64";
    case ColumnType::kFloat64:
      return "float64";
    case ColumnType::kBool:
      return "bool";
    case ColumnType::kText:
      return "text";
    case ColumnType::kBytes:
      return "bytes";
    case ColumnType::kTimestamp:
      return "timestamp";
  }
  return "unknown";
}

std::string_view NameOf(Protocol protocol) {
  switch (protocol) {
    case Protocol::kJson:
      return "json";
    case Protocol::kDebezium:
      return "debezium";
    case Protocol::kCsv:
      return "csv";
  }
  return "unknown";
}

StatusOr<Protocol> ProtocolNamed(std::string_view name) {
  for (const Protocol protocol : {Protocol::kJson, Protocol::kDebezium, Protocol::kCsv}) {
    if (NameOf(protocol) == name) return protocol;
  }
  return Error(StatusCode::kInvalidArgument, "protocol \"{}\": there are json, debezium and csv", name);
}

std::unique_ptr<Encoder> MakeEncoder(Protocol protocol, std::string connector) {
  switch (protocol) {
    case Protocol::kJson:
      return std::make_unique<JsonEncoder>();
    case Protocol::kDebezium:
      return std::make_unique<DebeziumEncoder>(std::move(connector));
    case Protocol::kCsv:
      return std::make_unique<CsvEncoder>();
  }
  return nullptr;
}

}  // namespace tenure::changefeed
