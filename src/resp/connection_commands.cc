// PING ECHO SELECT AUTH HELLO QUIT READONLY READWRITE ASKING.
#include <fmt/format.h>

#include "resp/front_end.h"
#include "resp/handlers.h"
#include "resp/outcome.h"

namespace tenure::resp {
namespace {

constexpr std::string_view kNoPassword =
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
    "configuration is correct?";
constexpr std::string_view kWrongPassword = "WRONGPASS invalid username-password pair or user is disabled.";

void WriteHello(CommandContext& c) {
  c.reply.Map(7);
  c.reply.Bulk("server");
  c.reply.Bulk("redis");
  c.reply.Bulk("version");
  c.reply.Bulk("7.0.15");
  c.reply.Bulk("proto");
  c.reply.Integer(c.client.protocol);
  c.reply.Bulk("id");
  c.reply.Integer(static_cast<int64_t>(c.client.id));
  c.reply.Bulk("mode");
  c.reply.Bulk("cluster");
  c.reply.Bulk("role");
  c.reply.Bulk("master");
  c.reply.Bulk("modules");
  c.reply.Array(0);
}

}  // namespace

void Ping(CommandContext& c) {
  if (c.size() > 2) return c.reply.Error("ERR wrong number of arguments for 'ping' command");
  if (c.size() == 2) return c.reply.Bulk(c[1]);
  c.reply.Simple("PONG");
}

void Echo(CommandContext& c) {
  c.reply.Bulk(c[1]);
}

void Select(CommandContext& c) {
  const std::string name = c[1] == "0" ? "default" : c[1];
  const std::optional<DatabaseId> database = c.front.service().FindDatabase(name);
  // `default` may be selected before it exists, as every connection does by itself.
  if (!database && name != "default") {
    int64_t number = 0;
    if (ParseInteger(name, number)) return c.reply.Error("ERR DB index is out of range");
    return c.reply.Error(fmt::format("ERR no such database '{}'", name));
  }
  c.client.database_name = name;
  c.client.database = database;
  c.reply.Ok();
}

void Auth(CommandContext& c) {
  if (c.size() > 3) return c.reply.Error("ERR syntax error");
  if (c.size() == 2) return c.reply.Error(kNoPassword);
  // As in Redis, the user `default` has no password and any will do.
  if (c[1] == "default") return c.reply.Ok();
  c.reply.Error(kWrongPassword);
}

void Hello(CommandContext& c) {
  int64_t version = c.client.protocol;
  size_t at = 1;
  if (c.size() > 1) {
    if (!ParseInteger(c[1], version))
      return c.reply.Error("ERR Protocol version is not an integer or out of range");
    if (version < 2 || version > 3) return c.reply.Error("NOPROTO unsupported protocol version");
    at = 2;
  }
  std::optional<std::string> name;
  while (at < c.size()) {
    const size_t left = c.size() - at - 1;
    if (EqualsIgnoreCase(c[at], "auth") && left >= 2) {
      if (c[at + 1] != "default") return c.reply.Error(kWrongPassword);
      at += 3;
    } else if (EqualsIgnoreCase(c[at], "setname") && left >= 1) {
      if (const std::string error = CheckClientName("Client names", c[at + 1]); !error.empty())
        return c.reply.Error(error);
      name = c[at + 1];
      at += 2;
    } else {
      return c.reply.Error(fmt::format("ERR Syntax error in HELLO option '{}'", c[at]));
    }
  }
  if (name) c.client.name = *name;
  c.client.protocol = static_cast<int>(version);
  c.reply.set_protocol(c.client.protocol);
  WriteHello(c);
}

void Quit(CommandContext& c) {
  c.client.quit = true;
  c.reply.Ok();
}

void ReadOnly(CommandContext& c) {
  c.client.readonly = true;
  c.reply.Ok();
}

void ReadWrite(CommandContext& c) {
  c.client.readonly = false;
  c.reply.Ok();
}

// Slots do not migrate key by key here, so there is never an -ASK to follow.
void Asking(CommandContext& c) {
  c.reply.Ok();
}

}  // namespace tenure::resp
