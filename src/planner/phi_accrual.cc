#include "planner/phi_accrual.h"

#include <algorithm>
#include <cmath>

namespace tenure::planner {
namespace {

double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

void ArrivalHistory::Add(Instant now, const PhiOptions& options) {
  if (last_ != Instant()) {
    const Duration interval = now - last_;
    if (interval < options.expected / 2) return;
    // A node that was away comes back with one long interval, which says nothing of its rhythm.
    if (interval <= options.ceiling) intervals_.push_back(Seconds(interval));
    if (intervals_.size() > options.window) intervals_.pop_front();
  }
  last_ = now;
}

double ArrivalHistory::Phi(Duration silence, const PhiOptions& options) const {
  // Two intervals that deviate by a quarter are believed before the first is seen.
  const double expected = Seconds(options.expected);
  double sum = 2 * expected;
  double squares = expected * expected * (0.75 * 0.75 + 1.25 * 1.25);
  for (const double interval : intervals_) {
    sum += interval;
    squares += interval * interval;
  }
  const double count = static_cast<double>(intervals_.size()) + 2;
  const double mean = sum / count;
  const double variance = std::max(0.0, squares / count - mean * mean);
  const double deviation = std::max(std::sqrt(variance), Seconds(options.min_deviation));
  const double later = 0.5 * std::erfc((Seconds(silence) - mean) / (deviation * std::sqrt(2.0)));
  return later <= 0 ? 300 : -std::log10(later);
}

bool ArrivalHistory::IsSuspicious(Duration silence, const PhiOptions& options) const {
  if (silence < options.floor) return false;
  return silence >= options.ceiling || Phi(silence, options) >= options.threshold;
}

}  // namespace tenure::planner
