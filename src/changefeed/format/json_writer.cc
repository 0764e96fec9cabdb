#include "changefeed/format/json_writer.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

namespace tenure::changefeed {

namespace {

// Length of the UTF-8 sequence at the begin of `text`; 0 if there is none.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const uint8_t second = byte(1);
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
      (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) {
    return 0;
  }
  return length;
}

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

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string Base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t rest = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) bits = (bits << 8) | (j < rest ? static_cast<uint8_t>(bytes[i + j]) : 0u);
    for (size_t j = 0; j < 4; ++j) out += j <= rest ? kDigits[(bits >> (18 - 6 * j)) & 63] : '=';
  }
  return out;
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
    const size_t length = SequenceLength(text);
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
  if (IsUtf8(bytes)) {
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
