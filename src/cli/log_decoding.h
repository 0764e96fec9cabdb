// What an entry of the log says: as JSON for scripts, as a line for people.
//
// Threading: values.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "base/ids.h"
#include "cli/output.h"
#include "raft/types.h"

namespace tenure::cli {

// "command", "no-op", "configuration".
std::string EntryTypeText(raft::EntryType type);
// The fields that are set, by their proto names; 64-bit numbers as strings, bytes as text or `name`_base64.
Json MessageToJson(const google::protobuf::Message& message);
// A catalog's command (group 0), a region's command, a configuration; {"undecodable": reason} if it cannot be
// read; null for a no-op.
Json EntryToJson(GroupId group, const raft::Entry& entry);
// In one line, cut at some 200 characters.
std::string EntryToText(GroupId group, const raft::Entry& entry);
Json ConfigurationToJson(const raft::Configuration& configuration);

}  // namespace tenure::cli
