// How long a silence may last before it is suspicious, learned from the intervals between heartbeats: the phi
// accrual failure detector, bounded on both sides.
//
// phi(t) = -log10(probability that a heartbeat comes later than t after the last one), with intervals taken
// as normally distributed. A node whose heartbeats come like clockwork is suspected soon, one that is often
// late is given more time; never less than `floor`, never more than `ceiling`.
//
// Threading: values.
// Reference: Hayashibara, Defago, Yared, Katayama: The phi accrual failure detector, SRDS 2004.
#pragma once

#include <cstddef>
#include <deque>

#include "base/time.h"

namespace tenure::planner {

struct PhiOptions {
  double threshold = 8;  // suspected if the silence is less likely than 10^-threshold
  Duration floor = std::chrono::seconds(3);
  Duration ceiling = std::chrono::seconds(10);
  // Before anything is known: heartbeats about this far apart.
  Duration expected = std::chrono::seconds(1);
  Duration min_deviation = std::chrono::milliseconds(100);
  size_t window = 100;  // intervals remembered
};

class ArrivalHistory {
 public:
  // A heartbeat came. Those that follow the last counted one within half of the expected interval are news
  // and not the beat: they do not count.
  void Add(Instant now, const PhiOptions& options);
  // The observer stood still: the next interval says nothing.
  void Skip() { last_ = {}; }

  double Phi(Duration silence, const PhiOptions& options) const;
  // Cheap for the many nodes that are not silent: below the floor nothing is computed.
  bool IsSuspicious(Duration silence, const PhiOptions& options) const;
  size_t size() const { return intervals_.size(); }

 private:
  std::deque<double> intervals_;  // seconds
  Instant last_{};
};

}  // namespace tenure::planner
