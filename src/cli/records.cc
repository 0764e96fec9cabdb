#include "cli/records.h"

#include <fmt/format.h>

#include <algorithm>

#include "catalog/procedures.h"
#include "changefeed/sink/address.h"
#include "schema/values.h"

namespace tenure::cli {
namespace {

namespace pb = ::tenure::v1;

std::string WithoutPrefix(std::string name, std::string_view prefix) {
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  return name.empty() ? "UNKNOWN" : name;
}

Json SlotsJson(const pb::SlotRange& slots) {
  return Json::array({Json::array({slots.first(), slots.last()})});
}

const pb::RegionLoad* LoadOf(const pb::RegionStatus& region, uint64_t replica) {
  for (const pb::RegionLoad& load : region.replicas()) {
    if (load.replica() == replica) return &load;
  }
  return nullptr;
}

Json LabelsJson(const pb::NodeRecord& node) {
  Json labels = Json::object();
  if (!node.zone().empty()) labels["zone"] = node.zone();
  for (const pb::Label& label : node.labels()) labels[label.key()] = label.value();
  return labels;
}

Json BodyOf(const pb::ControllerRecord& controller) {
  Json json;
  json["id"] = IdText(controller.id());
  json["name"] = controller.name();
  json["address"] = controller.address();
  json["zone"] = controller.zone();
  json["voter"] = controller.voter();
  json["state"] = StateText(controller.state());
  json["uuid"] = controller.uuid();
  return json;
}

Json BodyOf(const pb::NodeRecord& node) {
  Json json;
  json["id"] = IdText(node.id());
  json["uuid"] = node.uuid();
  json["name"] = node.name();
  json["address"] = node.address();
  json["resp_address"] = node.resp_address();
  json["zone"] = node.zone();
  json["labels"] = LabelsJson(node);
  json["state"] = StateText(node.state());
  json["registration_epoch"] = node.registration_epoch();
  json["software_version"] = node.software_version();
  return json;
}

Json BodyOf(const pb::RegionRecord& region) {
  Json json;
  json["id"] = IdText(region.id());
  json["database_id"] = IdText(region.database());
  json["slots"] = SlotsJson(region.slots());
  json["replicas"] = Json::array();
  for (const pb::ReplicaRecord& replica : region.replicas()) {
    json["replicas"].push_back(
        {{"id", IdText(replica.id())}, {"node", IdText(replica.node())}, {"role", RoleText(replica.role())}});
  }
  json["state"] = StateText(region.state());
  json["configuration_version"] = region.configuration_version();
  json["range_version"] = region.range_version();
  json["preferred_leader"] = IdText(region.preferred_leader());
  return json;
}

Json BodyOf(const pb::EntryRecord& entry) {
  Json json;
  SetBytes(json, "key", entry.key());
  SetBytes(json, "value", entry.value());
  json["version"] = entry.version();
  return json;
}

Json IdsOf(const google::protobuf::RepeatedField<uint64_t>& ids) {
  Json list = Json::array();
  for (const uint64_t id : ids) list.push_back(IdText(id));
  return list;
}

Json BodyOf(const pb::RecoveryRecord& recovery) {
  Json json;
  json["incarnation"] = recovery.incarnation();
  json["at"] = FormatTime(recovery.at_ms());
  json["by"] = recovery.by();
  json["digest"] = recovery.digest();
  if (recovery.region() == 0) {
    json["controller"] = IdText(recovery.controller());
  } else {
    json["region"] = IdText(recovery.region());
    json["node"] = IdText(recovery.node());
  }
  json["last_term"] = recovery.term();
  json["last_index"] = recovery.index();
  json["voters_before"] = IdsOf(recovery.voters());
  json["carried"] = IdsOf(recovery.carried());
  return json;
}

Json BodyOf(const pb::ClusterRecord& cluster) {
  Json json;
  json["cluster_id"] = cluster.cluster_id();
  json["incarnation"] = cluster.incarnation();
  json["format_version"] = cluster.format_version();
  json["voter_target"] = cluster.voter_target();
  json["created_at"] = FormatTime(cluster.created_at_ms());
  json["recoveries"] = Json::array();
  for (const auto& recovery : cluster.recoveries()) json["recoveries"].push_back(BodyOf(recovery));
  return json;
}

Json BodyOf(const pb::ColumnRecord& column) {
  Json json;
  json["id"] = column.id();
  json["name"] = column.name();
  json["type"] = schema::NameOf(column.type());
  json["nullable"] = column.nullable();
  if (column.has_default_value()) SetBytes(json, "default", column.default_value());
  return json;
}

Json BodyOf(const pb::TableShape& shape) {
  Json json;
  json["schema_version"] = shape.version();
  json["name"] = shape.name();
  json["columns"] = Json::array();
  for (const pb::ColumnRecord& column : shape.columns()) json["columns"].push_back(BodyOf(column));
  json["ttl_ms"] = shape.ttl_ms();
  return json;
}

Json BodyOf(const pb::ViewShape& shape) {
  Json json;
  json["schema_version"] = shape.version();
  json["name"] = shape.name();
  json["columns"] = Json::array();
  for (const pb::ViewColumn& column : shape.columns())
    json["columns"].push_back({{"name", column.name()}, {"column_id", column.column()}});
  return json;
}

Json BodyOf(const pb::Record& record) {
  switch (record.body_case()) {
    case pb::Record::kCluster:
      return BodyOf(record.cluster());
    case pb::Record::kController:
      return BodyOf(record.controller());
    case pb::Record::kNode:
      return BodyOf(record.node());
    case pb::Record::kDatabase:
      return ToJson(record.database());
    case pb::Record::kRegion:
      return BodyOf(record.region());
    case pb::Record::kEntry:
      return BodyOf(record.entry());
    case pb::Record::kProcedure:
      return ToJson(record.procedure());
    case pb::Record::kTable:
      return ToJson(record.table());
    case pb::Record::kView:
      return ToJson(record.view());
    case pb::Record::kChangefeed:
      return ToJson(record.changefeed());
    case pb::Record::BODY_NOT_SET:
      break;
  }
  return Json::object();
}

}  // namespace

std::string StateText(pb::NodeState state) {
  return WithoutPrefix(pb::NodeState_Name(state), "NODE_");
}
std::string StateText(pb::ProcedureState state) {
  return std::string(catalog::NameOf(state));
}
std::string StateText(pb::ControllerState state) {
  // Records from before there were states are of members.
  return state == pb::CONTROLLER_STATE_UNSPECIFIED
             ? "MEMBER"
             : WithoutPrefix(pb::ControllerState_Name(state), "CONTROLLER_");
}
std::string StateText(pb::DatabaseState state) {
  return WithoutPrefix(pb::DatabaseState_Name(state), "DATABASE_");
}
std::string StateText(pb::ChangefeedState state) {
  return WithoutPrefix(pb::ChangefeedState_Name(state), "CHANGEFEED_");
}
std::string StateText(pb::TableState state) {
  return WithoutPrefix(pb::TableState_Name(state), "TABLE_");
}
std::string StateText(pb::RegionState state) {
  return WithoutPrefix(pb::RegionState_Name(state), "REGION_");
}

std::string RoleText(pb::ReplicaRole role) {
  switch (role) {
    case pb::REPLICA_VOTER:
      return "voter";
    case pb::REPLICA_LEARNER:
      return "learner";
    default:
      return "unknown";
  }
}

std::string ReplicaState(const pb::RegionStatus& region, uint64_t replica) {
  const auto among = [replica](const auto& ids) {
    return std::find(ids.begin(), ids.end(), replica) != ids.end();
  };
  if (among(region.lost_replicas())) return "lost";
  if (among(region.diverged_replicas())) return "diverged";
  return LoadOf(region, replica) == nullptr ? "unknown" : "running";
}

Json ToJson(const pb::ControllerStatus& controller) {
  Json json;
  json["id"] = IdText(controller.record().id());
  json["name"] = controller.record().name();
  json["address"] = controller.record().address();
  json["voter"] = controller.record().voter();
  json["state"] = controller.state();
  json["match_index"] = controller.match_index();
  json["zone"] = controller.record().zone();
  json["removing"] = controller.record().state() == pb::CONTROLLER_REMOVING;
  return json;
}

Json ToJson(const pb::NodeStatus& node) {
  Json json;
  json["id"] = IdText(node.record().id());
  json["name"] = node.record().name();
  json["address"] = node.record().address();
  json["resp_address"] = node.record().resp_address();
  json["state"] = node.state();
  json["detail"] = node.detail();
  // As it said with its last heartbeat; null: it has said nothing in this leadership.
  json["fenced"] = node.last_heard_ms() < 0 ? Json(nullptr) : Json(node.fenced());
  json["lease_ms"] = node.last_heard_ms() < 0
                         ? Json(nullptr)
                         : Json(std::max<int64_t>(0, node.lease_ms() - node.last_heard_ms()));
  json["revision"] = node.revision();
  json["regions"] = node.regions();
  json["leaders"] = node.leaders();
  return json;
}

Json ToJsonInFull(const pb::NodeStatus& node) {
  Json json = ToJson(node);
  json["uuid"] = node.record().uuid();
  json["zone"] = node.record().zone();
  json["labels"] = LabelsJson(node.record());
  json["registration_epoch"] = node.record().registration_epoch();
  json["software_version"] = node.record().software_version();
  json["last_heard_ms"] = node.last_heard_ms();
  json["serving_revision"] = node.serving_revision();
  json["fenced_ms"] = node.fenced() ? Json(node.fenced_ms() + node.last_heard_ms()) : Json(nullptr);
  json["fenced_reason"] = node.fenced_reason();
  json["load"] = {
      {"regions", node.regions()}, {"leaders", node.leaders()}, {"memory_bytes", node.memory_bytes()}};
  json["disk"] = {{"free_bytes", node.disk_free_bytes()},
                  {"fsync_p99_ms", static_cast<double>(node.fsync_p99_us()) / 1000}};
  json["links"] = Json::array();
  return json;
}

Json ToJson(const pb::RegionStatus& region, const std::string& database_name) {
  const pb::RegionRecord& record = region.record();
  Json json;
  json["id"] = IdText(record.id());
  json["database"] = database_name;
  json["database_id"] = IdText(record.database());
  json["slots"] = SlotsJson(record.slots());
  json["replicas"] = Json::array();
  for (const pb::ReplicaRecord& replica : record.replicas()) {
    const pb::RegionLoad* load = LoadOf(region, replica.id());
    json["replicas"].push_back({{"id", IdText(replica.id())},
                                {"node", IdText(replica.node())},
                                {"role", RoleText(replica.role())},
                                {"state", ReplicaState(region, replica.id())},
                                {"applied", load == nullptr ? Json(nullptr) : Json(load->applied())}});
  }
  json["leader"] = region.leader_node() == 0 ? Json(nullptr)
                                             : Json({{"node", IdText(region.leader_node())},
                                                     {"replica", IdText(region.leader_replica())},
                                                     {"term", region.leader_term()}});
  json["state"] = region.state().empty() ? StateText(record.state()) : region.state();
  json["configuration_version"] = record.configuration_version();
  json["range_version"] = record.range_version();
  json["bytes"] = region.bytes();
  json["keys"] = region.keys();
  return json;
}

Json ToJson(const pb::DatabaseRecord& database) {
  Json json;
  json["id"] = IdText(database.id());
  json["name"] = database.name();
  json["state"] = StateText(database.state());
  json["regions"] = database.regions();
  json["replicas"] = database.replicas();
  json["slots"] = database.slots();
  json["options"] = {{"strict", database.strict()}};
  json["created_at"] = FormatTime(database.created_at_ms());
  return json;
}

Json ToJson(const pb::ProcedureRecord& procedure) {
  Json json;
  json["id"] = IdText(procedure.id());
  json["type"] = procedure.type();
  json["description"] = procedure.description();
  json["state"] = StateText(procedure.state());
  json["step"] = procedure.step();
  json["attempt"] = procedure.attempt();
  json["parent"] = procedure.parent() == 0 ? Json() : Json(IdText(procedure.parent()));
  json["object"] = IdText(procedure.object());
  json["locks"] = Json::array();
  for (const auto& lock : procedure.locks()) {
    json["locks"].push_back(
        {{"object", catalog::NameOf(lock)}, {"mode", lock.shared() ? "shared" : "exclusive"}});
  }
  json["last_error"] = procedure.last_error();
  json["cancellable"] = procedure.cancellable();
  json["cancel_requested"] = procedure.cancel_requested();
  json["created_at"] = FormatTime(procedure.created_at_ms());
  if (procedure.ended_at_ms() != 0) json["ended_at"] = FormatTime(procedure.ended_at_ms());
  if (procedure.next_try_at_ms() != 0) json["next_try_at"] = FormatTime(procedure.next_try_at_ms());
  json["steps"] = Json::array();
  for (const auto& step : procedure.steps()) {
    json["steps"].push_back(
        {{"name", step.name()}, {"duration_ms", step.duration_ms()}, {"attempts", step.attempts()}});
  }
  return json;
}

Json ToJson(const pb::StatusResponse& status) {
  Json json;
  json["cluster_id"] = status.cluster_id();
  json["incarnation"] = status.incarnation();
  json["revision"] = status.revision();
  json["phase"] = status.phase();
  json["warm_up"] = {
      {"reason", status.warm_up_reason()},
      {"missing", std::vector<std::string>(status.warm_up_missing().begin(), status.warm_up_missing().end())},
      {"remaining_ms", status.warm_up_remaining_ms()},
      {"unsampled", std::vector<std::string>(status.unsampled().begin(), status.unsampled().end())}};
  json["standby_view_age_ms"] =
      status.standby_view_age_ms() < 0 ? Json(nullptr) : Json(status.standby_view_age_ms());
  json["leader"] = status.leader_id() == 0 ? Json(nullptr)
                                           : Json({{"id", IdText(status.leader_id())},
                                                   {"name", status.leader_name()},
                                                   {"address", status.leader_address()},
                                                   {"epoch", status.leader_epoch()},
                                                   {"since_ms", status.leader_since_ms()}});
  json["voter_target"] = status.voter_target();
  json["controllers"] = Json::array();
  for (const auto& controller : status.controllers()) json["controllers"].push_back(ToJson(controller));
  json["nodes"] = Json::array();
  for (const auto& node : status.nodes()) json["nodes"].push_back(ToJson(node));
  json["services"] = Json::array();
  for (const auto& service : status.services()) {
    json["services"].push_back(
        {{"name", service.name()}, {"state", service.state()}, {"error", service.error()}});
  }
  json["transitions"] = Json::array();
  for (const auto& transition : status.transitions()) {
    json["transitions"].push_back({{"epoch", transition.epoch()},
                                   {"from", transition.from()},
                                   {"to", transition.to()},
                                   {"at", FormatTime(transition.at_ms())},
                                   {"at_ms", transition.at_ms()},
                                   {"duration_ms", transition.duration_ms()},
                                   {"reason", transition.reason()}});
  }
  json["alarms"] = Json::array();
  for (const auto& alarm : status.alarms())
    json["alarms"].push_back({{"kind", alarm.kind()}, {"object", alarm.object()}, {"text", alarm.text()}});
  json["fencing"] = {{"mode", status.fencing().mode() == pb::FENCING_AVAILABLE ? "available" : "strict"},
                     {"lease_ms", status.fencing().fence_ms()},
                     {"bound_ms", status.fencing().bound_ms()}};
  json["barriers"] = Json::array();
  for (const auto& barrier : status.barriers()) {
    Json nodes = Json::array();
    for (const uint64_t node : barrier.waiting_for()) nodes.push_back(IdText(node));
    json["barriers"].push_back(
        {{"revision", barrier.revision()}, {"waiting_ms", barrier.waiting_ms()}, {"waiting_for", nodes}});
  }
  json["answered_by"] = IdText(status.answered_by());
  json["commit_index"] = status.commit_index();
  json["applied_index"] = status.applied_index();
  return json;
}

Json ToJson(const pb::Record& record) {
  Json json;
  json["kind"] = KindText(record);
  json["create_revision"] = record.create_revision();
  json["modify_revision"] = record.modify_revision();
  json.update(BodyOf(record));
  return json;
}

Json ToJson(const pb::TableRecord& table) {
  Json json;
  json["id"] = IdText(table.id());
  json["database_id"] = IdText(table.database());
  json["state"] = StateText(table.state());
  json.update(BodyOf(table.shape()));
  json["key_type"] = schema::NameOf(table.key_type());
  json["slot_name"] = table.slot_name();
  if (table.has_next()) json["next"] = BodyOf(table.next());
  if (table.data_deletion()) json["data_deletion"] = true;
  json["created_at"] = FormatTime(table.created_at_ms());
  return json;
}

Json ToJson(const pb::ViewRecord& view) {
  Json json;
  json["id"] = IdText(view.id());
  json["database_id"] = IdText(view.database());
  json["table_id"] = IdText(view.table());
  json["state"] = StateText(view.state());
  json.update(BodyOf(view.shape()));
  if (view.has_next()) json["next"] = BodyOf(view.next());
  json["created_at"] = FormatTime(view.created_at_ms());
  return json;
}

std::string SinkText(const std::string& sink) {
  const auto address = changefeed::ParseSinkAddress(sink);
  return address.ok() ? changefeed::WithoutSecrets(*address) : "(unreadable)";
}

std::string FaultText(const pb::ChangefeedFault& fault) {
  if (fault.code().empty()) return "";
  const std::string text = fmt::format("{}: {}", fault.code(), fault.message());
  return fault.node() == 0 ? text : fmt::format("{} (node {})", text, fault.node());
}

Json ToJson(const pb::ChangefeedRecord& feed) {
  Json json;
  json["id"] = IdText(feed.id());
  json["name"] = feed.name();
  json["state"] = StateText(feed.state());
  json["epoch"] = IdText(feed.owner_epoch());
  json["owner"] = feed.owner_node() == 0 ? Json(nullptr) : Json(IdText(feed.owner_node()));
  json["owner_incarnation"] = IdText(feed.owner_incarnation());
  json["checkpoint_ts"] = IdText(feed.checkpoint_ts());
  json["error"] = FaultText(feed.fault());
  json["database_id"] = IdText(feed.database());
  json["filter"] = feed.filter();
  json["sink"] = SinkText(feed.sink());
  json["initial_snapshot"] = feed.initial_snapshot();
  json["start_ts"] = IdText(feed.start_ts());
  json["target_ts"] = IdText(feed.target_ts());
  json["gc_ttl_ms"] = feed.gc_ttl_ms();
  json["stall_after_ms"] = feed.stall_after_ms();
  json["history_given_up"] = feed.history_given_up();
  json["halted_at"] = FormatTime(feed.halted_at_ms());
  json["created_at"] = FormatTime(feed.created_at_ms());
  return json;
}

Json ToJson(const pb::Changefeed& feed) {
  Json json = ToJson(feed.record());
  json["checkpoint_ts"] = IdText(feed.checkpoint_ts());
  json["owner_name"] = feed.owner_name();
  json["lag_ms"] = feed.lag_ms();
  json["lag_rows"] = feed.has_lag_rows() ? Json(feed.lag_rows()) : Json(nullptr);
  json["database"] = feed.database();
  json["operator"] = feed.pending();
  json["dispatchers"] = Json::array();
  for (const pb::ChangefeedDispatcher& dispatcher : feed.dispatchers()) {
    json["dispatchers"].push_back(
        {{"table", dispatcher.table()},
         {"region", IdText(dispatcher.region())},
         {"node", dispatcher.node() == 0 ? Json(nullptr) : Json(IdText(dispatcher.node()))},
         {"position", IdText(dispatcher.position_ts())},
         {"rate", dispatcher.rows_per_second()},
         {"behind", dispatcher.rows_behind()},
         {"error", dispatcher.error()},
         {"state", dispatcher.state()}});
  }
  if (!feed.explanation().empty()) json["explanation"] = feed.explanation();
  return json;
}

std::string KindText(const pb::Record& record) {
  switch (record.body_case()) {
    case pb::Record::kCluster:
      return "cluster";
    case pb::Record::kController:
      return "controller";
    case pb::Record::kNode:
      return "node";
    case pb::Record::kDatabase:
      return "database";
    case pb::Record::kRegion:
      return "region";
    case pb::Record::kEntry:
      return "entry";
    case pb::Record::kProcedure:
      return "procedure";
    case pb::Record::kTable:
      return "table";
    case pb::Record::kView:
      return "view";
    case pb::Record::kChangefeed:
      return "changefeed";
    case pb::Record::BODY_NOT_SET:
      break;
  }
  return "unknown";
}

std::string IdOf(const pb::Record& record) {
  switch (record.body_case()) {
    case pb::Record::kController:
      return IdText(record.controller().id());
    case pb::Record::kNode:
      return IdText(record.node().id());
    case pb::Record::kDatabase:
      return IdText(record.database().id());
    case pb::Record::kRegion:
      return IdText(record.region().id());
    case pb::Record::kEntry:
      return Printable(record.entry().key());
    case pb::Record::kProcedure:
      return IdText(record.procedure().id());
    case pb::Record::kTable:
      return IdText(record.table().id());
    case pb::Record::kView:
      return IdText(record.view().id());
    case pb::Record::kChangefeed:
      return IdText(record.changefeed().id());
    default:
      return "-";
  }
}

std::string Summary(const pb::Record& record) {
  switch (record.body_case()) {
    case pb::Record::kCluster:
      return fmt::format("{} incarnation {}, format {}{}", record.cluster().cluster_id(),
                         record.cluster().incarnation(), record.cluster().format_version(),
                         record.cluster().recoveries().empty()
                             ? ""
                             : fmt::format(", {} recoveries", record.cluster().recoveries_size()));
    case pb::Record::kController:
      return fmt::format("{} at {}, {}, {}", record.controller().name(), record.controller().address(),
                         record.controller().voter() ? "voter" : "learner",
                         StateText(record.controller().state()));
    case pb::Record::kNode:
      return fmt::format("{} at {}, {}", record.node().name(), record.node().address(),
                         StateText(record.node().state()));
    case pb::Record::kDatabase:
      return fmt::format("{}, {} regions, {} replicas, {}", record.database().name(),
                         record.database().regions(), record.database().replicas(),
                         StateText(record.database().state()));
    case pb::Record::kRegion: {
      std::string nodes;
      for (const auto& replica : record.region().replicas()) nodes += fmt::format(" {}", replica.node());
      return fmt::format("database {}, slots {}-{}, nodes{}, {}", record.region().database(),
                         record.region().slots().first(), record.region().slots().last(), nodes,
                         StateText(record.region().state()));
    }
    case pb::Record::kEntry:
      return Printable(record.entry().value());
    case pb::Record::kProcedure:
      return fmt::format("{}: {}, {}{}{}", record.procedure().type(), record.procedure().description(),
                         StateText(record.procedure().state()),
                         record.procedure().step().empty() ? "" : " in ", record.procedure().step());
    case pb::Record::kTable:
      return fmt::format("{} of database {}, {} columns, version {}, {}", record.table().shape().name(),
                         record.table().database(), record.table().shape().columns_size(),
                         record.table().shape().version(), StateText(record.table().state()));
    case pb::Record::kView:
      return fmt::format("{} of table {}, {} columns, version {}, {}", record.view().shape().name(),
                         record.view().table(), record.view().shape().columns_size(),
                         record.view().shape().version(), StateText(record.view().state()));
    case pb::Record::kChangefeed:
      return fmt::format("{} of database {} to {}, epoch {}, {}", record.changefeed().name(),
                         record.changefeed().database(), SinkText(record.changefeed().sink()),
                         record.changefeed().owner_epoch(), StateText(record.changefeed().state()));
    case pb::Record::BODY_NOT_SET:
      break;
  }
  return "";
}

}  // namespace tenure::cli
