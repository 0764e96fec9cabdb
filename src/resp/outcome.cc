#include "resp/outcome.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "resp/commands.h"
#include "resp/front_end.h"

namespace tenure::resp {

std::string ErrorText(const node::Moved& moved) {
  return fmt::format("MOVED {} {}", moved.slot, moved.resp_address);
}

std::string ErrorText(const node::Refused& refused) {
  using Kind = node::Refused::Kind;
  switch (refused.kind) {
    case Kind::kClusterDown:
      return fmt::format("CLUSTERDOWN {}", refused.message);
    case Kind::kTryAgain:
    case Kind::kOverloaded:
      return fmt::format("TRYAGAIN {}", refused.message);
    case Kind::kOutOfSpace:
      return fmt::format("MISCONF {}", refused.message);
    case Kind::kNoSuchDatabase:
      return fmt::format("ERR {}", refused.message);
  }
  return "ERR refused";
}

std::string ErrorText(const node::Unknown& unknown) {
  return fmt::format("UNKNOWN the outcome of this command is unknown, it may have been executed: {}",
                     unknown.message);
}

void WriteOutcome(const node::Outcome& outcome, ReplyWriter& reply) {
  if (const auto* result = std::get_if<store::Reply>(&outcome)) return reply.Write(*result);
  std::visit(
      [&reply](const auto& other) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(other)>, store::Reply>)
          reply.Error(ErrorText(other));
      },
      outcome);
}

std::optional<DatabaseId> CurrentDatabase(FrontEnd& front, ClientState& client) {
  if (!client.database || !front.service().HasDatabase(*client.database))
    client.database = front.service().FindDatabase(client.database_name);
  return client.database;
}

std::string NoDatabaseText(FrontEnd& front, const ClientState& client) {
  if (const auto reason = front.service().DownReason(DatabaseId{}))
    return fmt::format("CLUSTERDOWN {}", *reason);
  if (client.database_name == "default") {
    return "CLUSTERDOWN there is no database `default`: tenure db create default";
  }
  return fmt::format("ERR no such database '{}'", client.database_name);
}

std::string MovedElsewhere(FrontEnd& front, ClientState& client, uint16_t slot,
                           const store::Arguments& arguments) {
  const std::optional<DatabaseId> database = CurrentDatabase(front, client);
  if (!database) return NoDatabaseText(front, client);
  const auto moved = front.service().MovedElsewhere(*database, slot, arguments);
  return moved ? ErrorText(*moved) : std::string();
}

std::string ParseScan(const store::Arguments& arguments, ScanRequest& scan) {
  const std::string& cursor = arguments[1];
  const auto [end, error] = std::from_chars(cursor.data(), cursor.data() + cursor.size(), scan.cursor);
  if (cursor.empty() || error != std::errc() || end != cursor.data() + cursor.size())
    return "ERR invalid cursor";
  for (size_t i = 2; i < arguments.size(); i += 2) {
    if (i + 1 == arguments.size()) return "ERR syntax error";
    const std::string& value = arguments[i + 1];
    if (EqualsIgnoreCase(arguments[i], "count")) {
      int64_t count = 0;
      if (!ParseInteger(value, count)) return "ERR value is not an integer or out of range";
      if (count < 1) return "ERR syntax error";
      // One step may look at many keys but not hold up everybody else.
      scan.count = static_cast<size_t>(std::min<int64_t>(count, 10'000));
    } else if (EqualsIgnoreCase(arguments[i], "match")) {
      scan.match = value;
    } else if (EqualsIgnoreCase(arguments[i], "type")) {
      scan.type = Lower(value);
    } else {
      return "ERR syntax error";
    }
  }
  return {};
}

}  // namespace tenure::resp
