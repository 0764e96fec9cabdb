// Decides whether a history of reads and writes of one register could have happened one operation at a time,
// each at a moment between its call and its return (Herlihy & Wing 1990). The search is Wing & Gong's with
// Lowe's memoisation: take any operation that no unfinished one precedes, remember (set taken, value) already
// seen.
//
// An operation without an answer may have taken effect at any time after its call, or never. Such a write
// whose value nobody read or expected is left out: with it the history is linearizable exactly if it is
// without.
//
// Threading: pure function.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"

namespace tenure::sim {

struct Operation {
  enum class Kind : uint8_t { kRead, kWrite };
  Kind kind = Kind::kRead;
  std::optional<std::string> value;  // written or read; nullopt: absent (a delete writes it)
  Instant called;
  std::optional<Instant>
      returned;    // nullopt: no answer, the outcome is unknown (reads without one do not count)
  std::string by;  // for messages
  // A write that was to happen only if the register had this value, and did: nullopt inside: was absent.
  std::optional<std::optional<std::string>> expected = std::nullopt;
  // Without an answer: it took effect by then, or never.
  std::optional<Instant> latest = std::nullopt;
};

enum class Verdict : uint8_t { kLinearizable, kViolation, kUndecided };

struct CheckResult {
  Verdict verdict = Verdict::kLinearizable;
  uint64_t steps = 0;
  std::string explanation;  // of a violation: the operations that could not be placed
};

// The register is absent at first. Gives up as kUndecided after `max_steps`.
CheckResult CheckRegister(std::vector<Operation> history, uint64_t max_steps);

}  // namespace tenure::sim
