#include "store/commands.h"

namespace tenure::store::commands {

// A key named twice counts twice. TOUCH is the same here: no access time is kept.
Reply Exists(Keyspace& keys, const Arguments& arguments) {
  int64_t found = 0;
  for (size_t at = 1; at < arguments.size(); ++at) {
    if (keys.Find(arguments[at]).exists) ++found;
  }
  return Reply::Integer(found);
}

Reply Type(Keyspace& keys, const Arguments& arguments) {
  const Entry entry = keys.Find(arguments[1]);
  return Reply::Simple(entry.exists ? std::string(NameOf(entry.header.type)) : "none");
}

Reply Del(Writer& keys, const Arguments& arguments) {
  int64_t removed = 0;
  for (size_t at = 1; at < arguments.size(); ++at) {
    Entry entry = keys.Open(arguments[at]);
    if (!entry.exists) continue;
    keys.Remove(entry);
    ++removed;
  }
  return Reply::Integer(removed);
}

}  // namespace tenure::store::commands
