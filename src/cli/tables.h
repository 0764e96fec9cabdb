// Tables that more than one command prints.
//
// Threading: pure functions.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <string>

#include "tenure/v1/cluster.pb.h"

namespace tenure::cli {

std::string ControllersTable(
    const google::protobuf::RepeatedPtrField<tenure::v1::ControllerStatus>& controllers);
// "SUSPECT (other nodes reached it 20 ms ago)".
std::string StateWithDetail(const tenure::v1::NodeStatus& node);
// What is left of its lease, or since when it is fenced: as it said last, counted on.
std::string LeaseText(const tenure::v1::NodeStatus& node);
std::string NodesTable(const google::protobuf::RepeatedPtrField<tenure::v1::NodeStatus>& nodes);

}  // namespace tenure::cli
