#include "cli/cluster_layout.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cli/session.h"

namespace tenure::cli {
namespace {

namespace fs = std::filesystem;

class ClusterLayoutTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::path(testing::TempDir()) /
                 fmt::format("layout-{}-{}", ::getpid(),
                             testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string directory() const { return directory_.string(); }

 private:
  fs::path directory_;
};

TEST_F(ClusterLayoutTest, CombinedProcessesHaveTheirPortsAndNames) {
  const auto layout = ClusterLayout::Make(directory(), {.nodes = 4, .base_port = 7100, .separate = false});
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->controllers(), "127.0.0.1:7110,127.0.0.1:7120,127.0.0.1:7130");
  const ProcessPlace& last = layout->processes().back();
  EXPECT_EQ(last.name, "4");
  EXPECT_EQ(last.directory, directory() + "/4");
  EXPECT_EQ(last.controller_id, 0);
  EXPECT_TRUE(last.node);
  EXPECT_EQ(std::make_tuple(last.rpc_port, last.resp_port, last.http_port),
            std::make_tuple(7140, 7141, 7142));
}

TEST_F(ClusterLayoutTest, SeparateProcessesHaveTheirPortsAndNames) {
  const auto layout = ClusterLayout::Make(directory(), {.nodes = 2, .base_port = 7100, .separate = true});
  ASSERT_TRUE(layout.ok()) << layout.status();
  std::string names;
  for (const ProcessPlace& place : layout->processes()) {
    names += fmt::format("{}:{}:{} ", place.name, place.rpc_port, place.resp_port);
  }
  EXPECT_EQ(names, "c1:7110:0 c2:7120:0 c3:7130:0 n1:7210:7211 n2:7220:7221 ");
}

TEST_F(ClusterLayoutTest, TwoNodesHaveOneController) {
  const auto layout = ClusterLayout::Make(directory(), {.nodes = 2, .base_port = 7100, .separate = false});
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->controllers(), "127.0.0.1:7110");
}

TEST_F(ClusterLayoutTest, RefusesWhatHasNoPlace) {
  EXPECT_FALSE(ClusterLayout::Make(directory(), {.nodes = 0, .base_port = 7100, .separate = false}).ok());
  EXPECT_FALSE(ClusterLayout::Make(directory(), {.nodes = 51, .base_port = 7100, .separate = false}).ok());
  EXPECT_FALSE(ClusterLayout::Make(directory(), {.nodes = 50, .base_port = 65100, .separate = false}).ok());
}

TEST_F(ClusterLayoutTest, DirectoriesThatCannotBeAreErrors) {
  const std::string long_name(5000, 'x');
  for (const std::string& bad : {std::string(), long_name, std::string("/dev/null/a")}) {
    const auto loaded = ClusterLayout::Load(bad);
    EXPECT_EQ(loaded.ok() ? StatusCode::kOk : loaded.status().code(),
              bad.starts_with("/dev") ? StatusCode::kNotFound : StatusCode::kInvalidArgument)
        << loaded.status();
    const auto made = ClusterLayout::Make(bad, {});
    EXPECT_FALSE(made.ok() && made->Save().ok()) << bad;
  }
  const fs::path before = fs::current_path();
  fs::create_directories(directory());
  fs::current_path(directory());
  fs::remove(directory());
  EXPECT_EQ(ClusterLayout::Make("relative", {}).status().code(), StatusCode::kInvalidArgument);
  fs::current_path(before);
}

TEST_F(ClusterLayoutTest, AFullDiskLeavesNoHalfConfiguration) {
  const auto layout = ClusterLayout::Make(directory(), {});
  ASSERT_TRUE(layout.ok()) << layout.status();
  const std::string config = layout->processes()[1].config_path();
  fs::create_directories(layout->processes()[1].directory);
  fs::create_symlink("/dev/full", config + ".new");
  const Status full = layout->Save();
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted) << full;
  EXPECT_NE(MessageOf(full).find(config), std::string::npos) << full;
  EXPECT_FALSE(fs::exists(config));
  ASSERT_TRUE(layout->Save().ok());
  EXPECT_GT(fs::file_size(config), 0u);

  // As programs of before left it.
  std::ofstream(config, std::ios::trunc).close();
  const auto written = fs::last_write_time(directory() + "/up.toml");
  ASSERT_TRUE(layout->Save().ok());
  EXPECT_GT(fs::file_size(config), 0u);
  EXPECT_EQ(fs::last_write_time(directory() + "/up.toml"), written) << "it has not changed";
}

TEST_F(ClusterLayoutTest, WhatWasSavedIsLoadedAndAChangedConfigurationStays) {
  const LayoutChoice choice{.nodes = 3, .base_port = 9100, .separate = true};
  const auto layout = ClusterLayout::Make(directory(), choice);
  ASSERT_TRUE(layout.ok() && layout->Save().ok());
  const std::string config = layout->processes()[0].config_path();
  std::ofstream(config, std::ios::app) << "zone = \"z\"\n";
  ASSERT_TRUE(layout->Save().ok());
  std::string content((std::istreambuf_iterator<char>(std::ifstream(config).rdbuf())), {});
  EXPECT_NE(content.find("zone = \"z\""), std::string::npos);
  EXPECT_NE(content.find("initial-controllers"), std::string::npos);
  const auto loaded = ClusterLayout::Load(directory());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->choice(), choice);
}

TEST_F(ClusterLayoutTest, LoadNamesWhatIsMissingOrBroken) {
  EXPECT_EQ(ClusterLayout::Load(directory()).status().code(), StatusCode::kNotFound);
  fs::create_directories(directory());
  std::ofstream(directory() + "/up.toml") << "nodes = [";
  EXPECT_EQ(ClusterLayout::Load(directory()).status().code(), StatusCode::kFailedPrecondition);
}

TEST(ParseEndpointsTest, ListsOfHostAndPort) {
  const auto endpoints = ParseEndpoints("a:1,127.0.0.1:7110");
  ASSERT_TRUE(endpoints.ok());
  EXPECT_EQ(*endpoints, (std::vector<runtime::Endpoint>{"a:1", "127.0.0.1:7110"}));
  for (const char* wrong : {"", "a", ":1", "a:", "a:x", "a:1,", "a:123456"})
    EXPECT_FALSE(ParseEndpoints(wrong).ok()) << wrong;
}

}  // namespace
}  // namespace tenure::cli
