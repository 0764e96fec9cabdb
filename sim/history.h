// What clients did to registers and what they were told: recorded while the simulation runs, judged at its
// end.
//
// Threading: the simulation's thread. Times are world time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "sim/linearizability.h"

namespace tenure::sim {

class History {
 public:
  struct Ticket {
    std::string key;
    size_t index;
  };

  // The operation counts as unknown until one of the three below is called.
  Ticket Begin(const std::string& key, Operation operation);
  void Finish(const Ticket& ticket, Instant returned);
  void FinishRead(const Ticket& ticket, Instant returned, std::optional<std::string> value);
  // Whatever the outcome: it took effect by then, or never.
  void Limit(const Ticket& ticket, Instant latest);
  // It certainly did not happen.
  void Discard(const Ticket& ticket);

  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t acknowledged_writes() const { return acknowledged_writes_; }
  uint64_t unknown() const;
  // Values of writes to registers whose name begins with `prefix`, called at or after `since` and
  // acknowledged before `before`; with the write in words.
  std::map<std::string, std::string> AcknowledgedValues(std::string_view prefix, Instant since,
                                                        Instant before) const;
  // Writes acknowledged at or after `time`: progress.
  std::optional<Instant> last_acknowledged() const { return last_acknowledged_; }

  // The longest time between `from` and `to` in which no write of a register was acknowledged whose name
  // begins with `prefix`; and when that began.
  struct Silence {
    Instant began;
    Duration length{};
  };
  Silence LongestSilence(std::string_view prefix, Instant from, Instant to) const;

  struct Judgement {
    uint64_t registers = 0;
    uint64_t undecided = 0;
    std::vector<std::string> violations;  // "register k: ..."
  };
  Judgement Judge(uint64_t max_steps_per_register) const;

 private:
  std::map<std::string, std::vector<std::optional<Operation>>> operations_;
  uint64_t acknowledged_ = 0;
  uint64_t acknowledged_writes_ = 0;
  std::optional<Instant> last_acknowledged_;
};

}  // namespace tenure::sim
