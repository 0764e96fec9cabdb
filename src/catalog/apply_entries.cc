#include <fmt/format.h>

#include <utility>

#include "catalog/apply.h"
#include "catalog/entries.h"
#include "catalog/keys.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;

namespace {

std::string Printable(std::string_view key) {
  constexpr size_t kShown = 64;
  std::string out;
  for (const char c : key.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out.push_back(c);
    }
  }
  if (key.size() > kShown) out += fmt::format("... ({} bytes)", key.size());
  return out;
}

// The message is remembered for resends: it is put together only where something is refused.
[[maybe_unused]] CatalogResult RevisionDiffers(std::string_view key, uint64_t expected,
                                               const EntryHead* found) {
  if (found == nullptr) {
    return Refused(
        REASON_CONDITION_FAILED,
        fmt::format("entry '{}' does not exist; it was expected at revision {}", Printable(key), expected));
  }
  return Refused(REASON_CONDITION_FAILED,
                 fmt::format("entry '{}' is at revision {}; it was expected at {}", Printable(key),
                             found->modify_revision, expected),
                 found->modify_revision);
}

}  // namespace

CatalogResult PutEntry(commands::PutEntry& command, Change& change) {
  const std::string key = EntryKey(command.key());
  std::optional<std::string> stored = change.state.Get(key);
  EntryHead old;
  if (stored) old = DecodeEntry(*stored);
#ifndef TENURE_MUTANT_condition_ignored
  if (command.if_absent() && stored) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("entry '{}' exists at revision {}; it was expected to be absent",
                               Printable(command.key()), old.modify_revision),
                   old.modify_revision);
  }
  if (command.if_revision() != 0 && (!stored || old.modify_revision != command.if_revision())) {
    return RevisionDiffers(command.key(), command.if_revision(), stored ? &old : nullptr);
  }
#endif
  EntryHead head;
  head.create_revision = stored ? old.create_revision : change.revision.value();
  head.modify_revision = change.revision.value();
  head.version = old.version + 1;
  head.value = command.value();
  std::string encoded;
  EncodeEntry(head, encoded);
  change.state.Put(key, encoded);

  change.events.entries.push_back(
      MakeEntryEvent(change.revision, command.key(), stored ? &old : nullptr, &head));
  return Done(change);
}

CatalogResult DeleteEntry(commands::DeleteEntry& command, Change& change) {
  const std::string key = EntryKey(command.key());
  const std::optional<std::string> stored = change.state.Get(key);
  EntryHead old;
  if (stored) old = DecodeEntry(*stored);
#ifndef TENURE_MUTANT_condition_ignored
  if (command.if_revision() != 0 && (!stored || old.modify_revision != command.if_revision())) {
    return RevisionDiffers(command.key(), command.if_revision(), stored ? &old : nullptr);
  }
#endif
  if (!stored) return Done(change, false);
  change.state.Delete(key);
  change.events.entries.push_back(MakeEntryEvent(change.revision, command.key(), &old, nullptr));
  return Done(change);
}

}  // namespace tenure::catalog::apply
