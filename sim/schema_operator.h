// An operator who changes schemas all the time: a few tables, each with columns that come and go, two names
// that it takes in turn, and a view now and then, in a strict database of their own. A change is followed to
// its end, and cancelled before it now and then.
//
// Each table belongs to one lane, which has one change under way, repeated under its id until the answer is
// definite: so it is known at any time how the table must look, by what its procedures said.
//
// Invariants: S1 a change is made whole if its procedure succeeded, and not at all if it was rolled back or
//                cancelled (Check, at rest).
//
// Threading: the simulation's thread; acts through events of a process of its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"
#include "client/controller_client.h"
#include "client/request_ids.h"
#include "sim/schema_timeline.h"
#include "sim/sim_clock.h"
#include "sim/sim_executor.h"
#include "sim/world.h"
#include "tenure/v1/procedures.pb.h"
#include "tenure/v1/tables.pb.h"

namespace tenure::sim {

class SchemaOperator {
 public:
  SchemaOperator(World& world, SchemaTimeline& timeline, Prng prng);
  ~SchemaOperator();
  SchemaOperator(const SchemaOperator&) = delete;
  SchemaOperator& operator=(const SchemaOperator&) = delete;

  // Nothing happens in a world without tables for it.
  void Start();
  // No new changes: those under way are brought to their ends.
  void Finish() { finishing_ = true; }
  // What is under way still; empty: nothing.
  std::string Unfinished() const;
  // S1; once nothing is under way.
  void Check();

  uint64_t made() const { return made_; }
  uint64_t undone() const { return undone_; }

 private:
  // How a lane's table is, as its procedures said.
  struct Model {
    bool exists = false;
    bool renamed = false;           // it has its second name
    std::vector<uint32_t> columns;  // by number; c1 is always there
    bool view = false;              // that shows c1
    bool Has(uint32_t column) const { return std::ranges::count(columns, column) > 0; }
    friend bool operator==(const Model&, const Model&) = default;
  };
  struct Lane {
    size_t number = 0;
    uint32_t newest_column = 1;
    Model now;
    Model wished;  // if the change under way succeeds
    bool busy = false;
    Instant asked;       // for the change under way
    std::string method;  // of tenure.v1.Tables
    std::string request;
    ::tenure::v1::RequestId id;
    std::shared_ptr<bool> sent;
    uint64_t procedure = 0;
    bool cancel = false;
    runtime::Timer timer;
  };

  std::string NameOf(const Lane& lane, bool renamed) const;
  void Pause(Lane& lane);
  void Decide(Lane& lane);
  template <class Request>
  void Begin(Lane& lane, const char* method, Request request, Model wished);
  void CreateTable(Lane& lane);
  uint32_t NewColumn(Lane& lane, const Model& model);
  std::vector<std::string> NamesIn(const Lane& lane, const Model& model) const;
  void Foretell(Lane& lane, const Model& wished);
  void Record(const Lane& lane, bool made);
  void AlterTable(Lane& lane);
  void Send(Lane& lane);
  void Follow(Lane& lane);
  void Cancel(Lane& lane);
  void End(Lane& lane, bool made);
  std::string Describe(const Lane& lane) const;

  World& world_;
  SchemaTimeline& timeline_;
  Prng prng_;
  SimClock clock_;
  SimProcess process_;
  SimExecutor& executor_;
  std::unique_ptr<runtime::Network> network_;
  std::unique_ptr<client::ControllerClient> controllers_;
  client::RequestIds ids_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  bool finishing_ = false;
  uint64_t made_ = 0;
  uint64_t undone_ = 0;
};

}  // namespace tenure::sim
