// All of the coroutine vocabulary: Task<T> (coroutine.h), TaskScope (task_scope.h), what can be awaited
// (awaitables.h). Flows of zone 2 include this one.
#pragma once

#include "runtime/awaitables.h"
#include "runtime/coroutine.h"
#include "runtime/task_scope.h"
