#include "changefeed/sink/net/factory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"
#include "tests/changefeed/sink/recording_observer.h"

namespace tenure::changefeed {
namespace {

using testing::HasSubstr;

class FactoryTest : public testing::Test {
 protected:
  FactoryTest() {
    std::string name = (std::filesystem::temp_directory_path() / "tenure-factory-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) ADD_FAILURE() << name;
    folder_ = name;
  }
  ~FactoryTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  StatusOr<std::unique_ptr<Sink>> Make(const std::string& address, uint64_t epoch) {
    StatusOr<std::unique_ptr<Sink>> sink = Error(StatusCode::kUnknown, "not made");
    executor_.RunAndWait([&] {
      sink = MakeSink(executor_, disk_, observer_, {"feed", "7", OwnerEpoch(epoch)},
                      *ParseSinkAddress(address), {}, [] { return true; });
    });
    return sink;
  }
  // Writes one line, waits until it is flushed, and lets the sink go.
  void WriteOne(std::unique_ptr<Sink> sink, uint64_t position) {
    executor_.RunAndWait([&] {
      Message message = LineOf(position);
      EXPECT_TRUE(sink->Write(position, message));
      sink->Flush();
    });
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    uint64_t flushed = 0;
    while (flushed < position && std::chrono::steady_clock::now() < deadline) {
      executor_.RunAndWait([&] { flushed = observer_.flushed; });
    }
    EXPECT_EQ(flushed, position);
    executor_.RunAndWait([&] { sink.reset(); });
  }

  std::string folder_;
  runtime::RealExecutor executor_{"factory-test"};
  runtime::RealDisk disk_{executor_};
  RecordingObserver observer_;
};

TEST_F(FactoryTest, FilesAreOnTheDiskAndFencedByTheirEpoch) {
  const std::string address = "file://" + folder_ + "/new/out?flush=1ms";
  auto sink = Make(address, 3);
  ASSERT_TRUE(sink.ok()) << sink.status();
  WriteOne(*std::move(sink), 1);
  auto again = Make(address, 3);  // goes on with the next file
  ASSERT_TRUE(again.ok()) << again.status();
  executor_.RunAndWait([&] { again->reset(); });
  EXPECT_THAT(std::string(MessageOf(Make(address, 2).status())), HasSubstr("this writer's is 2"));
  auto next = Make(address, 4);
  ASSERT_TRUE(next.ok()) << next.status();
  std::ifstream file(folder_ + "/new/out/feed-7-00000000000000000003-00000001.json");
  std::stringstream content;
  content << file.rdbuf();
  EXPECT_EQ(content.str(), "line 1\n");
  executor_.RunAndWait([&] { next->reset(); });
}

TEST_F(FactoryTest, OfSeveralWhoMakeAFileOneSucceeds) {
  executor_.RunAndWait([&] {
    const std::string path = folder_ + "/once";
    EXPECT_TRUE(disk_.Open(path, runtime::OpenMode::kCreateNew).ok());
    const auto second = disk_.Open(path, runtime::OpenMode::kCreateNew);
    EXPECT_EQ(second.status().code(), StatusCode::kAlreadyExists);
    EXPECT_THAT(std::string(MessageOf(second.status())), HasSubstr(path));
  });
}

TEST_F(FactoryTest, ADirectoryThatCannotBeIsAnErrorAtOnce) {
  std::ofstream(folder_ + "/file") << "x";
  const auto sink = Make("file://" + folder_ + "/file/out", 3);
  EXPECT_FALSE(sink.ok());
  EXPECT_THAT(std::string(MessageOf(sink.status())), HasSubstr(folder_ + "/file"));
}

TEST_F(FactoryTest, StdoutTakesLines) {
  testing::internal::CaptureStdout();
  auto sink = Make("stdout:", 3);
  ASSERT_TRUE(sink.ok());
  WriteOne(*std::move(sink), 1);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "line 1\n");
}

}  // namespace
}  // namespace tenure::changefeed
