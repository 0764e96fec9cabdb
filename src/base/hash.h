// Checksums and hashes with a fixed definition: XXH3-64 for records and state hashes, CRC16/XMODEM for
// Redis cluster slots (https://redis.io/docs/reference/cluster-spec, appendix A).
#pragma once

#include <cstdint>
#include <string_view>

namespace tenure {

inline constexpr uint32_t kSlotCount = 16384;

// XXH3-64 of `bytes`, started from `seed`; stable across processes and versions.
uint64_t HashBytes(std::string_view bytes, uint64_t seed = 0);

uint16_t Crc16(std::string_view bytes);

// The Redis cluster slot of a key, taking the hash tag between the first '{' and the next '}' if it is not
// empty.
uint16_t SlotOfKey(std::string_view key);

}  // namespace tenure
