// What one connection has chosen or is: the part of a session that commands like HELLO, SELECT and CLIENT
// read and change. Owned by Session.
//
// Threading: the node's executor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/time.h"

namespace tenure::resp {

struct ClientState {
  uint64_t id = 0;
  std::string peer;   // host:port
  std::string local;  // host:port
  Instant connected_at;
  Instant active_at;

  int protocol = 2;
  std::string database_name = "default";
  std::optional<DatabaseId> database;  // looked up when first needed: it may be created after the connection
  bool readonly = false;               // READONLY: followers may serve reads

  std::string name;
  std::string library_name;
  std::string library_version;
  bool no_evict = false;  // told to CLIENT LIST; nobody is exempt

  bool reply_off = false;  // CLIENT REPLY OFF
  bool skip_next = false;  // CLIENT REPLY SKIP, until the next command has begun
  bool quit = false;       // close after this command's reply

  std::string_view last_command = "NULL";  // points into a command table
};

}  // namespace tenure::resp
