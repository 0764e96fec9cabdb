#include "sim/scenario.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/format.h"

namespace tenure::sim {
namespace {

// Everything that a scenario says.
std::string Normal(const SimOptions& options) {
  return FormatScenario(options);
}

TEST(ScenarioTest, ASeedWrittenDownIsTheSameRun) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const SimOptions drawn = DrawOptions(seed);
    const auto parsed = ParseScenario(FormatScenario(drawn), "seed");
    ASSERT_TRUE(parsed.ok()) << "seed " << seed << ": " << MessageOf(parsed.status());
    ASSERT_EQ(Normal(*parsed), Normal(drawn)) << "seed " << seed;
    ASSERT_EQ(parsed->plan->size(), PlanOf(drawn).size());
  }
}

TEST(ScenarioTest, TheShippedOnesAreValid) {
  for (const char* name : {"leader-and-follower", "rolling-restart", "gray-network"}) {
    std::ifstream file(std::string(TENURE_SOURCE_DIR "/docs/scenarios/") + name + ".toml");
    std::stringstream text;
    text << file.rdbuf();
    const auto parsed = ParseScenario(text.str(), name);
    ASSERT_TRUE(parsed.ok()) << MessageOf(parsed.status());
    EXPECT_FALSE(parsed->plan->empty());
  }
}

struct BadCase {
  const char* text;
  const char* message;
};
class BadScenarioTest : public testing::TestWithParam<BadCase> {};

TEST_P(BadScenarioTest, NamesLineKeyAndLimit) {
  const auto parsed = ParseScenario(GetParam().text, "f");
  ASSERT_FALSE(parsed.ok());
  EXPECT_NE(MessageOf(parsed.status()).find(GetParam().message), std::string::npos)
      << MessageOf(parsed.status());
}

constexpr BadCase kBad[] = {
    {"seed =\n", "f line 1: "},
    {"sede = 1\n", "f line 1: sede is unknown"},
    {"seed = -1\n", "seed is -1, it may be 0 to "},
    {"[clutser]\nregions = 1\n", "clutser is unknown"},
    {"[cluster]\nregoins = 1\n", "f line 2: cluster.regoins is unknown; there are: processes"},
    {"[cluster]\nregions = 99\n", "f line 2: cluster.regions is 99, it may be 1 to 16"},
    {"[cluster]\nregions = \"2\"\n", "f line 2: cluster.regions is no whole number"},
    {"[cluster]\nsmall_log = 1\n", "f line 2: cluster.small_log is neither true nor false"},
    {"[cluster]\nprocesses = 4\n", "f line 2: cluster.processes is 4: controllers are an odd number"},
    {"[clock]\nmax_drift_ppm = 9000\n", "clock.max_drift_ppm is 9000, it may be 0 to 4500"},
    {"[network]\nmin_delay_us = 900\n", "network.min_delay_us is above max_delay_us"},
    {"fault = 1\n", "write [[fault]]"},
    {"[[fault]]\nat_ms = 1\n", "fault 1.kind is missing"},
    {"[[fault]]\nkind = \"meteor\"\n", "f line 2: fault 1.kind 'meteor' is unknown; kinds: crash "},
    {"[[fault]]\nkind = \"crash\"\nat_ms = 1\nmachine = 1\n", "fault 1.length_ms is missing"},
    {"[[fault]]\nkind = \"crash\"\nat_ms = 1\nmachine = 4\nlength_ms = 1\n",
     "f line 4: fault 1.machine is 4, it may be 1 to 3"},
    {"[[fault]]\nkind = \"crash\"\nat_ms = 99999\nmachine = 1\nlength_ms = 1\n",
     "fault 1.at_ms is 99999, it may be 0 to 40000"},
    {"[[fault]]\nkind = \"crash\"\nat_ms = 1\nmachine = \"all\"\nlength_ms = 1\n",
     "is no machine: 1 to 3 or \"leader\""},
    {"[[fault]]\nkind = \"one_way\"\nat_ms = 1\nmachine = 2\nother = 2\nlength_ms = 1\n",
     "a link has two ends"},
    {"[[fault]]\nkind = \"drift\"\nat_ms = 1\nmachine = 2\nppm = 5000\nlength_ms = 1\n",
     "fault 1.ppm is 5000, it may be -4500 to 4500"},
    {"[[fault]]\nkind = \"reset\"\nat_ms = 1\nmachine = 2\nother = 1\nlength_ms = 1\n",
     "fault 1.length_ms is nothing that a reset has"},
    {"[[fault]]\nkind = \"rot\"\nat_ms = 1\nmachine = 2\n[[fault]]\nkind = \"rot\"\nat_ms = 2\nmachine = 1\n",
     "rot: at most 1 a run"},
    {"[run]\nrecovery = true\n[cluster]\nprocesses = 5\n", "run.recovery needs 3 processes"},
};
INSTANTIATE_TEST_SUITE_P(Bad, BadScenarioTest, testing::ValuesIn(kBad));

// docs/testing.md shows the atlas: each kind with what it is and what bounds it.
TEST(AtlasTest, IsTheTableInTheDocumentation) {
  std::ifstream file(TENURE_SOURCE_DIR "/docs/testing.md");
  std::stringstream text;
  text << file.rdbuf();
  for (const FaultSpec& spec : Atlas()) {
    const std::string row = fmt::format("| `{}` | {} | {} |\n", spec.name, spec.what, spec.bound);
    EXPECT_NE(text.str().find(row), std::string::npos) << "missing: " << row;
  }
}

TEST(AtlasTest, PlansKeepTheBounds) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const SimOptions options = DrawOptions(seed);
    uint32_t rots = 0;
    for (const Fault& fault : PlanOf(options)) {
      const FaultSpec& spec = SpecOf(fault.kind);
      rots += fault.kind == FaultKind::kRot ? 1 : 0;
      ASSERT_LT(fault.at, options.fault_phase);
      ASSERT_LT(fault.machine, options.processes + options.spares + options.data_nodes);
      ASSERT_NE(fault.machine, fault.other);
      ASSERT_GE(fault.value, spec.min_value);
      ASSERT_LE(fault.value, spec.max_value);
      ASSERT_LE(fault.length, spec.lasts ? options.max_fault_length : Duration::zero());
    }
    ASSERT_LE(rots, options.spares > 0 ? 0 : kMaxRots);
  }
}

}  // namespace
}  // namespace tenure::sim
