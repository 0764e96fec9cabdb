// What the commands print: a table for people or one JSON document for scripts.
//
// Threading:  values.
// Units:      durations in JSON are milliseconds, in tables they are what people read ("1.5s").
#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::cli {

using Json = nlohmann::ordered_json;

enum class OutputFormat { kTable, kJson };

// Columns with a heading, as wide as their content; a column of numbers stands to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> headings) : headings_(std::move(headings)) {}
  // As many cells as headings; missing ones are empty.
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }
  // Each line ends with a newline.
  std::string ToString() const;

 private:
  std::vector<std::string> headings_;
  std::vector<std::vector<std::string>> rows_;
};

// To stdout. A reader who has gone away is not an error.
void Print(std::string_view text);
// Whether all that was printed so far has been written.
Status Printed();
// As a shell takes it for one word: for commands that are suggested.
std::string Quoted(const std::string& word);
void PrintJson(const Json& document);

// A refusal as docs/cli.md promises it on stderr: one line "error: REASON: message", or an object.
struct Failure {
  std::string reason;
  std::string message;
  bool retryable = false;
  int64_t retry_after_ms = 0;
  Json details = Json::object();
};
// From the tenure.v1.Refusal attached to `status`, or from its code.
Failure DescribeFailure(const Status& status);
void PrintFailure(const Failure& failure, OutputFormat format);

// "850us", "12ms", "1.5s", "3m20s", "5h07m", "2d03h".
std::string FormatMillis(double ms);
// Milliseconds since 1970 as "2025-03-01T12:00:00.000Z"; "-" for 0.
std::string FormatTime(int64_t unix_ms);
// "512 B", "1.5 KiB", "3.0 GiB".
std::string FormatBytes(uint64_t bytes);
// Bytes as text: printable UTF-8 as it is, anything else as \xNN; for tables.
std::string Printable(std::string_view bytes);
// Adds `name`: text, or `name`_base64 if the bytes are not UTF-8.
void SetBytes(Json& object, const std::string& name, std::string_view bytes);
// The element of `list` with this id or, if none has it, with this name: people's names may look like ids.
template <class List, class Id, class Name>
auto FindByIdOrName(const List& list, const std::string& wanted, Id id, Name name) {
  const auto found = std::find_if(list.begin(), list.end(), [&](const auto& e) { return id(e) == wanted; });
  if (found != list.end()) return found;
  return std::find_if(list.begin(), list.end(), [&](const auto& e) { return name(e) == wanted; });
}
// An id of JSON output: 64-bit numbers lose digits in JavaScript.
std::string IdText(uint64_t id);

}  // namespace tenure::cli
