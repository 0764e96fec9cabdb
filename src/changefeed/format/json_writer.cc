#include "changefeed/format/json_writer.h"

#include <absl/strings/escaping.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "base/utf8.h"

namespace tenure::changefeed {

namespace {

// Whether a byte of JSON text stands for itself: no control, quote, backslash or part of a longer sequence.
bool IsPlain(char c) {
  return static_cast<uint8_t>(c) >= 0x20 && static_cast<uint8_t>(c) < 0x80 && c != '"' && c != '\\';
}

// The same of eight bytes at once. With its high bit set a byte borrows from itself alone: minus 0x20 it keeps
// that bit unless it is a control, and (x ^ c) minus 1 keeps it unless x is c.
bool ArePlain(uint64_t word) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHigh = kOnes * 0x80;
  if ((word & kHigh) != 0) return false;
  const uint64_t controls = (word | kHigh) - kOnes * 0x20;
  const uint64_t quotes = ((word ^ (kOnes * '"')) | kHigh) - kOnes;
  const uint64_t backslashes = ((word ^ (kOnes * '\\')) | kHigh) - kOnes;
  return (controls & quotes & backslashes & kHigh) == kHigh;
}

// How many bytes at the begin of `text` are plain.
size_t PlainLength(std::string_view text) {
  size_t length = 0;
  for (; text.size() - length >= sizeof(uint64_t); length += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, text.data() + length, sizeof(word));
    if (!ArePlain(word)) break;
  }
  while (length < text.size() && IsPlain(text[length])) ++length;
  return length;
}

}  // namespace

std::string Base64(std::string_view bytes) {
  return absl::Base64Escape(absl::string_view(bytes.data(), bytes.size()));
}

void JsonWriter::Separate() {
  if (!first_) out_ += ',';
  first_ = false;
}

void JsonWriter::Open(char c) {
  Separate();
  out_ += c;
  first_ = true;
}

void JsonWriter::Close(char c) {
  out_ += c;
  first_ = false;
}

void JsonWriter::Raw(std::string_view text) {
  Separate();
  out_ += text;
}

void JsonWriter::Name(std::string_view name) {
  String(name);
  out_ += ':';
  first_ = true;
}

void JsonWriter::Int(int64_t value) {
  Separate();
  fmt::format_to(std::back_inserter(out_), "{}", value);
}

void JsonWriter::Uint(uint64_t value) {
  Separate();
  fmt::format_to(std::back_inserter(out_), "{}", value);
}

void JsonWriter::Double(double value) {
  if (std::isnan(value)) return String("NaN");
  if (std::isinf(value)) return String(value > 0 ? "Infinity" : "-Infinity");
  Separate();
  fmt::format_to(std::back_inserter(out_), "{}", value);
}

void JsonWriter::String(std::string_view text) {
  Separate();
  out_ += '"';
  while (!text.empty()) {
    // What needs no escape goes in one piece.
    const size_t plain = PlainLength(text);
    out_ += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const size_t length = FrontCodePoint(text).length;
    if (length > 1) {
      out_ += text.substr(0, length);
    } else if (length == 0) {
      out_ += "\xEF\xBF\xBD";
    } else {
      switch (text[0]) {
        case '"':
          out_ += "\\\"";
          break;
        case '\\':
          out_ += "\\\\";
          break;
        case '\n':
          out_ += "\\n";
          break;
        case '\r':
          out_ += "\\r";
          break;
        case '\t':
          out_ += "\\t";
          break;
        default:
          fmt::format_to(std::back_inserter(out_), "\\u{:04x}", static_cast<unsigned>(text[0]));
      }
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  out_ += '"';
}

void JsonWriter::TextOrBase64(std::string_view name, std::string_view bytes) {
  if (IsValidUtf8(bytes)) {
    Name(name);
    String(bytes);
  } else {
    Name(fmt::format("{}_base64", name));
    String(Base64(bytes));
  }
}

void JsonWriter::Of(const Value& value) {
  struct Visitor {
    JsonWriter& out;
    void operator()(std::monostate) { out.Null(); }
    void operator()(int64_t v) { out.Int(v); }
    void operator()(double v) { out.Double(v); }
    void operator()(bool v) { out.Bool(v); }
    void operator()(const std::string& v) { out.String(v); }
    void operator()(const BytesValue& v) { out.String(Base64(v.bytes)); }
    void operator()(const TimestampValue& v) { out.Int(v.micros); }
  };
  std::visit(Visitor{*this}, value);
}

}  // namespace tenure::changefeed
