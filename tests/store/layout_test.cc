// The formats of docs/store-format.md, byte by byte.

#include "store/layout.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{}{:02x}", out.empty() ? "" : " ", static_cast<uint8_t>(c));
  return out;
}

TEST(Layout, Keys) {
  EXPECT_EQ(Hex(RecordKey(0x1234, "ab")), "6b 12 34 61 62");
  EXPECT_EQ(Hex(SlotPrefix(0x1234)), "6b 12 34");
  EXPECT_EQ(KeyOfRecordKey(RecordKey(0x1234, "ab")), "ab");
  EXPECT_EQ(SlotOfRecordKey(RecordKey(0x1234, "ab")), 0x1234);
  std::string field_key = FieldsPrefix(0x1234, "ab");
  EXPECT_EQ(Hex(field_key), "68 12 34 00 00 00 02 61 62");
  AppendField(field_key, "f");
  EXPECT_EQ(HashOfField("f"), HashBytes("f") >> 32);
  EXPECT_EQ(Hex(field_key), "68 12 34 00 00 00 02 61 62 33 c1 55 90 66");
  EXPECT_EQ(HashInFieldKey(field_key, 9), HashOfField("f"));
  EXPECT_EQ(FieldOfFieldKey(field_key, 9), "f");
  EXPECT_EQ(Hex(ExpiryKey(0x0102030405, 0x1234, "ab")), "65 00 00 00 01 02 03 04 05 12 34 61 62");
  EXPECT_EQ(ExpiryOfExpiryKey(ExpiryKey(77, 1, "ab")), 77);
  EXPECT_EQ(KeyOfExpiryKey(ExpiryKey(77, 1, "ab")), "ab");
}

std::string Encoded(const RecordHeader& header, std::string_view content) {
  std::string out;
  EncodeRecord(header, content, out);
  return out;
}

TEST(Layout, Records) {
  EXPECT_EQ(Hex(Encoded({.version = 300}, "ab")), "01 ac 02 61 62");
  EXPECT_EQ(Hex(Encoded({.version = 1, .expiry_ms = 1000}, "ab")), "81 01 e8 07 61 62");
  EXPECT_EQ(Hex(Encoded({.type = ValueType::kHash, .version = 1, .fields = 3}, {})), "02 01 03");
  const std::string hash =
      Encoded({.type = ValueType::kHash, .version = 9, .expiry_ms = 1000, .fields = 3}, {});
  EXPECT_EQ(Hex(hash), "82 09 e8 07 03");
  const RecordHeader decoded = DecodeRecordHeader(hash);
  EXPECT_EQ(decoded.type, ValueType::kHash);
  EXPECT_EQ(decoded.version, 9u);
  EXPECT_EQ(decoded.expiry_ms, 1000);
  EXPECT_EQ(decoded.fields, 3u);
  EXPECT_EQ(decoded.size, hash.size());
  EXPECT_EQ(DecodeRecordHeader(Encoded({.version = 300}, "ab")).size, 3u);
}

TEST(Layout, Counters) {
  EXPECT_EQ(Hex(EncodeCounters({.keys = 300, .newest_ms = 1000})), "ac 02 e8 07");
  EXPECT_EQ(DecodeCounters(EncodeCounters({.keys = 300, .newest_ms = 1000})),
            (Counters{.keys = 300, .newest_ms = 1000}));
}

TEST(LayoutDeath, DamagedStateEndsTheProcess) {
  for (const std::string_view damaged : {"", "\x01", "\x03\x01", "\x11\x01", "\x81\x01", "\x02\x01"}) {
    EXPECT_DEATH(DecodeRecordHeader(damaged), "value record") << Hex(damaged);
  }
  EXPECT_DEATH(DecodeCounters("\x80"), "counters");
}

// What lies in the store after some commands, whole.
TEST(Layout, Golden) {
  TestRegion region;
  region.now = WallFromMillis(1000);
  region.Run("SET ab xyz");
  region.Run("HSET {ab}h f v");
  region.Run("PEXPIREAT {ab}h 2000");
  std::string all;
  for (const auto& [key, value] : region.state.map()) all += Hex(key) + " = " + Hex(value) + "\n";
  EXPECT_EQ(all,
            "65 00 00 00 00 00 00 07 d0 34 ff 7b 61 62 7d 68 = \n"
            "68 34 ff 00 00 00 05 7b 61 62 7d 68 33 c1 55 90 66 = 76\n"
            "6b 34 ff 61 62 = 01 01 78 79 7a\n"
            "6b 34 ff 7b 61 62 7d 68 = 82 03 d0 0f 01\n"
            "6d = 02 e8 07\n");
}

}  // namespace
}  // namespace tenure::store
