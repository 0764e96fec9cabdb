// tenure kv put | get | delete | list | watch: users' own small metadata in the catalog.

#include <fstream>
#include <iostream>
#include <iterator>

#include "cli/invocation.h"
#include "cli/records.h"
#include "cli/session.h"
#include "cli/watching.h"

namespace tenure::cli {
namespace {

struct PutOptions {
  std::string key;
  std::string value;
  uint64_t if_revision = 0;
  bool if_absent = false;
};
struct GetOptions {
  std::string key;
  bool stale = false;
};
struct DeleteOptions {
  std::string key;
  uint64_t if_revision = 0;
};
struct ListOptions {
  std::string prefix;
  bool keys_only = false;
  bool stale = false;
  uint64_t limit = 0;
};
struct WatchOptions {
  std::string prefix;
  uint64_t after = 0;
};

Status Put(const Invocation& invocation, const PutOptions& options) {
  pb::PutEntryRequest request;
  request.set_key(options.key);
  request.set_value(options.value == "-" ? std::string(std::istreambuf_iterator<char>(std::cin), {})
                                         : options.value);
  request.set_if_revision(options.if_revision);
  request.set_if_absent(options.if_absent);
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  *request.mutable_id() = session->NextRequestId();
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      session->Call<pb::ChangeResponse>("tenure.v1.Catalog/PutEntry", request, invocation.timeout()));
  if (invocation.format == OutputFormat::kJson) {
    Json json;
    SetBytes(json, "key", options.key);
    json["revision"] = answer.revision();
    PrintJson(json);
  } else {
    Print(fmt::format("revision {}\n", answer.revision()));
  }
  return OkStatus();
}

// The value alone, so that it can be piped; everything else with --output json.
Status Get(const Invocation& invocation, const GetOptions& options) {
  pb::GetEntryRequest request;
  request.set_key(options.key);
  request.mutable_read()->set_stale(options.stale);
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      session->Call<pb::GetEntryResponse>("tenure.v1.Catalog/GetEntry", request, invocation.timeout()));
  if (!answer.has_record()) {
    return Error(StatusCode::kNotFound, "entry \"{}\" does not exist at revision {}", Printable(options.key),
                 answer.revision());
  }
  if (invocation.format == OutputFormat::kTable) {
    Print(answer.record().entry().value() + "\n");
    return OkStatus();
  }
  Json json = ToJson(answer.record());
  json["revision"] = answer.revision();
  if (options.stale) json["age_ms"] = answer.age_ms();
  PrintJson(json);
  return OkStatus();
}

Status Delete(const Invocation& invocation, const DeleteOptions& options) {
  pb::DeleteEntryRequest request;
  request.set_key(options.key);
  request.set_if_revision(options.if_revision);
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  *request.mutable_id() = session->NextRequestId();
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      session->Call<pb::ChangeResponse>("tenure.v1.Catalog/DeleteEntry", request, invocation.timeout()));
  if (invocation.format == OutputFormat::kJson) {
    Json json;
    SetBytes(json, "key", options.key);
    json["deleted"] = answer.changed();
    json["revision"] = answer.revision();
    PrintJson(json);
  } else {
    Print(answer.changed() ? fmt::format("deleted at revision {}\n", answer.revision())
                           : "there was no such entry\n");
  }
  return OkStatus();
}

// Page by page, so that any number of entries needs little memory.
Status List(const Invocation& invocation, const ListOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  pb::ListRequest request;
  request.set_kind(pb::RECORD_ENTRY);
  request.set_prefix(options.prefix);
  request.set_keys_only(options.keys_only);
  request.mutable_read()->set_stale(options.stale);
  Json list = Json::array();
  Table table(options.keys_only ? std::vector<std::string>{"KEY", "VERSION", "REVISION"}
                                : std::vector<std::string>{"KEY", "VERSION", "REVISION", "VALUE"});
  uint64_t count = 0;
  do {
    const uint64_t left = options.limit == 0 ? 0 : options.limit - count;
    request.set_limit(static_cast<uint32_t>(std::min<uint64_t>(left, 1000)));
    TENURE_ASSIGN_OR_RETURN(const auto page, session->Call<pb::ListResponse>("tenure.v1.Catalog/List",
                                                                             request, invocation.timeout()));
    for (const pb::Record& record : page.records()) {
      Json json = ToJson(record);
      if (options.keys_only) json.erase("value");
      list.push_back(std::move(json));
      table.AddRow({Printable(record.entry().key()), IdText(record.entry().version()),
                    IdText(record.modify_revision()), Printable(record.entry().value())});
    }
    count += static_cast<uint64_t>(page.records_size());
    request.set_after(page.next_after());
  } while (!request.after().empty() && (options.limit == 0 || count < options.limit));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(list);
  } else {
    Print(table.ToString());
  }
  return OkStatus();
}

Status Watch(const Invocation& invocation, const WatchOptions& options) {
  pb::WatchRequest request;
  request.add_kinds(pb::RECORD_ENTRY);
  request.set_prefix(options.prefix);
  request.set_after_revision(options.after);
  return WatchAndPrint(invocation, request);
}

}  // namespace

void AddEntryCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family = AddFamily(app, "kv", "Your own small metadata: keys up to 1 KiB, values up to 1 MiB");
  const auto put = std::make_shared<PutOptions>();
  CLI::App* command = family->add_subcommand("put", "Write an entry");
  command->add_option("key", put->key)->required();
  command->add_option("value", put->value, "The value; - reads it from stdin")->required();
  auto* if_revision =
      command->add_option("--if-revision", put->if_revision, "Only if its modify revision is this one");
  command->add_flag("--if-absent", put->if_absent, "Only if there is no such entry")->excludes(if_revision);
  OnCommand(command, invocation, put, Put);

  const auto get = std::make_shared<GetOptions>();
  command = family->add_subcommand("get", "Read an entry's value");
  command->add_option("key", get->key)->required();
  command->add_flag("--stale", get->stale, "From any controller, as it is there");
  OnCommand(command, invocation, get, Get);

  const auto remove = std::make_shared<DeleteOptions>();
  command = family->add_subcommand("delete", "Remove an entry");
  command->add_option("key", remove->key)->required();
  command->add_option("--if-revision", remove->if_revision, "Only if its modify revision is this one");
  OnCommand(command, invocation, remove, Delete);

  const auto list = std::make_shared<ListOptions>();
  command = family->add_subcommand("list", "Entries in key order");
  command->add_option("prefix", list->prefix, "Only keys that start with it");
  command->add_flag("--keys-only", list->keys_only, "Without values");
  command->add_flag("--stale", list->stale, "From any controller, as it is there");
  command->add_option("--limit", list->limit, "At most so many");
  OnCommand(command, invocation, list, List);

  const auto watch = std::make_shared<WatchOptions>();
  command = family->add_subcommand("watch", "Print changes of entries as they happen, one line each");
  command->add_option("prefix", watch->prefix, "Only keys that start with it");
  command->add_option("--after", watch->after, "Changes after this revision (default: from now)");
  OnCommand(command, invocation, watch, Watch);
}

}  // namespace tenure::cli
