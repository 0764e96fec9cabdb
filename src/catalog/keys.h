// Keys of the catalog below its prefix. Ids are big-endian, so that key order is id order.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/codec.h"

namespace tenure::catalog {

inline constexpr std::string_view kClusterKey = "c";
inline constexpr std::string_view kIdsKey = "i";
inline constexpr char kControllerPrefix = 'C';
inline constexpr char kNodePrefix = 'N';
inline constexpr char kDatabasePrefix = 'D';
inline constexpr char kRegionPrefix = 'R';
inline constexpr char kProcedurePrefix = 'P';
inline constexpr char kTablePrefix = 'T';
inline constexpr char kViewPrefix = 'V';
inline constexpr char kChangefeedPrefix = 'F';
inline constexpr char kEntryPrefix = 'E';
inline constexpr char kClientPrefix = 'd';

inline std::string IdKey(char prefix, uint64_t id) {
  std::string key(1, prefix);
  PutBigEndian64(key, id);
  return key;
}

inline std::string EntryKey(std::string_view key) {
  std::string result;
  result.reserve(1 + key.size());
  result.push_back(kEntryPrefix);
  result.append(key);
  return result;
}

// The keys with this first byte, as [lower, upper).
inline std::string PrefixLower(char prefix) {
  return std::string(1, prefix);
}
inline std::string PrefixUpper(char prefix) {
  return std::string(1, static_cast<char>(prefix + 1));
}

}  // namespace tenure::catalog
