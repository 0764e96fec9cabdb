#include "changefeed/sink/file_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tests/changefeed/sink/recording_observer.h"
#include "tests/runtime/manual_executor.h"
#include "tests/wal/fake_disk.h"

namespace tenure::changefeed {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

class FileSinkTest : public testing::Test {
 protected:
  struct Writer {
    Writer(FileSinkTest& test, uint64_t epoch, FileSinkOptions options, Duration sync_delay = {})
        : disk(test.storage_, test.executor_, sync_delay),
          sink(test.executor_, disk, observer, {"feed", "7-1", OwnerEpoch(epoch)}, std::move(options),
               {.max_buffered_bytes = 4096, .timeout = seconds(10)}, [this] { return permitted; }) {}
    bool Write(uint64_t n, size_t bytes = 0) {
      Message message = LineOf(n, bytes);
      return sink.Write(n, message);
    }
    bool permitted = true;
    RecordingObserver observer;
    wal::FakeDisk disk;
    FileSink sink;
  };
  FileSinkOptions Options(uint64_t rotate = 1 << 20) { return {.directory = "/out", .rotate_bytes = rotate}; }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& [name, inode] : storage_.names()) names.push_back(name);
    return names;
  }
  // All whole lines of all files of the dispatcher, in the order of the names.
  std::vector<std::string> Lines() {
    std::vector<std::string> lines;
    for (const auto& [name, inode] : storage_.names()) {
      if (name.ends_with(".index")) continue;
      std::istringstream content(inode->cached);
      for (std::string line; std::getline(content, line) && !content.eof();) lines.push_back(line);
    }
    return lines;
  }

  wal::FakeStorage storage_{1};
  runtime::ManualExecutor executor_;
};

TEST_F(FileSinkTest, ReportsFlushedAfterTheSync) {
  Writer writer(*this, 3, Options(), milliseconds(50));
  ASSERT_TRUE(writer.sink.Open().ok());
  ASSERT_TRUE(writer.Write(1));
  ASSERT_TRUE(writer.Write(2));
  executor_.Advance(milliseconds(120));
  EXPECT_EQ(writer.observer.flushed, 0u) << "written, not synced";
  executor_.Advance(milliseconds(100));
  EXPECT_EQ(writer.observer.flushed, 2u);
  EXPECT_EQ(writer.sink.buffered_bytes(), 0u);
  EXPECT_THAT(Names(), testing::ElementsAre("/out/feed-7-1-00000000000000000003-00000001.json.part"));
  storage_.Crash(/*power_loss=*/true);
  EXPECT_THAT(Lines(), testing::ElementsAre("line 1", "line 2"));
}

TEST_F(FileSinkTest, ASteadyStreamDoesNotPutTheFlushOff) {
  Writer writer(*this, 3, Options());
  ASSERT_TRUE(writer.sink.Open().ok());
  for (uint64_t n = 1; n <= 20; ++n) {
    ASSERT_TRUE(writer.Write(n));
    executor_.Advance(milliseconds(20));
  }
  EXPECT_GE(writer.observer.flushed, 10u) << "each message comes before the flush of the one before is due";
}

TEST_F(FileSinkTest, RotatesClosesAndKeepsAnIndex) {
  Writer writer(*this, 3, Options(1024));
  ASSERT_TRUE(writer.sink.Open().ok());
  for (uint64_t n = 1; n <= 40; ++n) {
    ASSERT_TRUE(writer.Write(n, 100));
    writer.sink.Flush();
    executor_.Advance(milliseconds(1));
  }
  EXPECT_EQ(writer.observer.flushed, 40u);
  const auto names = Names();
  ASSERT_GE(names.size(), 4u);
  EXPECT_THAT(Lines(), testing::SizeIs(40));
  const std::string index = storage_.ContentOf("/out/feed-7-1.index");
  EXPECT_THAT(index, HasSubstr("{\"file\":\"feed-7-1-00000000000000000003-00000001.json\",\"rows\":"));
  EXPECT_THAT(index, HasSubstr("\"first_ts\":1001"));
  for (const auto& name : names) {
    if (name.ends_with(".json")) {
      EXPECT_THAT(index, HasSubstr(name.substr(5)));
      EXPECT_LE(storage_.ContentOf(name).size(), 1024u + 101);
    }
  }
}

TEST_F(FileSinkTest, ANewEpochClosesWhatTheOldOneLeftOpen) {
  {
    Writer old(*this, 3, Options());
    ASSERT_TRUE(old.sink.Open().ok());
    ASSERT_TRUE(old.Write(1));
    executor_.Advance(seconds(1));
  }
  storage_.ContentOf("/out/feed-7-1-00000000000000000003-00000001.json.part") += "torn li";
  Writer next(*this, 4, Options());
  ASSERT_TRUE(next.sink.Open().ok());
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000003-00000001.json"), "line 1\n");
  EXPECT_THAT(storage_.ContentOf("/out/feed-7-1.index"), HasSubstr("\"rows\":1"));
  ASSERT_TRUE(next.Write(2));
  executor_.Advance(seconds(1));
  EXPECT_THAT(Lines(), testing::ElementsAre("line 1", "line 2"));
}

TEST_F(FileSinkTest, ALineOfCsvMayHoldLineEndsBetweenQuotes) {
  FileSinkOptions options = Options();
  options.protocol = Protocol::kCsv;
  const std::string part = "/out/feed-7-1-00000000000000000003-00000001.csv.part";
  storage_.names()[part] = std::make_shared<wal::FakeStorage::Inode>();
  storage_.ContentOf(part) = "put,\"a\nb\"\nput,\"c\"\"\nd";
  Writer next(*this, 4, options);
  ASSERT_TRUE(next.sink.Open().ok());
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000003-00000001.csv"), "put,\"a\nb\"\n");
  EXPECT_THAT(storage_.ContentOf("/out/feed-7-1.index"), HasSubstr("\"rows\":1,"));
}

TEST_F(FileSinkTest, AWriterOfTheSameEpochGoesOnBehindTheLastFile) {
  {
    Writer writer(*this, 5, Options());
    ASSERT_TRUE(writer.sink.Open().ok());
    ASSERT_TRUE(writer.Write(1));
    executor_.Advance(seconds(1));
  }
  Writer next(*this, 5, Options());
  ASSERT_TRUE(next.sink.Open().ok());
  ASSERT_TRUE(next.Write(2));
  executor_.Advance(seconds(1));
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000005-00000001.json"), "line 1\n");
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000005-00000002.json.part"), "line 2\n");
}

TEST_F(FileSinkTest, AnEpochThatWasOvertakenIsRefused) {
  {
    Writer writer(*this, 5, Options());
    ASSERT_TRUE(writer.sink.Open().ok());
    ASSERT_TRUE(writer.Write(1));
    executor_.Advance(seconds(1));
  }
  for (const uint64_t epoch : {3u, 4u}) {
    Writer late(*this, epoch, Options());
    const Status refused = late.sink.Open();
    EXPECT_EQ(refused.code(), StatusCode::kAborted);
    EXPECT_THAT(std::string(MessageOf(refused)), HasSubstr("epoch 5 has written"));
  }
}

TEST_F(FileSinkTest, AFileThatAppearsUnderItsNameIsNotShared) {
  Writer writer(*this, 5, Options());
  ASSERT_TRUE(writer.sink.Open().ok());
  wal::FakeDisk other(storage_, executor_);
  ASSERT_TRUE(
      other.Open("/out/feed-7-1-00000000000000000005-00000001.json.part", runtime::OpenMode::kCreate).ok());
  ASSERT_TRUE(writer.Write(1));
  executor_.Advance(seconds(1));
  ASSERT_TRUE(writer.observer.error.has_value());
  EXPECT_EQ(writer.observer.error->code, FeedErrorCode::kFencedBySink);
  EXPECT_EQ(writer.observer.flushed, 0u);
}

TEST_F(FileSinkTest, AnotherDispatcherWithALongerNameIsLeftAlone) {
  storage_.names()["/out/feed-7-1-2-00000000000000000009-00000001.json.part"] =
      std::make_shared<wal::FakeStorage::Inode>();
  Writer writer(*this, 3, Options());
  EXPECT_TRUE(writer.sink.Open().ok());
  EXPECT_THAT(Names(), testing::SizeIs(1));
}

TEST_F(FileSinkTest, CsvFilesBeginWithTheirHeaderAndANewOneWithANewSchema) {
  FileSinkOptions options = Options();
  options.protocol = Protocol::kCsv;
  Writer writer(*this, 3, options);
  ASSERT_TRUE(writer.sink.Open().ok());
  writer.sink.SetHeader("type,a");
  ASSERT_TRUE(writer.Write(1));
  writer.sink.SetHeader("type,a");
  ASSERT_TRUE(writer.Write(2));
  writer.sink.SetHeader("type,a,b");
  ASSERT_TRUE(writer.Write(3));
  executor_.Advance(seconds(1));
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000003-00000001.csv"),
            "type,a\nline 1\nline 2\n");
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000003-00000002.csv.part"), "type,a,b\nline 3\n");
  EXPECT_EQ(writer.observer.flushed, 3u);
}

TEST_F(FileSinkTest, WithoutPermitNothingIsWritten) {
  Writer writer(*this, 3, Options());
  ASSERT_TRUE(writer.sink.Open().ok());
  ASSERT_TRUE(writer.Write(1));
  writer.permitted = false;
  executor_.Advance(seconds(1));
  EXPECT_TRUE(writer.observer.error.has_value());
  EXPECT_THAT(Names(), testing::IsEmpty());
  EXPECT_FALSE(writer.Write(2));
}

TEST_F(FileSinkTest, ADiskThatHangsFailsWithinTheTimeLimitAndMemoryIsBounded) {
  Writer writer(*this, 3, Options(), std::chrono::hours(1));
  ASSERT_TRUE(writer.sink.Open().ok());
  uint64_t taken = 0;
  for (uint64_t n = 1; n <= 1000; ++n) {
    if (writer.Write(n, 100)) ++taken;
    executor_.Drain();
  }
  EXPECT_GT(taken, 5u);
  EXPECT_LT(taken, 50u);
  EXPECT_LE(writer.sink.buffered_bytes(), 4096u);
  executor_.Advance(seconds(9));
  EXPECT_FALSE(writer.observer.error.has_value());
  executor_.Advance(seconds(2));
  ASSERT_TRUE(writer.observer.error.has_value());
  EXPECT_EQ(writer.observer.error->code, FeedErrorCode::kSinkUnavailable);
  EXPECT_EQ(writer.observer.flushed, 0u);
  executor_.Advance(std::chrono::hours(2));
  EXPECT_TRUE(writer.observer.once && writer.observer.rising);
}

TEST_F(FileSinkTest, RoomIsReportedAfterARefusal) {
  Writer writer(*this, 3, Options(), milliseconds(10));
  ASSERT_TRUE(writer.sink.Open().ok());
  uint64_t n = 0;
  while (writer.Write(n + 1, 300)) ++n;
  executor_.Advance(seconds(1));
  EXPECT_EQ(writer.observer.writable, 1);
  EXPECT_EQ(writer.observer.flushed, n);
}

TEST_F(FileSinkTest, AFullDiskAndAFailedSyncAreErrors) {
  for (const bool full : {true, false}) {
    wal::FakeStorage storage(2);
    std::swap(storage, storage_);
    Writer writer(*this, 3, Options());
    ASSERT_TRUE(writer.sink.Open().ok());
    ASSERT_TRUE(writer.Write(1, 2000));
    if (full) {
      storage_.capacity = 100;
    } else {
      storage_.fail_syncs = -1;
    }
    executor_.Advance(seconds(1));
    ASSERT_TRUE(writer.observer.error.has_value());
    EXPECT_EQ(writer.observer.error->code,
              full ? FeedErrorCode::kSinkRejected : FeedErrorCode::kSinkUnavailable);
    EXPECT_EQ(writer.observer.flushed, 0u);
    storage_.fail_syncs = 0;
  }
}

// The process dies, or the power goes, after every single operation on the disk: what was reported flushed is
// there, in order, and a next writer makes something readable of it.
TEST_F(FileSinkTest, WhatWasReportedFlushedSurvivesAnyCrash) {
  for (const bool power : {false, true}) {
    bool finished = false;
    for (uint64_t operations = 1; !finished && operations < 400; ++operations) {
      wal::FakeStorage storage(operations);
      std::swap(storage, storage_);
      storage_.operations_left = operations;
      uint64_t flushed = 0;
      {
        Writer writer(*this, 3, Options(300));
        if (writer.sink.Open().ok()) {
          for (uint64_t n = 1; n <= 12; ++n) {
            if (!writer.Write(n, 100)) break;
            writer.sink.Flush();
            executor_.Advance(milliseconds(1));
          }
        }
        flushed = writer.observer.flushed;
      }
      finished = !storage_.dead;
      storage_.Crash(power);
      storage_.operations_left.reset();
      storage_.dead = false;
      Writer next(*this, 4, Options(300));
      ASSERT_TRUE(next.sink.Open().ok());
      ASSERT_TRUE(next.Write(flushed + 1, 100));
      executor_.Advance(seconds(1));
      const auto lines = Lines();
      size_t at = 0;
      for (uint64_t n = 1; n <= flushed; ++n) {
        const std::string prefix = LineOf(n, 100).value;
        while (at < lines.size() && lines[at] != prefix) ++at;
        ASSERT_LT(at, lines.size()) << "line " << n << " of " << flushed << " after " << operations;
      }
      for (const auto& line : lines) ASSERT_EQ(line.size(), 100u) << "torn after " << operations;
    }
    EXPECT_TRUE(finished);
  }
}

}  // namespace
}  // namespace tenure::changefeed
