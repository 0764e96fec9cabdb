#include <gtest/gtest.h>

#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

TEST(Keys, ExistenceAndType) {
  TestRegion().Script(R"(
    > MSET a 1 b 2
    OK
    > HSET h f v
    (integer) 1
    > EXISTS a a nope h
    (integer) 3
    > TOUCH a nope
    (integer) 1
    > TYPE a
    string
    > TYPE h
    hash
    > TYPE nope
    none
    > DEL a a nope
    (integer) 1
    > UNLINK b h
    (integer) 2
    > EXISTS a b h
    (integer) 0
  )");
}

TEST(Expiry, TimesAreTold) {
  TestRegion().Script(R"(
    @ 10000
    > TTL a
    (integer) -2
    > PEXPIRETIME a
    (integer) -2
    > SET a 1
    OK
    > TTL a
    (integer) -1
    > EXPIRETIME a
    (integer) -1
    > PEXPIRE a 1499
    (integer) 1
    > TTL a
    (integer) 1
    > PTTL a
    (integer) 1499
    > PEXPIRE a 1500
    (integer) 1
    > TTL a
    (integer) 2
    > PEXPIRETIME a
    (integer) 11500
    > EXPIRETIME a
    (integer) 12
    > EXPIRE a 100
    (integer) 1
    > PEXPIRETIME a
    (integer) 110000
    > EXPIREAT a 50
    (integer) 1
    > PEXPIRETIME a
    (integer) 50000
    > PERSIST a
    (integer) 1
    > PERSIST a
    (integer) 0
    > PERSIST nope
    (integer) 0
    > PEXPIREAT a 9223372036854775807
    (integer) 1
    > PEXPIRETIME a
    (integer) 9223372036854775807
    > EXPIRETIME a
    (integer) 9223372036854776
  )");
}

TEST(Expiry, Conditions) {
  TestRegion().Script(R"(
    @ 1000
    > SET a 1
    OK
    > PEXPIRE a 100 XX
    (integer) 0
    > PEXPIRE a 100 GT
    (integer) 0
    > PEXPIRE a 100 LT
    (integer) 1
    > PEXPIRE a 200 NX
    (integer) 0
    > PEXPIRE a 100 LT
    (integer) 0
    > PEXPIRE a 100 GT
    (integer) 0
    > PEXPIRE a 200 XX GT
    (integer) 1
    > PEXPIRE a 150 XX LT
    (integer) 1
    > PTTL a
    (integer) 150
    > PEXPIRE nope 100
    (integer) 0
    > PEXPIRE a -1 GT
    (integer) 0
    > PEXPIRE a 0
    (integer) 1
    > EXISTS a
    (integer) 0
    > PEXPIRE a 9223372036854775807
    (error) ERR invalid expire time in 'pexpire' command
    > EXPIRE a -9223372036854776
    (error) ERR invalid expire time in 'expire' command
    > EXPIREAT a -1
    (integer) 0
  )");
}

TEST(Expiry, ExpiredIsAbsentForAllAndRemovedByWrites) {
  TestRegion region;
  region.Script(R"(
    @ 1000
    > SET a 1 PX 100
    OK
    > HSET h f v g w
    (integer) 2
    > PEXPIRE h 100
    (integer) 1
    + 100
    > EXISTS a h
    (integer) 2
    + 1
    > EXISTS a h
    (integer) 0
    > GET a
    (nil)
    > HGETALL h
    {}
    > TTL a
    (integer) -2
    > TYPE h
    none
  )");
  EXPECT_EQ(region.store.KeyCount(region.state), 2u);
  EXPECT_EQ(region.store.VersionOf("a", region.now, region.state), 0u);
  EXPECT_TRUE(region.store.HasExpired(region.now, region.state));
  region.Script(R"(
    > DEL a
    (integer) 0
    > HSETNX h g x
    (integer) 1
    > HGETALL h
    {"g": "x"}
    > PTTL h
    (integer) -1
  )");
  EXPECT_EQ(region.store.KeyCount(region.state), 1u);
  EXPECT_FALSE(region.store.HasExpired(region.now, region.state));
}

}  // namespace
}  // namespace tenure::store
