// The constant table behind command_table.h, in the order of names; dispatch.cc has what executes each, in
// the same order, checked when it is compiled.
#pragma once

#include <algorithm>
#include <array>

#include "store/command_table.h"

namespace tenure::store {

// name, arity, write, first key, last key, step
inline constexpr auto kCommandSpecs = std::to_array<CommandSpec>({
    {"append", 3, true, 1, 1, 1},       {"decr", 2, true, 1, 1, 1},         {"decrby", 3, true, 1, 1, 1},
    {"del", -2, true, 1, -1, 1},        {"exists", -2, false, 1, -1, 1},    {"expire", -3, true, 1, 1, 1},
    {"expireat", -3, true, 1, 1, 1},    {"expiretime", 2, false, 1, 1, 1},  {"get", 2, false, 1, 1, 1},
    {"getdel", 2, true, 1, 1, 1},       {"getex", -2, true, 1, 1, 1},       {"getrange", 4, false, 1, 1, 1},
    {"getset", 3, true, 1, 1, 1},       {"hdel", -3, true, 1, 1, 1},        {"hexists", 3, false, 1, 1, 1},
    {"hget", 3, false, 1, 1, 1},        {"hgetall", 2, false, 1, 1, 1},     {"hincrby", 4, true, 1, 1, 1},
    {"hincrbyfloat", 4, true, 1, 1, 1}, {"hkeys", 2, false, 1, 1, 1},       {"hlen", 2, false, 1, 1, 1},
    {"hmget", -3, false, 1, 1, 1},      {"hmset", -4, true, 1, 1, 1},       {"hscan", -3, false, 1, 1, 1},
    {"hset", -4, true, 1, 1, 1},        {"hsetnx", 4, true, 1, 1, 1},       {"hstrlen", 3, false, 1, 1, 1},
    {"hvals", 2, false, 1, 1, 1},       {"incr", 2, true, 1, 1, 1},         {"incrby", 3, true, 1, 1, 1},
    {"incrbyfloat", 3, true, 1, 1, 1},  {"mget", -2, false, 1, -1, 1},      {"mset", -3, true, 1, -1, 2},
    {"msetnx", -3, true, 1, -1, 2},     {"persist", 2, true, 1, 1, 1},      {"pexpire", -3, true, 1, 1, 1},
    {"pexpireat", -3, true, 1, 1, 1},   {"pexpiretime", 2, false, 1, 1, 1}, {"psetex", 4, true, 1, 1, 1},
    {"pttl", 2, false, 1, 1, 1},        {"set", -3, true, 1, 1, 1},         {"setex", 4, true, 1, 1, 1},
    {"setnx", 3, true, 1, 1, 1},        {"setrange", 4, true, 1, 1, 1},     {"strlen", 2, false, 1, 1, 1},
    {"substr", 4, false, 1, 1, 1},      {"touch", -2, false, 1, -1, 1},     {"ttl", 2, false, 1, 1, 1},
    {"type", 2, false, 1, 1, 1},        {"unlink", -2, true, 1, -1, 1},
});
static_assert(std::ranges::is_sorted(kCommandSpecs, {}, &CommandSpec::name));

// Positions of the names of hash fields among the arguments.
struct FieldPositions {
  size_t first = 0;  // 0: the command names no fields
  size_t step = 1;
  bool single = true;  // only the first
};
FieldPositions FieldPositionsOf(std::string_view command);

// Calls visit(key) for each key of a command whose arity was checked until it returns false. False if so.
template <class Visitor>
bool VisitKeys(const CommandSpec& spec, const Arguments& arguments, Visitor visit) {
  if (spec.first_key == 0) return true;
  const int count = static_cast<int>(arguments.size());
  const int last = spec.last_key < 0 ? count + spec.last_key : spec.last_key;
  for (int at = spec.first_key; at <= last && at < count; at += spec.key_step) {
    if (!visit(std::string_view(arguments[static_cast<size_t>(at)]))) return false;
  }
  return true;
}

}  // namespace tenure::store
