// From a command's name to the function that executes it.
//
// Threading: pure functions over constant tables.
#pragma once

#include <optional>

#include "store/command_table.h"
#include "store/keyspace.h"
#include "store/reply.h"

namespace tenure::store {

// Exactly one of `read` and `write` is set.
struct Implementation {
  std::string_view name;
  Reply (*read)(Keyspace&, const Arguments&) = nullptr;
  Reply (*write)(Writer&, const Arguments&) = nullptr;
  std::optional<Reply> (*check)(const Arguments&) = nullptr;  // null: nothing to check without the state
};

// Of an element of AllCommands().
const Implementation& ImplementationOf(const CommandSpec& spec);

}  // namespace tenure::store
