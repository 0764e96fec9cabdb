// Random data commands over few keys and fields, so that they meet: mostly sensible, some wrong in every way
// that the store has to refuse.
#pragma once

#include "base/prng.h"
#include "store/command_table.h"

namespace tenure::store {

struct RandomCommandOptions {
  int64_t now_ms = 0;
  // Expiries lie this far ahead at least, so that none passes while a test runs; 0: from one millisecond.
  int64_t min_ahead_ms = 0;
  int64_t max_ahead_ms = 5'000;
  bool past_expiries = true;  // absolute times that have passed, and negative ones
};

Arguments RandomCommand(Prng& prng, const RandomCommandOptions& options);

}  // namespace tenure::store
