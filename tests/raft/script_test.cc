// Runs tests/raft/testdata/*.txt: commands, "----", what they print. REWRITE=1 writes what they print now.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/raft/script_world.h"

#ifndef TENURE_SOURCE_DIR
#define TENURE_SOURCE_DIR "."
#endif

namespace tenure::raft {
namespace {

std::filesystem::path Folder() {
  return std::filesystem::path(TENURE_SOURCE_DIR) / "tests/raft/testdata";
}

std::vector<std::string> Scripts() {
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(Folder()))
    names.push_back(file.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string ReadAll(const std::filesystem::path& path) {
  std::stringstream content;
  content << std::ifstream(path).rdbuf();
  return content.str();
}

// The script again, with the output that it has now. A block is comments and commands, "----", output, an
// empty line.
std::string Replay(const std::string& script) {
  ScriptWorld world;
  std::string out;
  std::stringstream in(script);
  std::vector<std::string> commands;
  bool in_output = false;
  for (std::string line; std::getline(in, line);) {
    if (in_output) {
      if (line.empty()) in_output = false;
      if (line.empty()) out += '\n';
    } else if (line == "----") {
      out += "----\n";
      for (const std::string& command : commands) out += world.Execute(command);
      commands.clear();
      in_output = true;
    } else {
      out += line + '\n';
      if (!line.empty() && line[0] != '#') commands.push_back(line);
    }
  }
  EXPECT_TRUE(commands.empty()) << "commands without ---- after them";
  return out;
}

class RaftScript : public testing::TestWithParam<std::string> {};

TEST_P(RaftScript, PrintsWhatItSays) {
  const auto path = Folder() / (GetParam() + ".txt");
  const std::string expected = ReadAll(path);
  const std::string actual = Replay(expected);
  if (std::getenv("REWRITE") != nullptr) {
    std::ofstream(path) << actual;
    return;
  }
  EXPECT_EQ(actual, expected) << path << ": REWRITE=1 test_raft rewrites it; look at the difference";
}

INSTANTIATE_TEST_SUITE_P(Testdata, RaftScript, testing::ValuesIn(Scripts()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tenure::raft
