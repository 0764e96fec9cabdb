// tenure inspect DIR: what a stopped process's data directory holds, without starting anything.

#include "cli/inspection.h"
#include "cli/invocation.h"
#include "cli/log_decoding.h"
#include "cli/nodes_conf.h"
#include "cli/records.h"

namespace tenure::cli {
namespace {

struct InspectOptions {
  std::string directory;
  bool log = false;
  std::string format;  // table, json, nodes-conf; empty: as --output says
  uint64_t group = 0;
  CLI::Option* group_option = nullptr;
};

std::string KindOf(GroupId group) {
  return group == kCatalogGroup ? "catalog" : "region";
}

Json IdentityJson(const wal::Identity& identity) {
  Json json;
  json["cluster_id"] = identity.cluster_id;
  json["incarnation"] = identity.incarnation;
  json["format"] = identity.format;
  json["name"] = identity.name;
  json["controller_id"] =
      identity.controller_id.IsNone() ? Json(nullptr) : Json(IdText(identity.controller_id.value()));
  json["controller_uuid"] = identity.controller_uuid.empty() ? Json(nullptr) : Json(identity.controller_uuid);
  json["node_uuid"] = identity.node_uuid.empty() ? Json(nullptr) : Json(identity.node_uuid);
  json["initial_members"] = identity.initial_members;
  json["history"] = identity.history;
  return json;
}

LogIndex AppliedOf(const DirectoryInspection& found, GroupId group) {
  const auto it = found.applied.find(group);
  return it == found.applied.end() ? LogIndex() : it->second;
}

Json GroupJson(GroupId id, const wal::InspectedGroup& group, const DirectoryInspection& found) {
  Json json;
  json["group"] = IdText(id.value());
  json["kind"] = KindOf(id);
  json["tombstone"] = group.tombstone;
  json["gone_up_to"] = group.gone.IsNone() ? Json(nullptr) : Json(IdText(group.gone.value()));
  json["replica"] = group.replica.IsNone() ? Json(nullptr) : Json(IdText(group.replica.value()));
  json["term"] = group.state.hard_state.term.value();
  json["vote"] = group.state.hard_state.vote.IsNone() ? Json(nullptr)
                                                      : Json(IdText(group.state.hard_state.vote.value()));
  json["commit"] = group.state.hard_state.commit.value();
  json["applied"] = AppliedOf(found, id).value();
  const auto hash = found.state_hashes.find(id);
  json["state_hash"] =
      hash == found.state_hashes.end() ? Json(nullptr) : Json(fmt::format("{:016x}", hash->second));
  json["rows"] = Json::object();
  if (const auto rows = found.rows.find(id); rows != found.rows.end()) {
    for (const auto& [table, count] : rows->second) json["rows"][IdText(table)] = count;
  }
  json["first_index"] = group.state.mark.index.Next().value();
  json["last_index"] = group.state.last_index.value();
  json["configuration"] = ConfigurationToJson(group.configuration());
  return json;
}

Json LogJson(const wal::Inspection& log) {
  Json json;
  json["stopped_cleanly"] = log.stopped_cleanly;
  json["next_commit"] = log.next_commit;
  json["segments"] = Json::array();
  for (const auto& segment : log.segments) {
    json["segments"].push_back({{"path", segment.path},
                                {"number", segment.number},
                                {"bytes", segment.bytes},
                                {"used", segment.used},
                                {"commits", segment.commits}});
  }
  json["notes"] = Json::array();
  for (const auto& note : log.notes) {
    json["notes"].push_back(
        {{"damage", note.damage}, {"path", note.path}, {"offset", note.offset}, {"text", note.text}});
  }
  return json;
}

Json DocumentOf(const DirectoryInspection& found, bool with_log) {
  Json json;
  json["directory"] = found.directory;
  json["identity"] = found.identity_readable ? IdentityJson(found.identity) : Json(nullptr);
  json["log"] = LogJson(found.log);
  json["groups"] = Json::array();
  for (const auto& [id, group] : found.log.groups) json["groups"].push_back(GroupJson(id, group, found));
  json["stored_groups"] = Json::array();
  for (const GroupId id : found.stored_groups) json["stored_groups"].push_back(IdText(id.value()));
  json["snapshots"] = found.snapshots;
  json["catalog_revision"] = found.catalog_revision.value();
  json["catalog_entries"] = found.catalog_entries;
  json["catalog"] = Json::array();
  for (const auto& record : found.catalog) json["catalog"].push_back(ToJson(record));
  json["notes"] = found.notes;
  if (!with_log) return json;
  json["entries"] = Json::array();
  for (const LogEntryView& entry : found.entries) {
    json["entries"].push_back({{"group", IdText(entry.group.value())},
                               {"index", entry.index.value()},
                               {"term", entry.term.value()},
                               {"type", entry.type},
                               {"bytes", entry.bytes},
                               {"text", entry.text},
                               {"command", entry.command}});
  }
  return json;
}

std::string Heading(const DirectoryInspection& found) {
  const wal::Identity& identity = found.identity;
  std::string text = fmt::format(
      "directory    {}\ncluster      {}, incarnation {}\nprocess      {}\ncontroller   {}\nnode         "
      "{}\nformat       {}\n"
      "log          {} segments, {}\n",
      found.directory, identity.cluster_id, identity.incarnation, identity.name,
      identity.controller_id.IsNone() ? "-" : IdText(identity.controller_id.value()),
      identity.node_uuid.empty() ? "-" : identity.node_uuid, identity.format, found.log.segments.size(),
      found.log.stopped_cleanly ? "stopped cleanly" : "not stopped cleanly");
  for (const auto& note : found.log.notes) {
    text += fmt::format("{}  {} at {}: {}\n", note.damage ? "DAMAGE     " : "note       ", note.path,
                        note.offset, note.text);
  }
  for (const std::string& note : found.notes) text += fmt::format("note         {}\n", note);
  return text;
}

std::string GroupsTable(const DirectoryInspection& found) {
  Table table({"GROUP", "KIND", "TERM", "VOTE", "FIRST", "LAST", "COMMIT", "APPLIED", "CONFIGURATION"});
  for (const auto& [id, group] : found.log.groups) {
    const raft::PersistedState& state = group.state;
    if (group.tombstone) {
      table.AddRow({IdText(id.value()), group.gone.IsNone()
                                            ? "removed"
                                            : fmt::format("replicas up to {} removed", group.gone.value())});
      continue;
    }
    table.AddRow({IdText(id.value()), KindOf(id), IdText(state.hard_state.term.value()),
                  state.hard_state.vote.IsNone() ? "-" : IdText(state.hard_state.vote.value()),
                  IdText(state.mark.index.Next().value()), IdText(state.last_index.value()),
                  IdText(state.hard_state.commit.value()), IdText(AppliedOf(found, id).value()),
                  raft::ToString(group.configuration())});
  }
  return table.ToString();
}

std::string CatalogTable(const DirectoryInspection& found) {
  Table table({"RECORD", "ID", "CHANGED AT", "CONTENT"});
  for (const auto& record : found.catalog) {
    table.AddRow({KindText(record), IdOf(record), IdText(record.modify_revision()), Summary(record)});
  }
  std::string heading = fmt::format("catalog at revision {}, {} entries besides",
                                    found.catalog_revision.value(), found.catalog_entries);
  const auto group = found.log.groups.find(kCatalogGroup);
  const LogIndex last = group == found.log.groups.end() ? LogIndex() : group->second.state.last_index;
  if (last.value() > found.catalog_revision.value()) {
    heading += fmt::format("; its log goes on to {}, not known here to be committed", last.value());
  }
  return heading + "\n" + table.ToString();
}

std::string EntriesTable(const DirectoryInspection& found) {
  Table table({"GROUP", "INDEX", "TERM", "TYPE", "BYTES", "CONTENT"});
  for (const LogEntryView& entry : found.entries) {
    table.AddRow({IdText(entry.group.value()), IdText(entry.index.value()), IdText(entry.term.value()),
                  entry.type, IdText(entry.bytes), entry.text});
  }
  return table.ToString();
}

Status Inspect(const Invocation& invocation, const InspectOptions& options) {
  std::optional<GroupId> group;
  if (options.group_option->count() > 0) group = GroupId(options.group);
  const bool nodes_conf = options.format == "nodes-conf";
  if (nodes_conf && !group) group = kCatalogGroup;
  TENURE_ASSIGN_OR_RETURN(const DirectoryInspection found,
                          InspectDirectory(options.directory, options.log || nodes_conf, group));
  if (nodes_conf) {
    Print(NodesConf(found, *group));
    return OkStatus();
  }
  if (options.format == "json" || (options.format.empty() && invocation.format == OutputFormat::kJson)) {
    PrintJson(DocumentOf(found, options.log));
    return OkStatus();
  }
  std::string text = Heading(found) + "\n" + GroupsTable(found);
  if (!found.catalog.empty()) text += "\n" + CatalogTable(found);
  if (options.log) text += "\n" + EntriesTable(found);
  Print(text);
  return OkStatus();
}

}  // namespace

void AddInspectCommand(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "What a stopped process's data directory holds");
  command->add_option("directory", options->directory, "A process's data directory, such as tenure-data/1")
      ->required();
  command->add_flag("--log", options->log, "The log's entries too, decoded");
  command
      ->add_option("--format", options->format,
                   "table, json, or nodes-conf (lines as in Redis' nodes.conf, of group 0 or --group)")
      ->check(CLI::IsMember({"table", "json", "nodes-conf"}));
  options->group_option =
      command->add_option("--group", options->group, "Entries of this group only (0: the catalog)");
  OnCommand(command, invocation, options, Inspect);
}

}  // namespace tenure::cli
