#include "cli/log_decoding.h"

#include <absl/strings/escaping.h>
#include <google/protobuf/descriptor.h>

#include "base/format.h"
#include "base/utf8.h"
#include "store/region_store.h"
#include "tenure/internal/v1/command.pb.h"

namespace tenure::cli {
namespace {

namespace gpb = ::google::protobuf;

constexpr size_t kMaxText = 200;

std::string RoleName(raft::MemberRole role) {
  switch (role) {
    case raft::MemberRole::kVoter:
      return "voter";
    case raft::MemberRole::kLearner:
      return "learner";
    case raft::MemberRole::kIncoming:
      return "incoming";
    case raft::MemberRole::kOutgoing:
      return "outgoing";
    case raft::MemberRole::kDemoting:
      return "demoting";
  }
  return "unknown";
}

// Element `i` of a repeated field, or the field itself if `i` is -1.
Json FieldToJson(const gpb::Message& message, const gpb::FieldDescriptor& field, int i) {
  const gpb::Reflection& get = *message.GetReflection();
  const bool many = i >= 0;
  switch (field.cpp_type()) {
    case gpb::FieldDescriptor::CPPTYPE_INT32:
      return many ? get.GetRepeatedInt32(message, &field, i) : get.GetInt32(message, &field);
    case gpb::FieldDescriptor::CPPTYPE_UINT32:
      return many ? get.GetRepeatedUInt32(message, &field, i) : get.GetUInt32(message, &field);
    case gpb::FieldDescriptor::CPPTYPE_INT64:
      return fmt::format("{}",
                         many ? get.GetRepeatedInt64(message, &field, i) : get.GetInt64(message, &field));
    case gpb::FieldDescriptor::CPPTYPE_UINT64:
      return fmt::format("{}",
                         many ? get.GetRepeatedUInt64(message, &field, i) : get.GetUInt64(message, &field));
    case gpb::FieldDescriptor::CPPTYPE_DOUBLE:
      return many ? get.GetRepeatedDouble(message, &field, i) : get.GetDouble(message, &field);
    case gpb::FieldDescriptor::CPPTYPE_FLOAT:
      return many ? get.GetRepeatedFloat(message, &field, i) : get.GetFloat(message, &field);
    case gpb::FieldDescriptor::CPPTYPE_BOOL:
      return many ? get.GetRepeatedBool(message, &field, i) : get.GetBool(message, &field);
    case gpb::FieldDescriptor::CPPTYPE_ENUM: {
      const int number =
          many ? get.GetRepeatedEnumValue(message, &field, i) : get.GetEnumValue(message, &field);
      const gpb::EnumValueDescriptor* value = field.enum_type()->FindValueByNumber(number);
      return value == nullptr ? Json(number) : Json(value->name());
    }
    case gpb::FieldDescriptor::CPPTYPE_STRING:
      return many ? get.GetRepeatedString(message, &field, i) : get.GetString(message, &field);
    case gpb::FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageToJson(many ? get.GetRepeatedMessage(message, &field, i)
                                : get.GetMessage(message, &field));
  }
  return nullptr;
}

std::string Base64(std::string_view bytes) {
  return absl::Base64Escape(absl::string_view(bytes.data(), bytes.size()));
}

Json Undecodable(std::string_view reason) {
  return {{"undecodable", std::string(reason)}};
}

// A word of a client's command: text, or {"base64": ...}.
Json WordToJson(std::string_view word) {
  return IsValidUtf8(word) ? Json(std::string(word)) : Json({{"base64", Base64(word)}});
}

std::string RowKeyText(const store::RowKey& key) {
  return key.table == 0 ? Printable(key.key) : fmt::format("{}:{}", key.table, Printable(key.key));
}

// "set 7:42 qty=3": the table by its id, columns by their names.
std::string RowsToText(const store::RowCommand& rows) {
  std::string text(store::NameOf(rows.operation));
  for (const store::RowKey& key : rows.keys) text += " " + RowKeyText(key);
  for (size_t i = 0; i < rows.columns->size() && text.size() <= kMaxText; ++i) {
    text += " " + Printable((*rows.columns)[i].name);
    if (i < rows.values.size()) text += "=" + Printable(rows.values[i]);
  }
  return text;
}

Json RowsToJson(const store::RowCommand& rows) {
  Json json = {{"operation", std::string(store::NameOf(rows.operation))}, {"ttl_ms", rows.ttl_ms}};
  json["keys"] = Json::array();
  for (const store::RowKey& key : rows.keys) {
    json["keys"].push_back({{"table", IdText(key.table)},
                            {"version", IdText(key.version)},
                            {"slot", key.slot},
                            {"key", WordToJson(key.key)}});
  }
  json["columns"] = Json::array();
  for (size_t i = 0; i < rows.columns->size(); ++i) {
    const store::RowColumn& column = (*rows.columns)[i];
    Json shown = {{"id", column.id}, {"name", WordToJson(column.name)}};
    if (i < rows.values.size()) shown["value"] = WordToJson(rows.values[i]);
    json["columns"].push_back(std::move(shown));
  }
  return json;
}

std::string StepToText(const store::Step& step) {
  if (const auto* rows = std::get_if<store::RowCommand>(&step)) return RowsToText(*rows);
  if (const auto* answer = std::get_if<store::Reply>(&step)) return "answered: " + Printable(answer->text);
  std::string text;
  for (const std::string& word : std::get<store::Arguments>(step)) {
    if (text.size() <= kMaxText) text += (text.empty() ? "" : " ") + Printable(word);
  }
  return text;
}

Json StepToJson(const store::Step& step) {
  if (const auto* rows = std::get_if<store::RowCommand>(&step)) return RowsToJson(*rows);
  if (const auto* answer = std::get_if<store::Reply>(&step)) return {{"answered", WordToJson(answer->text)}};
  Json words = Json::array();
  for (const std::string& word : std::get<store::Arguments>(step)) words.push_back(WordToJson(word));
  return words;
}

Json RegionCommandToJson(std::string_view payload) {
  const StatusOr<store::WriteCommand> command = store::DecodeWriteCommand(payload);
  if (!command.ok()) return Undecodable(MessageOf(command.status()));
  Json json;
  switch (command->kind) {
    case store::WriteCommand::Kind::kSingle:
      json["kind"] = "command";
      break;
    case store::WriteCommand::Kind::kTransaction:
      json["kind"] = "transaction";
      break;
    case store::WriteCommand::Kind::kSweep:
      json["kind"] = "sweep";
      json["limit"] = command->sweep_limit;
      break;
    case store::WriteCommand::Kind::kRange:
      json["kind"] = "range";
      json["change"] = std::string(store::NameOf(command->range->op));
      json["procedure"] = IdText(command->range->procedure);
      json["if_version"] = IdText(command->range->if_version);
      json["slots"] = {command->range->slots.first, command->range->slots.last};
      json["pairs"] = command->range->pairs.size();
      break;
    case store::WriteCommand::Kind::kSchema:
      json["kind"] = "schema";
      json["table"] = IdText(command->schema->table);
      json["version"] = command->schema->version;
      json["drop"] = command->schema->drop;
      return json;
    case store::WriteCommand::Kind::kKeepChanges:
      json["kind"] = "keep_changes";
      json["keep"] = command->keep_changes->keep;
      json["floor_ts"] = IdText(command->keep_changes->floor_ts);
      json["max_bytes"] = IdText(command->keep_changes->max_bytes);
      break;
    case store::WriteCommand::Kind::kResolve:
      json["kind"] = "resolve";
      break;
    case store::WriteCommand::Kind::kRows:
      json["kind"] = "rows";
      break;
    case store::WriteCommand::Kind::kRowTransaction:
      json["kind"] = "row_transaction";
      break;
  }
  json["now_ms"] = ToMillis(command->now);
  if (command->commands.empty() && command->kind != store::WriteCommand::Kind::kTransaction) return json;
  json["commands"] = Json::array();
  for (const store::Arguments& arguments : command->commands) {
    Json words = Json::array();
    for (const auto& argument : arguments) words.push_back(WordToJson(argument));
    json["commands"].push_back(std::move(words));
  }
  for (const store::Step& step : command->steps) json["commands"].push_back(StepToJson(step));
  if (command->watches.empty()) return json;
  json["watches"] = Json::array();
  for (const store::WatchedKey& watch : command->watches) {
    json["watches"].push_back({{"key", WordToJson(watch.key)}, {"version", IdText(watch.version)}});
    if (watch.table != 0) json["watches"].back()["table"] = IdText(watch.table);
  }
  return json;
}

std::string RegionCommandToText(std::string_view payload) {
  const StatusOr<store::WriteCommand> command = store::DecodeWriteCommand(payload);
  if (!command.ok()) return "cannot be decoded: " + std::string(MessageOf(command.status()));
  if (command->kind == store::WriteCommand::Kind::kSweep)
    return fmt::format("sweep of {} keys", command->sweep_limit);
  if (command->kind == store::WriteCommand::Kind::kRange) {
    return fmt::format("range: {} of procedure {}, slots {}-{}, {} pairs", store::NameOf(command->range->op),
                       command->range->procedure, command->range->slots.first, command->range->slots.last,
                       command->range->pairs.size());
  }
  if (command->kind == store::WriteCommand::Kind::kSchema) {
    return command->schema->drop ? fmt::format("table {} is dropped", command->schema->table)
                                 : fmt::format("table {} has version {} of its schema",
                                               command->schema->table, command->schema->version);
  }
  if (command->kind == store::WriteCommand::Kind::kKeepChanges) {
    return command->keep_changes->keep
               ? fmt::format("changes are kept after {}", command->keep_changes->floor_ts)
               : "changes are not kept any more";
  }
  if (command->kind == store::WriteCommand::Kind::kResolve)
    return fmt::format("changes are resolved up to {} ms", ToMillis(command->now));
  const bool transaction = command->kind == store::WriteCommand::Kind::kTransaction ||
                           command->kind == store::WriteCommand::Kind::kRowTransaction;
  std::string text = transaction ? "MULTI" : "";
  for (const store::Step& step : command->steps) text += (text.empty() ? "" : "; ") + StepToText(step);
  for (const store::Arguments& arguments : command->commands) {
    if (!text.empty()) text += "; ";
    for (size_t i = 0; i < arguments.size() && text.size() <= kMaxText; ++i)
      text += (i > 0 ? " " : "") + Printable(arguments[i]);
  }
  return text;
}

std::string Text(GroupId group, const raft::Entry& entry) {
  if (entry.type == raft::EntryType::kNoOp) return "";
  if (entry.type == raft::EntryType::kConfiguration) {
    const auto configuration = raft::DecodeConfiguration(entry.payload.view());
    return configuration.ok() ? raft::ToString(*configuration) : "cannot be decoded";
  }
  if (group != kCatalogGroup) return RegionCommandToText(entry.payload.view());
  return EntryToJson(group, entry).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string EntryTypeText(raft::EntryType type) {
  switch (type) {
    case raft::EntryType::kCommand:
      return "command";
    case raft::EntryType::kNoOp:
      return "no-op";
    case raft::EntryType::kConfiguration:
      return "configuration";
  }
  return "unknown";
}

Json MessageToJson(const gpb::Message& message) {
  Json json = Json::object();
  std::vector<const gpb::FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const gpb::FieldDescriptor* field : fields) {
    if (field->is_repeated()) {
      Json list = Json::array();
      const int count = message.GetReflection()->FieldSize(message, field);
      for (int i = 0; i < count; ++i) {
        Json element = FieldToJson(message, *field, i);
        if (field->type() == gpb::FieldDescriptor::TYPE_BYTES)
          element = WordToJson(element.get<std::string>());
        list.push_back(std::move(element));
      }
      json[field->name()] = std::move(list);
    } else if (field->type() == gpb::FieldDescriptor::TYPE_BYTES) {
      SetBytes(json, field->name(), message.GetReflection()->GetString(message, field));
    } else {
      json[field->name()] = FieldToJson(message, *field, -1);
    }
  }
  return json;
}

Json ConfigurationToJson(const raft::Configuration& configuration) {
  Json json = Json::array();
  for (const raft::Member& member : configuration.members) {
    json.push_back({{"replica", IdText(member.id.value())},
                    {"host", IdText(member.host)},
                    {"role", RoleName(member.role)}});
  }
  return json;
}

Json EntryToJson(GroupId group, const raft::Entry& entry) {
  if (entry.type == raft::EntryType::kNoOp) return nullptr;
  const std::string_view payload = entry.payload.view();
  if (entry.type == raft::EntryType::kConfiguration) {
    const auto configuration = raft::DecodeConfiguration(payload);
    return configuration.ok() ? Json({{"configuration", ConfigurationToJson(*configuration)}})
                              : Undecodable(MessageOf(configuration.status()));
  }
  if (group != kCatalogGroup) return RegionCommandToJson(payload);
  ::tenure::internal::v1::CatalogCommand command;
  if (!command.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return Undecodable("no valid CatalogCommand");
  return MessageToJson(command);
}

std::string EntryToText(GroupId group, const raft::Entry& entry) {
  std::string text = Text(group, entry);
  if (text.size() > kMaxText) text = text.substr(0, kMaxText) + "...";
  return text;
}

}  // namespace tenure::cli
