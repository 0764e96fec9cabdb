#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "catalog/procedures.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"
#include "controller/api/tables_service.h"
#include "controller/procedure/types/schema_change.h"
#include "tenure/internal/v1/node.pb.h"
#include "tests/controller/test_controller.h"

namespace tenure::controller {
namespace {

using catalog::ReasonOf;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr Duration kProceed = seconds(12);  // after which a lost node holds no barrier up

// Passes when nothing holds it up.
struct FakeBarrier : public ClusterBarrier {
  explicit FakeBarrier(runtime::Executor& on) : executor(on) {}
  runtime::Task<Status> Pass(Revision revision, Duration budget, runtime::StopToken stop) override {
    ++waiting;
    most_waiting = std::max(most_waiting, waiting);
    const Instant until = executor.Now() + (budget == Duration() ? kProceed + seconds(5) : budget);
    Status status;
    while (status.ok() && executor.Now() < blocked_until) {
      if (executor.Now() >= until)
        status = Error(StatusCode::kDeadlineExceeded, "node 3 (silent for 9000 ms)");
      if (status.ok() && !co_await runtime::SleepFor(executor, milliseconds(10), stop))
        status = absl::CancelledError("stopped");
    }
    --waiting;
    if (status.ok()) passed = std::max(passed, revision);
    co_return status;
  }
  void Block() { blocked_until = kFarFuture; }
  void Open() { blocked_until = Instant(); }

  runtime::Executor& executor;
  Instant blocked_until;
  Revision passed;  // the highest
  int waiting = 0;
  int most_waiting = 0;
};

// The regions of all nodes, as far as schemas go.
struct FakeRegions : public runtime::Service {
  void OnCall(const runtime::CallInfo& info, std::string bytes, runtime::Reply reply) override {
    ipb::ChangeSchemaRequest request;
    ASSERT_EQ(info.method, "ChangeSchema");
    ASSERT_TRUE(request.ParseFromString(bytes));
    if (unreachable) return reply(absl::UnavailableError("no connection"));
    ipb::ChangeSchemaResponse response;
    for (const uint64_t region : request.regions()) {
      if (refusing.contains(region)) {
        auto& failed = *response.add_failed();
        failed.set_region(region);
        failed.set_error("its leader left office");
        continue;
      }
      on_change(request, region);
      if (request.drop()) dropped[request.table()].insert(region);
      if (!request.drop()) versions[{request.table(), region}] = request.version();
      response.add_done(region);
    }
    reply(response.SerializeAsString());
  }
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }
  bool unreachable = false;
  std::set<uint64_t> refusing;
  std::map<uint64_t, std::set<uint64_t>> dropped;              // table -> regions
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> versions;  // table, region
  std::function<void(const ipb::ChangeSchemaRequest&, uint64_t)> on_change = [](const auto&, uint64_t) {};
};

// One change of the schema, with what is there before it.
struct Kind {
  std::string method;
  bool of_view;
  std::string before;  // text of the object when the change begins ...
  std::string after;   // ... and when it has been made; "gone": erased
};
const Kind kKinds[] = {
    {"CreateTable", false, "gone", "new PUBLIC v1 a,b ttl 0"},
    {"AlterTable", false, "t PUBLIC v1 a,b ttl 0", "t PUBLIC v2 a,c ttl 5"},
    {"RenameTable", false, "t PUBLIC v1 a,b ttl 0", "u PUBLIC v2 a,b ttl 0"},
    {"DropTable", false, "t PUBLIC v1 a,b ttl 0", "gone"},
    {"CreateView", true, "gone", "new PUBLIC v1 a"},
    {"AlterView", true, "v PUBLIC v1 a", "v PUBLIC v2 b"},
    {"RenameView", true, "v PUBLIC v1 a", "w PUBLIC v2 a"},
    {"DropView", true, "v PUBLIC v1 a", "gone"},
};

class World {
 public:
  World() {
    for (const std::string_view name :
         {SchemaChange::kCreateTable, SchemaChange::kAlterTable, SchemaChange::kRenameTable,
          SchemaChange::kDropTable, SchemaChange::kCreateView, SchemaChange::kAlterView,
          SchemaChange::kRenameView, SchemaChange::kDropView}) {
      types.push_back(std::make_unique<SchemaChange>(name, barrier, SchemaChangeOptions{}));
      t.procedures.AddType(*types.back());
    }
    t.network->Serve(TablesService::kName, service);
    t.Lead();
    for (int i = 1; i <= 3; ++i) {
      nodes.push_back(std::make_unique<FakeNode>(t, "n" + std::to_string(i)));
      nodes.back()->Register();
      nodes.back()->Connect();
      views.push_back(t.fake_network.MakeView(fmt::format("n{}:1", i)));
      views.back()->Serve("tenure.internal.v1.NodeInternal", regions);
    }
    pb::CreateDatabaseRequest request;
    request.set_name("app");
    request.set_regions(2);
    t.Start<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", request, seconds(100), [](auto) {});
    t.executor.Advance(milliseconds(1));
    Beat();
    EXPECT_EQ(t.machine.catalog().databases().at(1).database().state(), pb::DATABASE_PUBLIC);
    // What must hold whenever a region is told something.
    regions.on_change = [this](const ipb::ChangeSchemaRequest& change, uint64_t) {
      const pb::Record& record = t.machine.catalog().tables().at(change.table());
      if (!change.drop()) {
        EXPECT_EQ(change.version(), record.table().shape().version());
        return;
      }
      EXPECT_TRUE(record.table().data_deletion()) << "data are deleted without a durable mark";
      EXPECT_GE(barrier.passed, Revision(pre_deleted[change.table()]))
          << "data are deleted before the barrier";
    };
  }

  // Every region is led by its first replica's node, which says so; each node works on its tasks.
  void Beat(int rounds = 4) {
    for (int i = 0; i < rounds; ++i) {
      for (const auto& [id, record] : t.machine.catalog().regions()) {
        const pb::ReplicaRecord& first = record.region().replicas(0);
        pb::RegionLoad load;
        load.set_region(id);
        load.set_term(2);
        load.set_replica(first.id());
        load.set_is_leader(true);
        load.set_leader_replica(first.id());
        nodes[first.node() - 1]->regions[id] = load;
        *nodes[first.node() - 1]->next.add_regions() = load;
      }
      t.executor.Advance(milliseconds(30));
      for (auto& node : nodes) node->Beat();
    }
    t.executor.Advance(milliseconds(300));
    Watch();
  }
  // Rules that hold between any two looks at the catalog.
  void Watch() {
    for (const auto& [id, record] : t.machine.catalog().tables()) {
      if (record.table().state() == pb::TABLE_PRE_DELETE && !record.table().data_deletion())
        pre_deleted[id] = record.modify_revision();
    }
  }

  pb::SchemaChangeResponse Ask(const std::string& method, const std::string& table = "t") {
    auto answer = TryAsk(method, table);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : pb::SchemaChangeResponse();
  }
  StatusOr<pb::SchemaChangeResponse> TryAsk(const std::string& method, const std::string& table = "t") {
    const std::string path = "tenure.v1.Tables/" + method;
    const auto send = [&](auto request, const std::string& name) {
      request.set_database("app");
      request.set_name(name);
      auto answer = t.Call<pb::SchemaChangeResponse>(path, request);
      Watch();
      return answer;
    };
    if (method == "CreateTable") return send(NewTable(), table == "t" ? "new" : table);
    if (method == "AlterTable") {
      pb::AlterTableRequest request;
      auto* rename = request.mutable_alteration()->add_rename_columns();
      rename->set_from("b");
      rename->set_to("c");
      request.mutable_alteration()->set_ttl_ms(5);
      return send(request, table);
    }
    if (method == "RenameTable") {
      pb::RenameTableRequest request;
      request.set_to("u");
      return send(request, table);
    }
    if (method == "DropTable") return send(pb::DropTableRequest(), table);
    if (method == "CreateView") {
      pb::CreateViewRequest request;
      request.set_table("t");
      request.add_columns()->set_column("a");
      return send(request, "new");
    }
    if (method == "AlterView") {
      pb::AlterViewRequest request;
      request.add_columns()->set_column("b");
      return send(request, "v");
    }
    if (method == "RenameView") {
      pb::RenameViewRequest request;
      request.set_to("w");
      return send(request, "v");
    }
    return send(pb::DropViewRequest(), "v");
  }
  static pb::CreateTableRequest NewTable() {
    pb::CreateTableRequest request;
    for (const char* name : {"a", "b"}) {
      pb::ColumnRecord& column = *request.add_columns();
      column.set_name(name);
      column.set_type(pb::COLUMN_INT64);
      column.set_nullable(true);
    }
    return request;
  }
  // The table t, and the view v for what is about views.
  void Prepare(const Kind& kind) {
    pb::CreateTableRequest table = NewTable();
    table.set_database("app");
    table.set_name("t");
    ASSERT_TRUE(t.Call<pb::SchemaChangeResponse>("tenure.v1.Tables/CreateTable", table).ok());
    Beat();
    if (!kind.of_view) return;
    pb::CreateViewRequest view;
    view.set_database("app");
    view.set_name("v");
    view.set_table("t");
    view.add_columns()->set_column("a");
    ASSERT_TRUE(t.Call<pb::SchemaChangeResponse>("tenure.v1.Tables/CreateView", view).ok());
    Beat();
  }
  const pb::ProcedureRecord& Procedure(uint64_t id) const {
    return t.machine.catalog().procedures().at(id).procedure();
  }
  std::string Text(uint64_t object) const {
    const pb::Record* record = t.machine.catalog().FindTableOrView(object);
    if (record == nullptr) return "gone";
    std::string columns;
    const auto add = [&columns](const std::string& name) { columns += (columns.empty() ? "" : ",") + name; };
    if (record->has_view()) {
      const pb::ViewRecord& view = record->view();
      for (const auto& column : view.shape().columns())
        add(t.machine.catalog()
                .tables()
                .at(view.table())
                .table()
                .shape()
                .columns(static_cast<int>(column.column()) - 1)
                .name());
      return fmt::format("{} {} v{} {}", view.shape().name(), catalog::NameOf(view.state()),
                         view.shape().version(), columns);
    }
    const pb::TableRecord& table = record->table();
    for (const auto& column : table.shape().columns()) add(column.name());
    return fmt::format("{} {} v{} {} ttl {}", table.shape().name(), catalog::NameOf(table.state()),
                       table.shape().version(), columns, table.shape().ttl_ms());
  }
  void ChangeLeader() {
    t.Follow(++term, 2);
    t.Lead(++term);
    for (auto& node : nodes) node->Connect();
  }

  uint64_t term = 10;
  std::map<uint64_t, uint64_t> pre_deleted;  // table -> revision at which its drop was asked for
  TestController t;
  FakeBarrier barrier{t.executor};
  FakeRegions regions;
  TablesService service{t.access, t.leadership};
  std::vector<std::unique_ptr<SchemaChange>> types;
  std::vector<std::unique_ptr<runtime::Network>> views;
  std::vector<std::unique_ptr<FakeNode>> nodes;
};

TEST(SchemaChangesTest, EveryKindWaitsForItsBarrierAndIsMade) {
  for (const Kind& kind : kKinds) {
    World world;
    world.Prepare(kind);
    world.barrier.Block();
    const auto answer = world.Ask(kind.method);
    const uint64_t id = answer.procedure().procedure().id();
    const uint64_t object = answer.procedure().procedure().object();
    world.Beat();
    EXPECT_EQ(world.Procedure(id).step(), "announce") << kind.method;
    EXPECT_THAT(world.Text(object), ::testing::Not(HasSubstr("PUBLIC"))) << kind.method;
    const Revision asked(world.t.machine.catalog().FindTableOrView(object)->modify_revision());
    EXPECT_LT(world.barrier.passed, asked);
    world.barrier.Open();
    world.Beat(8);
    EXPECT_EQ(world.Procedure(id).state(), pb::PROCEDURE_SUCCEEDED)
        << kind.method << " " << world.Procedure(id).last_error();
    EXPECT_GE(world.barrier.passed, asked) << kind.method;
    EXPECT_EQ(world.Text(object), kind.after);
    EXPECT_TRUE(world.regions.dropped.empty() || kind.method == "DropTable");
    if (kind.method == "DropTable") EXPECT_EQ(world.regions.dropped.at(object), (std::set<uint64_t>{1, 2}));
    if (kind.method == "AlterTable" || kind.method == "RenameTable")
      EXPECT_EQ(world.regions.versions.size(), 2u) << "every region refuses older writes";
  }
}

TEST(SchemaChangesTest, ABarrierThatIsHeldUpRollsBack) {
  for (const Kind& kind : kKinds) {
    World world;
    world.Prepare(kind);
    world.barrier.Block();
    const auto answer = world.Ask(kind.method);
    const uint64_t object = answer.procedure().procedure().object();
    for (int i = 0; i < 20; ++i) {
      world.Beat();
      world.t.executor.Advance(seconds(1));
    }
    const auto& procedure = world.Procedure(answer.procedure().procedure().id());
    EXPECT_EQ(procedure.state(), pb::PROCEDURE_ROLLED_BACK) << kind.method;
    EXPECT_THAT(procedure.last_error(), HasSubstr("node 3"));
    EXPECT_EQ(world.Text(object), kind.before);
    EXPECT_TRUE(world.regions.dropped.empty());
    // It can be asked for again, and is made.
    world.barrier.Open();
    const auto again = world.Ask(kind.method);
    world.Beat(8);
    EXPECT_EQ(world.Procedure(again.procedure().procedure().id()).state(), pb::PROCEDURE_SUCCEEDED)
        << kind.method;
  }
}

TEST(SchemaChangesTest, CancelledBeforeTheBarrierItIsAsBefore) {
  for (const Kind& kind : kKinds) {
    World world;
    world.Prepare(kind);
    world.barrier.Block();
    const auto answer = world.Ask(kind.method);
    world.Beat();
    const uint64_t id = answer.procedure().procedure().id();
    pb::CancelProcedureRequest cancel;
    cancel.set_procedure(id);
    ASSERT_TRUE(world.t.Call<pb::ChangeResponse>("tenure.v1.Procedures/Cancel", cancel).ok());
    world.Beat();
    EXPECT_EQ(world.Procedure(id).state(), pb::PROCEDURE_CANCELLED) << kind.method;
    EXPECT_EQ(world.Text(answer.procedure().procedure().object()), kind.before);
    EXPECT_EQ(world.barrier.waiting, 0);
  }
}

TEST(SchemaChangesTest, AfterTheBarrierThereIsOnlyForward) {
  World world;
  world.Prepare(kKinds[0]);
  world.regions.unreachable = true;
  const auto answer = world.Ask("DropTable");
  const uint64_t id = answer.procedure().procedure().id();
  const uint64_t object = answer.procedure().procedure().object();
  world.Beat(10);
  EXPECT_EQ(world.Procedure(id).step(), "delete_data");
  pb::CancelProcedureRequest cancel;
  cancel.set_procedure(id);
  EXPECT_EQ(ReasonOf(world.t.Call<pb::ChangeResponse>("tenure.v1.Procedures/Cancel", cancel).status()),
            pb::REASON_CONDITION_FAILED);
  world.regions.unreachable = false;
  world.regions.refusing = {2};
  world.t.executor.Advance(seconds(100));
  world.Beat(10);
  EXPECT_EQ(world.regions.dropped[object], (std::set<uint64_t>{1}));
  EXPECT_EQ(world.Text(object), "t PRE_DELETE v1 a,b ttl 0") << "a region has its data still";
  pb::GetProcedureRequest get;
  get.set_id(id);
  EXPECT_THAT(world.t.Call<pb::GetProcedureResponse>("tenure.v1.Procedures/Get", get)->procedure().progress(),
              HasSubstr("1 of 2 regions have to be told; region 2"));
  world.ChangeLeader();
  world.Beat(10);
  world.regions.refusing.clear();
  world.Beat(10);
  EXPECT_EQ(world.Procedure(id).state(), pb::PROCEDURE_SUCCEEDED);
  EXPECT_EQ(world.Text(object), "gone");
}

// The leader changes after each of the change's commands: whoever comes next goes on, and nothing is skipped.
TEST(SchemaChangesTest, LeadersChangeAfterEveryCommittedStep) {
  for (const Kind& kind : kKinds) {
    for (const bool held_up : {false, true}) {
      int steps = 0;
      for (int victim = 0; victim <= steps; ++victim) {
        World world;
        world.Prepare(kind);
        world.barrier.Block();
        const auto answer = world.Ask(kind.method);
        const uint64_t id = answer.procedure().procedure().id();
        if (!held_up) world.barrier.Open();
        uint64_t seen = world.t.machine.catalog().procedures().at(id).modify_revision();
        int commands = 0;
        for (int i = 0; i < 3000 && !catalog::IsEnded(world.Procedure(id).state()); ++i) {
          // What is proposed now is applied, and nothing that follows from it.
          world.t.group.Release();
          world.t.group.hold = true;
          world.t.executor.Advance(milliseconds(1));
          world.Watch();
          const uint64_t now = world.t.machine.catalog().procedures().at(id).modify_revision();
          if (now != seen && commands++ == victim) world.ChangeLeader();
          seen = now;
          if (i % 20 == 19) world.Beat(1);
        }
        world.t.group.Release();
        steps = std::max(steps, commands);
        for (int i = 0; held_up && i < 40; ++i) {
          world.Beat(1);
          world.t.executor.Advance(milliseconds(500));
        }
        const auto& procedure = world.Procedure(id);
        const auto expected = held_up ? pb::PROCEDURE_ROLLED_BACK : pb::PROCEDURE_SUCCEEDED;
        EXPECT_EQ(procedure.state(), expected) << kind.method << " " << victim << " " << procedure.step();
        EXPECT_EQ(world.Text(procedure.object()), held_up ? kind.before : kind.after)
            << kind.method << victim;
      }
      EXPECT_GE(steps, 1) << kind.method;
    }
  }
}

TEST(SchemaChangesTest, TwoHundredChangesWaitForOneLostNodeTogether) {
  World world;
  for (int i = 0; i < 200; ++i) {
    world.Ask("CreateTable", fmt::format("t{}", i));
  }
  world.Beat();
  // A node was just lost: no barrier passes for kProceed.
  const Instant began = world.t.executor.Now();
  world.barrier.blocked_until = began + kProceed;
  for (int i = 0; i < 200; ++i) world.Ask("DropTable", fmt::format("t{}", i));
  world.Beat();
  EXPECT_EQ(world.barrier.most_waiting, 200) << "nobody waits for somebody else's barrier";
  while (!world.t.machine.catalog().tables().empty() && world.t.executor.Now() < began + 2 * kProceed)
    world.Beat(1);
  EXPECT_TRUE(world.t.machine.catalog().tables().empty());
  EXPECT_LT(world.t.executor.Now() - began, kProceed + seconds(6));
}

TEST(SchemaChangesTest, IdenticalRequestsJoinAndOthersAreRefused) {
  World world;
  world.Prepare(kKinds[5]);
  world.barrier.Block();
  const auto first = world.Ask("AlterTable");
  const auto same = world.Ask("AlterTable");
  EXPECT_TRUE(same.joined());
  EXPECT_FALSE(first.joined());
  EXPECT_EQ(same.procedure().procedure().id(), first.procedure().procedure().id());
  for (const char* other : {"RenameTable", "CreateView"}) {
    const auto refused = world.TryAsk(other);
    EXPECT_EQ(ReasonOf(refused.status()), pb::REASON_CONDITION_FAILED) << other;
    EXPECT_THAT(std::string(MessageOf(refused.status())),
                HasSubstr(fmt::format("is ALTERING (procedure {})", first.procedure().procedure().id())));
  }
  const auto created = world.Ask("CreateTable");
  const auto created_too = world.Ask("CreateTable");
  EXPECT_TRUE(created_too.joined());
  EXPECT_EQ(created.procedure().procedure().object(), created_too.procedure().procedure().object());
  pb::CreateTableRequest different = World::NewTable();
  different.set_database("app");
  different.set_name("new");
  different.set_ttl_ms(7);
  EXPECT_EQ(
      ReasonOf(world.t.Call<pb::SchemaChangeResponse>("tenure.v1.Tables/CreateTable", different).status()),
      pb::REASON_ALREADY_EXISTS);
  world.barrier.Open();
  world.Beat(8);
  EXPECT_EQ(world.Procedure(first.procedure().procedure().id()).state(), pb::PROCEDURE_SUCCEEDED);
}

TEST(SchemaChangesTest, ARepeatedRequestIsDoneOnce) {
  World world;
  pb::CreateTableRequest request = World::NewTable();
  request.set_database("app");
  request.set_name("once");
  request.mutable_id()->set_client_id(5);
  request.mutable_id()->set_sequence(1);
  const auto first = world.t.Call<pb::SchemaChangeResponse>("tenure.v1.Tables/CreateTable", request);
  ASSERT_TRUE(first.ok());
  world.Beat(8);
  const auto again = world.t.Call<pb::SchemaChangeResponse>("tenure.v1.Tables/CreateTable", request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->procedure().procedure().id(), first->procedure().procedure().id());
  EXPECT_EQ(world.t.machine.catalog().tables().size(), 1u);
}

TEST(SchemaChangesTest, ADatabaseThatIsDroppedEndsTheChangesInIt) {
  for (const Kind& kind : kKinds) {
    World world;
    world.Prepare(kind);
    world.barrier.Block();
    const uint64_t id = world.Ask(kind.method).procedure().procedure().id();
    world.Beat();
    pb::DropDatabaseRequest drop;
    drop.set_name("app");
    ASSERT_TRUE(world.t.Call<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", drop).ok());
    world.barrier.Open();
    world.Beat(8);
    EXPECT_EQ(world.Procedure(id).state(), pb::PROCEDURE_CANCELLED) << kind.method;
    EXPECT_THAT(world.Procedure(id).last_error(), HasSubstr("the database was dropped"));
    EXPECT_TRUE(world.t.machine.catalog().databases().empty());
    EXPECT_TRUE(world.t.machine.catalog().tables().empty());
    EXPECT_TRUE(world.t.machine.catalog().views().empty());
  }
}

// Data that were copied out of a region before it was told must not survive in another one.
TEST(SchemaChangesTest, RegionsThatComeMeanwhileAreToldToo) {
  World world;
  world.Prepare(kKinds[0]);
  world.regions.refusing = {2};
  const auto answer = world.Ask("DropTable");
  const uint64_t object = answer.procedure().procedure().object();
  world.Beat(8);
  EXPECT_EQ(world.regions.dropped[object], (std::set<uint64_t>{1}));
  // Slots of region 1 begin to move.
  ipb::CatalogCommand command;
  auto& procedure = *command.mutable_submit_procedure()->mutable_procedure();
  procedure.set_type("SplitRegion");
  procedure.set_object(1);
  AddLock(procedure, pb::LOCKED_TABLE, object);  // so that it does not begin
  uint64_t split = 0;
  world.t.access.ProposeInEpoch(std::move(command), world.t.leadership.epoch(),
                                [&](StatusOr<ipb::CatalogResult> result) { split = result->object_id(); });
  world.t.executor.Advance(milliseconds(5));
  world.regions.refusing.clear();
  world.Beat(20);
  EXPECT_EQ(world.regions.dropped[object], (std::set<uint64_t>{1, 2}));
  EXPECT_NE(world.Text(object), "gone") << "slots are on their way";
  world.regions.dropped.clear();
  ipb::CatalogCommand end;
  auto& advance = *end.mutable_advance_procedure();
  advance.set_if_revision(world.t.machine.catalog().procedures().at(split).modify_revision());
  *advance.mutable_procedure() = world.Procedure(split);
  advance.mutable_procedure()->set_state(pb::PROCEDURE_SUCCEEDED);
  world.t.access.ProposeInEpoch(std::move(end), world.t.leadership.epoch(),
                                [](const StatusOr<ipb::CatalogResult>&) {});
  world.Beat(20);
  EXPECT_EQ(world.regions.dropped[object], (std::set<uint64_t>{1, 2})) << "all were told once more";
  EXPECT_EQ(world.Text(object), "gone");
}

// Only keys are left to be deleted, which may take a day: a changefeed has to read them first.
TEST(SchemaChangesTest, ASplitWhoseSlotsHaveArrivedIsNotWaitedFor) {
  World world;
  world.Prepare(kKinds[0]);
  world.regions.refusing = {2};
  const uint64_t object = world.Ask("DropTable").procedure().procedure().object();
  ipb::CatalogCommand command;
  auto& procedure = *command.mutable_submit_procedure()->mutable_procedure();
  procedure.set_type("SplitRegion");
  procedure.set_step("drop");
  procedure.set_object(1);
  AddLock(procedure, pb::LOCKED_TABLE, object);  // so that the engine leaves it as it is
  uint64_t split = 0;
  world.t.access.ProposeInEpoch(std::move(command), world.t.leadership.epoch(),
                                [&](StatusOr<ipb::CatalogResult> result) { split = result->object_id(); });
  world.Beat(8);
  EXPECT_EQ(world.Procedure(split).step(), "drop");
  EXPECT_NE(world.Text(object), "gone");
  world.regions.refusing.clear();
  world.Beat(20);
  EXPECT_EQ(world.Text(object), "gone");
}

TEST(SchemaChangesTest, BadRequestsAreRefusedByFieldAndChangeNothing) {
  World world;
  world.Prepare(kKinds[5]);
  const auto expect = [&](const auto& request, const std::string& method, pb::Reason reason,
                          const char* message) {
    const size_t before = world.t.machine.catalog().procedures().size();
    const auto answer = world.t.Call<pb::SchemaChangeResponse>("tenure.v1.Tables/" + method, request);
    EXPECT_EQ(ReasonOf(answer.status()), reason) << answer.status();
    EXPECT_THAT(std::string(MessageOf(answer.status())), HasSubstr(message));
    EXPECT_EQ(world.t.machine.catalog().procedures().size(), before);
  };
  pb::DropTableRequest drop;
  expect(drop, "DropTable", pb::REASON_INVALID_ARGUMENT, "database: must not be empty");
  drop.set_database("nowhere");
  expect(drop, "DropTable", pb::REASON_NOT_FOUND, "database: there is no 'nowhere'");
  drop.set_database("app");
  drop.set_name("x");
  expect(drop, "DropTable", pb::REASON_NOT_FOUND, "name: database 'app' has no table 'x'");
  drop.set_name("v");
  expect(drop, "DropTable", pb::REASON_INVALID_ARGUMENT, "'v' of database 'app' is a view, not a table");
  drop.set_name("t");
  expect(drop, "DropTable", pb::REASON_CONDITION_FAILED, "is shown by view");
  pb::CreateTableRequest create = World::NewTable();
  create.set_database("app");
  create.set_name("a:b");
  expect(create, "CreateTable", pb::REASON_INVALID_ARGUMENT, "name: 'a:b' must not contain ':'");
  create.set_name("t");
  expect(create, "CreateTable", pb::REASON_ALREADY_EXISTS, "has a table 't' already");
  create.set_name("fine");
  create.set_ttl_ms(-1);
  expect(create, "CreateTable", pb::REASON_INVALID_ARGUMENT, "ttl_ms: -1 is not in 0..");
  pb::CreateViewRequest view;
  view.set_database("app");
  view.set_name("w");
  view.set_table("t");
  expect(view, "CreateView", pb::REASON_INVALID_ARGUMENT, "columns: there is none");
  view.add_columns()->set_column("zzz");
  expect(view, "CreateView", pb::REASON_NOT_FOUND, "table 't' has no column 'zzz'");
  view.set_table("v");
  expect(view, "CreateView", pb::REASON_INVALID_ARGUMENT, "table: 'v' of database 'app' is a view");
}

}  // namespace
}  // namespace tenure::controller
