#include "changefeed/sink/net/factory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <optional>
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
  std::unique_ptr<Sink> Make(const std::string& address, uint64_t epoch) {
    std::unique_ptr<Sink> sink;
    executor_.RunAndWait([&] {
      observer_ = {};
      sink = MakeSink(
          executor_, [this](const std::string&) { return background_; }, observer_,
          {"feed", "7", OwnerEpoch(epoch)}, *ParseSinkAddress(address), {}, [] { return true; });
    });
    return sink;
  }
  // Waits for it for a while.
  bool Until(const std::function<bool()>& what) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    bool holds = false;
    while (!holds && std::chrono::steady_clock::now() < deadline) {
      executor_.RunAndWait([&] { holds = what(); });
    }
    return holds;
  }
  // What is wrong with the address; nothing if it opens.
  std::string Refusal(const std::string& address, uint64_t epoch) {
    std::unique_ptr<Sink> sink = Make(address, epoch);
    EXPECT_TRUE(Until([this] { return observer_.opened || observer_.error; }));
    executor_.RunAndWait([&] { sink.reset(); });
    return observer_.error ? observer_.error->message : "";
  }
  // Writes one line, waits until it is flushed, and lets the sink go.
  void WriteOne(std::unique_ptr<Sink> sink, uint64_t position) {
    executor_.RunAndWait([&] {
      Message message = LineOf(position);
      EXPECT_TRUE(sink->Write(position, message));
      sink->Flush();
    });
    EXPECT_TRUE(Until([&] { return observer_.flushed == position; }));
    executor_.RunAndWait([&] { sink.reset(); });
  }
  // What a check of the address says; nothing if all is well.
  std::string Checked(const std::string& address) {
    std::optional<std::optional<FeedError>> answer;
    executor_.Post([&] {
      CheckSink(
          executor_, [this](const std::string&) { return background_; }, *ParseSinkAddress(address),
          [&](std::optional<FeedError> error) { answer = std::move(error); });
    });
    EXPECT_TRUE(Until([&] { return answer.has_value(); }));
    return *answer ? (*answer)->message : "";
  }

  std::string folder_;
  runtime::RealExecutor executor_{"factory-test"};
  runtime::RealExecutor files_{"factory-files"};
  runtime::RealDisk disk_{files_};
  std::shared_ptr<Background> background_ = std::make_shared<Background>(files_, disk_);
  RecordingObserver observer_;
};

TEST_F(FactoryTest, FilesAreOnTheDiskAndFencedByTheirEpoch) {
  const std::string address = "file://" + folder_ + "/new/out?flush=1ms";
  WriteOne(Make(address, 3), 1);
  EXPECT_EQ(Refusal(address, 3), "") << "goes on with the next file";
  EXPECT_THAT(Refusal(address, 2), HasSubstr("this writer's is 2"));
  EXPECT_EQ(Refusal(address, 4), "");
  std::ifstream file(folder_ + "/new/out/feed-7-00000000000000000003-00000001.json");
  std::stringstream content;
  content << file.rdbuf();
  EXPECT_EQ(content.str(), "line 1\n");
}

TEST_F(FactoryTest, OfSeveralWhoMakeAFileOneSucceeds) {
  files_.RunAndWait([&] {
    const std::string path = folder_ + "/once";
    EXPECT_TRUE(disk_.Open(path, runtime::OpenMode::kCreateNew).ok());
    const auto second = disk_.Open(path, runtime::OpenMode::kCreateNew);
    EXPECT_EQ(second.status().code(), StatusCode::kAlreadyExists);
    EXPECT_THAT(std::string(MessageOf(second.status())), HasSubstr(path));
  });
}

TEST_F(FactoryTest, ADirectoryThatCannotBeIsAnError) {
  std::ofstream(folder_ + "/file") << "x";
  EXPECT_THAT(Refusal("file://" + folder_ + "/file/out", 3), HasSubstr(folder_ + "/file"));
  EXPECT_THAT(Checked("file://" + folder_ + "/file/out"), HasSubstr(folder_ + "/file"));
}

TEST_F(FactoryTest, ACheckLeavesNothingInTheDirectory) {
  EXPECT_EQ(Checked("file://" + folder_ + "/new"), "");
  EXPECT_TRUE(std::filesystem::is_empty(folder_ + "/new"));
}

TEST_F(FactoryTest, ACheckOfADiskThatHangsAnswersInTime) {
  std::promise<void> healed;
  files_.Post([&] { healed.get_future().wait(); });
  EXPECT_THAT(Checked("file://" + folder_ + "?timeout=100ms"), HasSubstr("has not answered for 100 ms"));
  healed.set_value();
}

TEST_F(FactoryTest, StdoutTakesLines) {
  testing::internal::CaptureStdout();
  WriteOne(Make("stdout:", 3), 1);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "line 1\n");
}

}  // namespace
}  // namespace tenure::changefeed
