#include "runtime/stop_token.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

namespace tenure::runtime {
namespace {

TEST(StopTokenTest, DefaultTokenNeverStops) {
  const StopToken token;
  EXPECT_FALSE(token.stop_requested());
  const StopRegistration registration = token.OnStop([] { ADD_FAILURE(); });
}

TEST(StopTokenTest, CallbacksRunInOrderOnce) {
  StopSource source;
  std::vector<int> order;
  const StopRegistration a = source.token().OnStop([&] { order.push_back(1); });
  const StopRegistration b = source.token().OnStop([&] { order.push_back(2); });
  source.RequestStop();
  source.RequestStop();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  const StopRegistration late = source.token().OnStop([&] { order.push_back(3); });
  EXPECT_EQ(order.back(), 3);
}

TEST(StopTokenTest, DestroyedRegistrationIsNotCalled) {
  StopSource source;
  {
    const StopRegistration registration = source.token().OnStop([] { ADD_FAILURE(); });
  }
  StopRegistration moved = source.token().OnStop([] { ADD_FAILURE(); });
  moved = StopRegistration();
  source.RequestStop();
}

TEST(StopTokenTest, ACallbackMayUnregisterALaterOneAndDestroyTheSource) {
  std::optional<StopSource> source(std::in_place);
  StopRegistration second;
  const StopRegistration first = source->token().OnStop([&] {
    second = StopRegistration();
    source.reset();
  });
  second = source->token().OnStop([] { ADD_FAILURE(); });
  source->RequestStop();
  EXPECT_FALSE(source.has_value());
}

TEST(StopTokenTest, TokensOutliveTheSource) {
  StopToken token;
  {
    StopSource source;
    token = source.token();
    EXPECT_FALSE(token.stop_requested());
  }
  EXPECT_TRUE(token.stop_requested());
}

TEST(StopTokenTest, AssigningASourceStopsTheOldEpoch) {
  StopSource source;
  const StopToken old = source.token();
  source = StopSource();
  EXPECT_TRUE(old.stop_requested());
  EXPECT_FALSE(source.token().stop_requested());
}

}  // namespace
}  // namespace tenure::runtime
