// A small integer generator (PCG-XSH-RR 64/32, O'Neill 2014) that is passed by value and forked by name, so
// that every consumer draws from its own stream and a run is a function of the root seed.
// No `std::` distribution is used: their results differ between libraries.
#pragma once

#include <cstdint>
#include <string_view>

namespace tenure {

class Prng {
 public:
  explicit Prng(uint64_t seed) : Prng(seed, 0) {}
  Prng(uint64_t seed, uint64_t stream);

  uint32_t Next32();
  uint64_t Next64() { return (static_cast<uint64_t>(Next32()) << 32) | Next32(); }

  // Uniform in [0, bound); 0 if bound is 0.
  uint64_t Below(uint64_t bound);
  // Uniform in [low, high]; requires low <= high.
  int64_t Between(int64_t low, int64_t high);
  // True with probability numerator / denominator.
  bool Chance(uint32_t numerator, uint32_t denominator) { return Below(denominator) < numerator; }

  // An independent generator; the same name from the same state gives the same stream.
  Prng Fork(std::string_view name) const;

 private:
  uint64_t state_ = 0;
  uint64_t increment_ = 1;
};

}  // namespace tenure
