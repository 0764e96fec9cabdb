// The commands the front end answers itself: connection, cluster, introspection. Data commands are store/'s
// table. A subcommand is a row of its own, "cluster|slots".
//
// Threading: pure functions over constant tables; handlers run on the node's executor.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "resp/client_state.h"
#include "resp/reply_writer.h"
#include "store/command_table.h"

namespace tenure::resp {

class FrontEnd;

struct CommandContext {
  FrontEnd& front;
  ClientState& client;
  const store::Arguments& arguments;
  ReplyWriter& reply;

  size_t size() const { return arguments.size(); }
  const std::string& operator[](size_t i) const { return arguments[i]; }
};
using FrontHandler = void (*)(CommandContext&);

struct FrontCommand {
  enum class Mode : uint8_t {
    kImmediate,  // the handler answers when the request is parsed
    kBarrier,    // the handler runs once every earlier command of the connection is answered
    kContainer,  // the second argument names the row
    kMulti,
    kExec,
    kDiscard,
    kWatch,
    kUnwatch,
    kReset,
    kScan,
    kFailover,  // Session's own
  };
  std::string_view name;  // lower case
  int arity;              // as store::CommandSpec::arity; of a subcommand, container's name counted
  Mode mode;
  FrontHandler handler = nullptr;
  bool queueable = true;  // may stand between MULTI and EXEC
  std::string_view group = "connection";
  // Answers from the catalog as the node has cached it: refused while the node is fenced.
  bool uses_view = false;
};

// Null if there is no such command. Case-insensitive. For a container's unknown subcommand the container.
const FrontCommand* FindFrontCommand(const store::Arguments& arguments);
const FrontCommand* FindFrontCommandByName(std::string_view name);
std::span<const FrontCommand> AllFrontCommands();
bool ArityFits(int arity, size_t arguments);

// What argv holds, its strings' own size counted.
size_t MemoryOf(const store::Arguments& arguments);

std::string Lower(std::string_view text);
// `lower` is lower case.
bool EqualsIgnoreCase(std::string_view text, std::string_view lower);
bool ParseInteger(std::string_view text, int64_t& value);
// One word of printable characters, as the name of a client: CLIENT LIST separates by blanks.
bool IsPrintableWord(std::string_view text);
// What a client says of itself: such a word of at most kMaxClientNameBytes. The error's text, or empty.
inline constexpr size_t kMaxClientNameBytes = 256;
std::string CheckClientName(std::string_view what, std::string_view text);
// '*', '?', '[a-z]', '\' as in Redis; case-insensitive.
bool MatchesPattern(std::string_view pattern, std::string_view text);

// "unknown command 'foo', with args beginning with: 'a' 'b' ", Redis' words.
std::string UnknownCommandText(const store::Arguments& arguments);
std::string UnknownSubcommandText(const store::Arguments& arguments);
std::string WrongArityText(std::string_view name);

// The keys' common slot; none if there is no key. `crosses` is set if they differ.
struct KeySlot {
  bool any = false;
  bool crosses = false;
  uint16_t slot = 0;
};
KeySlot SlotOfArguments(const store::CommandSpec& spec, const store::Arguments& arguments);

}  // namespace tenure::resp
