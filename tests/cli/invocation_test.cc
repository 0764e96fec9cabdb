// What the command line takes for a number.
#include "cli/invocation.h"

#include <gtest/gtest.h>

namespace tenure::cli {
namespace {

class NumbersTest : public testing::Test {
 protected:
  NumbersTest() {
    CLI::App* command = app.add_subcommand("show", "");
    command->add_option("id", id);
    command->add_option("--signed", number);
    command->add_option("--ids", ids)->delimiter(',');
    command->add_option("--name", name);
    app.add_option("--timeout", seconds)->check(Positive());
    ReadWholeNumbersAsDecimals(app);
  }
  bool Takes(const std::string& line) {
    app.clear();
    try {
      app.parse(line);
      return true;
    } catch (const CLI::ParseError&) {
      return false;
    }
  }

  CLI::App app;
  uint64_t id = 0;
  int number = 0;
  std::vector<uint64_t> ids;
  std::string name;
  double seconds = 0;
};

TEST_F(NumbersTest, AreDecimal) {
  ASSERT_TRUE(Takes("show 010 --signed -09 --ids 08,12 --name 010"));
  EXPECT_EQ(id, 10u);
  EXPECT_EQ(number, -9);
  EXPECT_EQ(ids, (std::vector<uint64_t>{8, 12}));
  EXPECT_EQ(name, "010");
  ASSERT_TRUE(Takes("show 000"));
  EXPECT_EQ(id, 0u);
  for (const char* wrong : {"0x10", "1e3", "-", "1.5", "18446744073709551616"})
    EXPECT_FALSE(Takes(std::string("show ") + wrong)) << wrong;
}

TEST_F(NumbersTest, ATimeoutCanBeWaitedFor) {
  EXPECT_TRUE(Takes("--timeout 0.5"));
  EXPECT_TRUE(Takes("--timeout 1000000000"));
  for (const char* wrong : {"inf", "nan", "9.3e9", "0", "-1"})
    EXPECT_FALSE(Takes(std::string("--timeout ") + wrong)) << wrong;
}

}  // namespace
}  // namespace tenure::cli
