// The systems that changefeeds write to, and what must hold of what arrives there.
//
//   F1 nothing of an owner epoch arrives once a dispatcher of a higher epoch of the same changefeed has been
//      made, or once a stop under a higher epoch is complete.
//   F2 changes of a key come in commit order; what comes again was there before.
//   F3 what comes for the first time is behind the checkpoint that the catalog has: a checkpoint is never
//      above what the sink holds.
//   F4 every acknowledged write to a key or a row is there in the end (Has, HasRow).
//   F5 a row that was written under an older schema does not come for the first time after the change of it,
//      and none that was written under a newer one before the change to that.
//   F6 after a "resolved" nothing comes for the first time that was committed up to its timestamp, in
//      whichever span of the changefeed.
//   F7 a span has one writer: once a dispatcher of it has been made, no earlier one delivers.
//   F8 the old image of a row is the new one of the change before it: nothing between them is missing.
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
  // It has arrived: as the value of a key, or in column c1 of a row.
  bool Has(const std::string& feed, const std::string& value) const;
  bool HasRow(const std::string& feed, const std::string& c1) const;
  uint64_t messages() const { return messages_; }
  uint64_t duplicates() const { return duplicates_; }
  uint64_t rows() const { return rows_; }
  uint64_t schema_changes() const { return schema_changes_; }
  // What a sink does next.
  Duration DrawDelay();
  bool DrawFailure();
  // `sink`: the number of the sink that delivers it.
  void Arrive(uint64_t sink, const changefeed::SinkIdentity& identity, const changefeed::Message& message);

 private:
  struct Key {
    uint64_t newest = 0;
    std::set<uint64_t> seen;  // commit timestamps
    uint64_t version = 0;     // of the schema of the newest, of a row
    std::string image;        // its new image
  };
  struct Table {
    uint64_t first = 0;          // version of the schema of what came first
    uint64_t newest = 0;         // as schema changes said; the highest there is: dropped
    std::set<uint64_t> changes;  // commit timestamps of these
  };
  struct Feed {
    uint64_t epoch = 0;
    uint64_t checkpoint = 0;
    uint64_t resolved = 0;
    std::map<std::string, uint64_t> writers;  // of spans: the number of the last sink
    std::map<std::string, Key> keys;          // "<table id or keys>/<key>"
    std::map<std::string, Table> tables;      // by "t<id>"
    std::set<std::string> values;
    std::set<std::string> rows;  // values of c1
  };
  // What arrives, for messages.
  static std::string Describe(const changefeed::SinkIdentity& identity, const changefeed::Message& message);
  void CheckWriter(Feed& feed, uint64_t sink, const changefeed::SinkIdentity& identity,
                   const changefeed::Message& message);
  void CheckChange(Feed& feed, const changefeed::SinkIdentity& identity, const changefeed::Message& message);
  void CheckSchemaChange(Feed& feed, const changefeed::SinkIdentity& identity,
                         const changefeed::Message& message);
  // F3 and F6, of what arrives for the first time.
  void CheckIsNew(const Feed& feed, const changefeed::SinkIdentity& identity,
                  const changefeed::Message& message);
  // F5 and F8.
  void CheckRow(Feed& feed, const Key& before, const changefeed::SinkIdentity& identity,
                const changefeed::Message& message);
  static void NoteValue(Feed& feed, const changefeed::Message& message);

  World& world_;
  Prng prng_;
  std::map<std::string, Feed> feeds_;
  uint64_t sinks_ = 0;  // made
  uint64_t messages_ = 0;
  uint64_t duplicates_ = 0;
  uint64_t rows_ = 0;  // that came for the first time
  uint64_t schema_changes_ = 0;
};

}  // namespace tenure::sim
