// Cuts a client's byte stream into requests: arrays of bulk strings ("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n") and
// inline commands ("GET k\r\n", quoting as in redis-cli), as Redis' networking.c reads them.
//
// Driven by Session, which feeds it whatever arrived. Arguments are cut out of the caller's bytes; what is
// kept between calls is the arguments of the unfinished request and the unfinished header line.
//
// Threading: one owner.
// Errors:    kProtocolError ends the stream: Next must not be called again. kTooLarge costs one request: its
//            bytes were read and dropped, the next call goes on behind it.
// Bounds:    memory() never exceeds max_request_bytes + max_line_bytes + one argument's slack, whatever is
//            sent: an argument's length is believed only as its bytes arrive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "store/command_table.h"

namespace tenure::resp {

struct ParserLimits {
  size_t max_argument_bytes = size_t{32} << 20;    // beyond: kTooLarge
  size_t max_request_bytes = size_t{48} << 20;     // all arguments with their bookkeeping; beyond: kTooLarge
  size_t max_announced_bytes = size_t{512} << 20;  // of one argument; beyond: kProtocolError, as in Redis
  size_t max_arguments = size_t{1} << 20;
  size_t max_line_bytes = size_t{64} << 10;  // inline commands and header lines
};

class RequestParser {
 public:
  enum class Result { kNeedMore, kRequest, kTooLarge, kProtocolError };

  explicit RequestParser(ParserLimits limits) : limits_(limits) {}

  // Consumes bytes from the front of `input` up to the end of one request. kNeedMore: all of them were
  // consumed.
  Result Next(std::string_view& input);
  // After kRequest: argv, at least one element.
  store::Arguments TakeArguments();
  // After kTooLarge or kProtocolError: the error reply's text with its code.
  const std::string& error() const { return error_; }
  // Bytes held for the unfinished request.
  size_t memory() const { return request_bytes_ + (line_taken_ ? 0 : line_.size()); }

 private:
  enum class State { kStart, kInline, kCount, kLength, kBody, kSkip, kBodyEnd };
  enum class Step { kContinue, kNeedMore, kDone, kError };

  Step Start(std::string_view& input);
  Step ReadInline(std::string_view& input);
  Step ReadCount(std::string_view& input);
  Step ReadLength(std::string_view& input);
  Step BeginArgument(size_t length);
  Step ReadBody(std::string_view& input);
  Step SkipBody(std::string_view& input);
  Step ReadBodyEnd(std::string_view& input);
  Step EndOfArgument();

  // A line ended by CR and any byte after it (as Redis reads headers). `line` is valid until the next call.
  enum class LineResult { kLine, kNeedMore, kTooLong };
  LineResult TakeHeader(std::string_view& input, std::string_view& line);
  LineResult TakeInline(std::string_view& input, std::string_view& line);

  Step Fail(std::string_view what);
  void Refuse(std::string reason);

  ParserLimits limits_;
  State state_ = State::kStart;
  store::Arguments arguments_;
  std::string line_;          // an unfinished header or inline line
  bool line_taken_ = false;   // line_ was handed out and is to be emptied
  size_t missing_ = 0;        // arguments still to come, the current one included
  size_t remaining_ = 0;      // bytes of the current argument (or of its CR LF) still to come
  size_t request_bytes_ = 0;  // what arguments_ holds
  bool refused_ = false;      // the current request is too large: read on, keep nothing
  std::string error_;
};

// Splits an inline command into arguments: separated by blanks, "..." with \n \r \t \b \a \xHH \", '...' with
// \'. False if quotes are unbalanced.
bool SplitInline(std::string_view line, store::Arguments& arguments);

}  // namespace tenure::resp
