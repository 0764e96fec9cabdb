#include "changefeed/sink/delivered_prefix.h"

#include <gtest/gtest.h>

namespace tenure::changefeed {
namespace {

TEST(DeliveredPrefix, RisesOnlyOverWhatIsConfirmedByAll) {
  DeliveredPrefix prefix;
  const auto a = prefix.Add(10, 1);
  const auto b = prefix.Add(20, 3);
  const auto c = prefix.Add(30, 1);
  prefix.Confirm(c);
  EXPECT_FALSE(prefix.TakePrefix().has_value());
  prefix.Confirm(a);
  EXPECT_EQ(prefix.TakePrefix(), 10u);
  prefix.Confirm(b);
  prefix.Confirm(b);
  EXPECT_FALSE(prefix.TakePrefix().has_value());
  prefix.Confirm(b);
  EXPECT_EQ(prefix.TakePrefix(), 30u);
  prefix.Add(40, 0);
  EXPECT_EQ(prefix.TakePrefix(), 40u) << "it goes nowhere";
  EXPECT_EQ(prefix.waiting(), 0u);
}

}  // namespace
}  // namespace tenure::changefeed
