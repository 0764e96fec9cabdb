#include "changefeed/agent/dispatcher_pool.h"

namespace tenure::changefeed {

DispatcherPool::DispatcherPool(runtime::Executor& executor, runtime::Executor& dispatchers,
                               DispatcherFactory& factory)
    : executor_(executor),
      dispatchers_(dispatchers),
      factory_(factory),
      lease_(std::make_shared<LeaseClock>(dispatchers)),
      self_(std::make_shared<DispatcherPool*>(this)) {}

DispatcherPool::~DispatcherPool() {
  *self_ = nullptr;
  for (const auto& [key, permit] : permits_) permit->open = false;
  // They end where they live; without that executor (a crash) they go with it.
  dispatchers_.Post([running = std::move(running_)] {
    for (auto& [key, dispatcher] : running->dispatchers) dispatcher->Stop();
    running->dispatchers.clear();
  });
}

void DispatcherPool::Create(DispatcherSpec spec) {
  const Key key{spec.changefeed, spec.span};
  auto& permit = permits_[key];
  if (permit) permit->open = false;
  permit = std::make_shared<Permit>();
  dispatchers_.Post([running = running_, &factory = factory_, key, spec = std::move(spec), permit,
                     lease = lease_]() mutable {
    auto& place = running->dispatchers[key];
    if (place) place->Stop();
    place.reset();
    place = factory.Make(std::move(spec), [permit, lease] {
#ifdef TENURE_MUTANT_feed_permit_without_lease
      return permit->open.load();
#else
      return permit->open.load() && lease->Holds();
#endif
    });
  });
}

void DispatcherPool::Stop(const std::vector<Key>& keys, Callback<States> done) {
  for (const Key& key : keys) {
    const auto found = permits_.find(key);
    if (found == permits_.end()) continue;
    found->second->open = false;
    permits_.erase(found);
  }
  dispatchers_.Post(
      [running = running_, &executor = executor_, keys, self = self_, done = std::move(done)]() mutable {
        States states;
        for (const Key& key : keys) {
          const auto found = running->dispatchers.find(key);
          if (found == running->dispatchers.end()) continue;
          found->second->Stop();
          states.emplace(key, StateOf(*found->second));
          running->dispatchers.erase(found);
        }
        if (!done) return;
        executor.Post([self, states = std::move(states), done = std::move(done)]() mutable {
          if (*self != nullptr) done(std::move(states));
        });
      });
}

DispatcherPool::State DispatcherPool::StateOf(const Dispatcher& dispatcher) {
  return {.epoch = dispatcher.spec().epoch,
          .report = dispatcher.report(),
          .resolved = dispatcher.resolved(),
          .rows_per_second = dispatcher.rows_per_second(),
          .rows_behind = dispatcher.rows_behind()};
}

void DispatcherPool::Tell(Key key, std::function<void(Dispatcher&)> what) {
  dispatchers_.Post([running = running_, key, what = std::move(what)] {
    const auto found = running->dispatchers.find(key);
    if (found != running->dispatchers.end()) what(*found->second);
  });
}

void DispatcherPool::Hold(Key key, SchemaChange change) {
  Tell(key, [change = std::move(change)](Dispatcher& dispatcher) { dispatcher.Hold(change); });
}
void DispatcherPool::Write(Key key, SchemaChange change) {
  Tell(key, [change = std::move(change)](Dispatcher& dispatcher) { dispatcher.Write(change); });
}
void DispatcherPool::Pass(Key key, CommitTs barrier) {
  Tell(key, [barrier](Dispatcher& dispatcher) { dispatcher.Pass(barrier); });
}

void DispatcherPool::CheckpointAdvanced(ChangefeedId changefeed, CommitTs checkpoint) {
  dispatchers_.Post([running = running_, changefeed, checkpoint] {
    auto& dispatchers = running->dispatchers;
    for (auto it = dispatchers.lower_bound({changefeed, SpanId()});
         it != dispatchers.end() && it->first.first == changefeed; ++it)
      it->second->CheckpointAdvanced(checkpoint);
  });
}

void DispatcherPool::Collect(Callback<States> done) {
  dispatchers_.Post(
      [running = running_, &executor = executor_, self = self_, done = std::move(done)]() mutable {
        States states;
        for (const auto& [key, dispatcher] : running->dispatchers) states.emplace(key, StateOf(*dispatcher));
        executor.Post([self, states = std::move(states), done = std::move(done)]() mutable {
          if (*self != nullptr) done(std::move(states));
        });
      });
}

}  // namespace tenure::changefeed
