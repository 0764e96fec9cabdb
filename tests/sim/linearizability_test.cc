#include "sim/linearizability.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/prng.h"

namespace tenure::sim {
namespace {

using Kind = Operation::Kind;

Instant At(int64_t t) {
  return Instant(Duration(t));
}

Operation Write(std::string value, int64_t called, std::optional<int64_t> returned) {
  return {Kind::kWrite, std::move(value), At(called),
          returned ? std::optional<Instant>(At(*returned)) : std::nullopt, "w"};
}
Operation Read(std::optional<std::string> value, int64_t called, int64_t returned) {
  return {Kind::kRead, std::move(value), At(called), At(returned), "r"};
}

// A write that needs a value to be there.
Operation Over(std::optional<std::string> expected, std::string value, int64_t called, int64_t returned) {
  Operation operation = Write(std::move(value), called, returned);
  operation.expected = std::move(expected);
  return operation;
}

// One without an answer that can have taken effect until `latest` only.
Operation Until(std::string value, int64_t called, int64_t latest) {
  Operation operation = Write(std::move(value), called, std::nullopt);
  operation.latest = At(latest);
  return operation;
}

Verdict Check(std::vector<Operation> history) {
  return CheckRegister(std::move(history), 1'000'000).verdict;
}

TEST(LinearizabilityTest, KnownGoodHistories) {
  EXPECT_EQ(Check({}), Verdict::kLinearizable);
  EXPECT_EQ(Check({Read(std::nullopt, 0, 1), Write("a", 2, 3), Read("a", 4, 5)}), Verdict::kLinearizable);
  // Overlapping: the read may see either side.
  EXPECT_EQ(Check({Write("a", 0, 10), Read(std::nullopt, 1, 2), Read("a", 3, 4)}), Verdict::kLinearizable);
  EXPECT_EQ(Check({Write("a", 0, 1), Over("a", "b", 2, 9), Over("b", "c", 2, 9)}), Verdict::kLinearizable);
  // A write without an answer takes effect late.
  EXPECT_EQ(Check({Write("a", 0, std::nullopt), Write("b", 1, 2), Read("b", 3, 4), Read("a", 5, 6)}),
            Verdict::kLinearizable);
}

TEST(LinearizabilityTest, KnownBadHistories) {
  // A stale read after the write was acknowledged.
  EXPECT_EQ(Check({Write("a", 0, 1), Read(std::nullopt, 2, 3)}), Verdict::kViolation);
  // A lost write.
  EXPECT_EQ(Check({Write("a", 0, 1), Write("b", 2, 3), Read("a", 4, 5)}), Verdict::kViolation);
  // Reads go back: new value, then the old one.
  EXPECT_EQ(Check({Write("a", 0, 1), Write("b", 2, 20), Read("b", 3, 4), Read("a", 5, 6)}),
            Verdict::kViolation);
  // A deleted value comes back.
  EXPECT_EQ(Check({Write("a", 0, 1), {Kind::kWrite, std::nullopt, At(2), At(3), "d"}, Read("a", 4, 5)}),
            Verdict::kViolation);
  // Two writes at once may take effect in either order, but in one: it is not read a, b, a.
  EXPECT_EQ(Check({Write("a", 0, 99), Write("b", 0, 99), Read("a", 1, 2), Read("b", 3, 4), Read("a", 5, 6)}),
            Verdict::kViolation);
  // A write without an answer takes effect once.
  EXPECT_EQ(Check({Write("a", 0, std::nullopt), Write("b", 3, 4), Read("a", 1, 2), Read("b", 5, 6),
                   Read("a", 7, 8)}),
            Verdict::kViolation);
  // A value nobody wrote.
  EXPECT_EQ(Check({Read("ghost", 0, 1)}), Verdict::kViolation);
  // Two conditional writes over the same value, both acknowledged.
  EXPECT_EQ(Check({Write("a", 0, 1), Over("a", "b", 2, 9), Over("a", "c", 2, 9)}), Verdict::kViolation);
  EXPECT_EQ(Check({Over(std::nullopt, "b", 2, 9), Over(std::nullopt, "c", 2, 9)}), Verdict::kViolation);
  // A failed write that two readers see come and go.
  EXPECT_EQ(Check({Write("a", 0, std::nullopt), Write("b", 1, 2), Read("a", 3, 4), Read("b", 5, 6)}),
            Verdict::kViolation);
}

TEST(LinearizabilityTest, WithoutAnAnswerUntilATime) {
  EXPECT_EQ(Check({Until("a", 0, 9), Write("b", 1, 2), Read("b", 3, 4), Read("a", 5, 6)}),
            Verdict::kLinearizable);
  EXPECT_EQ(Check({Until("a", 0, 2), Write("b", 1, 2), Read("b", 3, 4)}), Verdict::kLinearizable);
  // It takes effect after a time by which it must have.
  EXPECT_EQ(Check({Until("a", 0, 2), Write("b", 1, 2), Read("b", 3, 4), Read("a", 5, 6)}),
            Verdict::kViolation);
}

TEST(LinearizabilityTest, GivesUpAsUndecided) {
  std::vector<Operation> history;
  for (int i = 0; i < 20; ++i) history.push_back(Write(std::to_string(i), 0, 100));
  history.push_back(Read("never", 0, 100));
  EXPECT_EQ(CheckRegister(history, 1000).verdict, Verdict::kUndecided);
}

// Every order of the operations, tried one by one.
bool BruteForce(const std::vector<Operation>& history) {
  std::vector<size_t> order(history.size());
  std::iota(order.begin(), order.end(), 0);
  do {
    for (uint32_t skipped = 0; skipped < (1u << history.size()); ++skipped) {
      bool fits = true;
      std::optional<std::string> value;
      Instant now = At(-1);
      for (const size_t i : order) {
        const Operation& op = history[i];
        if ((skipped >> i) & 1) {
          if (op.returned) fits = false;  // only what has no answer may be left out
          continue;
        }
        now = std::max(now, op.called);
        if (op.returned && now > *op.returned) fits = false;
        if (op.latest && now > *op.latest) fits = false;
        if (op.kind == Kind::kRead && op.value != value) fits = false;
        if (op.expected && *op.expected != value) fits = false;
        if (op.kind == Kind::kWrite) value = op.value;
        if (!fits) break;
      }
      if (fits) return true;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

TEST(LinearizabilityTest, AgreesWithBruteForceOnSmallHistories) {
  Prng prng(7);
  int violations = 0;
  for (int round = 0; round < 1500; ++round) {
    std::vector<Operation> history;
    const auto count = static_cast<int>(prng.Between(1, 5));
    for (int i = 0; i < count; ++i) {
      const int64_t called = prng.Between(0, 8);
      std::optional<int64_t> returned = called + prng.Between(0, 5);
      std::optional<std::string> value;
      if (const auto pick = prng.Below(3); pick > 0) value = pick == 1 ? "a" : "b";
      const bool write = prng.Chance(1, 2);
      if (write && prng.Chance(1, 4)) returned.reset();
      history.push_back({write ? Kind::kWrite : Kind::kRead, value, At(called),
                         returned ? std::optional<Instant>(At(*returned)) : std::nullopt, "x"});
      if (const auto pick = prng.Below(12); write && pick < 3) {
        history.back().expected.emplace();
        if (pick > 0) *history.back().expected = pick == 1 ? "a" : "b";
      }
      if (!returned && prng.Chance(1, 2)) history.back().latest = At(called + prng.Between(0, 3));
    }
    const bool expected = BruteForce(history);
    violations += expected ? 0 : 1;
    ASSERT_EQ(Check(history) == Verdict::kLinearizable, expected) << "round " << round;
  }
  EXPECT_GT(violations, 200);
}

}  // namespace
}  // namespace tenure::sim
