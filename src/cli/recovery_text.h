// What `tenure recover` tells people.
//
// Threading: pure functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/output.h"
#include "recovery/intent.h"
#include "recovery/plan.h"

namespace tenure::cli {

// `applied`: per directory and group, of the stored state.
std::string SurveyText(const std::vector<recovery::DirectorySurvey>& survey,
                       const std::vector<std::map<GroupId, LogIndex>>& applied);
std::string PlanText(const recovery::Plan& plan, const std::vector<recovery::DirectorySurvey>& survey);
std::string AuditText(const recovery::DirectorySurvey& directory,
                      const std::vector<recovery::Intent>& history);
std::string DoneText(const recovery::Intent& intent);

}  // namespace tenure::cli
