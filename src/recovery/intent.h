// What a recovery writes into a data directory's identity: before it changes the log as an intent, afterwards
// as a line of history. One decision, taken by one append to one log, so a crash leaves the state before or
// the state after it:
//
//   identity.pending = intent  ->  one append to the log (the decision)  ->  incarnation, history; pending
//   empty
//
// Whoever opens the directory next (`tenured`, `tenure recover`) looks whether the log holds the entry that
// the intent names: then the rest is done, else the intent is dropped. The entry cannot be mistaken: its term
// is higher than any that the survivors' logs had known.
//
// Threading: Resolve blocks on the disk; the others are pure.
// Errors:    DATA_LOSS: an intent or a line of history that cannot be read, naming the field.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "raft/types.h"
#include "wal/data_directory.h"

namespace tenure::recovery {

struct Intent {
  uint64_t incarnation = 0;  // from then on
  std::string digest;        // of the plan
  int64_t at_ms = 0;
  ControllerId controller;  // whose log goes on, alone
  Term term;                // of the entry that carries the decision
  LogIndex index;
  std::vector<uint64_t> voters;   // before
  std::vector<uint64_t> carried;  // other survivors that come along as learners
  std::string by;                 // user@host
  friend bool operator==(const Intent&, const Intent&) = default;
};

// One line, "key=value" separated by spaces.
std::string EncodeIntent(const Intent& intent);
StatusOr<Intent> DecodeIntent(std::string_view line);
// One more line of history. Whoever writes one uses this: HistoryOf reads what stands between line ends.
void AddToHistory(wal::Identity& identity, std::string_view line);
// The recoveries that this directory went through, oldest first. Lines of others, such as of `tenure repair`, have no
// incarnation and are passed over.
StatusOr<std::vector<Intent>> HistoryOf(const wal::Identity& identity);
// `identity` after the recovery: its incarnation, one more line of history, nothing pending.
wal::Identity After(wal::Identity identity, const Intent& intent);

// Whether the log of group 0 (null: there is none) holds the decision.
bool IsDecided(const Intent& intent, const raft::PersistedState* catalog_group);
// What the identity stands for, given the log: without anything pending.
StatusOr<wal::Identity> Resolved(const wal::Identity& identity, const raft::PersistedState* catalog_group);
// The same, written to the directory if it differs. Before anything else is done with the directory.
Status Resolve(wal::DataDirectory& directory, const raft::PersistedState* catalog_group);

}  // namespace tenure::recovery
