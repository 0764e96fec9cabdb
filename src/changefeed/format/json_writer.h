// Writes JSON into a string, without a document in between: an encoder runs for every row.
//
// Threading:  one owner.
// Errors:     none; the caller keeps names and values in turn.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "changefeed/format/change.h"

namespace tenure::changefeed {

std::string Base64(std::string_view bytes);

class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  void BeginObject() { Open('{'); }
  void EndObject() { Close('}'); }
  void BeginArray() { Open('['); }
  void EndArray() { Close(']'); }
  void Name(std::string_view name);
  void Null() { Raw("null"); }
  void Bool(bool value) { Raw(value ? "true" : "false"); }
  void Int(int64_t value);
  void Uint(uint64_t value);
  // The shortest text that reads back as the same number. JSON has no NaN and no infinity: they become
  // strings.
  void Double(double value);
  // `text` is UTF-8, else what is no UTF-8 becomes U+FFFD.
  void String(std::string_view text);
  // As text if it is UTF-8, else as base64 under the name with "_base64".
  void TextOrBase64(std::string_view name, std::string_view bytes);
  // int64 and float64 as numbers, bytes as base64, timestamps as microseconds.
  void Of(const Value& value);

 private:
  void Open(char c);
  void Close(char c);
  void Raw(std::string_view text);
  void Separate();
  std::string& out_;
  bool first_ = true;
};

}  // namespace tenure::changefeed
