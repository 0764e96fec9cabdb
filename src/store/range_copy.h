// A part of a region's keys on the way to another region: read from a state that does not change any more,
// and put into the other region's state by its log.
//
// What travels are the `k` and `h` pairs as they lie in the state (docs/store-format.md), with expiry and
// version; the expiry index and the counters are made where they arrive.
//
// Threading: one owner; the state must outlive a RegionExport.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kv/kv.h"
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
  std::unique_ptr<kv::Iterator> records_;
  std::unique_ptr<kv::Iterator> fields_;
  uint64_t pairs_ = 0;
  uint64_t keys_ = 0;
  uint64_t hash_ = 0;
};

// A command of kind kRange, applied. A refusal is an error reply and changes nothing.
Reply ApplyRangeCommand(const RangeCommand& command, RegionRange& range, kv::View& state);

}  // namespace tenure::store
