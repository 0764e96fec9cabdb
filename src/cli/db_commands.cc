// tenure db create | list | show | drop

#include <chrono>

#include "catalog/refusal.h"
#include "cli/invocation.h"
#include "cli/queries.h"
#include "cli/records.h"
#include "cli/session.h"
#include "cli/waiting.h"

namespace tenure::cli {
namespace {

constexpr Duration kWaitTimeout = std::chrono::seconds(60);

struct CreateOptions {
  std::string name;
  uint32_t regions = 8;
  uint32_t replicas = 3;
  bool strict = false;
  bool wait = true;
};
struct NoOptions {};
struct NameOptions {
  std::string name;
};
struct DropOptions {
  std::string name;
  bool wait = true;
};

// Empty once the database may be used.
StatusOr<std::string> MissingOf(Session& session, const CreateOptions& options, Duration timeout) {
  const auto database = GetDatabase(session, options.name, timeout);
  if (catalog::IsReason(database.status(), pb::REASON_NOT_FOUND)) {
    return Error(StatusCode::kAborted, "database {} could not be finished and was taken back", options.name);
  }
  if (!database.ok()) return "asking for the database: " + std::string(MessageOf(database.status()));
  const std::string state = StateText(database->record().database().state());
  const auto regions = ListRegions(session, options.name, timeout);
  if (!regions.ok()) return "asking for the regions: " + std::string(MessageOf(regions.status()));
  const auto led = std::count_if(regions->regions().begin(), regions->regions().end(),
                                 [](const pb::RegionStatus& region) { return region.leader_node() != 0; });
  if (state == "PUBLIC" && led == regions->regions_size()) return std::string();
  return fmt::format("database {} is {}, {} of {} regions have a leader", options.name, state, led,
                     regions->regions_size());
}

void PrintDatabase(const Invocation& invocation, const pb::DatabaseRecord& database,
                   const std::string& what) {
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(ToJson(database));
  } else {
    Print(fmt::format("database {} (id {}) {}: {} regions, {} replicas\n", database.name(), database.id(),
                      what, database.regions(), database.replicas()));
  }
}

Status Create(const Invocation& invocation, const CreateOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  const Deadline deadline(invocation.timeout_given ? invocation.timeout() : kWaitTimeout);
  pb::CreateDatabaseRequest request;
  *request.mutable_id() = session->NextRequestId();
  request.set_name(options.name);
  request.set_regions(options.regions);
  request.set_replicas(options.replicas);
  request.set_strict(options.strict);
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      session->Call<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", request, deadline.remaining()));
  if (!options.wait) {
    PrintDatabase(invocation, answer.record().database(), "is being created");
    return OkStatus();
  }
  TENURE_RETURN_IF_ERROR(WaitUntilNothingIsMissing(
      deadline, [&](Duration limit) { return MissingOf(*session, options, limit); }));
  TENURE_ASSIGN_OR_RETURN(const auto database, GetDatabase(*session, options.name, invocation.timeout()));
  PrintDatabase(invocation, database.record().database(), "created");
  return OkStatus();
}

Status List(const Invocation& invocation, const NoOptions&) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto records,
                          ListRecords(*session, pb::RECORD_DATABASE, invocation.timeout()));
  if (invocation.format == OutputFormat::kJson) {
    Json list = Json::array();
    for (const pb::Record& record : records) list.push_back(ToJson(record.database()));
    PrintJson(list);
    return OkStatus();
  }
  Table table({"ID", "NAME", "STATE", "REGIONS", "REPLICAS", "CREATED"});
  for (const pb::Record& record : records) {
    const pb::DatabaseRecord& database = record.database();
    table.AddRow({IdText(database.id()), database.name(), StateText(database.state()),
                  IdText(database.regions()), IdText(database.replicas()),
                  FormatTime(database.created_at_ms())});
  }
  Print(table.ToString());
  return OkStatus();
}

Status Show(const Invocation& invocation, const NameOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  TENURE_ASSIGN_OR_RETURN(const auto answer, GetDatabase(*session, options.name, invocation.timeout()));
  const pb::DatabaseRecord& database = answer.record().database();
  if (invocation.format == OutputFormat::kJson) {
    PrintJson(ToJson(database));
    return OkStatus();
  }
  Print(fmt::format("id        {}\nname      {}\nstate     {}\nreplicas  {}\nstrict    {}\ncreated   {}\n\n",
                    database.id(), database.name(), StateText(database.state()), database.replicas(),
                    database.strict(), FormatTime(database.created_at_ms())));
  Table table({"REGION", "SLOTS", "NODES", "STATE"});
  for (const pb::Record& record : answer.regions()) {
    std::string nodes;
    for (const auto& replica : record.region().replicas()) {
      nodes += (nodes.empty() ? "" : ",") + IdText(replica.node());
    }
    table.AddRow({IdText(record.region().id()),
                  fmt::format("{}-{}", record.region().slots().first(), record.region().slots().last()),
                  nodes, StateText(record.region().state())});
  }
  Print(table.ToString());
  return OkStatus();
}

Status Drop(const Invocation& invocation, const DropOptions& options) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  const Deadline deadline(invocation.timeout_given ? invocation.timeout() : kWaitTimeout);
  pb::DropDatabaseRequest request;
  *request.mutable_id() = session->NextRequestId();
  request.set_name(options.name);
  TENURE_ASSIGN_OR_RETURN(
      const auto answer,
      session->Call<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", request, deadline.remaining()));
  // The name is free at once, so only the id tells what is left of this one.
  const uint64_t id = answer.record().database().id();
  const auto gone = [&](Duration limit) -> StatusOr<std::string> {
    const auto regions = ListRegions(*session, std::string(), limit);
    if (!regions.ok()) return "asking for the regions: " + std::string(MessageOf(regions.status()));
    const auto left =
        std::count_if(regions->regions().begin(), regions->regions().end(),
                      [id](const pb::RegionStatus& region) { return region.record().database() == id; });
    return left == 0 ? std::string() : fmt::format("removing {} regions of database {}", left, options.name);
  };
  if (options.wait) TENURE_RETURN_IF_ERROR(WaitUntilNothingIsMissing(deadline, gone));
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"name", options.name}, {"revision", answer.revision()}, {"dropped", options.wait}});
  } else {
    Print(fmt::format("database {} {}\n", options.name, options.wait ? "dropped" : "is being dropped"));
  }
  return OkStatus();
}

}  // namespace

void AddDatabaseCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* family = AddFamily(app, "db", "Databases");
  const auto create = std::make_shared<CreateOptions>();
  CLI::App* command = family->add_subcommand("create", "Create a database");
  command->add_option("name", create->name)->required();
  command->add_option("--regions", create->regions, "Regions that share its 16384 slots")
      ->check(Positive())
      ->capture_default_str();
  command->add_option("--replicas", create->replicas, "Replicas of each region")
      ->check(Positive())
      ->capture_default_str();
  command->add_flag("--strict", create->strict, "Rows of tables only, no plain keys");
  AddWaitFlag(command, create->wait);
  OnCommand(command, invocation, create, Create);

  OnCommand(family->add_subcommand("list", "All databases"), invocation, std::make_shared<NoOptions>(), List);

  const auto show = std::make_shared<NameOptions>();
  command = family->add_subcommand("show", "One database and its regions");
  command->add_option("name", show->name)->required();
  OnCommand(command, invocation, show, Show);

  const auto drop = std::make_shared<DropOptions>();
  command = family->add_subcommand("drop", "Remove a database and its data");
  command->add_option("name", drop->name)->required();
  AddWaitFlag(command, drop->wait);
  OnCommand(command, invocation, drop, Drop);
}

}  // namespace tenure::cli
