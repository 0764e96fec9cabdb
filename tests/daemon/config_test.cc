// What `tenured` accepts on its command line and in its file, and what it says when it does not.
#include "daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace tenure::daemon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

StatusOr<CommandLine> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "tenured");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
}
std::string ErrorOf(std::vector<const char*> arguments) {
  const auto line = Parse(std::move(arguments));
  return line.ok() ? "accepted" : std::string(MessageOf(line.status()));
}
// A node's flags, which are complete.
std::vector<const char*> Node(std::vector<const char*> more = {}) {
  std::vector<const char*> flags = {"--data",      "/d",     "--roles",     "node",          "--listen",
                                    "127.0.0.1:1", "--resp", "127.0.0.1:2", "--controllers", "a:1,b:1"};
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

TEST(ConfigTest, AControllerAndNode) {
  const auto line = Parse({"--data", "/d", "--listen", "127.0.0.1:7110", "--resp", "127.0.0.1:7111", "--http",
                           "127.0.0.1:7112", "--initial-controllers", "1=127.0.0.1:7110,2=127.0.0.1:7120",
                           "--zone", "z", "--label", "rack=1", "--label", "host=a"});
  ASSERT_TRUE(line.ok()) << line.status();
  const Config& config = *line->config;
  EXPECT_TRUE(config.controller && config.node);
  EXPECT_EQ(config.id, 1u);  // by its address
  EXPECT_EQ(config.advertise.ToString(), "127.0.0.1:7110");
  EXPECT_EQ(config.resp_advertise.ToString(), "127.0.0.1:7111");
  EXPECT_EQ(config.name, "127.0.0.1:7110");
  EXPECT_EQ(config.initial_controllers.at(2).port, 7120);
  ASSERT_EQ(config.labels.size(), 2u);
  EXPECT_EQ(config.labels[1].first, "host");
}

TEST(ConfigTest, AWildcardNeedsAnAddressForOthers) {
  EXPECT_THAT(ErrorOf(Node({"--listen", "0.0.0.0:1"})), HasSubstr("--advertise HOST:PORT is missing"));
  const auto line = Parse(Node({"--listen", "0.0.0.0:1", "--advertise", "db1:1", "--resp", "[::]:2"}));
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->config->resp_advertise.ToString(), "db1:2");
  EXPECT_EQ(line->config->resp->ToString(), "[::]:2");
}

TEST(ConfigTest, ErrorsNameTheFlagAndTheLimit) {
  EXPECT_THAT(ErrorOf({}), HasSubstr("--data DIR is missing"));
  EXPECT_THAT(ErrorOf({"--data", "/d", "--roles", "boss"}), AllOf(HasSubstr("--roles"), HasSubstr("'boss'")));
  EXPECT_THAT(ErrorOf({"--data", "/d"}), HasSubstr("--listen HOST:PORT is missing"));
  EXPECT_THAT(ErrorOf({"--data", "/d", "--listen", "7100"}),
              AllOf(HasSubstr("--listen"), HasSubstr("HOST:PORT")));
  EXPECT_THAT(ErrorOf({"--data", "/d", "--listen", "a:70000"}), HasSubstr("from 1 to 65535"));
  EXPECT_THAT(ErrorOf({"--data", "/d", "--listen", "a:1"}), HasSubstr("--resp HOST:PORT is missing"));
  EXPECT_THAT(ErrorOf({"--data", "/d", "--listen", "a:1", "--resp", "a:1"}),
              HasSubstr("--listen and --resp are both a:1"));
  EXPECT_THAT(ErrorOf(Node({"--controllers", ""})), HasSubstr("--controllers"));
  EXPECT_THAT(ErrorOf(Node({"--id", "3"})), HasSubstr("--id is for the role controller"));
  EXPECT_THAT(ErrorOf(Node({"--label", "x"})), HasSubstr("'x' is not KEY=VALUE"));
  EXPECT_THAT(ErrorOf(Node({"--zone", "a\nb"})), HasSubstr("--zone: must not contain control characters"));
  EXPECT_THAT(ErrorOf(Node({"--name", "a\xff"})), HasSubstr("--name: is not valid UTF-8"));
  EXPECT_THAT(ErrorOf(Node({"--label", "rack=\xff"})), HasSubstr("--label rack: is not valid UTF-8"));
  EXPECT_THAT(ErrorOf(Node({"--label", "rack=1", "--label", "rack=2"})),
              HasSubstr("--label rack is given twice"));
  EXPECT_EQ(ErrorOf(Node({"--label", "empty="})), "accepted");
  EXPECT_THAT(ErrorOf(Node({"--election-timeout", "200ms"})),
              HasSubstr("at least three times --heartbeat-interval"));
  EXPECT_THAT(ErrorOf(Node({"--max-clients", "0"})), HasSubstr("from 1 to 1000000"));
  EXPECT_THAT(ErrorOf(Node({"--max-staleness", "5"})), HasSubstr("--max-staleness: '5' is no duration"));
  EXPECT_THAT(ErrorOf(Node({"--repair-after", "10ms"})),
              HasSubstr("--repair-after is 10ms, allowed are 1000ms"));
  EXPECT_THAT(ErrorOf(Node({"--max-repairs", "0"})),
              HasSubstr("--max-repairs is '0', allowed is a number from 1"));
  EXPECT_THAT(ErrorOf(Node({"--max-moves", "x"})), HasSubstr("--max-moves is 'x'"));
  EXPECT_THAT(ErrorOf(Node({"--balance", "maybe"})),
              HasSubstr("--balance is 'maybe', allowed are on and off"));
  EXPECT_THAT(ErrorOf(Node({"--nonsense", "5"})), HasSubstr("--nonsense"));
}

TEST(ConfigTest, InitialControllersMustMakeSense) {
  auto error = [](const char* list, const char* id) {
    return ErrorOf({"--data", "/d", "--roles", "controller", "--listen", "a:1", "--initial-controllers", list,
                    "--id", id});
  };
  EXPECT_EQ(error("1=a:1,2=b:1", "1"), "accepted");
  EXPECT_THAT(error("1=a:1,1=b:1", "1"), HasSubstr("names 1 twice"));
  EXPECT_THAT(error("1=a:1,2=a:1", "1"), HasSubstr("1 and 2 are both a:1"));
  EXPECT_THAT(error("a:1,b:1", "1"), HasSubstr("'a:1' is not ID=HOST:PORT"));
  EXPECT_THAT(error("4294967296=a:1,2=b:1", "2"),
              HasSubstr("'4294967296=a:1' is not ID=HOST:PORT with an id from 1 to"));
  EXPECT_THAT(error("1=a:1,2=b:1", "3"), HasSubstr("does not name --id 3"));
  EXPECT_THAT(error("1=c:1,2=b:1", "1"), HasSubstr("--initial-controllers has 1=c:1, --advertise is a:1"));
}

class FileTest : public ::testing::Test {
 protected:
  FileTest() : path_("/tmp/tenure-config-test-" + std::to_string(getpid()) + ".toml") {}
  ~FileTest() override { std::remove(path_.c_str()); }
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  const std::string path_;
};

TEST_F(FileTest, HasTheSameKeysAndIsOverruled) {
  Write(
      "data = '/file'\nroles = ['controller', 'node']\nlisten = '127.0.0.1:1'\nresp = '127.0.0.1:2'\nid = 2\n"
      "initial-controllers = '1=b:1,2=127.0.0.1:1'\nname = 'from file'\nlabel = ['a=1', 'b=2']\n");
  const auto line = Parse({"--config", path_.c_str(), "--data", "/line"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->config->data, "/line");
  EXPECT_EQ(line->config->name, "from file");
  EXPECT_EQ(line->config->id, 2u);
  EXPECT_EQ(line->config->labels.size(), 2u);
}

TEST_F(FileTest, UnknownKeysAreRefusedByName) {
  Write("data = '/file'\nlisten-on = 'a:1'\n");
  EXPECT_THAT(ErrorOf({"--config", path_.c_str()}),
              AllOf(HasSubstr("line 2"), HasSubstr("unknown key 'listen-on'")));
  Write("data = '/file'\nid = 1.5\n");
  EXPECT_THAT(ErrorOf({"--config", path_.c_str()}),
              HasSubstr("id must be a string, a whole number or a list"));
  Write("data = \n");
  EXPECT_THAT(ErrorOf({"--config", path_.c_str()}), HasSubstr("line 1"));
  EXPECT_THAT(ErrorOf({"--config", "/does/not/exist.toml"}), HasSubstr("/does/not/exist.toml"));
}

TEST_F(FileTest, ATokenFileIsReadAndMustBeASecret) {
  const std::vector<const char*> flags = Node({"--token-file", path_.c_str()});
  EXPECT_THAT(ErrorOf(flags), AllOf(HasSubstr("--token-file " + path_), HasSubstr("there is no such file")));
  Write("0123456789abcdef\n");
  chmod(path_.c_str(), 0644);
  EXPECT_THAT(ErrorOf(flags), AllOf(HasSubstr("has mode 0644"), HasSubstr("chmod o= " + path_)));
  chmod(path_.c_str(), 0640);
  EXPECT_EQ(ErrorOf(flags), "accepted");
  EXPECT_TRUE(Parse(flags)->config->join_tokens.required());
  EXPECT_FALSE(Parse(Node())->config->join_tokens.required());
  Write("short\n");
  EXPECT_THAT(ErrorOf(flags), AllOf(HasSubstr("line 1 has 5 characters"), HasSubstr("16 to 256")));
  Write(std::string(5000, 'x'));
  EXPECT_THAT(ErrorOf(flags), HasSubstr("has more than 1024 bytes"));
  EXPECT_THAT(ErrorOf(Node({"--token-file", "/tmp"})), HasSubstr("--token-file /tmp is no regular file"));
}

TEST(ConfigTest, HelpAndVersion) {
  const auto help = Parse({"--help"});
  ASSERT_TRUE(help.ok());
  EXPECT_FALSE(help->config.has_value());
  EXPECT_THAT(help->output, HasSubstr("--initial-controllers"));
  EXPECT_THAT(Parse({"--version"})->output, HasSubstr("tenured 0."));
}

}  // namespace
}  // namespace tenure::daemon
