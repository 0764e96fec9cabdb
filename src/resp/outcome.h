// How the node's outcomes and the front end's own refusals read on the wire (docs/resp.md, "errors").
//
// Threading: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "node/data_service.h"
#include "resp/client_state.h"
#include "resp/reply_writer.h"
#include "store/command_table.h"

namespace tenure::resp {

class FrontEnd;

inline constexpr std::string_view kCrossSlot = "CROSSSLOT Keys in request don't hash to the same slot";

void WriteOutcome(const node::Outcome& outcome, ReplyWriter& reply);
// The text of everything but a reply, with its code.
std::string ErrorText(const node::Moved& moved);
std::string ErrorText(const node::Refused& refused);
std::string ErrorText(const node::Unknown& unknown);

// The selected database, looked up by name if that was not done yet, failed before, or gave one that was
// dropped since.
std::optional<DatabaseId> CurrentDatabase(FrontEnd& front, ClientState& client);
// Why there is none: "CLUSTERDOWN ..." or "ERR no such database ...".
std::string NoDatabaseText(FrontEnd& front, const ClientState& client);
// "MOVED ..." if another node is known to lead where the keys of the command lie; empty otherwise. `slot` is
// what the client knows for them.
std::string MovedElsewhere(FrontEnd& front, ClientState& client, uint16_t slot,
                           const store::Arguments& arguments);

struct ScanRequest {
  uint64_t cursor = 0;
  size_t count = 10;
  std::optional<std::string> match;
  std::optional<std::string> type;
};
// The error's text, or empty.
std::string ParseScan(const store::Arguments& arguments, ScanRequest& scan);

}  // namespace tenure::resp
