#include "changefeed/protocol/acceptance.h"

#include <gtest/gtest.h>

#include <limits>

namespace tenure::changefeed {
namespace {

const Process kOwner{NodeId(1), Incarnation(7)};
const Process kRestarted{NodeId(1), Incarnation(8)};
const Process kOther{NodeId(2), Incarnation(7)};

struct Case {
  Claim claim;
  Standing standing;
  std::string text;
};

// Everything that can differ: leadership below, equal, above and absent; epochs from 0 to 3 of claim, view
// and record; the record absent, open or closed; the same owner, its next process, another node; the format
// gate.
std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (uint64_t spoke = 0; spoke <= 3; ++spoke) {
    for (uint64_t epoch = 0; epoch <= 3; ++epoch) {
      for (uint64_t view = 0; view <= 3; ++view) {
        for (int held = -1; held <= 3; ++held) {
          for (const Process& owner : {kOwner, kRestarted, kOther}) {
            for (int bits = 0; bits < 4; ++bits) {
              const bool closed = (bits & 1) != 0;
              const bool gate = (bits & 2) != 0;
              if (held < 0 && closed) continue;
              Case c;
              c.claim = {LeadershipEpoch(spoke), OwnerEpoch(epoch), owner};
              c.standing = {
                  .leadership = LeadershipEpoch(2), .view = OwnerEpoch(view), .members_without_epochs = gate};
              if (held >= 0) {
                c.standing.held = Standing::Held{OwnerEpoch(static_cast<uint64_t>(held)), kOwner, closed};
              }
              c.text = fmt::format("leadership {} epoch {} of {}; view {}, held {}{}, gate {}", spoke, epoch,
                                   owner, view, held, closed ? " closed" : "", gate);
              cases.push_back(std::move(c));
            }
          }
        }
      }
    }
  }
  return cases;
}

uint64_t HeldEpoch(const Case& c) {
  return c.standing.held ? c.standing.held->epoch.value() : 0;
}

// The rules as sentences; each is looked at alone, over every combination.
TEST(Acceptance, EveryCombinationFollowsTheRules) {
  const auto cases = AllCases();
  ASSERT_EQ(cases.size(), 4u * 4 * 4 * 3 * (2 + 4 * 4));
  std::map<Acceptance, int> seen;
  for (const Case& c : cases) {
    const Decision d = ComputeAcceptance(c.claim, c.standing);
    seen[d.acceptance]++;
    const uint64_t epoch = c.claim.epoch.value();
    const uint64_t view = c.standing.view.value();
    const bool stale_leader = !c.claim.leadership.IsNone() && c.claim.leadership < c.standing.leadership;
    const bool gated = epoch == 0 && !c.standing.members_without_epochs;
    const bool is_held = c.standing.held.has_value();
    const bool equal = is_held && epoch == HeldEpoch(c);

    EXPECT_EQ(d.acceptance == Acceptance::kStaleLeadership, stale_leader) << c.text;
    if (stale_leader) continue;
    EXPECT_EQ(d.acceptance == Acceptance::kWithoutEpoch, gated) << c.text;
    if (gated) continue;
    // Lower than anything known is stale, and the answer says than what.
    const bool lower = epoch < view || epoch < HeldEpoch(c);
    EXPECT_EQ(d.acceptance == Acceptance::kStaleEpoch, lower) << c.text;
    if (lower) {
      EXPECT_GT(d.receiver_epoch.value(), epoch) << c.text;
      continue;
    }
    EXPECT_EQ(d.acceptance == Acceptance::kNotInView, epoch > view) << c.text;
    if (epoch > view) continue;
    // From here on the epoch is the view's. Higher than what is held: taken over, whoever comes.
    EXPECT_EQ(d.acceptance == Acceptance::kTakeOver, !equal) << c.text;
    EXPECT_EQ(d.receiver_epoch.value(), epoch) << c.text;
    if (!equal) continue;
    const bool same = c.claim.owner == kOwner;
    EXPECT_EQ(d.acceptance == Acceptance::kOtherOwner, !same) << c.text;
    EXPECT_EQ(d.acceptance == Acceptance::kClosed, same && c.standing.held->closed) << c.text;
    EXPECT_EQ(d.acceptance == Acceptance::kContinue, same && !c.standing.held->closed) << c.text;
  }
  for (const Acceptance a :
       {Acceptance::kTakeOver, Acceptance::kContinue, Acceptance::kStaleLeadership, Acceptance::kStaleEpoch,
        Acceptance::kOtherOwner, Acceptance::kClosed, Acceptance::kNotInView, Acceptance::kWithoutEpoch}) {
    EXPECT_GT(seen[a], 0) << NameOf(a);
  }
}

TEST(Acceptance, EveryCombinationOfClosing) {
  for (const Case& c : AllCases()) {
    const Decision d = ComputeCloseAcceptance(c.claim, c.standing);
    const uint64_t epoch = c.claim.epoch.value();
    const bool leader = !c.claim.leadership.IsNone();
    if (leader && c.claim.leadership < c.standing.leadership) {
      EXPECT_EQ(d.acceptance, Acceptance::kStaleLeadership) << c.text;
    } else if (epoch == 0 && !c.standing.members_without_epochs) {
      EXPECT_EQ(d.acceptance, Acceptance::kWithoutEpoch) << c.text;
    } else if (c.standing.held && epoch < HeldEpoch(c)) {
      EXPECT_EQ(d.acceptance, Acceptance::kStaleEpoch) << c.text;
      EXPECT_GT(d.receiver_epoch.value(), epoch) << c.text;
    } else if (c.standing.held && epoch == HeldEpoch(c)) {
      // The leader closes for a dead owner; a maintainer closes only its own epoch.
      EXPECT_EQ(d.accepted(), leader || c.claim.owner == kOwner) << c.text;
    } else {
      // Higher: whatever ran is closed, the view notwithstanding.
      EXPECT_EQ(d.acceptance, Acceptance::kTakeOver) << c.text;
    }
  }
}

TEST(Acceptance, EveryCombinationOfCreateAndRemove) {
  for (uint64_t epoch = 1; epoch <= 3; ++epoch) {
    for (uint64_t booted = 0; booted <= 3; ++booted) {
      for (uint64_t meant_for = 0; meant_for <= 2; ++meant_for) {
        for (uint64_t sequence = 1; sequence <= 3; ++sequence) {
          for (uint64_t taken = 0; taken <= 3; ++taken) {
            const Acceptance a = ComputeScheduleAcceptance(
                OwnerEpoch(epoch), Incarnation(meant_for), ScheduleSequence(sequence),
                {.self = Incarnation(1), .booted = OwnerEpoch(booted), .taken = ScheduleSequence(taken)});
            Acceptance expected = Acceptance::kContinue;
            if (sequence < taken) expected = Acceptance::kStaleSequence;
            if (sequence == taken) expected = Acceptance::kRepeated;
            if (meant_for != 1) expected = Acceptance::kOtherIncarnation;
            if (booted != epoch) expected = Acceptance::kNotBooted;
            EXPECT_EQ(a, expected) << epoch << booted << meant_for << sequence << taken;
          }
        }
      }
    }
  }
}

TEST(Acceptance, FinalRefusalsAreThoseThatDoNotChange) {
  EXPECT_TRUE(IsFinal(Acceptance::kStaleEpoch));
  EXPECT_TRUE(IsFinal(Acceptance::kClosed));
  EXPECT_TRUE(IsFinal(Acceptance::kWithoutEpoch));
  EXPECT_FALSE(IsFinal(Acceptance::kNotInView));
  EXPECT_FALSE(IsFinal(Acceptance::kFenced));
  EXPECT_FALSE(IsFinal(Acceptance::kTakeOver));
  EXPECT_FALSE(IsFinal(Acceptance::kRepeated));
}

TEST(NextOwnerEpoch, IsTheCandidateOrOneMoreAndNeverWraps) {
  const uint64_t most = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(NextOwnerEpoch(OwnerEpoch(9), OwnerEpoch(3))->value(), 9u);
  EXPECT_EQ(NextOwnerEpoch(OwnerEpoch(9), OwnerEpoch(9))->value(), 10u);
  EXPECT_EQ(NextOwnerEpoch(OwnerEpoch(1), OwnerEpoch(9))->value(), 10u);
  EXPECT_EQ(NextOwnerEpoch(OwnerEpoch(0), OwnerEpoch(0))->value(), 1u);
  EXPECT_EQ(NextOwnerEpoch(OwnerEpoch(most), OwnerEpoch(3))->value(), most);
  EXPECT_EQ(NextOwnerEpoch(OwnerEpoch(1), OwnerEpoch(most - 1))->value(), most);
  const auto over = NextOwnerEpoch(OwnerEpoch(1), OwnerEpoch(most));
  EXPECT_EQ(over.status().code(), StatusCode::kResourceExhausted);
  EXPECT_NE(MessageOf(over.status()).find("18446744073709551615"), std::string_view::npos);
}

}  // namespace
}  // namespace tenure::changefeed
