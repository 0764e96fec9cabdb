// The systems that changefeeds write to, and what must hold of what arrives there.
//
//   F1 no message of an owner epoch comes after one of a higher epoch of the same changefeed, or after a stop
//      under a higher epoch is complete.
//   F2 changes of a key come in commit order; what comes again was there before.
//   F3 what comes for the first time is behind the checkpoint that the catalog had: a checkpoint is never
//   above
//      what the sink holds.
//   F4 every acknowledged write to a key is there in the end (Missing).
//   F5 a row that was written under an older schema does not come for the first time after the change of it.
//
// A sink delivers after a while, and fails or hangs now and then until the world is calm.
//
// Threading: the simulation's thread. Sinks belong to the executors of their processes; what they delivered
//            outlives these.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "changefeed/sink/sink.h"
#include "runtime/executor.h"

namespace tenure::sim {

class World;

class FeedSinks {
 public:
  FeedSinks(World& world, Prng prng) : world_(world), prng_(prng) {}

  std::unique_ptr<changefeed::Sink> MakeSink(runtime::Executor& executor,
                                             const changefeed::SinkIdentity& identity,
                                             changefeed::SinkObserver& observer,
                                             changefeed::WritePermit permit);
  // As the catalog of some controller has it. Names of changefeeds are not used again.
  void OnCheckpoint(const std::string& feed, uint64_t checkpoint);
  // What has a lower epoch must not arrive any more: the stop under this one is complete.
  void OnStopped(const std::string& feed, uint64_t epoch);
  // It has arrived.
  bool Has(const std::string& feed, const std::string& value) const;
  uint64_t messages() const { return messages_; }
  uint64_t duplicates() const { return duplicates_; }
  // What a sink does next.
  Duration DrawDelay();
  bool DrawFailure();
  void Arrive(const changefeed::SinkIdentity& identity, const changefeed::Message& message);

 private:
  struct Key {
    uint64_t newest = 0;
    std::set<uint64_t> seen;  // commit timestamps
  };
  struct Feed {
    uint64_t epoch = 0;
    uint64_t checkpoint = 0;
    std::map<std::string, Key> keys;           // "<table id or keys>/<key>"
    std::map<std::string, uint64_t> versions;  // of tables, as schema changes said
    std::set<std::string> values;
  };
  void Check(Feed& feed, const changefeed::SinkIdentity& identity, const changefeed::Message& message);
  void CheckVersion(Feed& feed, const std::string& table, const changefeed::SinkIdentity& identity,
                    const changefeed::Message& message);

  World& world_;
  Prng prng_;
  std::map<std::string, Feed> feeds_;
  uint64_t messages_ = 0;
  uint64_t duplicates_ = 0;
};

}  // namespace tenure::sim
