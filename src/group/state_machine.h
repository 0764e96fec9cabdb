// What a group replicates: the catalog (controller/) or a region (node/) behind one interface.
//
// Driven by group::Group on its executor. The state lives in kv under the group's prefix; the group writes
// the applied index in the same batch, so a restart continues exactly where the state stands.
//
// Determinism: Apply and FinishBatch depend on the state and the commands alone, and must come to the same
//              state whatever the division into batches (FinishBatch may only write what a later batch would
//              overwrite or what is a function of the state).
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "kv/kv.h"

namespace tenure::group {

struct ApplyContext {
  LogIndex index;
  Term term;
};

class StateMachine {
 public:
  virtual ~StateMachine() = default;

  // The state was replaced as a whole: at start (`applied` is where it stands, zero for an empty one) and
  // after the installation of a snapshot. Loads caches. `state` is valid until the next call of Reset.
  virtual void Reset(const kv::Reader& state, LogIndex applied) = 0;
  // For what can be decoded, or fetched from the state, many at a time. True if these commands were prepared:
  // Apply is then called with all of them next, in this order.
  virtual bool Prepare(std::span<const std::string_view> commands, const kv::Reader& state) {
    (void)commands, (void)state;
    return false;
  }
  // Applies one committed command; returns the answer for its proposer. A refusal is an answer.
  virtual std::string Apply(const ApplyContext& context, std::string_view command, kv::View& state) = 0;
  // Once after the last command of a batch, before it is written.
  virtual void FinishBatch(kv::View& state) { (void)state; }
  // The batch is in the engine and visible to readers; proposers are answered after this.
  virtual void OnBatchWritten(LogIndex applied) { (void)applied; }
};

}  // namespace tenure::group
