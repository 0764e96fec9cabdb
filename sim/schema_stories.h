// Stories about changes of the schema: each kind with each thing that can be wrong with a node meanwhile.
// With procedure_cases.h every one of them is run once for each change that it commits and each machine that
// dies then.
//
// Threading: as procedure_stories.h.
#pragma once

#include <vector>

#include "sim/procedure_stories.h"

namespace tenure::sim {

void AddSchemaStories(std::vector<Story>& stories);

}  // namespace tenure::sim
