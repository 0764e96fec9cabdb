#include "store/command_table.h"

#include <gtest/gtest.h>

#include "store/region_store.h"
#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

TEST(CommandTable, NamesAreFoundInAnyCase) {
  for (const CommandSpec& spec : AllCommands()) {
    std::string upper(spec.name);
    for (char& c : upper) c = static_cast<char>(std::toupper(c));
    EXPECT_EQ(FindCommand(spec.name), &spec);
    EXPECT_EQ(FindCommand(upper), &spec);
  }
  for (const std::string_view none :
       {"", "ge", "gett", "zzz", "aaa", "incrbyfloatt", "hrandfield", "multi"}) {
    EXPECT_EQ(FindCommand(none), nullptr) << none;
  }
}

TEST(CommandTable, Keys) {
  const std::pair<std::string_view, std::string_view> cases[] = {{"GET a", "a"},
                                                                 {"MGET a b c", "a b c"},
                                                                 {"MSET a 1 b 2", "a b"},
                                                                 {"HSET a f v", "a"},
                                                                 {"DEL a a", "a a"}};
  for (const auto& [line, expected] : cases) {
    const Arguments arguments = Words(line);
    Arguments keys;
    for (const std::string_view key : KeysOf(*FindCommand(arguments[0]), arguments)) keys.emplace_back(key);
    EXPECT_EQ(keys, Words(expected)) << line;
  }
}

std::string Refusal(const Arguments& arguments, const Limits& limits = {}) {
  return std::string(MessageOf(Validate(arguments, limits)));
}

TEST(Validate, WhatNeedsNoState) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"GET a", ""},
      {"GET", "ERR wrong number of arguments for 'get' command"},
      {"gEt a b", "ERR wrong number of arguments for 'get' command"},
      {"MSET a", "ERR wrong number of arguments for 'mset' command"},
      {"MSET a 1 b", "ERR wrong number of arguments for 'mset' command"},
      {"HSET a f 1 g", "ERR wrong number of arguments for 'hset' command"},
      {"HMSET a f 1 g", "ERR wrong number of arguments for 'hmset' command"},
      {"FOO", "ERR unknown command 'FOO', with args beginning with: "},
      {"FOO a \"b c\"", "ERR unknown command 'FOO', with args beginning with: 'a' 'b c' "},
      {"\"F\\r\\nO\" a", "ERR unknown command 'F  O', with args beginning with: 'a' "},
      {"SET a 1 ZZ", "ERR syntax error"},
      {"SET a 1 NX XX", "ERR syntax error"},
      {"SET a 1 EX 1 PX 1", "ERR syntax error"},
      {"SET a 1 EX 0", "ERR invalid expire time in 'set' command"},
      {"SET a 1 EX x", "ERR value is not an integer or out of range"},
      {"SET a 1 EX 9223372036854776", "ERR invalid expire time in 'set' command"},
      {"SETEX a 0 1", "ERR invalid expire time in 'setex' command"},
      {"PSETEX a -1 1", "ERR invalid expire time in 'psetex' command"},
      {"INCRBY a x", "ERR value is not an integer or out of range"},
      {"DECRBY a -9223372036854775808", "ERR decrement would overflow"},
      {"HINCRBY a f 1.0", "ERR value is not an integer or out of range"},
      {"HINCRBYFLOAT a f inf", "ERR value is NaN or Infinity"},
      {"INCRBYFLOAT a x", ""},  // Redis looks at the key's type first
      {"GETEX a EX x", ""},     // and here at the key
      {"GETEX a NX", "ERR syntax error"},
      {"SETRANGE a -1 x", "ERR offset is out of range"},
      {"GETRANGE a 0 x", "ERR value is not an integer or out of range"},
      {"EXPIRE a x", "ERR value is not an integer or out of range"},
      {"EXPIRE a 1 NX GT", "ERR NX and XX, GT or LT options at the same time are not compatible"},
      {"EXPIRE a 1 LT GT", "ERR GT and LT options at the same time are not compatible"},
      {"EXPIRE a 1 foo", "ERR Unsupported option foo"},
  };
  for (const auto& [line, expected] : cases) EXPECT_EQ(Refusal(Words(line)), expected) << line;
  EXPECT_EQ(Refusal({}), "ERR unknown command '', with args beginning with: ");
}

TEST(Validate, LongUnknownCommandsAreQuotedInPart) {
  EXPECT_EQ(Refusal({std::string(300, 'c'), std::string(300, 'a'), "b"}),
            "ERR unknown command '" + std::string(128, 'c') + "', with args beginning with: '" +
                std::string(128, 'a') + "' ");
}

TEST(Validate, Sizes) {
  const Limits limits{.max_key_bytes = 4, .max_value_bytes = 8};
  const std::string key(4, 'k');
  const std::string value(8, 'v');
  EXPECT_EQ(Refusal({"SET", key, value}, limits), "");
  EXPECT_EQ(Refusal({"SET", key + "k", value}, limits), "ERR key exceeds maximum allowed size (4 bytes)");
  EXPECT_EQ(Refusal({"MGET", key, key + "k"}, limits), "ERR key exceeds maximum allowed size (4 bytes)");
  EXPECT_EQ(Refusal({"SET", key, value + "v"}, limits), "ERR value exceeds maximum allowed size (8 bytes)");
  EXPECT_EQ(Refusal({"MSET", key, value, "a", value + "v"}, limits),
            "ERR value exceeds maximum allowed size (8 bytes)");
  EXPECT_EQ(Refusal({"HSET", key, "f", value}, limits), "");
  const std::string field = "ERR hash field name exceeds maximum allowed size (4 bytes)";
  EXPECT_EQ(Refusal({"HSET", key, "f", value, "ffffF", "v"}, limits), field);
  EXPECT_EQ(Refusal({"HSETNX", key, "ffffF", "v"}, limits), field);
  EXPECT_EQ(Refusal({"HINCRBY", key, "ffffF", "1"}, limits), field);
  EXPECT_EQ(Refusal({"HDEL", key, "f", "ffffF"}, limits), field);
  EXPECT_EQ(Refusal({"HSETNX", key, "f", "vvvvvv"}, limits), "");
}

TEST(Validate, OnlyWhatRedisRefusesAtOnceStopsATransaction) {
  EXPECT_TRUE(ValidateQueued(Words("INCRBY a x"), {}).ok());
  EXPECT_TRUE(ValidateQueued(Words("MSET a 1 b"), {}).ok());
  EXPECT_FALSE(ValidateQueued(Words("INCRBY a"), {}).ok());
  EXPECT_FALSE(ValidateQueued(Words("FOO a"), {}).ok());
  EXPECT_FALSE(ValidateQueued({"GET", std::string(70'000, 'k')}, {}).ok());
}

}  // namespace
}  // namespace tenure::store
