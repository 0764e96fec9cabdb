#include "sim/linearizability.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace tenure::sim {
namespace {

using Value = std::optional<std::string>;

std::vector<Operation> WithoutIrrelevant(std::vector<Operation> history) {
  std::set<Value> read;  // or relied on
  for (const Operation& op : history) {
    if (op.kind == Operation::Kind::kRead && op.returned) read.insert(op.value);
    if (op.expected) read.insert(*op.expected);
  }
  std::erase_if(history, [&read](const Operation& op) {
    if (op.returned) return false;
    return op.kind == Operation::Kind::kRead || !read.contains(op.value);
  });
  // The order of equal calls does not matter: they are candidates together.
  std::sort(history.begin(), history.end(),
            [](const Operation& a, const Operation& b) { return a.called < b.called; });
  return history;
}

std::string Show(const Operation& op) {
  const auto text = [](const Value& value) { return value ? *value : std::string("(absent)"); };
  return fmt::format("{} {} {}{} [{} .. {}]", op.by, op.kind == Operation::Kind::kRead ? "read" : "wrote",
                     text(op.value), op.expected ? " over " + text(*op.expected) : "",
                     op.called.time_since_epoch().count(),
                     op.returned ? fmt::format("{}", op.returned->time_since_epoch().count()) : "?");
}

class Search {
 public:
  Search(std::vector<Operation> history, uint64_t max_steps)
      : ops_(std::move(history)), max_steps_(max_steps), taken_((ops_.size() + 63) / 64, 0) {
    for (const Operation& op : ops_) required_ += op.returned ? 1 : 0;
  }

  CheckResult Run() {
    CheckResult result;
    const bool found = Place(Value(), 0, 0, Instant::min());
    result.steps = steps_;
    if (found) return result;
    if (steps_ >= max_steps_) {
      result.verdict = Verdict::kUndecided;
      return result;
    }
    result.verdict = Verdict::kViolation;
    result.explanation = fmt::format("after {} of {} operations none of these fits:", best_taken_, required_);
    for (const size_t i : best_candidates_) result.explanation += "\n    " + Show(ops_[i]);
    return result;
  }

 private:
  bool Taken(size_t i) const { return (taken_[i / 64] >> (i % 64)) & 1; }
  void Flip(size_t i) { taken_[i / 64] ^= uint64_t{1} << (i % 64); }

  // `first`: every operation before it is taken. `done`: taken operations that had an answer. `now`: those
  // that are taken were not all called before it.
  bool Place(const Value& value, size_t first, size_t done, Instant now) {
    if (done == required_) return true;
    if (++steps_ >= max_steps_) return false;
    if (!seen_.emplace(taken_, value).second) return false;
    while (first < ops_.size() && Taken(first)) ++first;
    const std::vector<size_t> candidates = Candidates(first);
    if (done >= best_taken_) {
      best_taken_ = done;
      best_candidates_ = candidates;
    }
    for (const size_t i : candidates) {
      const Operation& op = ops_[i];
      if (op.kind == Operation::Kind::kRead && op.value != value) continue;
      if (op.expected && *op.expected != value) continue;
      if (op.latest && *op.latest < now) continue;
      Flip(i);
      const bool is_write = op.kind == Operation::Kind::kWrite;
      if (Place(is_write ? op.value : value, first, done + (op.returned ? 1 : 0), std::max(now, op.called)))
        return true;
      Flip(i);
      if (steps_ >= max_steps_) return false;
    }
    return false;
  }

  // Operations that may come next: called before the earliest return among those not taken.
  std::vector<size_t> Candidates(size_t first) const {
    Instant earliest_return = kFarFuture;
    std::vector<size_t> candidates;
    for (size_t i = first; i < ops_.size(); ++i) {
      if (ops_[i].called > earliest_return) break;  // sorted by call
      if (Taken(i)) continue;
      candidates.push_back(i);
      if (ops_[i].returned) earliest_return = std::min(earliest_return, *ops_[i].returned);
    }
    std::erase_if(candidates, [this, earliest_return](size_t i) { return ops_[i].called > earliest_return; });
    return candidates;
  }

  const std::vector<Operation> ops_;
  const uint64_t max_steps_;
  std::vector<uint64_t> taken_;
  std::set<std::pair<std::vector<uint64_t>, Value>> seen_;
  size_t required_ = 0;
  uint64_t steps_ = 0;
  size_t best_taken_ = 0;
  std::vector<size_t> best_candidates_;
};

}  // namespace

CheckResult CheckRegister(std::vector<Operation> history, uint64_t max_steps) {
  return Search(WithoutIrrelevant(std::move(history)), max_steps).Run();
}

}  // namespace tenure::sim
