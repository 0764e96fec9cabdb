// A directory's state in the line format that Redis users know as nodes.conf: a line per node, a line of
// variables, a line per log entry. docs/operations.md has the fields.
//
// Threading: values.
#pragma once

#include <string>

#include "cli/inspection.h"

namespace tenure::cli {

// `group`: whose term, vote, applied index and entries are shown. The entries must have been asked for.
std::string NodesConf(const DirectoryInspection& found, GroupId group);

}  // namespace tenure::cli
