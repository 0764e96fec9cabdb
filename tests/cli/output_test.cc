#include "cli/output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "catalog/refusal.h"

namespace tenure::cli {
namespace {

TEST(TableTest, ColumnsAreAsWideAsTheirContentAndNumbersStandToTheRight) {
  Table table({"NAME", "KEYS"});
  table.AddRow({"Bücher", "7"});
  table.AddRow({"x", "1200"});
  EXPECT_EQ(table.ToString(), "NAME    KEYS\nBücher     7\nx       1200\n");
}

TEST(TableTest, MissingCellsAreEmpty) {
  Table table({"A", "B", "C"});
  table.AddRow({"x"});
  EXPECT_EQ(table.ToString(), "A  B  C\nx\n");
}

TEST(QuotedTest, IsOneWordOfAShell) {
  EXPECT_EQ(Quoted("/srv/a-b_1.d"), "/srv/a-b_1.d");
  EXPECT_EQ(Quoted("/a b"), "'/a b'");
  EXPECT_EQ(Quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(Quoted(""), "''");
}

TEST(PrintTest, WhatCouldNotBeWrittenIsAnError) {
  const auto to = [](const char* path) {
    std::signal(SIGPIPE, SIG_IGN);
    if (*path != '\0') {
      dup2(open(path, O_WRONLY), STDOUT_FILENO);
    } else {
      int ends[2];
      if (pipe(ends) != 0) _exit(9);
      close(ends[0]);
      dup2(ends[1], STDOUT_FILENO);
    }
    Print("answer\n");
    _exit(Printed().ok() ? 0 : 1);
  };
  EXPECT_EXIT(to("/dev/full"), testing::ExitedWithCode(1), "");
  EXPECT_EXIT(to("/dev/null"), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(to(""), testing::ExitedWithCode(0), "") << "the reader has gone";
}

TEST(FormatTest, Durations) {
  const std::pair<double, const char*> cases[] = {
      {-1, "-"},        {0.85, "850us"},   {12, "12ms"},          {999, "999ms"},        {1599, "1.5s"},
      {59999, "59.9s"}, {200000, "3m20s"}, {5 * 3600e3, "5h00m"}, {51 * 3600e3, "2d03h"}};
  for (const auto& [ms, text] : cases) EXPECT_EQ(FormatMillis(ms), text) << ms;
}

TEST(FormatTest, SizesAndTimes) {
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(uint64_t{3} << 30), "3.0 GiB");
  EXPECT_EQ(FormatTime(0), "-");
  EXPECT_EQ(FormatTime(1740830400007), "2025-03-01T12:00:00.007Z");
}

TEST(BytesTest, WhatIsNoTextIsBase64UnderAnotherName) {
  Json object;
  SetBytes(object, "key", "text");
  SetBytes(object, "value", "\xff\x01");
  EXPECT_EQ(object.dump(), R"({"key":"text","value_base64":"/wE="})");
}

TEST(BytesTest, PrintableEscapesWhatATerminalWouldObey) {
  EXPECT_EQ(Printable("a\\b\x1b[0m\nü\xff"), "a\\\\b\\x1b[0m\\x0aü\\xff");
}

TEST(FailureTest, ARefusalBringsItsReasonAndDetails) {
  tenure::v1::Refusal refusal;
  refusal.set_reason(tenure::v1::REASON_CONDITION_FAILED);
  refusal.set_message("entry 'a' has revision 7");
  refusal.set_revision(7);
  const Failure failure = DescribeFailure(catalog::MakeRefusal(refusal));
  EXPECT_EQ(failure.reason, "CONDITION_FAILED");
  EXPECT_EQ(failure.message, "entry 'a' has revision 7");
  EXPECT_FALSE(failure.retryable);
  EXPECT_EQ(failure.details.dump(), R"({"revision":7})");
}

TEST(FailureTest, AnyOtherErrorIsNamedByItsCode) {
  const Failure failure = DescribeFailure(Error(StatusCode::kDeadlineExceeded, "not ready"));
  EXPECT_EQ(failure.reason, "DEADLINE_EXCEEDED");
  EXPECT_TRUE(failure.retryable);
}

TEST(FindTest, AnIdComesBeforeANameThatLooksLikeIt) {
  const std::vector<std::pair<std::string, std::string>> nodes = {{"1", "2"}, {"2", "1"}, {"3", "c"}};
  const auto find = [&](const std::string& wanted) {
    return FindByIdOrName(
        nodes, wanted, [](const auto& n) { return n.first; }, [](const auto& n) { return n.second; });
  };
  EXPECT_EQ(find("2")->first, "2");
  EXPECT_EQ(find("c")->first, "3");
  EXPECT_EQ(find("d"), nodes.end());
}

}  // namespace
}  // namespace tenure::cli
