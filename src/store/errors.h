// The error replies that several commands share, with Redis' texts.
//
// Threading: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "store/command_table.h"
#include "store/reply.h"

namespace tenure::store {

inline Reply WrongType() {
  return Reply::Error("WRONGTYPE Operation against a key holding the wrong kind of value");
}
inline Reply SyntaxError() {
  return Reply::Error("ERR syntax error");
}
inline Reply NotAnInteger() {
  return Reply::Error("ERR value is not an integer or out of range");
}
inline Reply NotAFloat() {
  return Reply::Error("ERR value is not a valid float");
}
inline Reply IncrementOverflow() {
  return Reply::Error("ERR increment or decrement would overflow");
}
inline Reply StringTooLong() {
  return Reply::Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
}
Reply WrongArity(std::string_view command);
// "invalid expire time in 'set' command"; `arguments` name the command as the client wrote it.
Reply InvalidExpireTime(const Arguments& arguments);

// What Redis does to text from a client before it goes into an error: ends it at a NUL, blanks line breaks.
std::string PrintableInError(std::string_view text);
std::string Lowercase(std::string_view text);
bool EqualsIgnoringCase(std::string_view text, std::string_view lower_case);

}  // namespace tenure::store
