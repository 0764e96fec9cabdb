#include "store/dispatch.h"

#include <array>

#include "base/check.h"
#include "store/command_list.h"
#include "store/commands.h"

namespace tenure::store {
namespace {

constexpr auto kImplementations = std::to_array<Implementation>({
    {.name = "append", .write = commands::Append},
    {.name = "decr", .write = commands::Decr},
    {.name = "decrby", .write = commands::DecrBy, .check = commands::CheckDecrBy},
    {.name = "del", .write = commands::Del},
    {.name = "exists", .read = commands::Exists},
    {.name = "expire", .write = commands::Expire, .check = commands::CheckExpire},
    {.name = "expireat", .write = commands::ExpireAt, .check = commands::CheckExpire},
    {.name = "expiretime", .read = commands::ExpireTime},
    {.name = "get", .read = commands::Get},
    {.name = "getdel", .write = commands::GetDel},
    {.name = "getex", .write = commands::GetEx, .check = commands::CheckGetEx},
    {.name = "getrange", .read = commands::GetRange, .check = commands::CheckGetRange},
    {.name = "getset", .write = commands::GetSet},
    {.name = "hdel", .write = commands::HDel},
    {.name = "hexists", .read = commands::HExists},
    {.name = "hget", .read = commands::HGet},
    {.name = "hgetall", .read = commands::HGetAll},
    {.name = "hincrby", .write = commands::HIncrBy, .check = commands::CheckHIncrBy},
    {.name = "hincrbyfloat", .write = commands::HIncrByFloat, .check = commands::CheckHIncrByFloat},
    {.name = "hkeys", .read = commands::HKeys},
    {.name = "hlen", .read = commands::HLen},
    {.name = "hmget", .read = commands::HMGet},
    {.name = "hmset", .write = commands::HMSet, .check = commands::CheckHSet},
    {.name = "hscan", .read = commands::HScan},
    {.name = "hset", .write = commands::HSet, .check = commands::CheckHSet},
    {.name = "hsetnx", .write = commands::HSetNx},
    {.name = "hstrlen", .read = commands::HStrLen},
    {.name = "hvals", .read = commands::HVals},
    {.name = "incr", .write = commands::Incr},
    {.name = "incrby", .write = commands::IncrBy, .check = commands::CheckIncrBy},
    {.name = "incrbyfloat", .write = commands::IncrByFloat},
    {.name = "mget", .read = commands::MGet},
    {.name = "mset", .write = commands::MSet, .check = commands::CheckMSet},
    {.name = "msetnx", .write = commands::MSetNx, .check = commands::CheckMSet},
    {.name = "persist", .write = commands::Persist},
    {.name = "pexpire", .write = commands::PExpire, .check = commands::CheckExpire},
    {.name = "pexpireat", .write = commands::PExpireAt, .check = commands::CheckExpire},
    {.name = "pexpiretime", .read = commands::PExpireTime},
    {.name = "psetex", .write = commands::PSetEx, .check = commands::CheckPSetEx},
    {.name = "pttl", .read = commands::PTtl},
    {.name = "set", .write = commands::Set, .check = commands::CheckSet},
    {.name = "setex", .write = commands::SetEx, .check = commands::CheckSetEx},
    {.name = "setnx", .write = commands::SetNx},
    {.name = "setrange", .write = commands::SetRange, .check = commands::CheckSetRange},
    {.name = "strlen", .read = commands::StrLen},
    {.name = "substr", .read = commands::GetRange, .check = commands::CheckGetRange},
    {.name = "touch", .read = commands::Exists},
    {.name = "ttl", .read = commands::Ttl},
    {.name = "type", .read = commands::Type},
    {.name = "unlink", .write = commands::Del},
});

constexpr bool TablesAgree() {
  if (kImplementations.size() != kCommandSpecs.size()) return false;
  for (size_t i = 0; i < kCommandSpecs.size(); ++i) {
    if (kImplementations[i].name != kCommandSpecs[i].name) return false;
    if ((kImplementations[i].write != nullptr) != kCommandSpecs[i].write) return false;
    if ((kImplementations[i].read == nullptr) != kCommandSpecs[i].write) return false;
  }
  return true;
}
static_assert(TablesAgree());

}  // namespace

const Implementation& ImplementationOf(const CommandSpec& spec) {
  const auto index = static_cast<size_t>(&spec - kCommandSpecs.data());
  TENURE_CHECK(index < kImplementations.size(), "'{}' is not of the command table", spec.name);
  return kImplementations[index];
}

}  // namespace tenure::store
