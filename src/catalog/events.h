// What commands changed, for watchers and for the parts of a controller that follow records. Both lists are in
// the order of the log; a command changes records or an entry, so their revisions tell how they interleave.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tenure/v1/catalog.pb.h"

namespace tenure::catalog {

// Of an entry. Encoded at once, for there is one with every put, and only watchers want it.
struct EntryEvent {
  uint64_t revision = 0;
  uint32_t key_begin = 0;  // in `message`
  uint32_t key_bytes = 0;
  std::string message;  // a tenure.v1.WatchResponse with the event alone
  std::string_view key() const { return std::string_view(message).substr(key_begin, key_bytes); }
};

struct Events {
  std::vector<::tenure::v1::Event> records;
  std::vector<EntryEvent> entries;
  bool empty() const { return records.empty() && entries.empty(); }
  size_t size() const { return records.size() + entries.size(); }
};

}  // namespace tenure::catalog
