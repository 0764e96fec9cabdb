// What the log and the state of a catalog may contain, by the cluster's format version.
//
// The version stands in the cluster's record. It rises only by RaiseFormat (`tenure upgrade finalize`), when
// every controller and node has said that its program reads the new one; until then nothing is written that
// the older programs among them could not read, and any of them may be put back to its older program.
//
//   command type            log entry of it                                             who finds one
//   of the cluster's format applied
//   of a later format       refused before it is proposed: the message names the format  -
//   retired                 nothing happens, with a note for the log file               a later program,
//   replaying unknown                 the program is too old for this log and ends                an older
//   program
//
// Numbers of command types and letters of sections are never used again.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tenure/internal/v1/command.pb.h"

namespace tenure::catalog {

// Formats this program reads. A new cluster begins with the newest.
inline constexpr uint32_t kOldestFormat = 1;
inline constexpr uint32_t kNewestFormat = 5;
inline constexpr uint32_t kFormatOfTables = 4;
inline constexpr uint32_t kFormatOfChangefeeds = 5;

struct CommandType {
  int number;  // of the field in CatalogCommand
  std::string_view name;
  uint32_t since;
  bool retired = false;
};

// Null: unknown to this program, or no body at all.
const CommandType* TypeOf(const ::tenure::internal::v1::CatalogCommand& command);
std::span<const CommandType> CommandTypes();
// The format a command of this type needs, with what it carries; 0 if the type is unknown.
uint32_t FormatOf(const ::tenure::internal::v1::CatalogCommand& command);

// Kinds of records, by the first byte of their keys. Those of a retired section are left alone until the
// format rises the next time, and go then.
struct Section {
  char letter;
  std::string_view name;
  bool retired = false;
};
std::span<const Section> Sections();

// What becomes possible with a format, for people: `tenure upgrade status`.
struct Feature {
  std::string_view name;
  uint32_t since;
};
std::span<const Feature> Features();

// What a member that has not said anything reads.
inline uint32_t NewestFormatOr1(uint32_t said) {
  return said == 0 ? 1 : said;
}

}  // namespace tenure::catalog
