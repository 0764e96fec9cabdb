// The data commands, their arity and where their keys are: one table for the protocol front end (routing,
// COMMAND) and for the state machine (execution).
//
// Threading: pure functions over constant tables.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tenure::store {

using Arguments = std::vector<std::string>;  // argv, the command's name first

struct CommandSpec {
  std::string_view name;  // lower case
  int arity;      // as in Redis' COMMAND: exact if positive, at least -arity if negative; counts the name
  bool write;     // goes through the log
  int first_key;  // 1-based argument position; 0: no keys
  int last_key;   // negative: counted from the end
  int key_step;
};

// Null if there is no such data command. Case-insensitive.
const CommandSpec* FindCommand(std::string_view name);
std::span<const CommandSpec> AllCommands();

// "unknown command 'foo', with args beginning with: 'a' 'b' " as INVALID_ARGUMENT (message without "ERR ").
Status UnknownCommand(const Arguments& arguments);
// "wrong number of arguments for 'get' command" as INVALID_ARGUMENT (message without "ERR ").
Status CheckArity(const CommandSpec& spec, const Arguments& arguments);
// The keys of a command whose arity was checked.
std::vector<std::string_view> KeysOf(const CommandSpec& spec, const Arguments& arguments);

}  // namespace tenure::store
