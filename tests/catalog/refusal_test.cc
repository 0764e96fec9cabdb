#include "catalog/refusal.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace tenure::catalog {
namespace {

using namespace ::tenure::v1;

TEST(Refusal, EveryReasonHasARule) {
  std::set<int> seen;
  for (const ReasonRule& rule : ReasonTable()) {
    EXPECT_TRUE(seen.insert(rule.reason).second);
    EXPECT_EQ("REASON_" + std::string(rule.name), Reason_Name(rule.reason));
    EXPECT_EQ(&RuleOf(rule.reason), &rule);
    EXPECT_NE(rule.code, StatusCode::kOk);
  }
  for (int i = 1; i <= Reason_MAX; ++i) {
    if (Reason_IsValid(i)) EXPECT_TRUE(seen.contains(i)) << Reason_Name(static_cast<Reason>(i));
  }
  EXPECT_EQ(RuleOf(static_cast<Reason>(1000)).code, StatusCode::kInternal);
  EXPECT_FALSE(RuleOf(REASON_UNSPECIFIED).retryable);
}

TEST(Refusal, TheTableIsTheOneInTheDocs) {
  std::ifstream file(std::string(TENURE_SOURCE_DIR) + "/docs/errors.md");
  std::map<std::string, std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `")) continue;
    std::vector<std::string> cells;
    std::istringstream cell_stream(line.substr(1));
    for (std::string cell; std::getline(cell_stream, cell, '|');) {
      const size_t first = cell.find_first_not_of(" `");
      cells.push_back(
          first == std::string::npos ? "" : cell.substr(first, cell.find_last_not_of(" `") - first + 1));
    }
    rows[cells[0]] = cells;
  }
  for (const ReasonRule& rule : ReasonTable()) {
    ASSERT_TRUE(rows.contains(std::string(rule.name))) << rule.name;
    const auto& cells = rows[std::string(rule.name)];
    ASSERT_GE(cells.size(), 5u);
    EXPECT_EQ(cells[1], absl::StatusCodeToString(rule.code)) << rule.name;
    EXPECT_EQ(cells[2], rule.retryable ? "yes" : "no") << rule.name;
    EXPECT_EQ(cells[3], std::to_string(ToMillis(rule.retry_after))) << rule.name;
    EXPECT_EQ(cells[4], rule.effect == Effect::kNone ? "refused" : "unknown") << rule.name;
  }
  EXPECT_EQ(rows.size(), ReasonTable().size());
}

TEST(Refusal, TravelsAsAPayload) {
  const Status status = Refuse(REASON_NOT_FOUND, "node {} does not exist", 7);
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(MessageOf(status), "node 7 does not exist");
  EXPECT_EQ(ReasonOf(status), REASON_NOT_FOUND);
  const auto refusal = RefusalOf(status);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->message(), "node 7 does not exist");
  EXPECT_FALSE(refusal->retryable());
  EXPECT_FALSE(RefusalOf(OkStatus()));
  EXPECT_FALSE(RefusalOf(absl::UnavailableError("x")));
  EXPECT_EQ(ReasonOf(absl::UnavailableError("x")), REASON_UNSPECIFIED);
}

TEST(Refusal, NotLeaderNamesTheLeader) {
  const auto known = RefusalOf(NotLeaderRefusal(2, "h:1"));
  EXPECT_EQ(known->not_leader().leader_address(), "h:1");
  EXPECT_TRUE(known->retryable());
  const auto unknown = RefusalOf(NotLeaderRefusal(0, ""));
  EXPECT_EQ(unknown->not_leader().leader_id(), 0u);
  EXPECT_EQ(unknown->message(), "this controller does not lead; no leader is known");
}

TEST(Refusal, WarmingUpSaysWhomItWaitsFor) {
  WarmingUp details;
  details.set_epoch(4);
  details.set_reason("raft");
  EXPECT_EQ(RefusalOf(WarmingUpRefusal(details))->message(), "the leader of epoch 4 is starting (raft)");
  details.set_reason("load");
  details.add_missing("node 1");
  details.add_missing("node 2");
  details.set_remaining_ms(700);
  EXPECT_EQ(RefusalOf(WarmingUpRefusal(details))->message(),
            "the leader of epoch 4 is starting (load): waits for node 1, node 2, at most 700 ms more");
  for (int i = 3; i <= 100; ++i) details.add_missing("node " + std::to_string(i));
  const auto refusal = RefusalOf(WarmingUpRefusal(details));
  EXPECT_EQ(
      refusal->message(),
      "the leader of epoch 4 is starting (load): waits for node 1, node 2, node 3, node 4, node 5 and 95 "
      "more, at most 700 ms more");
  EXPECT_EQ(refusal->warming_up().missing_size(), 100);
}

TEST(Refusal, AnyErrorBecomesOne) {
  EXPECT_EQ(ToRefusal(Refuse(REASON_BUSY, "b")).reason(), REASON_BUSY);
  EXPECT_EQ(ToRefusal(absl::UnavailableError("gone")).reason(), REASON_UNAVAILABLE);
  EXPECT_TRUE(ToRefusal(absl::DeadlineExceededError("late")).retryable());
  EXPECT_EQ(ToRefusal(absl::InternalError("oops")).reason(), REASON_UNSPECIFIED);
  EXPECT_EQ(ToRefusal(absl::InternalError("oops")).message(), "oops");
}

}  // namespace
}  // namespace tenure::catalog
