// Writes replies as RESP2 or RESP3 at the end of a buffer. What RESP2 has no type for becomes what Redis
// sends there: a map a flat array, a set an array, a double a bulk string, a boolean an integer.
//
// Threading: a view on a buffer of the caller, for the length of one reply.
// Errors:    none; CR and LF in simple strings and errors become blanks, as in Redis.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "store/reply.h"

namespace tenure::resp {

class ReplyWriter {
 public:
  ReplyWriter(std::string& out, int protocol) : out_(out), protocol_(protocol) {}

  int protocol() const { return protocol_; }
  void set_protocol(int protocol) { protocol_ = protocol; }  // HELLO: from its own reply on

  void Ok() { out_.append("+OK\r\n"); }
  void Simple(std::string_view text) { Line('+', text); }
  // `text` begins with its code: "ERR no such key".
  void Error(std::string_view text) { Line('-', text); }
  void Integer(int64_t value) { Number(':', value); }
  void Bulk(std::string_view bytes);
  // Text for people: RESP3 marks it as such, which keeps redis-cli from quoting it.
  void Verbatim(std::string_view text);
  void Null() { out_.append(protocol_ >= 3 ? "_\r\n" : "$-1\r\n"); }
  void NullArray() { out_.append(protocol_ >= 3 ? "_\r\n" : "*-1\r\n"); }
  void Boolean(bool value);
  void Double(std::string_view number);
  // Followed by `count` replies (Map: by twice as many).
  void Array(size_t count) { Number('*', static_cast<int64_t>(count)); }
  void Map(size_t count);
  void Set(size_t count) { Number(protocol_ >= 3 ? '~' : '*', static_cast<int64_t>(count)); }

  void Write(const store::Reply& reply);

 private:
  void Line(char type, std::string_view text);
  void Number(char type, int64_t value);

  std::string& out_;
  int protocol_;
};

}  // namespace tenure::resp
