// Makes the dispatchers of a node. Each runs by itself on the executor; see dispatcher.h.
//
// Threading: one executor.
// Lifetime:  what the parts refer to outlives it, and it outlives its dispatchers. Before it is destroyed all
//            of them are stopped, and Join has called back (unless the executor has stopped for good).
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "changefeed/dispatcher/span_work.h"

namespace tenure::changefeed {

class SpanDispatchers final : public DispatcherFactory {
 public:
  explicit SpanDispatchers(DispatcherParts parts);
  ~SpanDispatchers() override;

  std::unique_ptr<Dispatcher> Make(DispatcherSpec spec, WritePermit permit) override;
  // `done` once nothing of the stopped dispatchers is left. Nothing is made any more.
  void Join(Closure done);
  // Of those that were made and not stopped; for what looks from outside.
  std::vector<const DispatcherSpec*> specs() const;

 private:
  class Handle;
  using Works = std::list<std::unique_ptr<SpanWork>>;
  void Stop(Works::iterator work);
  void OnJoined(Works::iterator work);

  const DispatcherParts parts_;
  Works works_;
  std::vector<Closure> joined_;
  std::shared_ptr<SpanDispatchers*> self_;  // null inside once this is gone
};

}  // namespace tenure::changefeed
