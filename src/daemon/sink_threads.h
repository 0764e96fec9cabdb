// The threads on which sinks of changefeeds wait for a disk or a pipe: one for each destination that is in
// use, so that one that hangs holds up only what goes there as well.
//
// Threading: For on the owner, the executor of the sinks; StopAll from outside, when the owner has stopped.
//            The owner ends threads, so no other thread may help it (RealExecutor::Work::kBlocking; checked).
// Lifetime:  a thread ends when nothing of its destination is left (what hangs counts). What uses them is
//            destroyed before, or when the owner has stopped.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "changefeed/sink/background_sink.h"
#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"

namespace tenure::daemon {

class SinkThreads {
 public:
  explicit SinkThreads(runtime::RealExecutor& owner);
  ~SinkThreads();

  // For changefeed::Backgrounds.
  std::shared_ptr<changefeed::Background> For(const std::string& destination);
  void StopAll();
  size_t size() const { return threads_.size(); }

 private:
  struct Thread {
    runtime::RealExecutor executor{"sink", runtime::RealExecutor::Work::kBlocking};
    runtime::RealDisk disk{executor};
    std::weak_ptr<changefeed::Background> users;
  };
  void EndUnused(const std::string& destination);

  runtime::RealExecutor& owner_;
  std::map<std::string, std::unique_ptr<Thread>> threads_;
  std::shared_ptr<SinkThreads*> self_;  // null inside once this is gone
};

}  // namespace tenure::daemon
