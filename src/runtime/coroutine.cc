#include "runtime/coroutine.h"

namespace tenure::runtime::internal {

void TaskThrew() {
  try {
    throw;
  } catch (const std::exception& e) {
    TENURE_CHECK(false, "an exception left a task: {}", e.what());
  } catch (...) {
    TENURE_CHECK(false, "something that is no std::exception was thrown out of a task");
  }
  std::abort();
}

}  // namespace tenure::runtime::internal
