#include <gtest/gtest.h>

#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

TEST(Strings, SetAndGet) {
  TestRegion().Script(R"(
    > GET a
    (nil)
    > SET a 1
    OK
    > GET a
    "1"
    > SET a ""
    OK
    > GET a
    ""
    > SET a 2 NX
    (nil)
    > SET b 2 XX
    (nil)
    > EXISTS b
    (integer) 0
    > SET a 2 XX GET
    ""
    > SET a 3 GET
    "2"
    > SET a 4 NX GET
    "3"
    > GET a
    "3"
    > SET c 1 NX GET
    (nil)
    > GET c
    "1"
    > SETNX a 9
    (integer) 0
    > SETNX d 9
    (integer) 1
    > GETSET d 8
    "9"
    > GETSET e 8
    (nil)
    > GETDEL e
    "8"
    > GETDEL e
    (nil)
    > HSET h f v
    (integer) 1
    > GET h
    (error) WRONGTYPE Operation against a key holding the wrong kind of value
    > GETSET h 1
    (error) WRONGTYPE Operation against a key holding the wrong kind of value
    > SET h 1 GET
    (error) WRONGTYPE Operation against a key holding the wrong kind of value
    > SET h 1 NX
    (nil)
    > HGET h f
    "v"
    > SET h 1
    OK
    > GET h
    "1"
    > MGET a nope h d
    ["3", (nil), "1", "8"]
  )");
}

TEST(Strings, SetWithExpiry) {
  TestRegion().Script(R"(
    @ 1000
    > SET a 1 PX 100
    OK
    > PTTL a
    (integer) 100
    > SET a 2 KEEPTTL
    OK
    > PEXPIRETIME a
    (integer) 1100
    > SET a 3
    OK
    > PTTL a
    (integer) -1
    > SET a 4 EX 2
    OK
    > PTTL a
    (integer) 2000
    > SET a 5 PXAT 5000
    OK
    > SET a 6 EXAT 7
    OK
    > PEXPIRETIME a
    (integer) 7000
    > SET a 7 EX 1 EX 3
    OK
    > PTTL a
    (integer) 3000
    An expiry that has passed leaves nothing.
    > SET a 8 PXAT 999
    OK
    > EXISTS a
    (integer) 0
    > SET a 8 PXAT 1000
    OK
    > EXISTS a
    (integer) 1
    + 1
    > EXISTS a
    (integer) 0
    > SET a 9 EX 9223372036854775
    (error) ERR invalid expire time in 'set' command
    > SET a 9 PX 9223372036854775807
    (error) ERR invalid expire time in 'set' command
    > SETEX a 10 v
    OK
    > PTTL a
    (integer) 10000
    > PSETEX a 10 v
    OK
    > PTTL a
    (integer) 10
    > GETSET a w
    "v"
    > PTTL a
    (integer) -1
  )");
}

TEST(Strings, SetWithAPastExpiryLeavesNothingToSweep) {
  TestRegion region;
  region.now = WallFromMillis(1000);
  region.Run("SET a 1");
  region.Run("SET b 1 PXAT 999");
  region.Run("SET a 1 EXAT 0");  // refused
  EXPECT_EQ(region.store.KeyCount(region.state), 1u);
  region.Run("SET a 1 PXAT 1");
  EXPECT_EQ(region.store.KeyCount(region.state), 0u);
  EXPECT_FALSE(region.store.HasExpired(region.now, region.state));
  CheckInvariants(region.state);
}

TEST(Strings, GetEx) {
  TestRegion().Script(R"(
    @ 1000
    > GETEX a EX x
    (nil)
    > SET a 1
    OK
    > GETEX a EX x
    (error) ERR value is not an integer or out of range
    > GETEX a EX 0
    (error) ERR invalid expire time in 'getex' command
    > GETEX a PX 500
    "1"
    > PTTL a
    (integer) 500
    > GETEX a
    "1"
    > PTTL a
    (integer) 500
    > GETEX a PERSIST
    "1"
    > PTTL a
    (integer) -1
    > GETEX a PXAT 1000
    "1"
    > EXISTS a
    (integer) 0
    > HSET h f v
    (integer) 1
    > GETEX h
    (error) WRONGTYPE Operation against a key holding the wrong kind of value
  )");
}

TEST(Strings, Many) {
  TestRegion().Script(R"(
    > MSET a 1 b 2 a 3
    OK
    > MGET a b
    ["3", "2"]
    > MSETNX c 1 a 1
    (integer) 0
    > EXISTS c
    (integer) 0
    > MSETNX c 1 c 2 d 3
    (integer) 1
    > MGET c d
    ["2", "3"]
  )");
}

TEST(Strings, Ranges) {
  TestRegion().Script(R"(
    > GETRANGE a 0 -1
    ""
    > SET a 0123456789
    OK
    > GETRANGE a 2 4
    "234"
    > GETRANGE a -3 -1
    "789"
    > GETRANGE a -100 100
    "0123456789"
    > GETRANGE a 4 2
    ""
    > GETRANGE a -2 -4
    ""
    > GETRANGE a 20 30
    ""
    > SUBSTR a 0 -100
    "0"
    > GETRANGE a -9223372036854775808 9223372036854775807
    "0123456789"
    > SETRANGE a 8 xyz
    (integer) 11
    > GET a
    "01234567xyz"
    > SETRANGE b 2 ab
    (integer) 4
    > GET b
    "\x00\x00ab"
    > SETRANGE c 5 ""
    (integer) 0
    > EXISTS c
    (integer) 0
    > SETRANGE a 50 ""
    (integer) 11
    > SETRANGE a 33554432 x
    (error) ERR string exceeds maximum allowed size (proto-max-bulk-len)
    > SETRANGE a 9223372036854775807 x
    (error) ERR string exceeds maximum allowed size (proto-max-bulk-len)
    > APPEND a !
    (integer) 12
    > APPEND d ""
    (integer) 0
    > EXISTS d
    (integer) 1
    > STRLEN a
    (integer) 12
    > STRLEN nope
    (integer) 0
  )");
}

TEST(Strings, ChangesKeepTheExpiry) {
  TestRegion().Script(R"(
    @ 1000
    > SET a 1 PX 100
    OK
    > APPEND a 2
    (integer) 2
    > INCR a
    (integer) 13
    > SETRANGE a 0 2
    (integer) 2
    > INCRBYFLOAT a 0.5
    "23.5"
    > PTTL a
    (integer) 100
    > SET b "" PX 100
    OK
    > APPEND b 2
    (integer) 1
    > PTTL b
    (integer) 100
    Beyond it they start anew.
    + 101
    > APPEND a x
    (integer) 1
    > PTTL a
    (integer) -1
  )");
}

TEST(Strings, LimitOfTheCommandCounts) {
  TestRegion region;
  const auto apply = [&region](const Arguments& arguments) {
    WriteCommand command{.now = region.now, .commands = {arguments}, .max_value_bytes = 8};
    return Show(region.store.Apply(command, LogIndex{1}, region.state));
  };
  const std::string too_long = "(error) ERR string exceeds maximum allowed size (proto-max-bulk-len)";
  EXPECT_EQ(apply({"APPEND", "a", "12345678"}), "(integer) 8");
  EXPECT_EQ(apply({"APPEND", "a", "9"}), too_long);
  EXPECT_EQ(apply({"SETRANGE", "a", "7", "9"}), "(integer) 8");
  EXPECT_EQ(apply({"SETRANGE", "a", "8", "9"}), too_long);
  EXPECT_EQ(region.Ask("GET a"), R"("12345679")");
}

TEST(Counters, Integers) {
  TestRegion().Script(R"(
    > INCR a
    (integer) 1
    > INCRBY a 41
    (integer) 42
    > DECR a
    (integer) 41
    > DECRBY a 50
    (integer) -9
    > INCRBY a -1
    (integer) -10
    > SET a 9223372036854775807
    OK
    > INCR a
    (error) ERR increment or decrement would overflow
    > DECRBY a -9223372036854775808
    (error) ERR decrement would overflow
    > GET a
    "9223372036854775807"
    > SET a " 1"
    OK
    > INCR a
    (error) ERR value is not an integer or out of range
    > HSET h f v
    (integer) 1
    > INCR h
    (error) WRONGTYPE Operation against a key holding the wrong kind of value
  )");
}

TEST(Counters, Floats) {
  TestRegion().Script(R"(
    > INCRBYFLOAT a 10.50
    "10.5"
    > INCRBYFLOAT a 0.1
    "10.6"
    > INCRBYFLOAT a -5
    "5.6"
    > SET a 5.0e3
    OK
    > INCRBYFLOAT a 2.0e2
    "5200"
    > INCRBYFLOAT a nan
    (error) ERR value is not a valid float
    > INCRBYFLOAT a inf
    (error) ERR increment would produce NaN or Infinity
    > SET a x
    OK
    > INCRBYFLOAT a 1
    (error) ERR value is not a valid float
    > GET a
    "x"
  )");
}

}  // namespace
}  // namespace tenure::store
