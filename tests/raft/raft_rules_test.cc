// The order rules of docs/consensus.md one by one, on one replica at a time: what leaves before, and what
// after its persistence. The stories in testdata/ show them at work.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/format.h"
#include "tests/raft/fake_replica.h"

namespace tenure::raft {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr ReplicaId kSelf{1}, kTwo{2}, kThree{3}, kOutsider{9};

// One replica; everything it says is written down, at once or after a write.
class RaftRules : public testing::Test {
 protected:
  RaftRules() { Make(MakeConfiguration({1, 2, 3})); }

  void Make(const Configuration& configuration, RaftConfig config = {}) {
    config.self = kSelf;
    replica_ = std::make_unique<FakeReplica>(config, configuration);
    replica_->Start(now_, Prng(1));
    Take();
  }
  RaftCore& core() { return replica_->core(); }
  std::vector<std::string> Take() {
    effects_ = replica_->Collect();
    return Names(effects_.messages);
  }
  static std::vector<std::string> Names(const std::vector<Outgoing>& messages) {
    std::vector<std::string> names;
    for (const Outgoing& o : messages) names.push_back(fmt::format("{}: {}", o.to, ToString(o.message)));
    return names;
  }
  std::vector<std::string> Step(ReplicaId from, Message message) {
    core().Step(now_, from, std::move(message));
    return Take();
  }
  std::vector<std::string> Persist() {
    if (replica_->queued_writes() == 0) return {"nothing to write"};
    std::vector<std::string> names = Names(replica_->PersistOne(now_));
    for (std::string& name : Take()) names.push_back(std::move(name));
    return names;
  }
  void PersistAll() {
    while (replica_->queued_writes() > 0) Persist();
  }
  void Crash(size_t writes_kept = 0) {
    replica_->Crash(writes_kept);
    replica_->Start(now_, Prng(2));
    Take();
  }
  void After(Duration duration) { now_ += duration; }
  static Entry Command(uint64_t index, uint64_t term, const std::string& payload = "x") {
    return {LogIndex(index), Term(term), EntryType::kCommand, Bytes(payload)};
  }
  static AppendRequest Append(uint64_t term, uint64_t prev, uint64_t prev_term, std::vector<Entry> entries,
                              uint64_t commit = 0) {
    return {Term(term), LogIndex(prev), Term(prev_term), LogIndex(commit), std::move(entries)};
  }
  static AppendResponse Accepted(uint64_t term, uint64_t index) {
    return {.term = Term(term), .accepted = true, .index = LogIndex(index)};
  }
  // Wins term 1 of {1, 2, 3}. The no-op is queued, not durable.
  void Lead() {
    core().Campaign(now_);
    Take();
    Step(kTwo, VoteResponse{.term = Term(1), .pre = true, .granted = true});
    Persist();
    Step(kTwo, VoteResponse{.term = Term(1), .pre = false, .granted = true});
    ASSERT_EQ(core().role(), Role::kLeader);
  }
  void LeadWithLease() {
    Lead();
    PersistAll();
    Step(kTwo, Accepted(1, 1));
    Step(kTwo, HeartbeatResponse{Term(1), 1});
    ASSERT_TRUE(core().HasLease(now_));
  }
  void Propose(const std::string& payload) {
    LogIndex first;
    Term term;
    ASSERT_EQ(core().Propose(now_, {Bytes(payload)}, &first, &term), ProposeResult::kAccepted);
  }

  Instant now_{milliseconds(5000)};
  std::unique_ptr<FakeReplica> replica_;
  Effects effects_;
};

TEST_F(RaftRules, R1VoteLeavesWhenDurable) {
  EXPECT_THAT(Step(kTwo, VoteRequest{Term(1), LogIndex(), Term()}), IsEmpty());
  EXPECT_THAT(Persist(), ElementsAre("2: VoteAnswer term=1 granted"));
  // The same question again is answered at once, being durable; another's is refused.
  EXPECT_THAT(Step(kTwo, VoteRequest{Term(1), LogIndex(), Term()}),
              ElementsAre("2: VoteAnswer term=1 granted"));
  EXPECT_THAT(Step(kThree, VoteRequest{Term(1), LogIndex(), Term()}),
              ElementsAre("3: VoteAnswer term=1 refused"));
}

TEST_F(RaftRules, R1RepeatedQuestionWaitsForTheFirstAnswersWrite) {
  Step(kTwo, VoteRequest{Term(1), LogIndex(), Term()});
  EXPECT_THAT(Step(kTwo, VoteRequest{Term(1), LogIndex(), Term()}), IsEmpty());
  EXPECT_FALSE(effects_.NeedsPersist());
  EXPECT_EQ(Persist().size(), 2u);
}

TEST_F(RaftRules, R1CandidacyAndOwnVoteWaitForTheDisk) {
  core().Campaign(now_);
  EXPECT_EQ(Take().size(), 2u);
  EXPECT_THAT(Step(kTwo, VoteResponse{.term = Term(1), .pre = true, .granted = true}), IsEmpty());
  EXPECT_EQ(core().role(), Role::kCandidate);
  // Two votes would do, but the own one is not durable.
  Step(kTwo, VoteResponse{.term = Term(1), .pre = false, .granted = true});
  EXPECT_EQ(core().role(), Role::kCandidate);
  const auto sent = Persist();
  EXPECT_EQ(sent[0], "2: Vote term=1 last=0/0");
  EXPECT_EQ(core().role(), Role::kLeader);
}

TEST_F(RaftRules, R1VoteNeverChangesInATerm) {
  Step(kTwo, VoteRequest{Term(1), LogIndex(), Term()});
  PersistAll();
  Step(kThree, Append(1, 0, 0, {Command(1, 1)}));  // 3 won without us
  PersistAll();
  EXPECT_EQ(core().voted_for(), kTwo);
  Crash();
  After(milliseconds(1500));
  EXPECT_THAT(Step(kThree, VoteRequest{Term(1), LogIndex(9), Term(1)}),
              ElementsAre("3: VoteAnswer term=1 refused"));
  EXPECT_EQ(core().voted_for(), kTwo);
}

TEST_F(RaftRules, R2AppendIsAcknowledgedWhenDurable) {
  EXPECT_THAT(Step(kTwo, Append(1, 0, 0, {Command(1, 1), Command(2, 1)})), IsEmpty());
  EXPECT_THAT(Persist(), ElementsAre("2: AppendAnswer term=1 accepted index=2"));
}

TEST_F(RaftRules, R2EachAppendAtItsOwnDurability) {
  Step(kTwo, Append(1, 0, 0, {Command(1, 1)}));
  Step(kTwo, Append(1, 1, 1, {Command(2, 1)}));
  // Again the first: nothing to persist, not durable yet. It waits for the first write, not the second.
  EXPECT_THAT(Step(kTwo, Append(1, 0, 0, {Command(1, 1)})), IsEmpty());
  EXPECT_FALSE(effects_.NeedsPersist());
  EXPECT_THAT(effects_.messages_after_persist, IsEmpty());
  EXPECT_THAT(Persist(), ElementsAre("2: AppendAnswer term=1 accepted index=1",
                                     "2: AppendAnswer term=1 accepted index=1"));
  EXPECT_THAT(Persist(), ElementsAre("2: AppendAnswer term=1 accepted index=2"));
  EXPECT_THAT(Step(kTwo, Append(1, 0, 0, {Command(1, 1)})),
              ElementsAre("2: AppendAnswer term=1 accepted index=1"));
}

TEST_F(RaftRules, R2StaleTailIsNotAcknowledged) {
  Step(kTwo, Append(1, 0, 0, {Command(1, 1), Command(2, 1), Command(3, 1)}));
  PersistAll();
  Step(kThree, Append(2, 1, 1, {}));  // an empty probe of a new leader verifies 1, whatever we have beyond
  EXPECT_THAT(Persist(), ElementsAre("3: AppendAnswer term=2 accepted index=1"));
}

TEST_F(RaftRules, R2HeldAcknowledgementDiesWithItsTerm) {
  Step(kTwo, Append(1, 0, 0, {Command(1, 1)}));
  Step(kTwo, Append(1, 0, 0, {Command(1, 1)}));
  Step(kThree, Append(2, 0, 0, {Command(1, 2)}));
  const auto first = Persist();
  EXPECT_THAT(
      first,
      ElementsAre("2: AppendAnswer term=1 accepted index=1"));  // what went with that write, not the held
  EXPECT_THAT(Persist(), ElementsAre("3: AppendAnswer term=2 accepted index=1"));
}

TEST_F(RaftRules, R2AnswersToAnOldTermsHeartbeatNameNoRound) {
  Step(kTwo, HeartbeatRequest{Term(3), 1, LogIndex()});
  EXPECT_THAT(Step(kTwo, Append(4, 0, 0, {Command(1, 4)})), IsEmpty());
  PersistAll();
  // 2 leads term 4 and still has a heartbeat of term 3 in the network: its rounds are not those of term 4.
  EXPECT_THAT(Step(kTwo, HeartbeatRequest{Term(3), 5, LogIndex()}),
              ElementsAre("2: HeartbeatAnswer term=4 round=0"));
}

TEST_F(RaftRules, R3TruncationIsDurableBeforeWhatFollowsIt) {
  Step(kTwo, Append(1, 0, 0, {Command(1, 1), Command(2, 1), Command(3, 1)}));
  Step(kThree, Append(2, 1, 1, {Command(2, 2)}));
  EXPECT_EQ(effects_.truncate_from, LogIndex(2));
  EXPECT_EQ(core().last_index(), LogIndex(2));
  // The write of the old entries ends: 1 is durable, 2 and 3 are not this log's any more.
  Persist();
  EXPECT_EQ(core().persisted_index(), LogIndex(1));
  EXPECT_THAT(Persist(), ElementsAre("3: AppendAnswer term=2 accepted index=2"));
  EXPECT_EQ(core().persisted_index(), LogIndex(2));
}

TEST_F(RaftRules, R3EntriesNotHandedOutNeedNoTruncation) {
  core().Step(now_, kTwo, Append(1, 0, 0, {Command(1, 1), Command(2, 1)}));
  core().Step(now_, kThree, Append(2, 1, 1, {Command(2, 2), Command(3, 2)}));
  Take();
  EXPECT_FALSE(effects_.truncate_from.has_value());
  ASSERT_EQ(effects_.entries.size(), 1u + 2u);
  EXPECT_EQ(effects_.entries[1].term, Term(2));
  EXPECT_THAT(Persist(), ElementsAre("3: AppendAnswer term=2 accepted index=3"));
}

TEST_F(RaftRules, R4LeaderCountsItselfWhenDurable) {
  Lead();
  PersistAll();
  Step(kTwo, Accepted(1, 1));
  Propose("a");
  Take();
  Step(kTwo, HeartbeatResponse{Term(1), 1});
  EXPECT_EQ(core().commit_index(), LogIndex(1));
  Step(kTwo, Accepted(1, 2));
  EXPECT_EQ(core().commit_index(), LogIndex(1)) << "one of three has it";
  Persist();
  EXPECT_EQ(core().commit_index(), LogIndex(2));
}

TEST_F(RaftRules, R4SingleVoterCommitsAfterItsOwnWrite) {
  Make(MakeConfiguration({1}));
  core().Tick(now_);
  Take();
  EXPECT_EQ(core().role(), Role::kCandidate);
  Persist();
  EXPECT_EQ(core().role(), Role::kLeader);
  EXPECT_EQ(core().commit_index(), LogIndex());
  Persist();
  EXPECT_EQ(core().commit_index(), LogIndex(1));
}

TEST_F(RaftRules, R4EntriesOfOldTermsDoNotCommitByCounting) {
  Step(kTwo, Append(1, 0, 0, {Command(1, 1)}));
  PersistAll();
  After(milliseconds(1500));
  core().Campaign(now_);
  Take();
  Step(kTwo, VoteResponse{.term = Term(2), .pre = true, .granted = true});
  Persist();
  Step(kTwo, VoteResponse{.term = Term(2), .pre = false, .granted = true});
  Persist();  // entry 1 and the no-op of term 2 are durable here
  Step(kThree, Accepted(2, 1));
  EXPECT_EQ(core().commit_index(), LogIndex()) << "two of three hold entry 1, which is of term 1";
  Step(kThree, Accepted(2, 2));
  EXPECT_EQ(core().commit_index(), LogIndex(2));
}

TEST_F(RaftRules, R5CommitForTheDriverIsDurable) {
  Step(kTwo, Append(1, 0, 0, {Command(1, 1), Command(2, 1)}, 2));
  EXPECT_EQ(core().commit_index(), LogIndex(2));
  EXPECT_FALSE(effects_.commit.has_value());
  Persist();
  EXPECT_EQ(effects_.commit, LogIndex(2));
  EXPECT_EQ(replica_->state().applied, LogIndex(2));
}

TEST_F(RaftRules, R5LeaderAheadOfItsOwnDisk) {
  Lead();  // its own no-op is not durable
  Step(kTwo, Accepted(1, 1));
  Step(kThree, Accepted(1, 1));
  EXPECT_EQ(core().commit_index(), LogIndex(1));
  EXPECT_FALSE(effects_.commit.has_value());
  Persist();
  EXPECT_EQ(effects_.commit, LogIndex(1));
}

TEST_F(RaftRules, R6OutsidersNeverRaiseTheTerm) {
  Step(kTwo, Append(1, 0, 0, {Command(1, 1)}));
  PersistAll();
  After(milliseconds(1500));
  EXPECT_THAT(Step(kOutsider, VoteRequest{Term(7), LogIndex(1), Term(1)}), IsEmpty());
  Step(kOutsider,
       VoteRequest{.term = Term(7), .last_index = LogIndex(1), .last_term = Term(1), .transfer = true});
  EXPECT_THAT(Step(kOutsider, HeartbeatRequest{Term(7), 1, LogIndex()}),
              ElementsAre("9: HeartbeatAnswer term=1 round=0"));
  Step(kOutsider, Append(7, 1, 1, {}));
  Step(kOutsider, VoteResponse{.term = Term(7), .granted = false});
  Step(kOutsider, Accepted(7, 1));
  Step(kOutsider, HeartbeatResponse{Term(7), 1});
  Step(kOutsider, TimeoutNow{Term(7)});
  EXPECT_EQ(core().term(), Term(1));
  EXPECT_EQ(core().role(), Role::kFollower);
}

TEST_F(RaftRules, R6CandidateOfAnUnknownConfigurationMayBeVotedFor) {
  Step(kTwo, Append(1, 0, 0, {Command(1, 1)}));
  PersistAll();
  After(milliseconds(1500));
  // Its log holds something that ours lacks: that may be the configuration that made it a voter.
  Step(kOutsider, VoteRequest{Term(2), LogIndex(2), Term(1)});
  EXPECT_THAT(Persist(), ElementsAre("9: VoteAnswer term=2 granted"));
}

TEST_F(RaftRules, R6NoVoteForAnOlderLog) {
  Step(kTwo, Append(2, 0, 0, {Command(1, 1), Command(2, 2)}));
  PersistAll();
  After(milliseconds(1500));
  EXPECT_THAT(Step(kThree, VoteRequest{Term(3), LogIndex(9), Term(1)}),
              ElementsAre("3: VoteAnswer term=3 refused"));
  EXPECT_THAT(Step(kThree, VoteRequest{Term(3), LogIndex(1), Term(2)}),
              ElementsAre("3: VoteAnswer term=3 refused"));
  EXPECT_EQ(core().term(), Term(3)) << "a voter with an old log raises the term all the same";
  PersistAll();
  Step(kThree, VoteRequest{Term(3), LogIndex(2), Term(2)});
  EXPECT_THAT(Persist(), ElementsAre("3: VoteAnswer term=3 granted"));
}

TEST_F(RaftRules, R6VotesCountOncePerVoter) {
  Make(MakeConfiguration({1, 2, 3, 4, 5}));
  core().Campaign(now_);
  Take();
  for (int i = 0; i < 3; i++) Step(kTwo, VoteResponse{.term = Term(1), .pre = true, .granted = true});
  EXPECT_EQ(core().role(), Role::kPreCandidate);
  Step(kOutsider, VoteResponse{.term = Term(1), .pre = true, .granted = true});
  EXPECT_EQ(core().role(), Role::kPreCandidate);
  Step(kThree, VoteResponse{.term = Term(1), .pre = true, .granted = true});
  EXPECT_EQ(core().role(), Role::kCandidate);
}

TEST_F(RaftRules, R6TheRemovedMayStandUntilTheRemovalIsCommitted) {
  // 1 holds the entry that leaves {1, 2, 3} for {4}; 4 does not. Without 1 nobody could be elected.
  Configuration joint = MakeConfiguration({1, 2, 3});
  for (Member& member : joint.members) member.role = MemberRole::kOutgoing;
  joint.members.push_back({ReplicaId(4), 4, MemberRole::kIncoming});
  const auto entry = [](uint64_t index, const Configuration& configuration) {
    return Entry{LogIndex(index), Term(1), EntryType::kConfiguration,
                 Bytes(EncodeConfiguration(configuration))};
  };
  Step(kTwo, Append(1, 0, 0, {entry(1, joint), entry(2, joint.Left())}, 1));
  PersistAll();
  EXPECT_FALSE(core().configuration().IsVoter(kSelf));
  After(milliseconds(2000));
  core().Tick(now_);
  EXPECT_THAT(Take(), ElementsAre("4: PreVote term=2 last=2/1"));
  // Once it is committed, not any more.
  Step(kTwo, Append(1, 2, 1, {}, 2));
  After(milliseconds(2000));
  core().Tick(now_);
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_EQ(core().NextTick(), kFarFuture);
}

TEST_F(RaftRules, R8RestartedVoterWaits) {
  Step(kTwo, Append(1, 0, 0, {Command(1, 1)}));
  PersistAll();
  After(milliseconds(5000));
  Crash();
  After(milliseconds(999));
  const VoteRequest vote{Term(2), LogIndex(1), Term(1)};
  VoteRequest pre = vote, transfer = vote;
  pre.pre = true;
  transfer.transfer = true;
  EXPECT_THAT(Step(kThree, pre), ElementsAre("3: PreVoteAnswer term=1 refused"));
  EXPECT_THAT(Step(kThree, vote), ElementsAre("3: VoteAnswer term=1 refused"));
  EXPECT_THAT(Step(kThree, transfer), ElementsAre("3: VoteAnswer term=1 refused"));
  core().Campaign(now_);
  EXPECT_EQ(core().role(), Role::kFollower);
  After(milliseconds(1));
  Step(kThree, vote);
  EXPECT_THAT(Persist(), ElementsAre("3: VoteAnswer term=2 granted"));
}

TEST_F(RaftRules, R8ReplicaThatNeverRanDoesNotWait) {
  Step(kThree, VoteRequest{Term(1), LogIndex(), Term()});
  EXPECT_THAT(Persist(), ElementsAre("3: VoteAnswer term=1 granted"));
}

TEST_F(RaftRules, R8AHeartbeatIsAcknowledgedWhenItsTermIsDurable) {
  // Else a replica that acknowledged, and so supports a lease, could restart as one that never ran.
  EXPECT_THAT(Step(kTwo, HeartbeatRequest{Term(1), 1, LogIndex()}), IsEmpty());
  EXPECT_THAT(Persist(), ElementsAre("2: HeartbeatAnswer term=1 round=1"));
}

TEST_F(RaftRules, L1LeaseCountsFromTheSending) {
  Lead();
  PersistAll();
  Step(kTwo, Accepted(1, 1));
  After(milliseconds(700));
  Step(kTwo, HeartbeatResponse{Term(1), 1});  // round 1 left 700 ms ago
  EXPECT_TRUE(core().HasLease(now_));
  EXPECT_TRUE(core().HasLease(now_ + milliseconds(290)));
  EXPECT_FALSE(core().HasLease(now_ + milliseconds(291)));  // 1000 / 1.01 in all
}

TEST_F(RaftRules, L1NoLeaseReadsBeforeTheFirstCommitOfTheTerm) {
  Lead();
  Step(kTwo, HeartbeatResponse{Term(1), 1});
  EXPECT_FALSE(core().HasLease(now_));
  PersistAll();
  Step(kTwo, Accepted(1, 1));
  EXPECT_TRUE(core().HasLease(now_));
}

TEST_F(RaftRules, L1LeaderWithLeaseRefusesVotes) {
  LeadWithLease();
  EXPECT_THAT(Step(kThree, VoteRequest{Term(2), LogIndex(9), Term(1)}),
              ElementsAre("3: VoteAnswer term=1 refused"));
  After(milliseconds(991));
  Step(kThree, VoteRequest{Term(2), LogIndex(9), Term(1)});
  EXPECT_THAT(Persist(), ElementsAre("3: VoteAnswer term=2 granted"));
}

TEST_F(RaftRules, L1TransferVoidsTheLeaseForTheTerm) {
  LeadWithLease();
  EXPECT_EQ(core().TransferLeadership(now_, kTwo), ProposeResult::kAccepted);
  EXPECT_THAT(Take(), ElementsAre("2: TimeoutNow term=1"));
  EXPECT_FALSE(core().HasLease(now_));
  After(milliseconds(200));
  core().Tick(now_);
  Take();
  Step(kTwo, HeartbeatResponse{Term(1), 2});
  Step(kThree, HeartbeatResponse{Term(1), 2});
  EXPECT_FALSE(core().HasLease(now_)) << "a late acknowledgement renews nothing";
  LogIndex first;
  Term term;
  EXPECT_EQ(core().Propose(now_, {Bytes("a")}, &first, &term), ProposeResult::kTransferring);
  // Given up: it calls the next election itself.
  After(milliseconds(800));
  core().Tick(now_);
  Take();
  EXPECT_EQ(core().role(), Role::kCandidate);
  EXPECT_THAT(Persist(), testing::Contains("3: Vote term=2 last=1/1 transfer"));
}

TEST_F(RaftRules, L1TransferGivenUpBeforeTimeoutNowKeepsTheLease) {
  LeadWithLease();
  Propose("a");
  Take();
  EXPECT_EQ(core().TransferLeadership(now_, kTwo), ProposeResult::kAccepted);
  EXPECT_THAT(Take(), IsEmpty()) << "2 lacks an entry";
  After(milliseconds(900));
  core().Tick(now_);
  Step(kThree, HeartbeatResponse{Term(1), 2});
  After(milliseconds(100));
  core().Tick(now_);
  Take();
  EXPECT_TRUE(core().HasLease(now_));
  Propose("b");
}

TEST_F(RaftRules, TransferWaitsUntilWhatWasProposedIsCommitted) {
  LeadWithLease();
  Propose("a");
  Take();
  EXPECT_EQ(core().TransferLeadership(now_, kTwo), ProposeResult::kAccepted);
  EXPECT_THAT(Step(kTwo, Accepted(1, 2)), IsEmpty()) << "2 holds all, a majority has nothing on disk yet";
  EXPECT_TRUE(core().HasLease(now_));
  EXPECT_THAT(Persist(), ElementsAre("2: TimeoutNow term=1"));
}

TEST_F(RaftRules, TransferIsRefusedToWhoCannotLead) {
  Make(MakeConfiguration({1, 2, 3}, {4}));
  EXPECT_EQ(core().TransferLeadership(now_, kTwo), ProposeResult::kNotLeader);
  LeadWithLease();
  EXPECT_EQ(core().TransferLeadership(now_, ReplicaId(4)), ProposeResult::kChangePending);
  EXPECT_EQ(core().TransferLeadership(now_, kOutsider), ProposeResult::kChangePending);
  EXPECT_EQ(core().TransferLeadership(now_, kSelf), ProposeResult::kAccepted);
}

TEST_F(RaftRules, TransferIsRefusedToWhoDoesNotAnswer) {
  LeadWithLease();  // 2 has answered, 3 not yet
  EXPECT_EQ(core().TransferLeadership(now_, kThree), ProposeResult::kChangePending) << "nothing of this term";
  Step(kThree, Accepted(1, 1));
  After(milliseconds(900));
  core().Tick(now_);
  Step(kTwo, HeartbeatResponse{Term(1), 2});
  After(milliseconds(200));
  core().Tick(now_);
  Take();
  EXPECT_EQ(core().TransferLeadership(now_, kThree), ProposeResult::kChangePending) << "silent";
  EXPECT_EQ(core().TransferLeadership(now_, kTwo), ProposeResult::kAccepted);
}

// A follower that just acknowledged a heartbeat is part of its leader's lease. A driver that takes that
// leader's process for silent does not know it.
TEST_F(RaftRules, L1WokenFollowerWaitsForTheEndOfItsSilence) {
  RaftConfig config;
  config.quiesce_after = milliseconds(300);
  Make(MakeConfiguration({1, 2, 3}), config);
  Step(kTwo, Append(1, 0, 0, {Command(1, 1)}, 1));
  PersistAll();
  Step(kTwo, HeartbeatRequest{.term = Term(1), .round = 1, .commit = LogIndex(1), .quiesce = true});
  ASSERT_TRUE(core().quiescent());
  core().Wake(now_, Duration::zero());
  core().Tick(now_);
  EXPECT_THAT(Take(), IsEmpty());
  After(milliseconds(999));
  core().Tick(now_);
  EXPECT_THAT(Take(), IsEmpty());
  After(milliseconds(1));
  core().Tick(now_);
  EXPECT_EQ(core().role(), Role::kPreCandidate);
}

TEST_F(RaftRules, L1QuiescentLeaderLosesItsLease) {
  RaftConfig config;
  config.quiesce_after = milliseconds(100);
  Make(MakeConfiguration({1, 2, 3}), config);
  LeadWithLease();
  Step(kThree, Accepted(1, 1));
  for (uint64_t round = 2; !core().quiescent(); ++round) {
    ASSERT_LT(round, 5U);
    After(milliseconds(100));
    core().Tick(now_);
    Take();
    Step(kTwo, HeartbeatResponse{Term(1), round});
    Step(kThree, HeartbeatResponse{Term(1), round});
  }
  EXPECT_TRUE(core().HasLease(now_));
  After(milliseconds(1000));
  EXPECT_FALSE(core().HasLease(now_));
  // A read asks the others, and wakes them.
  core().ReadIndex(now_, 7);
  EXPECT_THAT(Take(), testing::SizeIs(2));
  EXPECT_THAT(effects_.reads, IsEmpty());
  EXPECT_FALSE(core().quiescent());
}

// It does not stand when it hears nothing, and so would not wake a group that sleeps without it.
TEST_F(RaftRules, ALearnerThatDoesNotKnowTheCommitKeepsTheGroupAwake) {
  RaftConfig config;
  config.quiesce_after = milliseconds(100);
  Make(MakeConfiguration({1, 2, 3}, {4}), config);
  LeadWithLease();
  Step(kThree, Accepted(1, 1));
  Step(ReplicaId(4), Accepted(1, 1));
  uint64_t round = 2;
  const auto beat = [&](bool learner_answers) {
    After(milliseconds(100));
    core().Tick(now_);
    Take();
    Step(kTwo, HeartbeatResponse{Term(1), round});
    Step(kThree, HeartbeatResponse{Term(1), round});
    // Only of what it heard before anything was committed.
    Step(ReplicaId(4), HeartbeatResponse{Term(1), learner_answers ? round : 1});
    ++round;
  };
  for (int i = 0; i < 5; ++i) beat(false);
  EXPECT_FALSE(core().quiescent());
  beat(true);
  beat(true);
  EXPECT_TRUE(core().quiescent());
}

TEST_F(RaftRules, L1LeaderWithoutADiskHasNoLease) {
  LeadWithLease();
  core().SetDiskStalled(now_, true);
  EXPECT_THAT(Take(), ElementsAre("2: TimeoutNow term=1"));
  EXPECT_EQ(core().role(), Role::kFollower);
  EXPECT_FALSE(core().HasLease(now_));
  // It stands for nothing, asked or not.
  Step(kTwo, HeartbeatRequest{.term = Term(1), .round = 1});
  After(milliseconds(5000));
  core().Tick(now_);
  core().Campaign(now_);
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_EQ(core().role(), Role::kFollower);
  core().SetDiskStalled(now_, false);
  core().Campaign(now_);
  EXPECT_EQ(core().role(), Role::kPreCandidate);
}

TEST_F(RaftRules, AStalledDiskEndsACandidacy) {
  core().Campaign(now_);
  ASSERT_EQ(core().role(), Role::kPreCandidate);
  core().SetDiskStalled(now_, true);
  EXPECT_EQ(core().role(), Role::kFollower);
}

TEST_F(RaftRules, ProposalsAreBounded) {
  Make(MakeConfiguration({1, 2, 3}), {.max_uncommitted_bytes = 10});
  LeadWithLease();
  Propose("longer than the limit, but alone");
  LogIndex first;
  Term term;
  EXPECT_EQ(core().Propose(now_, {Bytes("x")}, &first, &term), ProposeResult::kOverloaded);
  Take();
  PersistAll();
  Step(kTwo, Accepted(1, 2));
  Propose("x");
}

TEST_F(RaftRules, ChangesAreRefused) {
  Lead();
  LogIndex index;
  Term term;
  const auto propose = [&](const Configuration& target) {
    return core().ProposeConfiguration(now_, target, &index, &term);
  };
  EXPECT_EQ(propose(MakeConfiguration({})), ProposeResult::kInvalid);
  EXPECT_EQ(propose(MakeConfiguration({1, 1})), ProposeResult::kInvalid);
  EXPECT_EQ(propose(MakeConfiguration({1, 2})), ProposeResult::kChangePending)
      << "no entry of this term is committed";
  PersistAll();
  Step(kTwo, Accepted(1, 1));
  EXPECT_EQ(propose(MakeConfiguration({1, 2})), ProposeResult::kAccepted);
  EXPECT_EQ(index, LogIndex(2));
  EXPECT_EQ(propose(MakeConfiguration({1, 2, 3})), ProposeResult::kChangePending);
}

TEST_F(RaftRules, AppliedAtTheStartIsCommitted) {
  Step(kTwo, Append(1, 0, 0, {Command(1, 1), Command(2, 1)}, 2));
  PersistAll();
  replica_->Flush();
  Crash();
  EXPECT_EQ(core().commit_index(), LogIndex(2)) << "the hard state says less";
}

TEST_F(RaftRules, MalformedAppendIsIgnored) {
  EXPECT_THAT(Step(kTwo, Append(1, 0, 0, {Command(2, 1)})), IsEmpty());
  EXPECT_THAT(Step(kTwo, Append(1, 0, 0, {Command(1, 2)})), IsEmpty());
  EXPECT_EQ(core().term(), Term());
}

TEST_F(RaftRules, ClockThatJumpsBackIsTakenAsStandingStill) {
  LeadWithLease();
  core().Tick(now_ - milliseconds(3000));
  EXPECT_TRUE(core().HasLease(now_ - milliseconds(3000)));
  EXPECT_FALSE(core().HasLease(now_ + milliseconds(1000)));
}

}  // namespace
}  // namespace tenure::raft
