#include "resp/parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tenure::resp {
namespace {

using Result = RequestParser::Result;
using store::Arguments;

// What a stream parses to: one line per request, "!" before an error; "..." if input is left unfinished.
std::vector<std::string> ParseAll(const std::vector<std::string>& chunks, ParserLimits limits = {}) {
  RequestParser parser(limits);
  std::vector<std::string> seen;
  for (const std::string& chunk : chunks) {
    std::string_view input = chunk;
    while (true) {
      const Result result = parser.Next(input);
      if (result == Result::kNeedMore) {
        EXPECT_TRUE(input.empty());
        break;
      }
      if (result == Result::kRequest) {
        std::string line;
        for (const std::string& argument : parser.TakeArguments()) line += "[" + argument + "]";
        seen.push_back(line);
      } else {
        seen.push_back("!" + parser.error());
        if (result == Result::kProtocolError) return seen;
      }
    }
  }
  if (parser.memory() > 0) seen.push_back("...");
  return seen;
}

struct Case {
  const char* name;
  std::string input;
  std::vector<std::string> expected;
};

std::vector<Case> Cases() {
  using namespace std::string_literals;
  return {
      {"array", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", {"[GET][k]"}},
      {"pipeline", "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\nPING\r\n", {"[PING]", "[PING]", "[PING]"}},
      {"binary", "*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\0x\r\n"s, {"[ECHO][\r\n\0x]"s}},
      {"empty argument", "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", {"[GET][]"}},
      {"no arguments", "*0\r\n*-1\r\nPING\r\n", {"[PING]"}},
      {"inline", "SET a b\r\n", {"[SET][a][b]"}},
      {"inline, bare newline", "PING\nPING\n", {"[PING]", "[PING]"}},
      {"inline, blanks", "  SET   a\t b \r\n\r\n   \r\nPING\r\n", {"[SET][a][b]", "[PING]"}},
      {"double quotes", "SET \"a b\" \"\\x41\\n\\\"\\\\\"\r\n", {"[SET][a b][A\n\"\\]"}},
      {"single quotes", "SET 'a \\' \\n' ''\r\n", {"[SET][a ' \\n][]"}},
      {"quote within a word", "SET a\"b c\" d\r\n", {"[SET][ab c][d]"}},
      {"bad escape", "SET \"\\xzz\"\r\n", {"[SET][xzz]"}},
      {"unbalanced", "SET \"a\r\n", {"!ERR Protocol error: unbalanced quotes in request"}},
      {"unbalanced single", "SET 'a\r\n", {"!ERR Protocol error: unbalanced quotes in request"}},
      {"junk behind a quote", "SET \"a\"b\r\n", {"!ERR Protocol error: unbalanced quotes in request"}},
      {"count no number", "*x\r\n", {"!ERR Protocol error: invalid multibulk length"}},
      {"count empty", "*\r\n", {"!ERR Protocol error: invalid multibulk length"}},
      {"count too big", "*1048577\r\n", {"!ERR Protocol error: invalid multibulk length"}},
      {"count overflow", "*99999999999999999999\r\n", {"!ERR Protocol error: invalid multibulk length"}},
      {"count with zeros", "*01\r\n", {"!ERR Protocol error: invalid multibulk length"}},
      {"not a bulk", "*1\r\n+PING\r\n", {"!ERR Protocol error: expected '$', got '+'"}},
      {"length no number", "*1\r\n$a\r\n", {"!ERR Protocol error: invalid bulk length"}},
      {"length negative", "*1\r\n$-1\r\n", {"!ERR Protocol error: invalid bulk length"}},
      {"length beyond 512 MiB", "*1\r\n$536870913\r\n", {"!ERR Protocol error: invalid bulk length"}},
      {"good, then bad", "PING\r\n*1\r\n!\r\n", {"[PING]", "!ERR Protocol error: expected '$', got '!'"}},
      {"unfinished", "*2\r\n$3\r\nGET\r\n$1\r\n", {"..."}},
  };
}

TEST(RequestParser, Table) {
  for (const Case& c : Cases()) EXPECT_EQ(ParseAll({c.input}), c.expected) << c.name;
}

TEST(RequestParser, SplitAtEveryByte) {
  for (const Case& c : Cases()) {
    for (size_t at = 0; at <= c.input.size(); ++at) {
      EXPECT_EQ(ParseAll({c.input.substr(0, at), c.input.substr(at)}), c.expected)
          << c.name << " split at " << at;
    }
  }
}

TEST(RequestParser, ByteByByte) {
  for (const Case& c : Cases()) {
    std::vector<std::string> chunks;
    for (const char byte : c.input) chunks.emplace_back(1, byte);
    EXPECT_EQ(ParseAll(chunks), c.expected) << c.name;
  }
}

ParserLimits Small() {
  ParserLimits limits;
  limits.max_argument_bytes = 10;
  limits.max_request_bytes = 300;
  limits.max_announced_bytes = 100;
  limits.max_line_bytes = 20;
  return limits;
}

TEST(RequestParser, OversizedArgumentCostsItsRequestOnly) {
  const std::string input = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$11\r\n12345678901\r\n*1\r\n$4\r\nPING\r\n";
  const std::vector<std::string> expected = {"!ERR argument of 11 bytes exceeds the limit of 10 bytes",
                                             "[PING]"};
  for (size_t at = 0; at <= input.size(); ++at) {
    EXPECT_EQ(ParseAll({input.substr(0, at), input.substr(at)}, Small()), expected) << at;
  }
}

TEST(RequestParser, OversizedFirstArgument) {
  EXPECT_EQ(ParseAll({"*2\r\n$12\r\n123456789012\r\n$1\r\na\r\nPING\r\n"}, Small()),
            (std::vector<std::string>{"!ERR argument of 12 bytes exceeds the limit of 10 bytes", "[PING]"}));
}

TEST(RequestParser, OversizedRequest) {
  std::string input = "*10\r\n";
  for (int i = 0; i < 10; ++i) input += "$5\r\nabcde\r\n";
  EXPECT_EQ(ParseAll({input + "PING\r\n"}, Small()),
            (std::vector<std::string>{"!ERR request exceeds the limit of 300 bytes", "[PING]"}));
}

TEST(RequestParser, LongLines) {
  EXPECT_EQ(ParseAll({std::string(21, 'a')}, Small()),
            (std::vector<std::string>{"!ERR Protocol error: too big inline request"}));
  EXPECT_EQ(ParseAll({"*" + std::string(30, '1')}, Small()),
            (std::vector<std::string>{"!ERR Protocol error: too big mbulk count string"}));
  EXPECT_EQ(ParseAll({"*1\r\n$" + std::string(30, '1')}, Small()),
            (std::vector<std::string>{"!ERR Protocol error: too big bulk count string"}));
}

// Whatever is announced, memory grows with what arrives.
TEST(RequestParser, AnnouncementsCostNothing) {
  RequestParser parser(ParserLimits{});
  std::string_view input = "*1048576\r\n$33554432\r\nabc";
  EXPECT_EQ(parser.Next(input), Result::kNeedMore);
  EXPECT_LT(parser.memory(), 200u);
}

TEST(RequestParser, ValueOfMaximalSize) {
  RequestParser parser(ParserLimits{});
  const std::string value(32 << 20, 'v');
  const std::string request = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$33554432\r\n" + value + "\r\n";
  for (size_t at = 0; at < request.size(); at += 1 << 20) {
    std::string_view input = std::string_view(request).substr(at, 1 << 20);
    const Result result = parser.Next(input);
    EXPECT_EQ(result, at + (1 << 20) < request.size() ? Result::kNeedMore : Result::kRequest);
  }
  EXPECT_EQ(parser.TakeArguments()[2], value);
  EXPECT_EQ(parser.memory(), 0u);
}

TEST(RequestParser, SkipsUpTo512MebibytesWithoutKeepingThem) {
  RequestParser parser(ParserLimits{});
  std::string_view head = "*2\r\n$4\r\nECHO\r\n$536870912\r\n";
  EXPECT_EQ(parser.Next(head), Result::kNeedMore);
  const std::string chunk(16 << 20, 'x');
  for (int i = 0; i < 32; ++i) {
    std::string_view input = chunk;
    EXPECT_EQ(parser.Next(input), Result::kNeedMore);
    EXPECT_LT(parser.memory(), 100u);
  }
  std::string_view tail = "\r\nPING\r\n";
  EXPECT_EQ(parser.Next(tail), Result::kTooLarge);
  EXPECT_EQ(parser.error(), "ERR argument of 536870912 bytes exceeds the limit of 33554432 bytes");
  EXPECT_EQ(parser.Next(tail), Result::kRequest);
}

}  // namespace
}  // namespace tenure::resp
