// CLIENT ...
#include <fmt/format.h>

#include <set>

#include "resp/front_end.h"
#include "resp/handlers.h"
#include "resp/session.h"

namespace tenure::resp {
namespace {

bool IsOn(const std::string& text, bool& on) {
  on = EqualsIgnoreCase(text, "on");
  return on || EqualsIgnoreCase(text, "off");
}

struct KillFilter {
  std::optional<uint64_t> id;
  std::string addr;
  std::string laddr;
  bool skip_self = true;
  bool nobody = false;  // a filter that matches none of our clients

  bool Matches(const ClientState& client, uint64_t self) const {
    if (nobody || (skip_self && client.id == self)) return false;
    return (!id || *id == client.id) && (addr.empty() || addr == client.peer) &&
           (laddr.empty() || laddr == client.local);
  }
};

// The error's text, or empty.
std::string ParseKill(CommandContext& c, KillFilter& filter) {
  for (size_t i = 2; i < c.size(); i += 2) {
    if (i + 1 == c.size()) return "ERR syntax error";
    const std::string& value = c[i + 1];
    int64_t id = 0;
    if (EqualsIgnoreCase(c[i], "id")) {
      if (!ParseInteger(value, id) || id < 1) return "ERR client-id should be greater than 0";
      filter.id = static_cast<uint64_t>(id);
    } else if (EqualsIgnoreCase(c[i], "addr")) {
      filter.addr = value;
    } else if (EqualsIgnoreCase(c[i], "laddr")) {
      filter.laddr = value;
    } else if (EqualsIgnoreCase(c[i], "type")) {
      filter.nobody = !EqualsIgnoreCase(value, "normal");
    } else if (EqualsIgnoreCase(c[i], "user")) {
      if (value != "default") return fmt::format("ERR No such user '{}'", value);
    } else if (EqualsIgnoreCase(c[i], "skipme")) {
      if (!EqualsIgnoreCase(value, "yes") && !EqualsIgnoreCase(value, "no")) return "ERR syntax error";
      filter.skip_self = EqualsIgnoreCase(value, "yes");
    } else {
      return "ERR syntax error";
    }
  }
  return {};
}

}  // namespace

void ClientId(CommandContext& c) {
  c.reply.Integer(static_cast<int64_t>(c.client.id));
}

void ClientGetName(CommandContext& c) {
  if (c.client.name.empty()) return c.reply.Null();
  c.reply.Bulk(c.client.name);
}

void ClientSetName(CommandContext& c) {
  if (const std::string error = CheckClientName("Client names", c[2]); !error.empty())
    return c.reply.Error(error);
  c.client.name = c[2];
  c.reply.Ok();
}

void ClientSetInfo(CommandContext& c) {
  const bool is_name = EqualsIgnoreCase(c[2], "lib-name");
  if (!is_name && !EqualsIgnoreCase(c[2], "lib-ver")) {
    return c.reply.Error(fmt::format("ERR Unrecognized option '{}'", c[2]));
  }
  if (const std::string error = CheckClientName(Lower(c[2]), c[3]); !error.empty())
    return c.reply.Error(error);
  (is_name ? c.client.library_name : c.client.library_version) = c[3];
  c.reply.Ok();
}

void ClientList(CommandContext& c) {
  std::set<uint64_t> ids;
  bool nobody = false;
  if (c.size() == 4 && EqualsIgnoreCase(c[2], "type")) {
    nobody = !EqualsIgnoreCase(c[3], "normal");
  } else if (c.size() >= 4 && EqualsIgnoreCase(c[2], "id")) {
    for (size_t i = 3; i < c.size(); ++i) {
      int64_t id = 0;
      if (!ParseInteger(c[i], id)) return c.reply.Error("ERR Invalid client ID");
      ids.insert(static_cast<uint64_t>(id));
    }
  } else if (c.size() != 2) {
    return c.reply.Error("ERR syntax error");
  }
  const Instant now = c.front.clock().Now();
  std::string text;
  for (const Session* session : c.front.Clients()) {
    if (nobody) break;
    if (!ids.empty() && !ids.contains(session->client().id)) continue;
    text += session->Describe(now);
    text += '\n';
  }
  c.reply.Verbatim(text);
}

void ClientInfo(CommandContext& c) {
  const Instant now = c.front.clock().Now();
  for (const Session* session : c.front.Clients()) {
    if (session->client().id == c.client.id) return c.reply.Verbatim(session->Describe(now) + "\n");
  }
  c.reply.Verbatim("");
}

void ClientKill(CommandContext& c) {
  KillFilter filter;
  const bool old_style = c.size() == 3;
  if (old_style) {
    filter.addr = c[2];
    filter.skip_self = false;
  } else if (const std::string error = ParseKill(c, filter); !error.empty()) {
    return c.reply.Error(error);
  }
  int64_t killed = 0;
  for (Session* session : c.front.Clients()) {
    if (!filter.Matches(session->client(), c.client.id)) continue;
    ++killed;
    if (session->client().id == c.client.id) {
      c.client.quit = true;  // after the reply
    } else {
      session->Abort();
    }
  }
  if (!old_style) return c.reply.Integer(killed);
  if (killed == 0) return c.reply.Error("ERR No such client");
  c.reply.Ok();
}

void ClientReply(CommandContext& c) {
  if (EqualsIgnoreCase(c[2], "on")) {
    c.client.reply_off = false;
    c.reply.Ok();
  } else if (EqualsIgnoreCase(c[2], "off")) {
    c.client.reply_off = true;
  } else if (EqualsIgnoreCase(c[2], "skip")) {
    c.client.skip_next = !c.client.reply_off;
  } else {
    c.reply.Error("ERR syntax error");
  }
}

void ClientNoEvict(CommandContext& c) {
  bool on = false;
  if (!IsOn(c[2], on)) return c.reply.Error("ERR syntax error");
  c.client.no_evict = on;
  c.reply.Ok();
}

void ClientNoTouch(CommandContext& c) {
  bool ignored = false;  // nothing here is evicted by age
  if (!IsOn(c[2], ignored)) return c.reply.Error("ERR syntax error");
  c.reply.Ok();
}

void ClientUnpause(CommandContext& c) {
  c.reply.Ok();
}

void ClientGetRedir(CommandContext& c) {
  c.reply.Integer(-1);
}

void ClientTracking(CommandContext& c) {
  if (EqualsIgnoreCase(c[2], "off")) return c.reply.Ok();
  c.reply.Error("ERR client-side caching is not supported");
}

void ClientPause(CommandContext& c) {
  c.reply.Error("ERR CLIENT PAUSE is not supported");
}

void ClientHelp(CommandContext& c) {
  constexpr std::string_view kLines[] = {
      "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
      "GETNAME",
      "    Return the name of the current connection.",
      "ID",
      "    Return the ID of the current connection.",
      "INFO",
      "    Return information about the current client connection.",
      "KILL <ip:port>",
      "    Kill connection made from <ip:port>.",
      "KILL <option> <value> [<option> <value> [...]]",
      "    Kill connections. Options are: ADDR LADDR TYPE USER SKIPME ID.",
      "LIST [TYPE NORMAL | ID <id> ...]",
      "    Return information about client connections.",
      "NO-EVICT (ON|OFF)",
      "    Accepted; no client is exempt from the memory limit of all clients.",
      "REPLY (ON|OFF|SKIP)",
      "    Control the replies sent to the current connection.",
      "SETINFO (LIB-NAME|LIB-VER) <value>",
      "    Assign client library information to the current connection.",
      "SETNAME <name>",
      "    Assign the name <name> to the current connection.",
      "UNPAUSE",
      "    Accepted; clients are never paused.",
      "HELP",
      "    Prints this help."};
  c.reply.Array(std::size(kLines));
  for (const std::string_view line : kLines) c.reply.Simple(line);
}

}  // namespace tenure::resp
