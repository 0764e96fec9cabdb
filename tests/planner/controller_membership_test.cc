#include "planner/controller_membership.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/prng.h"
#include "catalog/controllers.h"

namespace tenure::planner {
namespace {

using namespace ::tenure::v1;
using std::chrono::seconds;
using Kind = MembershipStep::Kind;

struct World {
  std::map<uint64_t, Record> controllers;
  std::map<uint64_t, MemberEvidence> members;
  uint64_t self = 1;
  uint32_t target = 3;

  ControllerRecord& Add(uint64_t id, bool voter, const std::string& zone = "") {
    ControllerRecord& record = *controllers[id].mutable_controller();
    record.set_id(id);
    record.set_state(CONTROLLER_MEMBER);
    record.set_voter(voter);
    record.set_zone(zone);
    members[id] = {
        .voter = voter, .active = true, .caught_up = true, .silence = seconds(0), .match = 100 + id};
    return record;
  }
  static World Of(std::set<uint64_t> voters, std::set<uint64_t> learners) {
    World world;
    for (const uint64_t id : voters) world.Add(id, true);
    for (const uint64_t id : learners) world.Add(id, false);
    return world;
  }
  ControllerRecord& record(uint64_t id) { return *controllers.at(id).mutable_controller(); }
  void Silence(uint64_t id, Duration silence) {
    members.at(id).active = members.at(id).caught_up = false;
    members.at(id).silence = silence;
  }
  MembershipStep Plan() const {
    return PlanMembership(controllers, members, self, target, {.replace_after = seconds(30)});
  }
  // What a carried out step makes of the world.
  void Carry(const MembershipStep& step) {
    switch (step.kind) {
      case Kind::kNone:
        return;
      case Kind::kTransfer:
        self = step.controller;
        return;
      case Kind::kRole:
        record(step.controller).set_voter(step.voter);
        return;
      case Kind::kRemoved:
        record(step.controller).set_state(CONTROLLER_REMOVED);
        return;
      case Kind::kConfigure: {
        std::map<uint64_t, MemberEvidence> next;
        for (const auto& [id, voter] : step.members) {
          next[id] = members.contains(id) ? members.at(id) : MemberEvidence{};
          next[id].voter = voter;
        }
        members = std::move(next);
        return;
      }
    }
  }
};

using Members = std::map<uint64_t, bool>;

TEST(ControllerMembership, NothingToDo) {
  EXPECT_EQ(World::Of({1, 2, 3}, {}).Plan().kind, Kind::kNone);
  EXPECT_EQ(World::Of({1, 2, 3}, {4}).Plan().kind, Kind::kNone);  // a spare one
}

TEST(ControllerMembership, ANewControllerIsALearnerFirst) {
  World world = World::Of({1, 2, 3}, {});
  world.Add(4, false);
  world.members.erase(4);
  const MembershipStep step = world.Plan();
  EXPECT_EQ(step.kind, Kind::kConfigure);
  EXPECT_EQ(step.members, (Members{{1, true}, {2, true}, {3, true}, {4, false}}));
}

TEST(ControllerMembership, LearnersFillVacancies) {
  World world = World::Of({1, 2, 3}, {4, 5, 6});
  world.target = 5;
  EXPECT_EQ(world.Plan().members,
            (Members{{1, true}, {2, true}, {3, true}, {4, true}, {5, true}, {6, false}}));
  world.record(6).set_promote(true);
  EXPECT_EQ(world.Plan().members,
            (Members{{1, true}, {2, true}, {3, true}, {4, true}, {5, false}, {6, true}}));
  for (const uint64_t id : {4u, 5u, 6u}) world.members.at(id).caught_up = false;  // M3
  EXPECT_EQ(world.Plan().kind, Kind::kNone);
}

TEST(ControllerMembership, ASilentVoterIsReplacedAfterTheGraceTime) {
  World world = World::Of({1, 2, 3}, {4});
  world.Silence(3, seconds(29));
  EXPECT_EQ(world.Plan().kind, Kind::kNone);
  world.Silence(3, seconds(30));
  EXPECT_EQ(world.Plan().members, (Members{{1, true}, {2, true}, {3, false}, {4, true}}));
  world.members.erase(4);
  world.controllers.erase(4);
  EXPECT_EQ(world.Plan().kind, Kind::kNone);  // M2
}

TEST(ControllerMembership, ARemovedVoterStaysUntilItIsReplaced) {
  World world = World::Of({1, 2, 3}, {4});
  world.record(3).set_state(CONTROLLER_REMOVING);
  EXPECT_EQ(world.Plan().members, (Members{{1, true}, {2, true}, {4, true}}));
  world.members.at(4).caught_up = false;
  EXPECT_EQ(world.Plan().kind, Kind::kNone);
  EXPECT_NE(world.Plan().reason.find("waits for a learner"), std::string::npos);
  world.record(3).set_no_spare(true);
  EXPECT_EQ(world.Plan().members, (Members{{1, true}, {2, true}, {4, false}}));
}

TEST(ControllerMembership, TheLeaderHandsOverBeforeItGoes) {
  World world = World::Of({1, 2, 3}, {4});
  world.record(1).set_state(CONTROLLER_REMOVING);
  MembershipStep step = world.Plan();
  EXPECT_EQ(step.kind, Kind::kTransfer);
  EXPECT_EQ(step.controller, 3u);  // holds most
  world.Carry(step);
  step = world.Plan();
  EXPECT_EQ(step.members, (Members{{2, true}, {3, true}, {4, true}}));
  world.Carry(step);
  EXPECT_EQ(world.Plan().kind, Kind::kRemoved);
  EXPECT_EQ(world.Plan().controller, 1u);
}

TEST(ControllerMembership, TheOnlyVoterIsReplacedInOneStep) {
  World world = World::Of({1}, {2});
  world.target = 1;
  world.record(1).set_state(CONTROLLER_REMOVING);
  EXPECT_EQ(world.Plan().members, (Members{{2, true}}));
}

TEST(ControllerMembership, ALowerTargetSparesTheLeastWanted) {
  World world = World::Of({1, 2, 3, 4, 5}, {});
  EXPECT_EQ(world.Plan().members, (Members{{1, true}, {2, true}, {3, true}, {4, true}, {5, false}}));
  world.Silence(2, seconds(1));
  EXPECT_FALSE(world.Plan().members.at(2));
  world.record(4).set_state(CONTROLLER_REMOVING);
  EXPECT_FALSE(world.Plan().members.contains(4));
}

TEST(ControllerMembership, NoStepIntoAConfigurationWithoutAMajority) {
  World world = World::Of({1, 2, 3}, {});
  world.record(3).set_state(CONTROLLER_REMOVING);
  world.record(3).set_no_spare(true);
  world.Silence(2, seconds(1));
  EXPECT_EQ(world.Plan().kind, Kind::kNone);  // M4: of 1 and 2 only 1 is heard
  EXPECT_NE(world.Plan().reason.find("majority"), std::string::npos);
}

TEST(ControllerMembership, VotersSpreadOverZones) {
  World world;
  world.Add(1, true, "a");
  world.Add(2, true, "a");
  world.Add(3, true, "b");
  world.Add(4, false, "b");
  world.Add(5, false, "c");
  EXPECT_EQ(world.Plan().members, (Members{{1, true}, {2, false}, {3, true}, {4, false}, {5, true}}));
  world.target = 5;
  world.members.at(5).caught_up = false;
  EXPECT_TRUE(world.Plan().members.at(4));
}

TEST(ControllerMembership, RecordsFollowTheConfiguration) {
  World world = World::Of({1, 2, 3}, {4});
  world.members.at(4).voter = true;
  world.members.at(3).voter = false;
  EXPECT_EQ(world.Plan().kind, Kind::kRole);
  EXPECT_EQ(world.Plan().controller, 3u);
  EXPECT_FALSE(world.Plan().voter);
}

// M1-M4 over random worlds, and that planning comes to an end once everybody is up.
TEST(ControllerMembership, RandomWorlds) {
  Prng prng(1);
  for (int round = 0; round < 20000; ++round) {
    World world;
    world.target = prng.Chance(1, 2) ? 3 : 5;
    const uint64_t count = static_cast<uint64_t>(prng.Between(1, 8));
    for (uint64_t id = 1; id <= count; ++id) {
      world.Add(id, id == 1 || prng.Chance(1, 2), prng.Chance(1, 2) ? "" : prng.Chance(1, 2) ? "a" : "b");
      if (prng.Chance(1, 6)) world.record(id).set_state(CONTROLLER_REMOVING);
      if (id != 1 && prng.Chance(1, 4)) world.Silence(id, seconds(prng.Between(0, 60)));
      if (id != 1 && prng.Chance(1, 4)) world.members.at(id).caught_up = false;
      if (id != 1 && prng.Chance(1, 8)) world.members.erase(id);
    }
    for (int steps = 0;; ++steps) {
      ASSERT_LT(steps, 60) << "round " << round << ": " << world.Plan().reason;
      const MembershipStep step = world.Plan();
      if (step.kind == Kind::kNone) break;
      if (step.kind == Kind::kConfigure) {
        const auto voters = [](const auto& members, const auto& votes) {
          return std::count_if(members.begin(), members.end(), votes);
        };
        const auto before = voters(world.members, [](const auto& member) { return member.second.voter; });
        const auto after = voters(step.members, [](const auto& member) { return member.second; });
        const auto heard = voters(step.members, [&](const auto& member) {
          return member.second && world.members.contains(member.first) &&
                 world.members.at(member.first).active;
        });
        EXPECT_LE(after, std::max<int64_t>(before, world.target)) << "M1 " << step.reason;
        EXPECT_GE(after, std::min<int64_t>(before, world.target)) << "M2 " << step.reason;
        if (after != before || step.members.size() == world.members.size()) {
          for (const auto& [id, voter] : step.members) {
            if (!voter || world.members.at(id).voter) continue;
            EXPECT_TRUE(world.members.at(id).active && world.members.at(id).caught_up)
                << "M3 " << step.reason;
          }
        }
        const bool same = std::all_of(step.members.begin(), step.members.end(),
                                      [&](const auto& member) {
                                        return member.second == (world.members.contains(member.first) &&
                                                                 world.members.at(member.first).voter);
                                      }) &&
                          after == before;
        EXPECT_TRUE(same || 2 * heard > after) << "M4 " << step.reason;
      }
      world.Carry(step);
    }
  }
}

}  // namespace
}  // namespace tenure::planner
