// Commands that write and answer far more than they are: a batch of them ends early, and others have their turn.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "tests/group/one_process.h"

namespace tenure::group {
namespace {

using namespace std::chrono_literals;

constexpr int kCommands = 100;
constexpr size_t kWritten = 100 << 10;

struct Batches {
  int count = 0;
  int applied = 0;
  int most = 0;  // of commands in one
};

class Amplifier final : public StateMachine {
 public:
  explicit Amplifier(Batches& batches) : batches_(batches) {}
  void Reset(const kv::Reader&, LogIndex) override {}
  std::string Apply(const ApplyContext&, std::string_view command, kv::View& state) override {
    state.Put(command, std::string(kWritten, 'x'));
    ++in_batch_;
    return "done";
  }
  void OnBatchWritten(LogIndex) override {
    batches_.count += in_batch_ > 0 ? 1 : 0;
    batches_.applied += in_batch_;
    batches_.most = std::max(batches_.most, in_batch_);
    in_batch_ = 0;
  }

 private:
  Batches& batches_;
  int in_batch_ = 0;
};

class AmplificationTest : public OneProcessTest {
 protected:
  AmplificationTest() {
    options.max_batch_bytes =
        kWritten / 2;  // of what is written, four times that: two commands, and one more
    Begin();
  }
  void StartGroup() {
    Do([this] {
      ASSERT_TRUE(
          host->Start(GroupId(1), ReplicaId(1), VotersOf({1}), std::make_unique<Amplifier>(batches), true)
              .ok());
    });
  }
  // Counts its own turns until everything is applied.
  void TakeTurns() {
    ++turns;
    if (batches.applied < kCommands) Do([this] { TakeTurns(); });
  }

  Batches batches;
  int turns = 0;
};

TEST_F(AmplificationTest, ABatchEndsWithWhatWasWritten) {
  StartGroup();
  world.RunFor(100ms);
  int answered = 0;
  Do([&] {
    for (int i = 0; i < kCommands; ++i) {
      host->Propose(GroupId(1), "key " + std::to_string(i), [&](ProposeOutcome outcome) {
        EXPECT_EQ(outcome.kind, ProposeOutcome::Kind::kApplied);
        ++answered;
      });
    }
  });
  world.RunFor(1s);
  EXPECT_EQ(answered, kCommands);
  EXPECT_EQ(batches.applied, kCommands);
  EXPECT_LE(batches.most, 3);
}

TEST_F(AmplificationTest, OthersHaveTheirTurnWhenTheLogIsAppliedAgain) {
  StartGroup();
  world.RunFor(100ms);
  Do([&] {
    for (int i = 0; i < kCommands; ++i)
      host->Propose(GroupId(1), "key " + std::to_string(i), [](const ProposeOutcome&) {});
  });
  world.RunFor(1s);
  ASSERT_EQ(batches.applied, kCommands);
  End();
  store = std::make_shared<kv::MemoryStore>();  // nothing had been flushed
  batches = {};
  Begin();
  StartGroup();
  while (batches.applied == 0) world.RunFor(10us);
  EXPECT_LE(batches.applied, 3);
  Do([this] { TakeTurns(); });
  world.RunFor(1s);
  EXPECT_EQ(batches.applied, kCommands);
  EXPECT_LE(batches.most, 3);
  EXPECT_GE(turns, batches.count - 1);
}

}  // namespace
}  // namespace tenure::group
