#include "catalog/state_moves.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

namespace tenure::catalog {
namespace {

using namespace ::tenure::v1;

// Written out a second time, so that a change of the table is a change of two places.
template <class State>
std::set<std::pair<std::string, std::string>> LegalMoves(int last) {
  std::set<std::pair<std::string, std::string>> moves;
  for (int from = 0; from <= last; ++from) {
    for (int to = 0; to <= last; ++to) {
      if (IsLegalMove(static_cast<State>(from), static_cast<State>(to))) {
        moves.emplace(NameOf(static_cast<State>(from)), NameOf(static_cast<State>(to)));
      }
    }
  }
  return moves;
}

using Moves = std::set<std::pair<std::string, std::string>>;

// The lines "| FROM | TO | ... |" of docs/catalog.md after `heading`.
Moves Documented(const std::string& heading) {
  std::ifstream file(std::string(TENURE_SOURCE_DIR) + "/docs/catalog.md");
  Moves moves;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) inside = line.ends_with(heading);
    if (!inside || !line.starts_with("| `")) continue;
    std::istringstream words(line);
    std::string bar;
    std::string from;
    std::string to;
    words >> bar >> from >> bar >> to;
    moves.emplace(from.substr(1, from.size() - 2), to.substr(1, to.size() - 2));
  }
  return moves;
}

TEST(StateMoves, Nodes) {
  const Moves expected = {{"JOINING", "UP"},        {"JOINING", "DOWN"},    {"JOINING", "REMOVING"},
                          {"UP", "SUSPECT"},        {"UP", "DOWN"},         {"UP", "DRAINING"},
                          {"SUSPECT", "UP"},        {"SUSPECT", "DOWN"},    {"SUSPECT", "DRAINING"},
                          {"DOWN", "UP"},           {"DOWN", "REMOVING"},   {"DRAINING", "UP"},
                          {"DRAINING", "REMOVING"}, {"REMOVING", "REMOVED"}};
  EXPECT_EQ(LegalMoves<NodeState>(NodeState_MAX), expected);
  EXPECT_EQ(Documented("Node states"), expected);
}

TEST(StateMoves, Databases) {
  const Moves expected = {{"CREATING", "PUBLIC"}, {"CREATING", "PRE_DELETE"}, {"PUBLIC", "PRE_DELETE"}};
  EXPECT_EQ(LegalMoves<DatabaseState>(DatabaseState_MAX), expected);
  EXPECT_EQ(Documented("Database states"), expected);
}

TEST(StateMoves, Regions) {
  const Moves expected = {{"CREATING", "SERVING"}, {"CREATING", "REMOVING"}, {"SERVING", "DEGRADED"},
                          {"SERVING", "REMOVING"}, {"DEGRADED", "SERVING"},  {"DEGRADED", "REMOVING"}};
  EXPECT_EQ(LegalMoves<RegionState>(RegionState_MAX), expected);
  EXPECT_EQ(Documented("Region states"), expected);
}

TEST(StateMoves, TablesAndViews) {
  const Moves expected = {{"CREATING", "PUBLIC"},
                          {"PUBLIC", "ALTERING"},
                          {"ALTERING", "PUBLIC"},
                          {"PUBLIC", "PRE_DELETE"},
                          {"PRE_DELETE", "PUBLIC"}};
  EXPECT_EQ(LegalMoves<TableState>(TableState_MAX), expected);
  EXPECT_EQ(Documented("Table and view states"), expected);
}

TEST(StateMoves, Changefeeds) {
  Moves expected = {{"NORMAL", "WARNING"},  {"WARNING", "NORMAL"},  {"PAUSED", "FAILED"},
                    {"PAUSED", "NORMAL"},   {"FAILED", "NORMAL"},   {"FAILED", "PAUSED"},
                    {"NORMAL", "FINISHED"}, {"WARNING", "FINISHED"}};
  for (const char* from : {"NORMAL", "WARNING"}) {
    expected.emplace(from, "PAUSED");
    expected.emplace(from, "FAILED");
  }
  for (const char* from : {"NORMAL", "WARNING", "PAUSED", "FAILED", "FINISHED"})
    expected.emplace(from, "REMOVING");
  EXPECT_EQ(LegalMoves<ChangefeedState>(ChangefeedState_MAX), expected);
  EXPECT_EQ(Documented("Changefeed states"), expected);
}

TEST(StateMoves, NamesArePlain) {
  EXPECT_EQ(NameOf(NODE_UP), "UP");
  EXPECT_EQ(NameOf(DATABASE_PRE_DELETE), "PRE_DELETE");
  EXPECT_EQ(NameOf(REGION_SERVING), "SERVING");
  EXPECT_EQ(NameOf(static_cast<NodeState>(99)), "UNKNOWN");
}

}  // namespace
}  // namespace tenure::catalog
