// The expiry a command asks for: SET's and GETEX's options, SETEX, the EXPIRE family.
//
// Threading: pure functions over the arguments; Keyspace for the time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "store/command_table.h"
#include "store/keyspace.h"
#include "store/reply.h"

namespace tenure::store {

struct ExpiryOption {
  enum class Kind : uint8_t {
    kNone,
    kKeep,     // KEEPTTL
    kPersist,  // PERSIST
    kIn,       // EX, PX: counted from the command's time
    kAt,       // EXAT, PXAT
  };
  Kind kind = Kind::kNone;
  bool seconds = false;
  size_t argument = 0;  // position of the number

  bool HasTime() const { return kind == Kind::kIn || kind == Kind::kAt; }
};

struct SetOptions {
  bool nx = false;
  bool xx = false;
  bool get = false;
  ExpiryOption expiry;
};

enum class OptionSet : uint8_t { kSet, kGetEx };

// Parses the options from arguments[first]; an error reply if they are wrong. Numbers are not looked at.
std::optional<Reply> ParseStringOptions(const Arguments& arguments, size_t first, OptionSet allowed,
                                        SetOptions& options);

// The number of an option that has a time, in ms, positive. An error reply if it is none.
std::optional<Reply> ParseExpiryAmount(const Arguments& arguments, const ExpiryOption& option, int64_t& ms);
// The same as a time since the epoch.
std::optional<Reply> ResolveExpiry(Keyspace& keys, const Arguments& arguments, const ExpiryOption& option,
                                   int64_t& at_ms);

// EXPIRE key number [NX|XX|GT|LT] and its kin.
struct ExpireConditions {
  bool nx = false;
  bool xx = false;
  bool gt = false;
  bool lt = false;
};
std::optional<Reply> ParseExpireConditions(const Arguments& arguments, ExpireConditions& conditions);

}  // namespace tenure::store
