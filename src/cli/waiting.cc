#include "cli/waiting.h"

#include <algorithm>
#include <thread>

#include "cli/output.h"
#include "cli/progress.h"

namespace tenure::cli {
namespace {

constexpr auto kLookInterval = std::chrono::milliseconds(50);
constexpr Duration kQuestionLimit = std::chrono::seconds(2);

}  // namespace

Duration Deadline::remaining() const {
  return std::max<Duration>(Duration::zero(), end_ - std::chrono::steady_clock::now());
}

Status WaitUntilNothingIsMissing(const Deadline& deadline,
                                 const std::function<StatusOr<std::string>(Duration limit)>& look) {
  Progress progress;
  while (true) {
    TENURE_ASSIGN_OR_RETURN(const std::string missing, look(std::min(kQuestionLimit, deadline.remaining())));
    if (missing.empty()) return OkStatus();
    progress.Show(missing);
    if (deadline.remaining() == Duration::zero()) {
      return Error(StatusCode::kDeadlineExceeded, "not done after {}, goes on without waiting: {}",
                   FormatMillis(static_cast<double>(ToMillis(deadline.limit()))), missing);
    }
    std::this_thread::sleep_for(kLookInterval);
  }
}

}  // namespace tenure::cli
