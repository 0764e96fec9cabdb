// Clients of rows while their tables are altered, renamed, dropped and made again: each writes, reads and
// deletes rows, one at a time, over the Redis protocol, under names that exist, are about to exist, or do not
// exist any more, and by views. Column c1 of a row is a register (history.h); every write sets it, and mostly
// one more column to the same value, which is written once.
//
// Invariants, by what the operator of schemas was told (schema_timeline.h):
//   R1 nothing is answered under the name of a table, view or column that did not exist while it was asked.
//   R2 what was written under a name took effect, if at all, before the change that ended the name was made:
//      a later moment is none for the judge of the register. Dropping a table writes "absent" to its rows.
//   R3 at rest no replica holds rows of a table that the catalog does not have.
//   R4 a value is shown only in the column that it was written to, not in one that has its name since.
//   R5 a write is shown whole, as long as its column is there.
//   R6 nothing is written through a view.
//
// Threading: the simulation's thread; acts through events of a process of its own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "sim/history.h"
#include "sim/resp_client.h"
#include "sim/schema_timeline.h"
#include "sim/sim_clock.h"
#include "sim/sim_executor.h"
#include "sim/world.h"

namespace tenure::sim {

class RowClients {
 public:
  RowClients(World& world, const SchemaTimeline& timeline, Prng prng);
  ~RowClients();
  RowClients(const RowClients&) = delete;
  RowClients& operator=(const RowClients&) = delete;

  // Nothing happens in a world without tables.
  void Start();
  // No new operations; what was done to whole tables goes into the history. Once the schemas stay as they
  // are.
  void Stop();
  // R3; when all replicas have applied everything.
  void CheckAtRest();

  uint64_t answered() const { return answered_; }
  // Why nothing was done, most of the time: the table was not there, or was being changed.
  uint64_t refused() const { return refused_; }

 private:
  struct Client {
    std::unique_ptr<RespClient> resp;
    runtime::Timer timer;
  };
  struct Access {
    size_t lane = 0;
    size_t row = 0;
    std::string name;  // of the table or view
    bool view = false;
    Instant called;
    History::Ticket ticket;
    std::string column;  // beside c1; empty: none
    std::string value;   // of a write
  };
  struct Write {
    size_t lane = 0;
    size_t row = 0;
    std::string column;
    Instant called;
    std::optional<Instant> returned;
    bool refused = false;
  };

  void Pause(Client& client);
  void Next(Client& client);
  void ReadRow(Client& client, Access access);
  void WriteRow(Client& client, Access access, bool remove);
  void WriteView(Client& client, Access access);
  void OnRead(const Access& access, const RespAnswer& answer);
  void OnWritten(const Access& access, const RespAnswer& answer);
  // R1. None: it was violated.
  std::optional<Instant> LatestUse(const Access& access, Instant returned);
  void CheckShown(const Access& access, const std::string& column, const std::string& value);
  std::string DrawColumn(size_t lane);
  void Fail(const char* invariant, const Access& access, const std::string& what);

  World& world_;
  const SchemaTimeline& timeline_;
  Prng prng_;
  SimClock clock_;
  SimProcess process_;
  SimExecutor& executor_;
  std::unique_ptr<runtime::Network> network_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::map<std::string, Write> writes_;  // by value
  std::vector<Access> unknown_;
  uint64_t next_value_ = 1;
  uint64_t answered_ = 0;
  uint64_t refused_ = 0;
  bool stopped_ = false;
};

}  // namespace tenure::sim
