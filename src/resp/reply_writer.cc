#include "resp/reply_writer.h"

#include <algorithm>
#include <charconv>

namespace tenure::resp {

void ReplyWriter::Number(char type, int64_t value) {
  char buffer[24];
  buffer[0] = type;
  char* end = std::to_chars(buffer + 1, buffer + sizeof(buffer), value).ptr;
  *end++ = '\r';
  *end++ = '\n';
  out_.append(buffer, static_cast<size_t>(end - buffer));
}

void ReplyWriter::Line(char type, std::string_view text) {
  out_.push_back(type);
  const size_t begin = out_.size();
  out_.append(text);
  std::replace_if(
      out_.begin() + static_cast<std::ptrdiff_t>(begin), out_.end(),
      [](char c) { return c == '\r' || c == '\n'; }, ' ');
  out_.append("\r\n");
}

void ReplyWriter::Bulk(std::string_view bytes) {
  Number('$', static_cast<int64_t>(bytes.size()));
  out_.append(bytes);
  out_.append("\r\n");
}

void ReplyWriter::Verbatim(std::string_view text) {
  if (protocol_ < 3) return Bulk(text);
  Number('=', static_cast<int64_t>(text.size() + 4));
  out_.append("txt:");
  out_.append(text);
  out_.append("\r\n");
}

void ReplyWriter::Boolean(bool value) {
  if (protocol_ >= 3) {
    out_.append(value ? "#t\r\n" : "#f\r\n");
  } else {
    Integer(value ? 1 : 0);
  }
}

void ReplyWriter::Double(std::string_view number) {
  if (protocol_ >= 3) {
    Line(',', number);
  } else {
    Bulk(number);
  }
}

void ReplyWriter::Map(size_t count) {
  if (protocol_ >= 3) {
    Number('%', static_cast<int64_t>(count));
  } else {
    Array(count * 2);
  }
}

void ReplyWriter::Write(const store::Reply& reply) {
  using Kind = store::Reply::Kind;
  switch (reply.kind) {
    case Kind::kSimple:
      return Simple(reply.text);
    case Kind::kError:
      return Error(reply.text);
    case Kind::kInteger:
      return Integer(reply.integer);
    case Kind::kBulk:
      return Bulk(reply.text);
    case Kind::kNull:
      return Null();
    case Kind::kDouble:
      return Double(reply.text);
    case Kind::kBoolean:
      return Boolean(reply.integer != 0);
    case Kind::kArray:
      Array(reply.elements.size());
      break;
    case Kind::kMap:
      Map(reply.elements.size() / 2);
      break;
    case Kind::kSet:
      Set(reply.elements.size());
      break;
  }
  for (const store::Reply& element : reply.elements) Write(element);
}

}  // namespace tenure::resp
