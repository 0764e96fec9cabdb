#include "resp/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/hash.h"
#include "resp/handlers.h"

namespace tenure::resp {
namespace {

using FrontMode = FrontCommand::Mode;

// Answers from the node's view of the catalog.
constexpr FrontCommand View(FrontCommand command) {
  command.uses_view = true;
  return command;
}

// Sorted by name: looked up by bisection.
constexpr std::array kFrontCommands = {
    FrontCommand{"asking", 1, FrontMode::kImmediate, Asking, true, "cluster"},
    FrontCommand{"auth", -2, FrontMode::kImmediate, Auth, false},
    FrontCommand{"client", -2, FrontMode::kContainer},
    FrontCommand{"client|getname", 2, FrontMode::kImmediate, ClientGetName},
    FrontCommand{"client|getredir", 2, FrontMode::kImmediate, ClientGetRedir},
    FrontCommand{"client|help", 2, FrontMode::kImmediate, ClientHelp},
    FrontCommand{"client|id", 2, FrontMode::kImmediate, ClientId},
    FrontCommand{"client|info", 2, FrontMode::kImmediate, ClientInfo},
    FrontCommand{"client|kill", -3, FrontMode::kImmediate, ClientKill, false},
    FrontCommand{"client|list", -2, FrontMode::kImmediate, ClientList},
    FrontCommand{"client|no-evict", 3, FrontMode::kImmediate, ClientNoEvict},
    FrontCommand{"client|no-touch", 3, FrontMode::kImmediate, ClientNoTouch},
    FrontCommand{"client|pause", -3, FrontMode::kImmediate, ClientPause},
    FrontCommand{"client|reply", 3, FrontMode::kImmediate, ClientReply, false},
    FrontCommand{"client|setinfo", 4, FrontMode::kImmediate, ClientSetInfo},
    FrontCommand{"client|setname", 3, FrontMode::kImmediate, ClientSetName},
    FrontCommand{"client|tracking", -3, FrontMode::kImmediate, ClientTracking},
    FrontCommand{"client|unpause", 2, FrontMode::kImmediate, ClientUnpause},
    FrontCommand{"cluster", -2, FrontMode::kContainer, nullptr, true, "cluster"},
    FrontCommand{"cluster|addslots", -3, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    FrontCommand{"cluster|addslotsrange", -4, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    FrontCommand{"cluster|bumpepoch", 2, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    View(FrontCommand{"cluster|count-failure-reports", 3, FrontMode::kImmediate, ClusterCountFailureReports,
                      true, "cluster"}),
    // It and GETKEYSINSLOT may take long: not many of them in one go.
    View(FrontCommand{"cluster|countkeysinslot", 3, FrontMode::kBarrier, ClusterCountKeysInSlot, false,
                      "cluster"}),
    FrontCommand{"cluster|delslots", -3, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    FrontCommand{"cluster|delslotsrange", -4, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    FrontCommand{"cluster|failover", -2, FrontMode::kFailover, nullptr, false, "cluster"},
    FrontCommand{"cluster|flushslots", 2, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    FrontCommand{"cluster|forget", 3, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    View(FrontCommand{"cluster|getkeysinslot", 4, FrontMode::kBarrier, ClusterGetKeysInSlot, false,
                      "cluster"}),
    FrontCommand{"cluster|help", 2, FrontMode::kImmediate, ClusterHelp, true, "cluster"},
    FrontCommand{"cluster|info", 2, FrontMode::kImmediate, ClusterInfo, true, "cluster"},
    FrontCommand{"cluster|keyslot", 3, FrontMode::kImmediate, ClusterKeySlot, true, "cluster"},
    View(FrontCommand{"cluster|links", 2, FrontMode::kImmediate, ClusterLinks, true, "cluster"}),
    FrontCommand{"cluster|meet", -4, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    FrontCommand{"cluster|myid", 2, FrontMode::kImmediate, ClusterMyId, true, "cluster"},
    FrontCommand{"cluster|myshardid", 2, FrontMode::kImmediate, ClusterMyShardId, true, "cluster"},
    View(FrontCommand{"cluster|nodes", 2, FrontMode::kImmediate, ClusterNodes, true, "cluster"}),
    View(FrontCommand{"cluster|replicas", 3, FrontMode::kImmediate, ClusterReplicas, true, "cluster"}),
    FrontCommand{"cluster|replicate", 3, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    FrontCommand{"cluster|reset", -2, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    FrontCommand{"cluster|saveconfig", 2, FrontMode::kImmediate, ClusterSaveConfig, true, "cluster"},
    FrontCommand{"cluster|set-config-epoch", 3, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    FrontCommand{"cluster|setslot", -4, FrontMode::kImmediate, ClusterElsewhere, true, "cluster"},
    View(FrontCommand{"cluster|shards", 2, FrontMode::kImmediate, ClusterShards, true, "cluster"}),
    View(FrontCommand{"cluster|slaves", 3, FrontMode::kImmediate, ClusterReplicas, true, "cluster"}),
    View(FrontCommand{"cluster|slots", 2, FrontMode::kImmediate, ClusterSlots, true, "cluster"}),
    FrontCommand{"command", -1, FrontMode::kImmediate, Command, true, "server"},
    FrontCommand{"command|count", 2, FrontMode::kImmediate, CommandCount, true, "server"},
    FrontCommand{"command|docs", -2, FrontMode::kImmediate, CommandDocs, true, "server"},
    FrontCommand{"command|getkeys", -4, FrontMode::kImmediate, CommandGetKeys, true, "server"},
    FrontCommand{"command|help", 2, FrontMode::kImmediate, CommandHelp, true, "server"},
    FrontCommand{"command|info", -2, FrontMode::kImmediate, CommandInfo, true, "server"},
    FrontCommand{"command|list", -2, FrontMode::kImmediate, CommandList, true, "server"},
    FrontCommand{"config", -2, FrontMode::kContainer, nullptr, true, "server"},
    FrontCommand{"config|get", -3, FrontMode::kImmediate, ConfigGet, true, "server"},
    FrontCommand{"config|help", 2, FrontMode::kImmediate, ConfigHelp, true, "server"},
    FrontCommand{"config|resetstat", 2, FrontMode::kImmediate, ConfigResetStat, true, "server"},
    FrontCommand{"config|rewrite", 2, FrontMode::kImmediate, ConfigSet, true, "server"},
    FrontCommand{"config|set", -4, FrontMode::kImmediate, ConfigSet, true, "server"},
    View(FrontCommand{"dbsize", 1, FrontMode::kBarrier, DbSize, true, "server"}),
    FrontCommand{"discard", 1, FrontMode::kDiscard, nullptr, false, "transactions"},
    FrontCommand{"echo", 2, FrontMode::kImmediate, Echo},
    FrontCommand{"exec", 1, FrontMode::kExec, nullptr, false, "transactions"},
    FrontCommand{"hello", -1, FrontMode::kImmediate, Hello, false},
    FrontCommand{"info", -1, FrontMode::kImmediate, Info, true, "server"},
    FrontCommand{"multi", 1, FrontMode::kMulti, nullptr, false, "transactions"},
    FrontCommand{"ping", -1, FrontMode::kImmediate, Ping},
    FrontCommand{"quit", -1, FrontMode::kImmediate, Quit, false},
    FrontCommand{"readonly", 1, FrontMode::kImmediate, ReadOnly, true, "cluster"},
    FrontCommand{"readwrite", 1, FrontMode::kImmediate, ReadWrite, true, "cluster"},
    FrontCommand{"reset", 1, FrontMode::kReset, nullptr, false},
    FrontCommand{"scan", -2, FrontMode::kScan, nullptr, false, "generic"},
    View(FrontCommand{"select", 2, FrontMode::kImmediate, Select, false}),
    FrontCommand{"time", 1, FrontMode::kImmediate, Time, true, "server"},
    FrontCommand{"unwatch", 1, FrontMode::kUnwatch, nullptr, true, "transactions"},
    View(FrontCommand{"wait", 3, FrontMode::kBarrier, Wait, true, "generic"}),
    FrontCommand{"watch", -2, FrontMode::kWatch, nullptr, false, "transactions"},
};
static_assert(std::is_sorted(kFrontCommands.begin(), kFrontCommands.end(),
                             [](const FrontCommand& a, const FrontCommand& b) { return a.name < b.name; }));

char LowerChar(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// "[...]" at `pattern[at]`; leaves `at` behind the ']'.
bool MatchesClass(std::string_view pattern, size_t& at, char c) {
  ++at;
  const bool negated = at < pattern.size() && pattern[at] == '^';
  if (negated) ++at;
  bool hit = false;
  for (; at < pattern.size() && pattern[at] != ']'; ++at) {
    if (pattern[at] == '\\' && at + 1 < pattern.size()) {
      ++at;
      hit = hit || LowerChar(pattern[at]) == c;
    } else if (at + 2 < pattern.size() && pattern[at + 1] == '-') {
      const char low = std::min(LowerChar(pattern[at]), LowerChar(pattern[at + 2]));
      const char high = std::max(LowerChar(pattern[at]), LowerChar(pattern[at + 2]));
      hit = hit || (c >= low && c <= high);
      at += 2;
    } else {
      hit = hit || LowerChar(pattern[at]) == c;
    }
  }
  if (at < pattern.size()) ++at;
  return hit != negated;
}

}  // namespace

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), LowerChar);
  return lower;
}

bool EqualsIgnoreCase(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() && std::equal(text.begin(), text.end(), lower.begin(),
                                                   [](char a, char b) { return LowerChar(a) == b; });
}

bool ParseInteger(std::string_view text, int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

bool IsPrintableWord(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '!' && c <= '~'; });
}

std::string CheckClientName(std::string_view what, std::string_view text) {
  if (text.size() > kMaxClientNameBytes) {
    return fmt::format("ERR {} cannot be longer than {} bytes, this has {}", what, kMaxClientNameBytes,
                       text.size());
  }
  if (IsPrintableWord(text)) return {};
  return fmt::format("ERR {} cannot contain spaces, newlines or special characters.", what);
}

bool MatchesPattern(std::string_view pattern, std::string_view text) {
  // Greedy with one place to go back to, the last '*': linear in pattern times text.
  size_t p = 0;
  size_t t = 0;
  size_t star = pattern.npos;
  size_t star_text = 0;
  while (t < text.size()) {
    const char c = LowerChar(text[t]);
    size_t next = p + 1;
    bool hit = false;
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
      continue;
    }
    if (p < pattern.size()) {
      if (pattern[p] == '[') {
        next = p;
        hit = MatchesClass(pattern, next, c);
      } else if (pattern[p] == '\\' && p + 1 < pattern.size()) {
        next = p + 2;
        hit = LowerChar(pattern[p + 1]) == c;
      } else {
        hit = pattern[p] == '?' || LowerChar(pattern[p]) == c;
      }
    }
    if (hit) {
      p = next;
      ++t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

const FrontCommand* FindFrontCommandByName(std::string_view name) {
  if (name.size() > 40) return nullptr;
  const std::string lower = Lower(name);
  const auto at =
      std::lower_bound(kFrontCommands.begin(), kFrontCommands.end(), std::string_view(lower),
                       [](const FrontCommand& row, std::string_view key) { return row.name < key; });
  return at != kFrontCommands.end() && at->name == lower ? &*at : nullptr;
}

const FrontCommand* FindFrontCommand(const store::Arguments& arguments) {
  if (arguments[0].find('|') != std::string::npos) return nullptr;  // a subcommand's row is no command
  const FrontCommand* row = FindFrontCommandByName(arguments[0]);
  if (row == nullptr || arguments.size() < 2) return row;
  if (row->mode != FrontMode::kContainer && row->name != "command") return row;
  if (arguments[1].size() > 32) return row;
  const FrontCommand* sub = FindFrontCommandByName(fmt::format("{}|{}", arguments[0], arguments[1]));
  return sub != nullptr ? sub : row;
}

std::span<const FrontCommand> AllFrontCommands() {
  return kFrontCommands;
}

bool ArityFits(int arity, size_t arguments) {
  return arity >= 0 ? arguments == static_cast<size_t>(arity) : arguments >= static_cast<size_t>(-arity);
}

size_t MemoryOf(const store::Arguments& arguments) {
  size_t bytes = 0;
  for (const std::string& argument : arguments) bytes += argument.size() + sizeof(std::string);
  return bytes;
}

std::string UnknownCommandText(const store::Arguments& arguments) {
  std::string shown;
  for (size_t i = 1; i < arguments.size() && shown.size() < 128; ++i) {
    const std::string_view argument = std::string_view(arguments[i]).substr(0, 128 - shown.size());
    shown += fmt::format("'{}' ", argument);
  }
  return fmt::format("unknown command '{}', with args beginning with: {}",
                     std::string_view(arguments[0]).substr(0, 128), shown);
}

std::string UnknownSubcommandText(const store::Arguments& arguments) {
  std::string container = Lower(arguments[0]);
  std::transform(container.begin(), container.end(), container.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return fmt::format("unknown subcommand '{}'. Try {} HELP.", std::string_view(arguments[1]).substr(0, 128),
                     container);
}

std::string WrongArityText(std::string_view name) {
  return fmt::format("wrong number of arguments for '{}' command", name);
}

KeySlot SlotOfArguments(const store::CommandSpec& spec, const store::Arguments& arguments) {
  const auto first = static_cast<size_t>(spec.first_key);
  if (spec.first_key > 0 && spec.last_key == spec.first_key && first < arguments.size()) {
    return {.any = true, .crosses = false, .slot = SlotOfKey(arguments[first])};
  }
  KeySlot result;
  for (const std::string_view key : store::KeysOf(spec, arguments)) {
    const uint16_t slot = SlotOfKey(key);
    if (result.any && slot != result.slot) result.crosses = true;
    if (!result.any) result.slot = slot;
    result.any = true;
  }
  return result;
}

}  // namespace tenure::resp
