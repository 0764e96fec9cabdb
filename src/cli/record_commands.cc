// tenure record get | list | watch: the catalog's own records, as they are stored.

#include "cli/invocation.h"
#include "cli/queries.h"
#include "cli/records.h"
#include "cli/session.h"
#include "cli/watching.h"

namespace tenure::cli {
namespace {

const std::map<std::string, pb::RecordKind> kKinds = {
    {"cluster", pb::RECORD_CLUSTER},      {"controller", pb::RECORD_CONTROLLER}, {"node", pb::RECORD_NODE},
    {"database", pb::RECORD_DATABASE},    {"region", pb::RECORD_REGION},         {"entry", pb::RECORD_ENTRY},
    {"procedure", pb::RECORD_PROCEDURE},  {"table", pb::RECORD_TABLE},           {"view", pb::RECORD_VIEW},
    {"changefeed", pb::RECORD_CHANGEFEED}};

struct GetOptions {
  std::string kind;
  std::string id;
};
struct ListOptions {
  std::string kind;
};
struct WatchOptions {
  std::vector<std::string> kinds;
  uint64_t after = 0;
};

std::string NameOf(const pb::Record& record) {
  if (record.has_controller()) return record.controller().name();
  if (record.has_node()) return record.node().name();
  if (record.has_database()) return record.database().name();
  if (record.has_table()) return record.table().shape().name();
  if (record.has_view()) return record.view().shape().name();
  if (record.has_changefeed()) return record.changefeed().name();
  return record.has_entry() ? record.entry().key() : "";
}

Status Get(const Invocation& invocation, const GetOptions& options) {
  if (options.kind != "cluster" && options.id.empty())
    return Error(StatusCode::kInvalidArgument, "record get {}: the record's id, name or key is missing",
                 options.kind);
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto records,
                          ListRecords(*session, kKinds.at(options.kind), invocation.timeout()));
  const auto found =
      options.kind == "cluster" ? records.begin() : FindByIdOrName(records, options.id, IdOf, NameOf);
  if (found != records.end()) {
    PrintJson(ToJson(*found));  // a record's fields differ by kind: there is no better table of one
    return OkStatus();
  }
  return Error(StatusCode::kNotFound, "{} {} does not exist", options.kind, options.id);
}

Status List(const Invocation& invocation, const ListOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  Json list = Json::array();
  Table table({"KIND", "ID", "CREATED AT", "CHANGED AT", "RECORD"});
  for (const auto& [name, kind] : kKinds) {
    if (options.kind.empty() ? kind == pb::RECORD_ENTRY : options.kind != name) continue;
    TENURE_ASSIGN_OR_RETURN(const auto records, ListRecords(*session, kind, invocation.timeout()));
    for (const pb::Record& record : records) {
      list.push_back(ToJson(record));
      table.AddRow({name, IdOf(record), IdText(record.create_revision()), IdText(record.modify_revision()),
                    Summary(record)});
    }
  }
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(list);
  } else {
    Print(table.ToString());
  }
  return OkStatus();
}

Status Watch(const Invocation& invocation, const WatchOptions& options) {
  pb::WatchRequest request;
  for (const std::string& kind : options.kinds) request.add_kinds(kKinds.at(kind));
  request.set_after_revision(options.after);
  return WatchAndPrint(invocation, request);
}

CLI::Validator KindCheck() {
  std::vector<std::string> names;
  for (const auto& [name, kind] : kKinds) names.push_back(name);
  return CLI::IsMember(names);
}

}  // namespace

void AddRecordCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family = AddFamily(app, "record", "The catalog's own records");
  const auto get = std::make_shared<GetOptions>();
  CLI::App* command = family->add_subcommand("get", "One record as JSON");
  command->add_option("kind", get->kind)->required()->check(KindCheck());
  command->add_option("id", get->id, "Its id, name or key (none for cluster)");
  OnCommand(command, invocation, get, Get);

  const auto list = std::make_shared<ListOptions>();
  command = family->add_subcommand("list", "Records of a kind; without one, of all kinds but entries");
  command->add_option("kind", list->kind)->check(KindCheck());
  OnCommand(command, invocation, list, List);

  const auto watch = std::make_shared<WatchOptions>();
  command = family->add_subcommand("watch", "Print changes of records as they happen, one line each");
  command->add_option("kinds", watch->kinds, "Only these kinds")->check(KindCheck());
  command->add_option("--after", watch->after, "Changes after this revision (default: from now)");
  OnCommand(command, invocation, watch, Watch);
}

}  // namespace tenure::cli
