// The catalog's records and the cluster's observations as JSON, with the field names of docs/cli.md.
//
// Threading: pure functions.
#pragma once

#include <map>
#include <string>

#include "cli/output.h"
#include "tenure/v1/catalog.pb.h"
#include "tenure/v1/changefeeds.pb.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::cli {

// Enum names without the prefix their proto gives them: "SERVING", "voter".
std::string StateText(tenure::v1::NodeState state);
std::string StateText(tenure::v1::ControllerState state);
std::string StateText(tenure::v1::DatabaseState state);
std::string StateText(tenure::v1::RegionState state);
std::string StateText(tenure::v1::TableState state);
std::string StateText(tenure::v1::ChangefeedState state);
std::string StateText(tenure::v1::ProcedureState state);
std::string RoleText(tenure::v1::ReplicaRole role);
// "running", "lost" (dropped by a repair), "diverged", or "unknown": its node has not reported it.
std::string ReplicaState(const tenure::v1::RegionStatus& region, uint64_t replica);

Json ToJson(const tenure::v1::ControllerStatus& controller);
Json ToJson(const tenure::v1::NodeStatus& node);        // as in `status`
Json ToJsonInFull(const tenure::v1::NodeStatus& node);  // as in `node list|show`
// `database_name`: of the record's database id.
Json ToJson(const tenure::v1::RegionStatus& region, const std::string& database_name);
Json ToJson(const tenure::v1::DatabaseRecord& database);
Json ToJson(const tenure::v1::ProcedureRecord& procedure);
Json ToJson(const tenure::v1::TableRecord& table);
Json ToJson(const tenure::v1::ViewRecord& view);
Json ToJson(const tenure::v1::ChangefeedRecord& feed);
Json ToJson(const tenure::v1::Changefeed& feed);
// A sink's address without its secrets.
std::string SinkText(const std::string& sink);
// "SINK_UNAVAILABLE: ... (node 3)"; empty: nothing is wrong.
std::string FaultText(const tenure::v1::ChangefeedFault& fault);
Json ToJson(const tenure::v1::StatusResponse& status);
// Any record, with kind, create_revision and modify_revision.
Json ToJson(const tenure::v1::Record& record);
// "cluster", "controller", ... and the id or key by which people call it.
std::string KindText(const tenure::v1::Record& record);
std::string IdOf(const tenure::v1::Record& record);
// What a row of a table says about it.
std::string Summary(const tenure::v1::Record& record);

}  // namespace tenure::cli
