#include "resp/parser.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/status.h"

namespace tenure::resp {
namespace {

// What a std::string costs beside its bytes: a request of a million empty arguments is not free.
constexpr size_t kArgumentOverhead = sizeof(std::string);

// A decimal integer with nothing around it; Redis accepts neither '+' nor leading zeros here.
bool ParseHeaderInteger(std::string_view text, int64_t& value) {
  if (text.empty() || text.size() > 20) return false;
  const std::string_view digits = text.front() == '-' ? text.substr(1) : text;
  if (digits.empty() || (digits.front() == '0' && text.size() > 1)) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == '\0';
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

char Unescape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return c;
  }
}

// Reads a quoted part that begins behind the opening quote at `line[at]`; leaves `at` behind the closing one.
bool ReadDoubleQuoted(std::string_view line, size_t& at, std::string& out) {
  while (at < line.size()) {
    const char c = line[at];
    if (c == '"') {
      ++at;
      return at == line.size() || IsBlank(line[at]);
    }
    if (c == '\\' && at + 3 < line.size() && line[at + 1] == 'x' && HexDigit(line[at + 2]) >= 0 &&
        HexDigit(line[at + 3]) >= 0) {
      out.push_back(static_cast<char>(HexDigit(line[at + 2]) * 16 + HexDigit(line[at + 3])));
      at += 4;
    } else if (c == '\\' && at + 1 < line.size()) {
      out.push_back(Unescape(line[at + 1]));
      at += 2;
    } else {
      out.push_back(c);
      ++at;
    }
  }
  return false;
}

bool ReadSingleQuoted(std::string_view line, size_t& at, std::string& out) {
  while (at < line.size()) {
    const char c = line[at];
    if (c == '\'') {
      ++at;
      return at == line.size() || IsBlank(line[at]);
    }
    if (c == '\\' && at + 1 < line.size() && line[at + 1] == '\'') {
      out.push_back('\'');
      at += 2;
    } else {
      out.push_back(c);
      ++at;
    }
  }
  return false;
}

}  // namespace

bool SplitInline(std::string_view line, store::Arguments& arguments) {
  size_t at = 0;
  while (true) {
    while (at < line.size() && IsBlank(line[at])) ++at;
    if (at == line.size()) return true;
    std::string argument;
    bool quoted = false;
    while (at < line.size() && !IsBlank(line[at]) && !quoted) {
      const char c = line[at++];
      if (c == '"') {
        if (!ReadDoubleQuoted(line, at, argument)) return false;
        quoted = true;  // a closing quote ends the argument
      } else if (c == '\'') {
        if (!ReadSingleQuoted(line, at, argument)) return false;
        quoted = true;
      } else {
        argument.push_back(c);
      }
    }
    arguments.push_back(std::move(argument));
  }
}

RequestParser::Result RequestParser::Next(std::string_view& input) {
  while (true) {
    Step step = Step::kContinue;
    switch (state_) {
      case State::kStart:
        step = Start(input);
        break;
      case State::kInline:
        step = ReadInline(input);
        break;
      case State::kCount:
        step = ReadCount(input);
        break;
      case State::kLength:
        step = ReadLength(input);
        break;
      case State::kBody:
        step = ReadBody(input);
        break;
      case State::kSkip:
        step = SkipBody(input);
        break;
      case State::kBodyEnd:
        step = ReadBodyEnd(input);
        break;
    }
    if (step == Step::kContinue) continue;
    if (step == Step::kNeedMore) return Result::kNeedMore;
    if (step == Step::kError) return Result::kProtocolError;
    state_ = State::kStart;
    if (!refused_) return Result::kRequest;
    refused_ = false;
    return Result::kTooLarge;
  }
}

store::Arguments RequestParser::TakeArguments() {
  request_bytes_ = 0;
  return std::exchange(arguments_, {});
}

RequestParser::Step RequestParser::Start(std::string_view& input) {
  if (input.empty()) return Step::kNeedMore;
  state_ = input.front() == '*' ? State::kCount : State::kInline;
  return Step::kContinue;
}

RequestParser::Step RequestParser::ReadInline(std::string_view& input) {
  std::string_view line;
  switch (TakeInline(input, line)) {
    case LineResult::kNeedMore:
      return Step::kNeedMore;
    case LineResult::kTooLong:
      return Fail("too big inline request");
    case LineResult::kLine:
      break;
  }
  if (!SplitInline(line, arguments_)) return Fail("unbalanced quotes in request");
  state_ = State::kStart;
  if (arguments_.empty()) return Step::kContinue;  // an empty line is no command
  for (const std::string& argument : arguments_) request_bytes_ += argument.size() + kArgumentOverhead;
  return Step::kDone;
}

RequestParser::Step RequestParser::ReadCount(std::string_view& input) {
  std::string_view line;
  switch (TakeHeader(input, line)) {
    case LineResult::kNeedMore:
      return Step::kNeedMore;
    case LineResult::kTooLong:
      return Fail("too big mbulk count string");
    case LineResult::kLine:
      break;
  }
  int64_t count = 0;
  if (!ParseHeaderInteger(line.substr(1), count) || count > static_cast<int64_t>(limits_.max_arguments)) {
    return Fail("invalid multibulk length");
  }
  if (count <= 0) {  // "*0" and "*-1" are no command
    state_ = State::kStart;
    return Step::kContinue;
  }
  missing_ = static_cast<size_t>(count);
  arguments_.reserve(std::min<size_t>(missing_, 64));  // a count alone costs nothing
  state_ = State::kLength;
  return Step::kContinue;
}

RequestParser::Step RequestParser::ReadLength(std::string_view& input) {
  if (line_.empty() || line_taken_) {
    if (input.empty()) return Step::kNeedMore;
    if (input.front() != '$') {
      const char got = input.front();
      return Fail(fmt::format("expected '$', got '{}'", got >= ' ' && got < 127 ? got : '?'));
    }
  }
  std::string_view line;
  switch (TakeHeader(input, line)) {
    case LineResult::kNeedMore:
      return Step::kNeedMore;
    case LineResult::kTooLong:
      return Fail("too big bulk count string");
    case LineResult::kLine:
      break;
  }
  int64_t length = 0;
  if (!ParseHeaderInteger(line.substr(1), length) || length < 0 ||
      length > static_cast<int64_t>(limits_.max_announced_bytes)) {
    return Fail("invalid bulk length");
  }
  const auto size = static_cast<size_t>(length);
  // The common case: the whole argument is here.
  if (!refused_ && size <= limits_.max_argument_bytes && input.size() >= size + 2 &&
      request_bytes_ + size + kArgumentOverhead <= limits_.max_request_bytes) {
    arguments_.emplace_back(input.data(), size);
    request_bytes_ += size + kArgumentOverhead;
    input.remove_prefix(size + 2);
    return EndOfArgument();
  }
  return BeginArgument(size);
}

RequestParser::Step RequestParser::BeginArgument(size_t length) {
  remaining_ = length;
  if (!refused_ && length > limits_.max_argument_bytes) {
    Refuse(fmt::format("ERR argument of {} bytes exceeds the limit of {} bytes", length,
                       limits_.max_argument_bytes));
  }
  if (!refused_ && request_bytes_ + length + kArgumentOverhead > limits_.max_request_bytes) {
    Refuse(fmt::format("ERR request exceeds the limit of {} bytes", limits_.max_request_bytes));
  }
  if (refused_) {
    state_ = State::kSkip;
    return Step::kContinue;
  }
  arguments_.emplace_back();
  request_bytes_ += kArgumentOverhead;
  state_ = State::kBody;
  return Step::kContinue;
}

RequestParser::Step RequestParser::ReadBody(std::string_view& input) {
  const size_t size = std::min(remaining_, input.size());
  arguments_.back().append(input.data(), size);
  request_bytes_ += size;
  remaining_ -= size;
  input.remove_prefix(size);
  if (remaining_ > 0) return Step::kNeedMore;
  remaining_ = 2;
  state_ = State::kBodyEnd;
  return Step::kContinue;
}

RequestParser::Step RequestParser::SkipBody(std::string_view& input) {
  const size_t size = std::min(remaining_, input.size());
  remaining_ -= size;
  input.remove_prefix(size);
  if (remaining_ > 0) return Step::kNeedMore;
  remaining_ = 2;
  state_ = State::kBodyEnd;
  return Step::kContinue;
}

// As Redis, the two bytes behind an argument are skipped without a look at them.
RequestParser::Step RequestParser::ReadBodyEnd(std::string_view& input) {
  const size_t size = std::min(remaining_, input.size());
  remaining_ -= size;
  input.remove_prefix(size);
  return remaining_ > 0 ? Step::kNeedMore : EndOfArgument();
}

RequestParser::Step RequestParser::EndOfArgument() {
  state_ = State::kLength;
  return --missing_ == 0 ? Step::kDone : Step::kContinue;
}

RequestParser::LineResult RequestParser::TakeHeader(std::string_view& input, std::string_view& line) {
  if (std::exchange(line_taken_, false)) line_.clear();
  if (input.empty()) return LineResult::kNeedMore;
  if (line_.empty()) {
    const size_t end = input.find('\r');
    if (end != input.npos && end + 1 < input.size()) {
      if (end > limits_.max_line_bytes) return LineResult::kTooLong;
      line = input.substr(0, end);
      input.remove_prefix(end + 2);
      return LineResult::kLine;
    }
  }
  if (line_.empty() || line_.back() != '\r') {
    const size_t end = input.find('\r');
    const size_t size = end == input.npos ? input.size() : end + 1;
    if (line_.size() + size > limits_.max_line_bytes) return LineResult::kTooLong;
    line_.append(input.data(), size);
    input.remove_prefix(size);
    if (end == input.npos || input.empty()) return LineResult::kNeedMore;
  }
  input.remove_prefix(1);  // the byte behind CR
  line_taken_ = true;
  line = std::string_view(line_).substr(0, line_.size() - 1);
  return LineResult::kLine;
}

RequestParser::LineResult RequestParser::TakeInline(std::string_view& input, std::string_view& line) {
  if (std::exchange(line_taken_, false)) line_.clear();
  const size_t end = input.find('\n');
  const size_t size = end == input.npos ? input.size() : end;
  if (line_.size() + size > limits_.max_line_bytes) return LineResult::kTooLong;
  if (end == input.npos) {
    line_.append(input);
    input = {};
    return LineResult::kNeedMore;
  }
  if (line_.empty()) {
    line = input.substr(0, end);
  } else {
    line_.append(input.data(), end);
    line = line_;
    line_taken_ = true;
  }
  input.remove_prefix(end + 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return LineResult::kLine;
}

RequestParser::Step RequestParser::Fail(std::string_view what) {
  error_ = fmt::format("ERR Protocol error: {}", what);
  arguments_.clear();
  line_.clear();
  request_bytes_ = 0;
  return Step::kError;
}

void RequestParser::Refuse(std::string reason) {
  error_ = std::move(reason);
  refused_ = true;
  store::Arguments().swap(arguments_);
  request_bytes_ = 0;
}

}  // namespace tenure::resp
