// The patterns of MATCH, as Redis' stringmatchlen: * ? [abc] [^abc] [a-z] and \ before a character to be
// taken literally. Bytewise and case-sensitive.
//
// Threading: pure functions.
// Cost: at most length of text times length of pattern; no recursion.
#pragma once

#include <string_view>

namespace tenure::store {

// As in Redis an empty text matches the empty pattern only, not "*".
bool GlobMatches(std::string_view pattern, std::string_view text);

// MATCH of SCAN and HSCAN: "*" matches the empty name too.
bool ScanMatches(std::string_view pattern, std::string_view name);

}  // namespace tenure::store
