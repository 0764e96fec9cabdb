#include "daemon/sink_threads.h"

#include <utility>

#include "base/check.h"

namespace tenure::daemon {

SinkThreads::SinkThreads(runtime::RealExecutor& owner)
    : owner_(owner), self_(std::make_shared<SinkThreads*>(this)) {
  TENURE_CHECK(owner.work() == runtime::RealExecutor::Work::kBlocking,
               "a sink's thread may help the executor that is to end it");
}

SinkThreads::~SinkThreads() {
  StopAll();
  *self_ = nullptr;
}

std::shared_ptr<changefeed::Background> SinkThreads::For(const std::string& destination) {
  std::unique_ptr<Thread>& thread = threads_[destination];
  if (!thread) thread = std::make_unique<Thread>();
  if (auto users = thread->users.lock()) return users;
  // The last user may go on any thread.
  auto release = [self = self_, &owner = owner_, destination](changefeed::Background* background) {
    delete background;
    owner.Post([self, destination] {
      if (*self != nullptr) (*self)->EndUnused(destination);
    });
  };
  std::shared_ptr<changefeed::Background> users(new changefeed::Background(thread->executor, thread->disk),
                                                std::move(release));
  thread->users = users;
  return users;
}

// Waits for no more than the end of the closure that let the last user go.
void SinkThreads::EndUnused(const std::string& destination) {
  const auto found = threads_.find(destination);
  if (found != threads_.end() && found->second->users.expired()) threads_.erase(found);
}

void SinkThreads::StopAll() {
  for (const auto& [destination, thread] : threads_) thread->executor.Stop();
}

}  // namespace tenure::daemon
