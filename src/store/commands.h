// What the data commands do, one function each; the table that leads from a name to them is in dispatch.cc.
//
// A function gets arguments whose arity was checked and all of whose keys lie in the region. It answers with
// an error and changes nothing, or does all it was asked for.
//
// The Check functions find the errors that need no state: Validate runs them before a command goes into the
// log.
#pragma once

#include <optional>

#include "store/command_table.h"
#include "store/keyspace.h"
#include "store/reply.h"

namespace tenure::store::commands {

// string_commands.cc
Reply Get(Keyspace& keys, const Arguments& arguments);
Reply MGet(Keyspace& keys, const Arguments& arguments);
Reply StrLen(Keyspace& keys, const Arguments& arguments);
Reply GetRange(Keyspace& keys, const Arguments& arguments);
Reply Set(Writer& keys, const Arguments& arguments);
Reply SetEx(Writer& keys, const Arguments& arguments);
Reply PSetEx(Writer& keys, const Arguments& arguments);
Reply SetNx(Writer& keys, const Arguments& arguments);
Reply GetSet(Writer& keys, const Arguments& arguments);
Reply GetDel(Writer& keys, const Arguments& arguments);
Reply GetEx(Writer& keys, const Arguments& arguments);
Reply MSet(Writer& keys, const Arguments& arguments);
Reply MSetNx(Writer& keys, const Arguments& arguments);
Reply Append(Writer& keys, const Arguments& arguments);
Reply SetRange(Writer& keys, const Arguments& arguments);
std::optional<Reply> CheckGetRange(const Arguments& arguments);
std::optional<Reply> CheckSet(const Arguments& arguments);
std::optional<Reply> CheckSetEx(const Arguments& arguments);
std::optional<Reply> CheckPSetEx(const Arguments& arguments);
std::optional<Reply> CheckGetEx(const Arguments& arguments);
std::optional<Reply> CheckMSet(const Arguments& arguments);
std::optional<Reply> CheckSetRange(const Arguments& arguments);

// counter_commands.cc
Reply Incr(Writer& keys, const Arguments& arguments);
Reply IncrBy(Writer& keys, const Arguments& arguments);
Reply Decr(Writer& keys, const Arguments& arguments);
Reply DecrBy(Writer& keys, const Arguments& arguments);
Reply IncrByFloat(Writer& keys, const Arguments& arguments);
std::optional<Reply> CheckIncrBy(const Arguments& arguments);
std::optional<Reply> CheckDecrBy(const Arguments& arguments);

// hash_commands.cc
Reply HGet(Keyspace& keys, const Arguments& arguments);
Reply HMGet(Keyspace& keys, const Arguments& arguments);
Reply HGetAll(Keyspace& keys, const Arguments& arguments);
Reply HKeys(Keyspace& keys, const Arguments& arguments);
Reply HVals(Keyspace& keys, const Arguments& arguments);
Reply HLen(Keyspace& keys, const Arguments& arguments);
Reply HStrLen(Keyspace& keys, const Arguments& arguments);
Reply HExists(Keyspace& keys, const Arguments& arguments);
Reply HSet(Writer& keys, const Arguments& arguments);
Reply HMSet(Writer& keys, const Arguments& arguments);
Reply HSetNx(Writer& keys, const Arguments& arguments);
Reply HDel(Writer& keys, const Arguments& arguments);
Reply HIncrBy(Writer& keys, const Arguments& arguments);
Reply HIncrByFloat(Writer& keys, const Arguments& arguments);
std::optional<Reply> CheckHSet(const Arguments& arguments);
std::optional<Reply> CheckHIncrBy(const Arguments& arguments);
std::optional<Reply> CheckHIncrByFloat(const Arguments& arguments);

// hash_scan.cc
Reply HScan(Keyspace& keys, const Arguments& arguments);

// key_commands.cc
Reply Exists(Keyspace& keys, const Arguments& arguments);
Reply Type(Keyspace& keys, const Arguments& arguments);
Reply Del(Writer& keys, const Arguments& arguments);

// expiry_commands.cc
Reply Ttl(Keyspace& keys, const Arguments& arguments);
Reply PTtl(Keyspace& keys, const Arguments& arguments);
Reply ExpireTime(Keyspace& keys, const Arguments& arguments);
Reply PExpireTime(Keyspace& keys, const Arguments& arguments);
Reply Expire(Writer& keys, const Arguments& arguments);
Reply PExpire(Writer& keys, const Arguments& arguments);
Reply ExpireAt(Writer& keys, const Arguments& arguments);
Reply PExpireAt(Writer& keys, const Arguments& arguments);
Reply Persist(Writer& keys, const Arguments& arguments);
std::optional<Reply> CheckExpire(const Arguments& arguments);

}  // namespace tenure::store::commands
