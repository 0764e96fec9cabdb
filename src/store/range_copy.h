// A part of a region's keys on the way to another region: read from a state that does not change any more,
// and put into the other region's state by its log.
//
// What travels are the `k`, `h` and `t` pairs as they lie in the state (docs/store-format.md), with expiry
// and version; expiry indexes and counters are made where they arrive. Rows count as keys. Those of a table
// that is dropped where they arrive are not kept: their source will be told of the drop, or was.
//
// Threading: one owner; the state must outlive a RegionExport.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kv/kv.h"
#include "store/change_log.h"
#include "store/region_range.h"
#include "store/reply.h"

namespace tenure::store {

class RegionExport {
 public:
  RegionExport(const kv::Reader& state, SlotRange slots);

  // The next pairs in order, at least one and up to about `bytes`; none: that was all.
  std::vector<RangeCommand::Pair> Next(size_t bytes);
  // Of what Next has given so far.
  uint64_t pairs() const { return pairs_; }
  uint64_t keys() const { return keys_; }
  uint64_t hash() const { return hash_; }

 private:
  kv::Iterator* Current();  // null: that was all

  std::unique_ptr<kv::Iterator> records_;
  std::unique_ptr<kv::Iterator> fields_;
  std::vector<std::unique_ptr<kv::Iterator>> rows_;  // of each table that has some
  uint64_t pairs_ = 0;
  uint64_t keys_ = 0;
  uint64_t hash_ = 0;
};

// A command of kind kRange, applied. A refusal is an error reply and changes nothing.
Reply ApplyRangeCommand(const RangeCommand& command, RegionRange& range, ChangeWriter& changes,
                        kv::View& state);

}  // namespace tenure::store
