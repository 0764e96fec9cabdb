// What a transaction would read and write, estimated before it goes into the log. Redis answers a GET of a large value
// or an APPEND to one by pointing at it; here each reads the value, and every replica executes what is in the
// log, again after a restart. A few megabytes of commands could keep a region busy for minutes, or fill the
// memory with what SETRANGE makes of them.
//
// Threading: a pure function of the command and the state.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "kv/kv.h"
#include "store/region_store.h"

namespace tenure::store {

inline constexpr uint64_t kMaxTransactionWork = 1 << 30;

// INVALID_ARGUMENT if the strings and rows that the commands name, each time they are named, are larger than
// the limit together. Fields of hashes count with what is written only; a transaction of a few commands is not
// looked at.
Status CheckTransactionWork(const WriteCommand& command, const kv::Reader& state);

}  // namespace tenure::store
