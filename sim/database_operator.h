// An operator who creates and drops databases all the time: under several names, under the same name again as
// soon as the last one is dropped, of 1 to 3 regions with 1 to 3 replicas. Between the two now and then a
// value is written, under a key of its own, over the Redis protocol.
//
// Each name belongs to this operator alone and has at most one request under way, repeated under its id until
// the answer is definite: so it is known at any time which of the names exist, and DatabaseChecker is told. A
// creation that is answered with a database that is still being made may fail after that: it is asked for
// again until the database is public or its failure is told; or the database is dropped while it is made.
//
// Threading: the simulation's thread; acts through events of a process of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"
#include "client/controller_client.h"
#include "client/request_ids.h"
#include "sim/resp_client.h"
#include "sim/sim_clock.h"
#include "sim/sim_executor.h"
#include "sim/world.h"

namespace tenure::sim {

class DatabaseOperator {
 public:
  DatabaseOperator(World& world, Prng prng);
  ~DatabaseOperator();
  DatabaseOperator(const DatabaseOperator&) = delete;
  DatabaseOperator& operator=(const DatabaseOperator&) = delete;

  // Nothing happens in a world without names for it.
  void Start();
  // No new ideas: what is under way is brought to its end, and what exists must take values.
  void Finish();
  // After Finish: drops what would not be served with one machine less.
  void DropThin();
  // What is under way still; empty: nothing.
  std::string Unfinished() const;
  uint64_t created() const { return created_; }
  uint64_t dropped() const { return dropped_; }

 private:
  enum class Wish : uint8_t { kNone, kCreate, kDrop, kWrite };
  struct Name {
    std::string name;
    std::unique_ptr<RespClient> values;
    bool exists = false;     // as far as answers say
    bool is_public = false;  // so are answers: until then its creation may fail
    uint64_t id = 0;         // of the one that exists
    uint32_t regions = 0;
    uint32_t replicas = 0;
    uint32_t taken = 0;  // values since Finish
    Wish under_way = Wish::kNone;
    ::tenure::v1::RequestId request;  // under way
    std::shared_ptr<bool> sent;       // an attempt of it may have been executed
    runtime::Timer timer;
  };

  void Pause(Name& name);
  void Decide(Name& name);
  void Begin(Name& name, Wish wish);
  void Send(Name& name);
  void OnAnswer(Name& name, const StatusOr<::tenure::v1::ChangeResponse>& answer);
  void OnCreated(Name& name, const ::tenure::v1::DatabaseRecord& made);
  void OnGone(Name& name);
  void OnRefused(Name& name, const Status& status);
  void Done(Name& name);
  void Write(Name& name);

  World& world_;
  Prng prng_;
  SimClock clock_;
  SimProcess process_;
  SimExecutor& executor_;
  std::unique_ptr<runtime::Network> network_;
  std::unique_ptr<client::ControllerClient> controllers_;
  client::RequestIds ids_;
  std::vector<std::unique_ptr<Name>> names_;
  uint32_t max_replicas_ = 3;
  uint32_t min_replicas_ = 1;
  bool finishing_ = false;
  uint64_t values_ = 0;
  uint64_t created_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace tenure::sim
