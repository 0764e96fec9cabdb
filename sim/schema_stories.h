// Stories about changes of the schema: each kind with each thing that can be wrong with a node meanwhile.
// With procedure_cases.h every one of them is run once for each change that it commits and each machine that
// dies then.
//
// Threading: as procedure_stories.h.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sim/procedure_stories.h"

namespace tenure::sim {

void AddSchemaStories(std::vector<Story>& stories);

// What became of the changes of one story.
struct SchemaOutcome {
  uint64_t succeeded = 0;
  uint64_t rolled_back = 0;
  Duration announced{};  // how long the barrier for the intent took when nobody crashed
};
using SchemaOutcomes = std::map<std::string_view, SchemaOutcome>;  // by the story's name

// For people, in Markdown: a line for each kind of change, a column for each thing that is wrong with a node.
std::string TableOf(const SchemaOutcomes& outcomes);

}  // namespace tenure::sim
