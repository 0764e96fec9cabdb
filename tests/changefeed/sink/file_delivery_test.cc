#include "changefeed/sink/file_delivery.h"

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

class FileDeliveryTest : public testing::Test {
 protected:
  // A file sink, whose background is the same executor.
  struct Writer {
    Writer(FileDeliveryTest& test, uint64_t epoch, FileDeliveryOptions options)
        : executor(test.executor_),
          disk(test.storage_, test.executor_),
          sink(std::make_unique<BackgroundSink>(
              executor, std::make_shared<Background>(executor, disk), observer,
              BackgroundSinkOptions{.where = "file:///out", .flush = milliseconds(100)},
              SinkLimits{.max_buffered_bytes = 4096}, [] { return true; },
              std::make_unique<FileDelivery>(disk, SinkIdentity{"feed", "7-1", OwnerEpoch(epoch)},
                                             std::move(options)))) {
      executor.Drain();
    }
    ~Writer() {
      sink.reset();
      executor.Drain();
    }
    bool Write(uint64_t n, size_t bytes = 0) {
      Message message = LineOf(n, bytes);
      return sink->Write(n, message);
    }
    bool opened() const { return observer.opened && !observer.error; }
    runtime::ManualExecutor& executor;
    RecordingObserver observer;
    wal::FakeDisk disk;
    std::unique_ptr<BackgroundSink> sink;
  };
  FileDeliveryOptions Options(uint64_t rotate = 1 << 20) {
    return {.directory = "/out", .rotate_bytes = rotate};
  }
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

TEST_F(FileDeliveryTest, WhatIsFlushedIsOnTheDisk) {
  Writer writer(*this, 3, Options());
  ASSERT_TRUE(writer.Write(1));
  ASSERT_TRUE(writer.Write(2));
  executor_.Advance(milliseconds(99));
  EXPECT_EQ(writer.observer.flushed, 0u);
  executor_.Advance(milliseconds(1));
  EXPECT_EQ(writer.observer.flushed, 2u);
  EXPECT_EQ(writer.sink->buffered_bytes(), 0u);
  EXPECT_THAT(Names(), testing::ElementsAre("/out/feed-7-1-00000000000000000003-00000001.json.part"));
  storage_.Crash(/*power_loss=*/true);
  EXPECT_THAT(Lines(), testing::ElementsAre("line 1", "line 2"));
}

TEST_F(FileDeliveryTest, RotatesClosesAndKeepsAnIndex) {
  Writer writer(*this, 3, Options(1024));
  ASSERT_TRUE(writer.opened());
  for (uint64_t n = 1; n <= 40; ++n) {
    ASSERT_TRUE(writer.Write(n, 100));
    writer.sink->Flush();
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

TEST_F(FileDeliveryTest, AFileIsClosedWhereThereIsNothingMoreToCome) {
  Writer writer(*this, 3, Options());
  ASSERT_TRUE(writer.opened());
  for (uint64_t n = 1; n <= 5; ++n) ASSERT_TRUE(writer.Write(n));
  writer.sink->Finish();
  while (writer.observer.flushed < 5) executor_.Advance(milliseconds(1));
  EXPECT_THAT(Names(), testing::ElementsAre("/out/feed-7-1-00000000000000000003-00000001.json",
                                            "/out/feed-7-1.index"));
  writer.sink->Finish();
  executor_.Advance(seconds(1));
  ASSERT_TRUE(writer.Write(6)) << "a schema change behind the end, say";
  writer.sink->Finish();
  executor_.Advance(seconds(1));
  EXPECT_EQ(writer.observer.flushed, 6u);
  EXPECT_THAT(Names(), testing::ElementsAre("/out/feed-7-1-00000000000000000003-00000001.json",
                                            "/out/feed-7-1-00000000000000000003-00000002.json",
                                            "/out/feed-7-1.index"));
}

TEST_F(FileDeliveryTest, ANewEpochClosesWhatTheOldOneLeftOpen) {
  {
    Writer old(*this, 3, Options());
    ASSERT_TRUE(old.opened());
    ASSERT_TRUE(old.Write(1));
    executor_.Advance(seconds(1));
  }
  storage_.ContentOf("/out/feed-7-1-00000000000000000003-00000001.json.part") += "torn li";
  Writer next(*this, 4, Options());
  ASSERT_TRUE(next.opened());
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000003-00000001.json"), "line 1\n");
  EXPECT_THAT(storage_.ContentOf("/out/feed-7-1.index"), HasSubstr("\"rows\":1"));
  ASSERT_TRUE(next.Write(2));
  executor_.Advance(seconds(1));
  EXPECT_THAT(Lines(), testing::ElementsAre("line 1", "line 2"));
}

TEST_F(FileDeliveryTest, ALineOfCsvMayHoldLineEndsBetweenQuotes) {
  FileDeliveryOptions options = Options();
  options.protocol = Protocol::kCsv;
  const std::string part = "/out/feed-7-1-00000000000000000003-00000001.csv.part";
  storage_.names()[part] = std::make_shared<wal::FakeStorage::Inode>();
  storage_.ContentOf(part) = "put,\"a\nb\"\nput,\"c\"\"\nd";
  Writer next(*this, 4, options);
  ASSERT_TRUE(next.opened());
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000003-00000001.csv"), "put,\"a\nb\"\n");
  EXPECT_THAT(storage_.ContentOf("/out/feed-7-1.index"), HasSubstr("\"rows\":1,"));
}

// Read as CSV, the escaped quotes would open a field that never ends, and all of it were one torn line.
TEST_F(FileDeliveryTest, WhatWasWrittenInAnotherFormatIsReadInThat) {
  const std::string part = "/out/feed-7-1-00000000000000000003-00000001.json.part";
  const std::string lines = "{\"new\":\"a \\\" b\"}\n{\"new\":\"c\"}\n";
  storage_.names()[part] = std::make_shared<wal::FakeStorage::Inode>();
  storage_.ContentOf(part) = lines + "{\"torn";
  FileDeliveryOptions options = Options();
  options.protocol = Protocol::kCsv;
  Writer next(*this, 4, options);
  ASSERT_TRUE(next.opened());
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000003-00000001.json"), lines);
  EXPECT_THAT(storage_.ContentOf("/out/feed-7-1.index"), HasSubstr("\"rows\":2,"));
}

TEST_F(FileDeliveryTest, TheHeaderOfAFileThatACrashLeftOpenIsNoRow) {
  const std::string part = "/out/feed-7-1-00000000000000000003-00000001.csv.part";
  storage_.names()[part] = std::make_shared<wal::FakeStorage::Inode>();
  storage_.ContentOf(part) = "type,commit_ts,region,index,key,qty\nput,1,2,3,a,4\n";
  Writer next(*this, 4, Options());
  ASSERT_TRUE(next.opened());
  EXPECT_THAT(storage_.ContentOf("/out/feed-7-1.index"), HasSubstr("\"rows\":1,"));
}

TEST_F(FileDeliveryTest, AWriterOfTheSameEpochGoesOnBehindTheLastFile) {
  {
    Writer writer(*this, 5, Options());
    ASSERT_TRUE(writer.opened());
    ASSERT_TRUE(writer.Write(1));
    executor_.Advance(seconds(1));
  }
  Writer next(*this, 5, Options());
  ASSERT_TRUE(next.opened());
  ASSERT_TRUE(next.Write(2));
  executor_.Advance(seconds(1));
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000005-00000001.json"), "line 1\n");
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000005-00000002.json.part"), "line 2\n");
}

TEST_F(FileDeliveryTest, AnEpochThatWasOvertakenIsRefused) {
  {
    Writer writer(*this, 5, Options());
    ASSERT_TRUE(writer.opened());
    ASSERT_TRUE(writer.Write(1));
    executor_.Advance(seconds(1));
  }
  for (const uint64_t epoch : {3u, 4u}) {
    Writer late(*this, epoch, Options());
    ASSERT_TRUE(late.observer.error.has_value());
    EXPECT_EQ(late.observer.error->code, FeedErrorCode::kFencedBySink);
    EXPECT_THAT(late.observer.error->message, HasSubstr("epoch 5 has written"));
  }
}

TEST_F(FileDeliveryTest, AFileThatAppearsUnderItsNameIsNotShared) {
  Writer writer(*this, 5, Options());
  ASSERT_TRUE(writer.opened());
  wal::FakeDisk other(storage_, executor_);
  ASSERT_TRUE(
      other.Open("/out/feed-7-1-00000000000000000005-00000001.json.part", runtime::OpenMode::kCreate).ok());
  ASSERT_TRUE(writer.Write(1));
  executor_.Advance(seconds(1));
  ASSERT_TRUE(writer.observer.error.has_value());
  EXPECT_EQ(writer.observer.error->code, FeedErrorCode::kFencedBySink);
  EXPECT_EQ(writer.observer.flushed, 0u);
}

TEST_F(FileDeliveryTest, AnotherDispatcherWithALongerNameIsLeftAlone) {
  storage_.names()["/out/feed-7-1-2-00000000000000000009-00000001.json.part"] =
      std::make_shared<wal::FakeStorage::Inode>();
  Writer writer(*this, 3, Options());
  EXPECT_TRUE(writer.opened());
  EXPECT_THAT(Names(), testing::SizeIs(1));
}

TEST_F(FileDeliveryTest, CsvFilesBeginWithTheirHeaderAndANewOneWithANewSchema) {
  FileDeliveryOptions options = Options();
  options.protocol = Protocol::kCsv;
  Writer writer(*this, 3, options);
  ASSERT_TRUE(writer.opened());
  writer.sink->SetHeader("type,a");
  ASSERT_TRUE(writer.Write(1));
  writer.sink->SetHeader("type,a");
  ASSERT_TRUE(writer.Write(2));
  writer.sink->SetHeader("type,a,b");
  ASSERT_TRUE(writer.Write(3));
  executor_.Advance(seconds(1));
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000003-00000001.csv"),
            "type,a\nline 1\nline 2\n");
  EXPECT_EQ(storage_.ContentOf("/out/feed-7-1-00000000000000000003-00000002.csv.part"), "type,a,b\nline 3\n");
  EXPECT_EQ(writer.observer.flushed, 3u);
}

TEST_F(FileDeliveryTest, AFullDiskAndAFailedSyncAreErrors) {
  for (const bool full : {true, false}) {
    wal::FakeStorage storage(2);
    std::swap(storage, storage_);
    Writer writer(*this, 3, Options());
    ASSERT_TRUE(writer.opened());
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
TEST_F(FileDeliveryTest, WhatWasReportedFlushedSurvivesAnyCrash) {
  for (const bool power : {false, true}) {
    bool finished = false;
    for (uint64_t operations = 1; !finished && operations < 400; ++operations) {
      wal::FakeStorage storage(operations);
      std::swap(storage, storage_);
      storage_.operations_left = operations;
      uint64_t flushed = 0;
      {
        Writer writer(*this, 3, Options(300));
        if (writer.opened()) {
          for (uint64_t n = 1; n <= 12; ++n) {
            if (!writer.Write(n, 100)) break;
            writer.sink->Flush();
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
      ASSERT_TRUE(next.opened());
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
