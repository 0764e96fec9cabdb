// tenure table create | alter | rename | drop | list | show
// tenure view create | alter | rename | drop | list | show

#include <map>

#include "catalog/refusal.h"
#include "cli/invocation.h"
#include "cli/procedures.h"
#include "cli/queries.h"
#include "cli/records.h"
#include "cli/schema_arguments.h"
#include "cli/session.h"

namespace tenure::cli {
namespace {

struct TableOptions {
  std::string name;
  std::vector<std::string> columns;  // of create; added by alter
  std::vector<std::string> drops;
  std::vector<std::string> renames;
  std::string ttl;
  std::string key_type;
  std::string to;
  bool wait = true;
};
struct ViewOptions {
  std::string name;
  std::string table;
  std::string columns;
  std::string to;
  bool wait = true;
};
struct ListOptions {
  std::string database;
};

// What kind of object a family of commands is about.
struct Kind {
  pb::RecordKind record;
  std::string_view name;
};
constexpr Kind kTable{pb::RECORD_TABLE, "table"};
constexpr Kind kView{pb::RECORD_VIEW, "view"};

// The request's id, database and name.
template <class Request>
StatusOr<Request> Begin(Session& session, const std::string& qualified) {
  TENURE_ASSIGN_OR_RETURN(auto name, ParseQualifiedName(qualified));
  Request request;
  *request.mutable_id() = session.NextRequestId();
  request.set_database(std::move(name.first));
  request.set_name(std::move(name.second));
  return request;
}

template <class Request>
Status Finish(Session& session, const Invocation& invocation, const std::string& method,
              const Request& request, bool wait) {
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      session.Call<pb::SchemaChangeResponse>("tenure.v1.Tables/" + method, request, invocation.timeout()));
  if (!answer.has_procedure()) {
    return Error(StatusCode::kNotFound, "the change was made, its procedure is not listed any more");
  }
  return FinishProcedure(session, invocation, answer.procedure(), wait);
}

Status CreateTable(const Invocation& invocation, const TableOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(auto request, Begin<pb::CreateTableRequest>(*session, options.name));
  for (const std::string& text : options.columns) {
    TENURE_ASSIGN_OR_RETURN(*request.add_columns(), ParseColumn(text));
  }
  if (!options.ttl.empty()) {
    TENURE_ASSIGN_OR_RETURN(const int64_t ttl, ParseTtl(options.ttl));
    request.set_ttl_ms(ttl);
  }
  if (!options.key_type.empty()) {
    const auto type = schema::ParseType(options.key_type);
    if (!type)
      return Error(StatusCode::kInvalidArgument, "--key: '{}' is none of {}", options.key_type,
                   schema::TypeNames());
    request.set_key_type(*type);
  }
  return Finish(*session, invocation, "CreateTable", request, options.wait);
}

Status AlterTable(const Invocation& invocation, const TableOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(auto request, Begin<pb::AlterTableRequest>(*session, options.name));
  pb::TableAlteration& alteration = *request.mutable_alteration();
  for (const std::string& text : options.columns) {
    TENURE_ASSIGN_OR_RETURN(*alteration.add_add_columns(), ParseColumn(text));
  }
  for (const std::string& name : options.drops) alteration.add_drop_columns(name);
  for (const std::string& text : options.renames) {
    TENURE_ASSIGN_OR_RETURN(*alteration.add_rename_columns(), ParseRename(text));
  }
  if (!options.ttl.empty()) {
    TENURE_ASSIGN_OR_RETURN(const int64_t ttl, ParseTtl(options.ttl));
    alteration.set_ttl_ms(ttl);
  }
  return Finish(*session, invocation, "AlterTable", request, options.wait);
}

Status CreateView(const Invocation& invocation, const ViewOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(auto request, Begin<pb::CreateViewRequest>(*session, options.name));
  request.set_table(options.table);
  TENURE_ASSIGN_OR_RETURN(*request.mutable_columns(), ParseViewColumns(options.columns));
  return Finish(*session, invocation, "CreateView", request, options.wait);
}

Status AlterView(const Invocation& invocation, const ViewOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(auto request, Begin<pb::AlterViewRequest>(*session, options.name));
  TENURE_ASSIGN_OR_RETURN(*request.mutable_columns(), ParseViewColumns(options.columns));
  return Finish(*session, invocation, "AlterView", request, options.wait);
}

template <class Request, class Options>
Status Rename(const Invocation& invocation, const Options& options, const std::string& method) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(auto request, Begin<Request>(*session, options.name));
  request.set_to(options.to);
  return Finish(*session, invocation, method, request, options.wait);
}

template <class Request, class Options>
Status Drop(const Invocation& invocation, const Options& options, const std::string& method) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto request, Begin<Request>(*session, options.name));
  return Finish(*session, invocation, method, request, options.wait);
}

// ---- what there is ----

using Names = std::map<uint64_t, std::string>;

StatusOr<Names> NamesOf(Session& session, pb::RecordKind kind, Duration timeout) {
  TENURE_ASSIGN_OR_RETURN(const auto records, ListRecords(session, kind, timeout));
  Names names;
  for (const pb::Record& record : records) {
    if (record.has_database()) names[record.database().id()] = record.database().name();
    if (record.has_table()) names[record.table().id()] = record.table().shape().name();
  }
  return names;
}

std::string NameIn(const Names& names, uint64_t id) {
  const auto it = names.find(id);
  return it == names.end() ? IdText(id) : it->second;
}

uint64_t DatabaseOf(const pb::Record& record) {
  return record.has_table() ? record.table().database() : record.view().database();
}
const std::string& NameOf(const pb::Record& record) {
  return record.has_table() ? record.table().shape().name() : record.view().shape().name();
}

Json JsonOf(const pb::Record& record, const std::string& database, const std::string& table) {
  Json json = record.has_table() ? ToJson(record.table()) : ToJson(record.view());
  json["database"] = database;
  if (record.has_view()) json["table"] = table;
  return json;
}

Status List(const Invocation& invocation, const ListOptions& options, const Kind& kind) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto records, ListRecords(*session, kind.record, invocation.timeout()));
  TENURE_ASSIGN_OR_RETURN(const Names databases,
                          NamesOf(*session, pb::RECORD_DATABASE, invocation.timeout()));
  TENURE_ASSIGN_OR_RETURN(const Names tables, NamesOf(*session, pb::RECORD_TABLE, invocation.timeout()));
  if (!options.database.empty()) {
    TENURE_RETURN_IF_ERROR(GetDatabase(*session, options.database, invocation.timeout()).status());
  }
  Json list = Json::array();
  Table table(kind.record == pb::RECORD_TABLE
                  ? std::vector<std::string>{"ID", "TABLE", "STATE", "COLUMNS", "VERSION", "TTL"}
                  : std::vector<std::string>{"ID", "VIEW", "STATE", "COLUMNS", "VERSION", "OF TABLE"});
  for (const pb::Record& record : records) {
    const std::string database = NameIn(databases, DatabaseOf(record));
    if (!options.database.empty() && database != options.database) continue;
    const std::string qualified = database + "." + NameOf(record);
    if (record.has_table()) {
      const pb::TableRecord& t = record.table();
      table.AddRow({IdText(t.id()), qualified, StateText(t.state()),
                    fmt::format("{}", t.shape().columns_size()), IdText(t.shape().version()),
                    TtlText(t.shape().ttl_ms())});
    } else {
      const pb::ViewRecord& v = record.view();
      table.AddRow({IdText(v.id()), qualified, StateText(v.state()),
                    fmt::format("{}", v.shape().columns_size()), IdText(v.shape().version()),
                    NameIn(tables, v.table())});
    }
    list.push_back(JsonOf(record, database, NameIn(tables, record.view().table())));
  }
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(list);
  } else {
    Print(table.ToString());
  }
  return OkStatus();
}

StatusOr<pb::Record> FindByName(Session& session, const Kind& kind, const std::string& qualified,
                                Duration timeout) {
  TENURE_ASSIGN_OR_RETURN(const auto name, ParseQualifiedName(qualified));
  TENURE_ASSIGN_OR_RETURN(const auto database, GetDatabase(session, name.first, timeout));
  TENURE_ASSIGN_OR_RETURN(const auto records, ListRecords(session, kind.record, timeout));
  for (const pb::Record& record : records) {
    if (DatabaseOf(record) == database.record().database().id() && NameOf(record) == name.second)
      return record;
  }
  return catalog::Refuse(pb::REASON_NOT_FOUND, "database '{}' has no {} '{}'", name.first, kind.name,
                         name.second);
}

std::string ColumnsText(const pb::TableShape& shape) {
  Table table({"COLUMN", "ID", "TYPE", "NULL", "DEFAULT"});
  for (const pb::ColumnRecord& column : shape.columns()) {
    table.AddRow({column.name(), IdText(column.id()), std::string(schema::NameOf(column.type())),
                  column.nullable() ? "yes" : "no",
                  column.has_default_value() ? Printable(column.default_value()) : "-"});
  }
  return table.ToString();
}

Status ShowTable(const Invocation& invocation, const TableOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto record,
                          FindByName(*session, kTable, options.name, invocation.timeout()));
  const std::string database = options.name.substr(0, options.name.find('.'));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(JsonOf(record, database, ""));
    return OkStatus();
  }
  const pb::TableRecord& table = record.table();
  std::string text = fmt::format(
      "id         {}\ndatabase   {}\nname       {}\nstate      {}\nversion    {}\nkey        {}\nttl        "
      "{}\n"
      "slots of   {}\ncreated    {}\n\n{}",
      table.id(), database, table.shape().name(), StateText(table.state()), table.shape().version(),
      schema::NameOf(table.key_type()), TtlText(table.shape().ttl_ms()), table.slot_name(),
      FormatTime(table.created_at_ms()), ColumnsText(table.shape()));
  if (table.has_next()) {
    text += fmt::format("\nbecomes version {} '{}', ttl {}:\n{}", table.next().version(), table.next().name(),
                        TtlText(table.next().ttl_ms()), ColumnsText(table.next()));
  }
  Print(text);
  return OkStatus();
}

Status ShowView(const Invocation& invocation, const ViewOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto record, FindByName(*session, kView, options.name, invocation.timeout()));
  TENURE_ASSIGN_OR_RETURN(const auto tables, ListRecords(*session, pb::RECORD_TABLE, invocation.timeout()));
  const pb::ViewRecord& view = record.view();
  pb::TableShape shape;
  for (const pb::Record& table : tables) {
    if (table.table().id() == view.table()) shape = table.table().shape();
  }
  const std::string database = options.name.substr(0, options.name.find('.'));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(JsonOf(record, database, shape.name()));
    return OkStatus();
  }
  const auto columns = [&shape](const pb::ViewShape& shown) {
    Table table({"COLUMN", "OF THE TABLE", "TYPE"});
    for (const pb::ViewColumn& column : shown.columns()) {
      const pb::ColumnRecord* source = schema::FindColumn(shape, column.column());
      table.AddRow({column.name(), source == nullptr ? "-" : source->name(),
                    source == nullptr ? "-" : std::string(schema::NameOf(source->type()))});
    }
    return table.ToString();
  };
  std::string text = fmt::format(
      "id         {}\ndatabase   {}\nname       {}\ntable      {}\nstate      {}\nversion    {}\ncreated    "
      "{}\n\n{}",
      view.id(), database, view.shape().name(), shape.name(), StateText(view.state()), view.shape().version(),
      FormatTime(view.created_at_ms()), columns(view.shape()));
  if (view.has_next()) {
    text += fmt::format("\nbecomes version {} '{}':\n{}", view.next().version(), view.next().name(),
                        columns(view.next()));
  }
  Print(text);
  return OkStatus();
}

void AddTableCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family = AddFamily(app, "table", "Tables: rows with columns, in a database");
  const auto add = [&](const char* name, const char* text, auto run) {
    const auto options = std::make_shared<TableOptions>();
    CLI::App* command = family->add_subcommand(name, text);
    command->add_option("table", options->name, "DATABASE.TABLE")->required();
    OnCommand(command, invocation, options, run);
    return std::pair(command, options);
  };
  constexpr const char* kColumn = "NAME:TYPE, nullable with :null, with a default by =VALUE; may be repeated";
  constexpr const char* kTtl = "How long a row lives after its last write, as 7d, 12h, 30m, 10s; 0: for ever";
  {
    const auto [command, options] = add("create", "Create a table", CreateTable);
    command->add_option("--column", options->columns, kColumn)->required()->type_name("SPEC")->take_all();
    command->add_option("--ttl", options->ttl, kTtl);
    command->add_option("--key", options->key_type, "Type of the rows' keys; bytes if it is not given");
    AddWaitFlag(command, options->wait);
  }
  {
    const auto [command, options] = add("alter", "Change a table's columns or ttl", AlterTable);
    command->add_option("--add-column", options->columns, kColumn)->type_name("SPEC")->take_all();
    command->add_option("--drop-column", options->drops, "Name; may be repeated")->take_all();
    command->add_option("--rename-column", options->renames, "FROM=TO; may be repeated")->take_all();
    command->add_option("--ttl", options->ttl, kTtl);
    AddWaitFlag(command, options->wait);
  }
  {
    const auto [command, options] =
        add("rename", "Give a table another name", [](const Invocation& i, const TableOptions& o) {
          return Rename<pb::RenameTableRequest>(i, o, "RenameTable");
        });
    command->add_option("to", options->to, "The new name, without the database")->required();
    AddWaitFlag(command, options->wait);
  }
  {
    const auto [command, options] =
        add("drop", "Drop a table with all its rows", [](const Invocation& i, const TableOptions& o) {
          return Drop<pb::DropTableRequest>(i, o, "DropTable");
        });
    AddWaitFlag(command, options->wait);
  }
  add("show", "One table and its columns", ShowTable);
  const auto list = std::make_shared<ListOptions>();
  CLI::App* command = family->add_subcommand("list", "All tables, or those of one database");
  command->add_option("database", list->database, "Name of the database");
  OnCommand(command, invocation, list,
            [](const Invocation& i, const ListOptions& o) { return List(i, o, kTable); });
}

void AddViewCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family = AddFamily(app, "view", "Views: some columns of a table, to be read under other names");
  const auto add = [&](const char* name, const char* text, auto run) {
    const auto options = std::make_shared<ViewOptions>();
    CLI::App* command = family->add_subcommand(name, text);
    command->add_option("view", options->name, "DATABASE.VIEW")->required();
    OnCommand(command, invocation, options, run);
    return std::pair(command, options);
  };
  constexpr const char* kColumns = "a,b=c: column a, and column b as c";
  {
    const auto [command, options] = add("create", "Create a view", CreateView);
    command->add_option("--table", options->table, "Name of the table, without the database")->required();
    command->add_option("--columns", options->columns, kColumns)->required();
    AddWaitFlag(command, options->wait);
  }
  {
    const auto [command, options] = add("alter", "Change which columns a view shows", AlterView);
    command->add_option("--columns", options->columns, kColumns)->required();
    AddWaitFlag(command, options->wait);
  }
  {
    const auto [command, options] =
        add("rename", "Give a view another name", [](const Invocation& i, const ViewOptions& o) {
          return Rename<pb::RenameViewRequest>(i, o, "RenameView");
        });
    command->add_option("to", options->to, "The new name, without the database")->required();
    AddWaitFlag(command, options->wait);
  }
  {
    const auto [command, options] =
        add("drop", "Drop a view; its table stays", [](const Invocation& i, const ViewOptions& o) {
          return Drop<pb::DropViewRequest>(i, o, "DropView");
        });
    AddWaitFlag(command, options->wait);
  }
  add("show", "One view and its columns", ShowView);
  const auto list = std::make_shared<ListOptions>();
  CLI::App* command = family->add_subcommand("list", "All views, or those of one database");
  command->add_option("database", list->database, "Name of the database");
  OnCommand(command, invocation, list,
            [](const Invocation& i, const ListOptions& o) { return List(i, o, kView); });
}

}  // namespace

void AddSchemaCommands(CLI::App& app, Invocation& invocation) {
  AddTableCommands(app, invocation);
  AddViewCommands(app, invocation);
}

}  // namespace tenure::cli
