#include "base/prng.h"

#include "base/hash.h"

namespace tenure {

Prng::Prng(uint64_t seed, uint64_t stream) : increment_((stream << 1) | 1) {
  Next32();
  state_ += seed;
  Next32();
}

uint32_t Prng::Next32() {
  const uint64_t old = state_;
  state_ = old * 6364136223846793005ULL + increment_;
  const auto shifted = static_cast<uint32_t>(((old >> 18u) ^ old) >> 27u);
  const auto rotation = static_cast<uint32_t>(old >> 59u);
  return (shifted >> rotation) | (shifted << ((32 - rotation) & 31));
}

uint64_t Prng::Below(uint64_t bound) {
  if (bound == 0) return 0;
  // Rejection keeps the draw uniform for bounds that do not divide 2^64.
  const uint64_t threshold = (0 - bound) % bound;
  for (;;) {
    const uint64_t draw = Next64();
    if (draw >= threshold) return draw % bound;
  }
}

int64_t Prng::Between(int64_t low, int64_t high) {
  const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  if (span == UINT64_MAX) return static_cast<int64_t>(Next64());
  return static_cast<int64_t>(static_cast<uint64_t>(low) + Below(span + 1));
}

Prng Prng::Fork(std::string_view name) const {
  const uint64_t key = HashBytes(name);
  return Prng(state_ ^ key, increment_ ^ (key << 1));
}

}  // namespace tenure
