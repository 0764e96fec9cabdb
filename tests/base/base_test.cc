#include <gtest/gtest.h>

#include <set>

#include "base/bytes.h"
#include "base/codec.h"
#include "base/hash.h"
#include "base/host_port.h"
#include "base/ids.h"
#include "base/prng.h"
#include "base/status.h"

namespace tenure {
namespace {

TEST(IdsTest, ZeroIsNoneAndOrderIsNumeric) {
  EXPECT_TRUE(Term().IsNone());
  EXPECT_LT(Term(9), Term(10));
  EXPECT_EQ(LogIndex(4).Next(), LogIndex(5));
  EXPECT_EQ(LogIndex().Previous(), LogIndex());
}

// The examples of the Redis cluster specification.
TEST(HashTest, SlotsAreRedisSlots) {
  EXPECT_EQ(Crc16("123456789"), 0x31C3);
  EXPECT_EQ(SlotOfKey("foo"), 12182);
  EXPECT_EQ(SlotOfKey("{user1000}.following"), SlotOfKey("{user1000}.followers"));
  EXPECT_EQ(SlotOfKey("foo{}{bar}"), Crc16("foo{}{bar}") % kSlotCount);
  EXPECT_EQ(SlotOfKey("foo{{bar}}zap"), SlotOfKey("{bar"));
  EXPECT_EQ(SlotOfKey("foo{bar}{zap}"), SlotOfKey("bar"));
}

TEST(HashTest, BytesHashIsStable) {
  EXPECT_EQ(HashBytes(""), 0x2d06800538d394c2ULL);  // XXH3-64 of nothing, seed 0
  EXPECT_NE(HashBytes("a"), HashBytes("a", 1));
}

TEST(CodecTest, RoundTrips) {
  const uint64_t numbers[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
  std::string out;
  for (const uint64_t n : numbers) {
    PutVarint(out, n);
    PutFixed64(out, n);
    PutBigEndian64(out, n);
  }
  PutPrefixed(out, "payload");
  ByteReader in(out);
  for (const uint64_t n : numbers) {
    EXPECT_EQ(in.Varint(), n);
    EXPECT_EQ(in.Fixed64(), n);
    EXPECT_EQ(GetBigEndian64(in.Raw(8).data()), n);
  }
  EXPECT_EQ(in.Prefixed(), "payload");
  EXPECT_TRUE(in.AtEnd());
}

TEST(CodecTest, EveryTruncationIsNoticed) {
  std::string out;
  PutVarint(out, 300);
  PutPrefixed(out, "abcdef");
  for (size_t size = 0; size < out.size(); ++size) {
    ByteReader in(std::string_view(out).substr(0, size));
    in.Varint();
    in.Prefixed();
    EXPECT_FALSE(in.ok()) << size;
  }
  const std::string endless(11, '\xff');
  ByteReader in(endless);
  in.Varint();
  EXPECT_FALSE(in.ok());
}

TEST(PrngTest, IsAFunctionOfSeedAndName) {
  Prng a(42);
  Prng b(42);
  EXPECT_EQ(a.Next64(), b.Next64());
  EXPECT_EQ(a.Fork("disk").Next64(), b.Fork("disk").Next64());
  EXPECT_NE(a.Fork("disk").Next64(), a.Fork("network").Next64());
  EXPECT_EQ(Prng(1).Next32(), Prng(1).Next32());
}

TEST(PrngTest, DrawsCoverTheirRange) {
  Prng prng(3);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t draw = prng.Below(7);
    ASSERT_LT(draw, 7u);
    seen.insert(draw);
    const int64_t between = prng.Between(-2, 2);
    ASSERT_GE(between, -2);
    ASSERT_LE(between, 2);
  }
  EXPECT_EQ(seen.size(), 7u);
  EXPECT_EQ(prng.Below(0), 0u);
  EXPECT_EQ(prng.Between(5, 5), 5);
}

TEST(BytesTest, SharesWhatItHolds) {
  const Bytes a(std::string("payload"));
  const Bytes b = a;
  EXPECT_EQ(a.view().data(), b.view().data());
  EXPECT_TRUE(Bytes().empty());
  EXPECT_TRUE(Bytes(std::string()).empty());
}

TEST(HostPortTest, WhatIsAnAddress) {
  const std::pair<const char*, HostPort> good[] = {
      {"127.0.0.1:7100", {"127.0.0.1", 7100}}, {"[::1]:80", {"::1", 80}}, {"a.b-c:65535", {"a.b-c", 65535}}};
  for (const auto& [text, address] : good) {
    const StatusOr<HostPort> parsed = ParseHostPort(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, address);
    EXPECT_EQ(parsed->ToString(), text);
  }
  for (const char* text : {"", ":", "host", "host:", ":1", "[]:1", "host:x", "host:1x", "host:-1", "host:0",
                           "host:65536", "::1:80", "host:99999999999"}) {
    const StatusOr<HostPort> parsed = ParseHostPort(text);
    EXPECT_EQ(parsed.status().code(), StatusCode::kInvalidArgument) << text;
    EXPECT_TRUE(MessageOf(parsed.status()).starts_with("'" + std::string(text) + "'")) << parsed.status();
  }
  EXPECT_EQ(ParseHostPort("h:0", 0).value(), (HostPort{"h", 0}));
}

TEST(StatusTest, AnnotateKeepsCode) {
  const Status status = Annotate(Error(StatusCode::kNotFound, "node {}", 7), "drain");
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(MessageOf(status), "drain: node 7");
}

}  // namespace
}  // namespace tenure
