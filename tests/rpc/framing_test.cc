#include "rpc/framing.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tenure::rpc {
namespace {

TEST(FramingTest, MessagesComeOutAsTheyWentIn) {
  const std::vector<std::string> messages = {"", "a", std::string(127, 'b'), std::string(20'000, 'c')};
  std::string batch;
  for (const std::string& message : messages) AppendMessageFrame(batch, message);
  FrameReader reader(batch);
  for (const std::string& message : messages) EXPECT_EQ(reader.Next(), message);
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_FALSE(reader.closed().has_value());
}

TEST(FramingTest, TheCloseFrameCarriesTheStatus) {
  Status status = Error(StatusCode::kAborted, "enough");
  status.SetPayload("b", absl::Cord("2"));
  status.SetPayload("a", absl::Cord("1"));
  std::string batch;
  AppendMessageFrame(batch, "last");
  AppendCloseFrame(batch, status);
  FrameReader reader(batch);
  EXPECT_EQ(reader.Next(), "last");
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_EQ(reader.closed(), status);
}

TEST(FramingTest, StatusesSurvive) {
  EXPECT_EQ(DecodeStatus(EncodeStatus(OkStatus())), OkStatus());
  const Status status = Error(StatusCode::kDataLoss, "x{}", std::string(300, 'y'));
  EXPECT_EQ(DecodeStatus(EncodeStatus(status)), status);
}

TEST(FramingTest, DamageIsNoticedAtEveryLength) {
  Status status = Error(StatusCode::kAborted, "enough");
  status.SetPayload("url", absl::Cord("payload"));
  std::string batch;
  AppendMessageFrame(batch, std::string(200, 'x'));
  AppendCloseFrame(batch, status);
  for (size_t size = 1; size < batch.size(); ++size) {
    const std::string cut = batch.substr(0, size);
    FrameReader reader(cut);
    while (reader.Next()) {
    }
    if (reader.closed()) EXPECT_NE(*reader.closed(), status) << size;
  }
  std::string huge;
  huge.append(9, '\xff');
  huge.push_back('\x01');
  FrameReader reader(huge);
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_EQ(reader.closed()->code(), StatusCode::kInternal);
}

}  // namespace
}  // namespace tenure::rpc
