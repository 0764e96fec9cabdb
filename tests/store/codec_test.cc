// Encoded commands and replies: round trips, and refusal of everything that is not one.

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/prng.h"
#include "store/region_store.h"
#include "tests/store/random_commands.h"
#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

Reply RandomReply(Prng& prng, int depth) {
  Reply reply;
  reply.kind = static_cast<Reply::Kind>(prng.Below(depth == 0 ? 5 : 10));
  switch (reply.kind) {
    case Reply::Kind::kInteger:
      reply.integer = static_cast<int64_t>(prng.Next64());
      break;
    case Reply::Kind::kBoolean:
      reply.integer = static_cast<int64_t>(prng.Below(2));
      break;
    case Reply::Kind::kNull:
      break;
    case Reply::Kind::kArray:
    case Reply::Kind::kMap:
    case Reply::Kind::kSet:
      for (uint64_t n = prng.Below(4); n > 0; --n) reply.elements.push_back(RandomReply(prng, depth - 1));
      break;
    default:
      for (uint64_t n = prng.Below(200); n > 0; --n) reply.text.push_back(static_cast<char>(prng.Next32()));
  }
  return reply;
}

WriteCommand RandomWriteCommand(Prng& prng) {
  WriteCommand command{.now = WallFromMillis(prng.Between(0, 2'000'000'000'000)),
                       .kind = static_cast<WriteCommand::Kind>(1 + prng.Below(3)),
                       .max_value_bytes = prng.Below(1 << 30)};
  const bool transaction = command.kind == WriteCommand::Kind::kTransaction;
  if (command.kind == WriteCommand::Kind::kSweep) {
    command.sweep_limit = prng.Next32();
    return command;
  }
  for (uint64_t n = transaction ? prng.Below(4) : 1; n > 0; --n)
    command.commands.push_back(RandomCommand(prng, {}));
  for (uint64_t n = transaction ? prng.Below(3) : 0; n > 0; --n)
    command.watches.push_back({"key", prng.Next64()});
  return command;
}

void ExpectEqual(const WriteCommand& a, const WriteCommand& b) {
  EXPECT_EQ(a.now, b.now);
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.commands, b.commands);
  EXPECT_EQ(a.sweep_limit, b.sweep_limit);
  EXPECT_EQ(a.max_value_bytes, b.max_value_bytes);
  ASSERT_EQ(a.watches.size(), b.watches.size());
  for (size_t i = 0; i < a.watches.size(); ++i) {
    EXPECT_EQ(a.watches[i].key, b.watches[i].key);
    EXPECT_EQ(a.watches[i].version, b.watches[i].version);
  }
}

TEST(Codec, RepliesRoundTripAndPrefixesAreRefused) {
  Prng prng(1);
  for (int i = 0; i < 2'000; ++i) {
    const Reply reply = RandomReply(prng, 3);
    std::string encoded;
    EncodeReply(reply, encoded);
    const auto decoded = DecodeReply(encoded);
    ASSERT_TRUE(decoded.ok());
    ASSERT_EQ(*decoded, reply);
    EXPECT_FALSE(DecodeReply(encoded + "x").ok());
    EXPECT_FALSE(DecodeReply(std::string_view(encoded).substr(0, prng.Below(encoded.size()))).ok());
  }
}

TEST(Codec, CommandsRoundTripAndPrefixesAreRefused) {
  Prng prng(2);
  for (int i = 0; i < 2'000; ++i) {
    const WriteCommand command = RandomWriteCommand(prng);
    std::string encoded;
    EncodeWriteCommand(command, encoded);
    const auto decoded = DecodeWriteCommand(encoded);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    ExpectEqual(*decoded, command);
    EXPECT_FALSE(DecodeWriteCommand(encoded + "x").ok());
    EXPECT_FALSE(DecodeWriteCommand(std::string_view(encoded).substr(0, prng.Below(encoded.size()))).ok());
  }
}

RC_GTEST_PROP(Codec, AnyBytesAreRefusedOrDecoded, (const std::string& bytes)) {
  const auto reply = DecodeReply(bytes);
  if (reply.ok()) {
    std::string again;
    EncodeReply(*reply, again);
    RC_ASSERT(DecodeReply(again).ok());
  }
  (void)DecodeWriteCommand(bytes);
  (void)DecodeWriteCommand("\x01" + bytes);
  (void)DecodeWriteCommand("\x02" + bytes);
}

TEST(Codec, NestingIsLimited) {
  EXPECT_FALSE(DecodeReply(std::string(100'000, '\x05')).ok());
  std::string nested;
  for (int i = 0; i < 20; ++i) nested += std::string("\x05\x01", 2);
  EXPECT_FALSE(DecodeReply(nested + '\x04').ok());
}

TEST(Codec, Golden) {
  std::string encoded;
  EncodeWriteCommand(
      {.now = WallFromMillis(1000), .commands = {{"SET", "a", "1"}}, .max_value_bytes = 1 << 20}, encoded);
  EXPECT_EQ(Quoted(encoded), R"("\x01\xe8\x07\x80\x80@\x03\x03SET\x01a\x011")");
  encoded.clear();
  EncodeReply(Reply::Array({Reply::Integer(-1), Reply::Null(), Reply::Bulk("x")}), encoded);
  EXPECT_EQ(Quoted(encoded), R"("\x05\x03\x02\x01\x04\x03\x01x")");
}

}  // namespace
}  // namespace tenure::store
