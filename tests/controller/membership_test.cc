#include <gtest/gtest.h>

#include "catalog/controllers.h"
#include "controller/membership/announcement_service.h"
#include "controller/membership/announcing.h"
#include "controller/membership/joining.h"
#include "controller/membership/membership_reconciler.h"
#include "controller/membership/presence.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

pb::ControllerRecord Self() {
  pb::ControllerRecord self = ThreeControllers()[0];
  self.set_uuid("u1");
  return self;
}

class MembershipTest : public ::testing::Test {
 protected:
  MembershipTest() {
    t.machine.AddListener(reconciler);
    t.machine.AddListener(addresses);
    t.leadership.AddService(reconciler);
    t.network->Serve(kAnnounceService, announcements);
    for (uint64_t id = 2; id <= 3; ++id)
      t.group.status.peers.push_back({ReplicaId(id), LogIndex(100), true, false});
  }

  // The services of this fixture end before the controller does.
  ~MembershipTest() override { t.Follow(99, 2); }

  ipb::AnnouncementAnswer Announce(uint64_t id, const std::string& uuid, const std::string& address,
                                   bool joining = false, const std::string& cluster = "cluster",
                                   uint32_t format = catalog::kNewestFormat, uint64_t incarnation = 2) {
    ipb::Announcement announcement;
    announcement.set_cluster_id(cluster);
    announcement.mutable_controller()->set_id(id);
    announcement.mutable_controller()->set_uuid(uuid);
    announcement.mutable_controller()->set_address(address);
    announcement.mutable_controller()->set_name("c" + std::to_string(id));
    announcement.mutable_controller()->set_newest_format(format);
    announcement.set_joining(joining);
    announcement.set_incarnation(incarnation);
    auto answer = t.Call<ipb::AnnouncementAnswer>("tenure.internal.v1.Controllers/Announce", announcement);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : ipb::AnnouncementAnswer();
  }
  StatusOr<pb::ChangeResponse> Add(uint64_t id, const std::string& address) {
    pb::AddControllerRequest request;
    request.set_controller(id);
    request.set_address(address);
    return t.Call<pb::ChangeResponse>("tenure.v1.Cluster/AddController", request);
  }
  const pb::ControllerRecord& record(uint64_t id) {
    return t.machine.catalog().controllers().at(id).controller();
  }
  std::string configuration() { return raft::ToString(t.group.status.configuration); }
  void Settle(Duration time = seconds(1)) { t.executor.Advance(time); }

  TestController t;
  group::AddressBook book;
  AddressKeeper addresses{book, t.directory};
  MembershipReconciler reconciler{t.executor, t.access, {.replace_after = seconds(10)}, {}};
  uint64_t superseded_by = 0;
  AnnouncementService announcements{t.access,
                                    t.leadership,
                                    t.directory,
                                    addresses,
                                    Self(),
                                    {.id = "cluster", .incarnation = 2},
                                    [this](uint64_t incarnation) { superseded_by = incarnation; },
                                    {}};
};

TEST_F(MembershipTest, FromAddedToVoterToRemoved) {
  t.Lead();
  ASSERT_TRUE(Add(4, "c4:7100").ok());
  Settle();
  EXPECT_EQ(configuration(), "1:voter@1 2:voter@2 3:voter@3 4:learner@4");
  pb::SetVoterTargetRequest target;
  target.set_target(5);
  ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Cluster/SetVoterTarget", target).ok());
  Settle();
  EXPECT_FALSE(record(4).voter());
  // Active since it joined, but it has acknowledged nothing.
  t.group.status.configuration_index = LogIndex(50);
  t.group.status.commit = LogIndex(100);
  t.group.status.peers.push_back({ReplicaId(4), LogIndex(0), true, false});
  Settle();
  EXPECT_FALSE(record(4).voter());
  t.group.status.peers.back().match = LogIndex(90);
  Settle();
  EXPECT_EQ(configuration(), "1:voter@1 2:voter@2 3:voter@3 4:voter@4");
  EXPECT_TRUE(record(4).voter());

  pb::RemoveControllerRequest remove;
  remove.set_controller(4);
  remove.set_force(true);
  ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Cluster/RemoveController", remove).ok());
  Settle();
  EXPECT_EQ(configuration(), "1:voter@1 2:voter@2 3:voter@3");
  EXPECT_EQ(record(4).state(), pb::CONTROLLER_REMOVED);
  EXPECT_EQ(Announce(4, "u4", "c4:7100").verdict(), ipb::ANNOUNCEMENT_REMOVED);
}

TEST_F(MembershipTest, NothingWhileAChangeIsUndecided) {
  t.group.status.configuration_index = LogIndex(7);
  t.group.status.commit = LogIndex(6);
  t.Lead();
  ASSERT_TRUE(Add(4, "c4:7100").ok());
  Settle();
  EXPECT_TRUE(t.group.configurations.empty());
  t.group.status.commit = LogIndex(7);
  Settle();
  EXPECT_EQ(t.group.configurations.size(), 1u);
}

TEST_F(MembershipTest, TheLeaderHandsOverAndLeavesTheRestToItsSuccessor) {
  t.Lead();
  pb::RemoveControllerRequest remove;
  remove.set_controller(1);
  remove.set_force(true);
  ASSERT_TRUE(t.Call<pb::ChangeResponse>("tenure.v1.Cluster/RemoveController", remove).ok());
  Settle();
  EXPECT_FALSE(t.group.transferred_to.IsNone());
  EXPECT_TRUE(t.group.configurations.empty());
}

TEST_F(MembershipTest, ASilentVoterIsReplaced) {
  t.Lead();
  ASSERT_TRUE(Add(4, "c4:7100").ok());
  t.group.status.peers.push_back({ReplicaId(4), LogIndex(90), true, false});
  t.group.status.peers[1].active = false;
  Settle(seconds(9));
  EXPECT_TRUE(record(3).voter());
  Settle(seconds(2));
  EXPECT_EQ(configuration(), "1:voter@1 2:voter@2 3:learner@3 4:voter@4");
}

TEST_F(MembershipTest, AnnouncementsAreJudged) {
  t.Lead();
  EXPECT_EQ(Announce(2, "u2", "c2:7100").verdict(), ipb::ANNOUNCEMENT_RECORDED);
  EXPECT_EQ(record(2).uuid(), "u2");
  EXPECT_EQ(Announce(2, "other", "c2:7100").verdict(), ipb::ANNOUNCEMENT_ID_IN_USE);
  EXPECT_EQ(Announce(2, "other", "c2:7100", true).verdict(), ipb::ANNOUNCEMENT_ID_IN_USE);
  // A voter that has not announced itself yet has a log, whatever this directory says.
  EXPECT_EQ(Announce(3, "u3", "c3:7100", true).verdict(), ipb::ANNOUNCEMENT_ID_IN_USE);
  EXPECT_EQ(Announce(3, "u3", "c3:7100").verdict(), ipb::ANNOUNCEMENT_RECORDED);
  EXPECT_EQ(Announce(4, "u4", "c4:7100", true).verdict(), ipb::ANNOUNCEMENT_NOT_ADDED);
  EXPECT_EQ(Announce(2, "u2", "c3:7100").verdict(), ipb::ANNOUNCEMENT_ADDRESS_IN_USE);
  EXPECT_EQ(Announce(2, "u2", "c2:7100", false, "elsewhere").verdict(), ipb::ANNOUNCEMENT_WRONG_CLUSTER);
  EXPECT_EQ(Announce(2, "u2", "c2:7100", false, "cluster", 0).verdict(), ipb::ANNOUNCEMENT_WRONG_FORMAT);
  EXPECT_EQ(Announce(2, "u2", "moved:1").verdict(), ipb::ANNOUNCEMENT_RECORDED);
  EXPECT_EQ(record(2).address(), "moved:1");
  EXPECT_EQ(book.Find(2), "moved:1");
  ASSERT_TRUE(Add(4, "c4:7100").ok());
  EXPECT_EQ(Announce(4, "u4", "c4:7100", true, "").verdict(), ipb::ANNOUNCEMENT_RECORDED);
}

// A follower cannot tell who has just been added and who never will be.
TEST_F(MembershipTest, OfThoseThatNoRecordNamesOnlySoManyAreKept) {
  t.Lead();
  ASSERT_TRUE(Add(99, "c99:7100").ok());
  t.Follow(8, 2);
  for (uint64_t id = 100; id < 400; ++id) {
    ipb::Announcement announcement;
    announcement.set_cluster_id("cluster");
    announcement.mutable_controller()->set_id(id);
    announcement.mutable_controller()->set_uuid("u");
    announcement.mutable_controller()->set_address("c" + std::to_string(id) + ":7100");
    announcement.mutable_controller()->set_newest_format(catalog::kNewestFormat);
    (void)t.Call<ipb::AnnouncementAnswer>("tenure.internal.v1.Controllers/Announce", announcement);
  }
  EXPECT_EQ(book.Find(110), "c110:7100");
  EXPECT_EQ(book.Find(300), std::nullopt);
  EXPECT_EQ(Announce(99, "u99", "moved:1").verdict(), ipb::ANNOUNCEMENT_HEARD) << "a record names it";
  EXPECT_EQ(book.Find(99), "moved:1");
}

class TokenTest : public ::testing::Test {
 protected:
  TokenTest() {
    t.machine.AddListener(addresses);
    t.network->Serve(kAnnounceService, announcements);
    t.Lead();
  }
  static catalog::JoinTokens Tokens(std::string_view text) { return *catalog::JoinTokens::Parse(text); }
  static ipb::Announcement Word(uint64_t incarnation = 2) {
    ipb::Announcement word;
    word.set_cluster_id("cluster");
    word.set_incarnation(incarnation);
    word.mutable_controller()->set_id(2);
    word.mutable_controller()->set_uuid("u2");
    word.mutable_controller()->set_address("moved:1");
    word.mutable_controller()->set_newest_format(catalog::kNewestFormat);
    return word;
  }
  ipb::AnnouncementAnswer Announce(const ipb::Announcement& word) {
    const auto answer = t.Call<ipb::AnnouncementAnswer>("tenure.internal.v1.Controllers/Announce", word);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : ipb::AnnouncementAnswer();
  }
  // A process that is controller 2 and asks the others; how it ended, if it did.
  std::optional<Status> Be(const catalog::JoinTokens& tokens, bool newcomer, std::vector<std::string> others,
                           bool leads = false) {
    std::optional<Status> refused;
    pb::ControllerRecord self = ThreeControllers()[1];
    self.set_uuid("u2");
    auto view = t.fake_network.MakeView(self.address());
    CatalogMachine empty{{}, {}};
    FakeGroup no_group{t.executor, empty};
    ControllerDirectory directory{ThreeControllers(), empty.catalog()};
    Leadership leadership{t.executor, ReplicaId(2), directory, {}, {}};
    CatalogAccess access{t.executor, no_group, empty, leadership, {}};
    AddressKeeper keeper{other_book, directory};
    Presence presence({t.executor, *view, access, leadership, directory, keeper}, self,
                      {.id = "cluster", .incarnation = 2, .tokens = tokens}, std::move(others),
                      [&refused](const Status& status) { refused = status; }, {});
    if (leads) {
      leadership.OnRoleChange({raft::Role::kLeader, Term(8), ReplicaId(2)});
      leadership.OnServing(Term(8));
    }
    presence.Start(newcomer);
    t.executor.Advance(seconds(2));
    presence.Stop();
    leadership.Stop([] {});
    t.executor.Advance(milliseconds(10));
    return refused;
  }

  TestController t;
  group::AddressBook book, other_book;
  AddressKeeper addresses{book, t.directory};
  uint64_t superseded_by = 0;
  AnnouncementService announcements{
      t.access,
      t.leadership,
      t.directory,
      addresses,
      Self(),
      {.id = "cluster", .incarnation = 2, .tokens = Tokens("the-token-of-cluster\nthe-next-one-of-it")},
      [this](uint64_t incarnation) { superseded_by = incarnation; },
      {}};
};

TEST_F(TokenTest, NothingIsBelievedWithoutIt) {
  for (const uint64_t incarnation : {uint64_t{2}, uint64_t{3}}) {
    const auto answer = Announce(Word(incarnation));
    EXPECT_EQ(answer.verdict(), ipb::ANNOUNCEMENT_WRONG_TOKEN);
    EXPECT_NE(answer.message().find("controller 2 at moved:1 gave no token"), std::string::npos);
    EXPECT_EQ(answer.addresses_size(), 0);
    EXPECT_EQ(catalog::ReasonOf(controller::RefusalOf(answer)), pb::REASON_WRONG_TOKEN);
  }
  ipb::Announcement word = Word(3);
  Tokens("a-token-of-another").Sign(word);
  EXPECT_EQ(Announce(word).verdict(), ipb::ANNOUNCEMENT_WRONG_TOKEN);
  t.executor.Advance(seconds(1));
  EXPECT_EQ(superseded_by, 0u) << "a stranger's incarnation ends nobody";
  EXPECT_EQ(book.Find(2), "c2:7100") << "a stranger's address is nobody's";
  EXPECT_EQ(t.machine.catalog().controllers().at(2).controller().address(), "c2:7100");
}

TEST_F(TokenTest, EitherLineOfTheFileWillDo) {
  for (const char* file : {"the-token-of-cluster", "the-next-one-of-it\nthe-token-of-cluster"}) {
    ipb::Announcement word = Word();
    Tokens(file).Sign(word);
    EXPECT_EQ(Announce(word).verdict(), ipb::ANNOUNCEMENT_RECORDED) << file;
  }
  EXPECT_EQ(book.Find(2), "moved:1");
}

TEST_F(TokenTest, AJoiningControllerWithoutItEndsWithTheReason) {
  std::optional<StatusOr<OwnCluster>> result;
  Joining joining(t.executor, *t.network, Word().controller(), {.tokens = Tokens("a-token-of-another")},
                  {TestController::kEndpoint}, {});
  joining.Start([&](StatusOr<OwnCluster> cluster) { result = std::move(cluster); });
  t.executor.Advance(seconds(1));
  ASSERT_TRUE(result);
  EXPECT_TRUE(catalog::IsReason(result->status(), pb::REASON_WRONG_TOKEN)) << result->status();
}

TEST_F(TokenTest, ANewcomerIsTurnedAwayByAMajorityAndAMemberGoesOn) {
  const catalog::JoinTokens wrong = Tokens("a-token-of-another");
  EXPECT_FALSE(Be(wrong, /*newcomer=*/true, {"c1:7100"}))
      << "one of three may be the one with the wrong token";
  // The third controller says the same.
  auto third_view = t.fake_network.MakeView("c3:7100");
  pb::ControllerRecord third = ThreeControllers()[2];
  AnnouncementService also{
      t.access,        t.leadership,
      t.directory,     addresses,
      third,           {.id = "cluster", .incarnation = 2, .tokens = Tokens("the-token-of-cluster")},
      [](uint64_t) {}, {}};
  third_view->Serve(kAnnounceService, also);
  const auto refused = Be(wrong, /*newcomer=*/true, {"c1:7100", "c3:7100"});
  ASSERT_TRUE(refused);
  EXPECT_TRUE(catalog::IsReason(*refused, pb::REASON_WRONG_TOKEN)) << *refused;
  EXPECT_TRUE(Be(wrong, /*newcomer=*/true, {"c1:7100", "c3:7100"}, /*leads=*/true)) << "office is no token";
  EXPECT_FALSE(Be(wrong, /*newcomer=*/false, {"c1:7100", "c3:7100"}));
  EXPECT_FALSE(Be(Tokens("the-token-of-cluster"), /*newcomer=*/true, {"c1:7100", "c3:7100"}));
}

TEST_F(MembershipTest, OneThatARecoveryLeftBehindIsToldAndOneThatIsAheadSupersedes) {
  t.Lead();
  const auto announce = [this](uint64_t incarnation) {
    return Announce(2, "u2", "c2:7100", false, "cluster", catalog::kNewestFormat, incarnation);
  };
  const auto behind = announce(1);
  EXPECT_EQ(behind.verdict(), ipb::ANNOUNCEMENT_STALE_INCARNATION);
  EXPECT_NE(behind.message().find("is of incarnation 1 of cluster"), std::string::npos);
  EXPECT_EQ(behind.incarnation(), 2u);
  EXPECT_EQ(record(2).uuid(), "") << "nothing of it is written down";
  EXPECT_EQ(superseded_by, 0u);
  EXPECT_EQ(announce(3).verdict(), ipb::ANNOUNCEMENT_HEARD);
  EXPECT_EQ(superseded_by, 3u);
  EXPECT_EQ(record(2).uuid(), "");
}

// Where nothing else is said between the two, a controller that was left behind must still learn of it.
TEST_F(MembershipTest, AMemberIsAskedUntilItHasAnsweredOnce) {
  t.Lead();
  pb::ControllerRecord second = ThreeControllers()[1];
  second.set_uuid("u2");
  auto view = t.fake_network.MakeView(second.address());
  Leadership follower{t.executor, ReplicaId(2), t.directory, {}, {}};
  group::AddressBook second_book;
  AddressKeeper keeper{second_book, t.directory};
  std::vector<Status> refused;
  Presence presence({t.executor, *view, t.access, follower, t.directory, keeper}, second,
                    {.id = "cluster", .incarnation = 2}, {},
                    [&](const Status& status) { refused.push_back(status); }, {});
  follower.OnRoleChange({raft::Role::kFollower, Term(7), ReplicaId(1)});
  const auto asked = [&](const std::string& address) {
    return std::count(
        t.fake_network.calls.begin(), t.fake_network.calls.end(),
        std::pair<runtime::Endpoint, std::string>(address, "tenure.internal.v1.Controllers/Announce"));
  };
  presence.Start(/*newcomer=*/false);
  Settle(seconds(20));
  EXPECT_EQ(record(2).uuid(), "u2");
  EXPECT_TRUE(refused.empty());
  EXPECT_LE(asked("c1:7100"), 6) << "the leader has it, and is reminded now and then";
  EXPECT_GE(asked("c3:7100"), 40);
  // Now the third one can be reached. It has gone on.
  auto third_view = t.fake_network.MakeView("c3:7100");
  AnnouncementService third{t.access,
                            t.leadership,
                            t.directory,
                            addresses,
                            ThreeControllers()[2],
                            {.id = "cluster", .incarnation = 3},
                            [](uint64_t) {},
                            {}};
  third_view->Serve(kAnnounceService, third);
  Settle(seconds(1));
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_TRUE(catalog::IsReason(refused[0], pb::REASON_STALE_INCARNATION)) << refused[0];
  presence.Stop();
  follower.Stop([] {});
  Settle();
}

TEST_F(MembershipTest, AFollowerHearsAndTellsItsTransport) {
  t.Lead();
  t.Follow(8, 2);
  EXPECT_EQ(Announce(3, "u3", "moved:3").verdict(), ipb::ANNOUNCEMENT_HEARD);
  EXPECT_EQ(book.Find(3), "moved:3");
  EXPECT_EQ(record(3).address(), "c3:7100");
}

TEST_F(MembershipTest, TwoSwapTheirAddresses) {
  t.Lead();
  EXPECT_EQ(Announce(2, "u2", "c3:7100").verdict(), ipb::ANNOUNCEMENT_ADDRESS_IN_USE);
  EXPECT_EQ(Announce(3, "u3", "c2:7100").verdict(), ipb::ANNOUNCEMENT_RECORDED);
  EXPECT_EQ(record(2).address(), "c3:7100");
  EXPECT_EQ(record(3).address(), "c2:7100");
}

TEST_F(MembershipTest, TheAddressOfASilentOneMayBeTaken) {
  t.Lead();
  EXPECT_EQ(catalog::ReasonOf(Add(4, "c3:7100").status()), pb::REASON_ALREADY_EXISTS);
  t.group.status.peers[1].active = false;
  EXPECT_TRUE(Add(4, "c3:7100").ok());
  EXPECT_EQ(book.Find(3), std::nullopt);
  EXPECT_EQ(book.Find(4), "c3:7100");
}

// Says the same to whoever announces itself.
class Announced final : public runtime::Service {
 public:
  explicit Announced(ipb::AnnouncementVerdict verdict) : verdict_(verdict) {}
  void OnCall(const runtime::CallInfo&, std::string, runtime::Reply reply) override {
    ipb::AnnouncementAnswer answer;
    answer.set_verdict(verdict_);
    answer.set_cluster_id("cluster");
    ++heard;
    reply(answer.SerializeAsString());
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  int heard = 0;

 private:
  const ipb::AnnouncementVerdict verdict_;
};

// Found by the simulator: a removed controller hears of no election any more, and the leader it knows may go.
TEST_F(MembershipTest, AControllerWhoseLastLeaderIsGoneAsksTheOthers) {
  t.Lead();
  t.Follow(8, 2);
  Announced leader(ipb::ANNOUNCEMENT_RECORDED);
  const auto two = t.fake_network.MakeView("c2:7100");
  two->Serve(kAnnounceService, leader);
  std::optional<Status> refused;
  Presence presence({t.executor, *t.network, t.access, t.leadership, t.directory, addresses}, Self(),
                    {.id = "cluster", .incarnation = 2}, {}, [&](Status status) { refused = status; }, {});
  presence.Start(/*newcomer=*/false);
  Settle();
  EXPECT_GT(leader.heard, 0);
  // It is removed, of which it does not hear; its leader goes, another one leads.
  t.fake_network.SetDown("c2:7100", true);
  Announced next(ipb::ANNOUNCEMENT_REMOVED);
  const auto three = t.fake_network.MakeView("c3:7100");
  three->Serve(kAnnounceService, next);
  Settle(seconds(10));
  EXPECT_GT(next.heard, 0);
  ASSERT_TRUE(refused);
  EXPECT_EQ(catalog::ReasonOf(*refused), pb::REASON_NOT_FOUND) << *refused;
  presence.Stop();
}

TEST_F(MembershipTest, JoiningWaitsUntilItIsAdded) {
  t.Lead();
  pb::ControllerRecord self;
  self.set_id(4);
  self.set_uuid("u4");
  self.set_name("c4");
  self.set_address("c4:7100");
  Joining joining(t.executor, *t.network, self, OwnCluster(), {TestController::kEndpoint}, {});
  std::optional<StatusOr<OwnCluster>> result;
  joining.Start([&](StatusOr<OwnCluster> cluster) { result = std::move(cluster); });
  Settle();
  EXPECT_FALSE(result);
  EXPECT_NE(joining.waiting().find("tenure controller add 4=c4:7100"), std::string::npos);
  ASSERT_TRUE(Add(4, "c4:7100").ok());
  Settle();
  ASSERT_TRUE(result);
  EXPECT_EQ((*result)->id, "cluster");
  EXPECT_EQ((*result)->incarnation, 2u);
  EXPECT_EQ(record(4).uuid(), "u4");
}

}  // namespace
}  // namespace tenure::controller
