#include "store/errors.h"

#include <fmt/format.h>

namespace tenure::store {
namespace {

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

}  // namespace

Reply WrongArity(std::string_view command) {
  return Reply::Error(fmt::format("ERR wrong number of arguments for '{}' command", command));
}

Reply InvalidExpireTime(const Arguments& arguments) {
  return Reply::Error(fmt::format("ERR invalid expire time in '{}' command", Lowercase(arguments[0])));
}

std::string PrintableInError(std::string_view text) {
  std::string printable(text.substr(0, text.find('\0')));
  for (char& c : printable) {
    if (c == '\r' || c == '\n') c = ' ';
  }
  return printable;
}

std::string Lowercase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = Lower(c);
  return lower;
}

bool EqualsIgnoringCase(std::string_view text, std::string_view lower_case) {
  if (text.size() != lower_case.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (Lower(text[i]) != lower_case[i]) return false;
  }
  return true;
}

}  // namespace tenure::store
