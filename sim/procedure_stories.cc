#include "sim/procedure_stories.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/format.h"
#include "sim/schema_stories.h"
#include "sim/server.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

constexpr Duration kAgain = std::chrono::milliseconds(500);
constexpr Duration kSoon = std::chrono::seconds(1);
constexpr Duration kLong = std::chrono::seconds(15);  // a node is DOWN before

// ---- what several stories do ----

bool Change(Stage& stage, pb::ReplicaChange change, std::optional<size_t> from, std::optional<size_t> to) {
  pb::ChangeReplicaRequest request;
  request.set_change(change);
  request.set_region(1);
  if (from) request.set_from_node(stage.NodeOf(*from));
  if (to) request.set_to_node(stage.NodeOf(*to));
  return stage.Ask("tenure.v1.Regions/ChangeReplica", std::move(request));
}

// A few seconds in which everything that was asked for before ends.
bool Rest(Stage& stage) {
  return stage.Until([&stage] { return stage.world().Unsettled(/*replicas=*/true); });
}

bool MoveFollower(Stage& stage) {
  return Change(stage, pb::REPLICA_MOVE, stage.Follower(), stage.Free());
}

bool AddOne(Stage& stage) {
  return Change(stage, pb::REPLICA_ADD, std::nullopt, stage.Free());
}

bool RemoveOne(Stage& stage) {
  return Change(stage, pb::REPLICA_REMOVE, std::nullopt, std::nullopt);
}

bool DrainNode(Stage& stage, size_t machine) {
  pb::DrainNodeRequest request;
  request.set_node(stage.NodeOf(machine));
  return stage.Ask("tenure.v1.Cluster/DrainNode", std::move(request));
}

bool RemoveNode(Stage& stage, size_t machine) {
  pb::RemoveNodeRequest request;
  request.set_node(stage.NodeOf(machine));
  return stage.Ask("tenure.v1.Cluster/RemoveNode", std::move(request));
}

void SoonDown(SimOptions& options) {
  options.down_after = std::chrono::seconds(6);
}

void SoonRepaired(SimOptions& options) {
  SoonDown(options);
  options.repair_after = std::chrono::milliseconds(500);
}

void FewReplicas(SimOptions& options, uint32_t replicas) {
  SoonDown(options);
  options.replicas = replicas;
}

bool Split(Stage& stage, uint64_t region) {
  pb::SplitRegionRequest request;
  request.set_region(region);
  request.set_at_slot(5000);
  return stage.Ask("tenure.v1.Regions/Split", std::move(request));
}

bool SplitRegion(Stage& stage) {
  return Split(stage, 1);
}

bool HasTwoRegions(Stage& stage) {
  return SplitRegion(stage) && Rest(stage);
}

bool MergeRegions(Stage& stage, uint64_t region, uint64_t with) {
  pb::MergeRegionsRequest request;
  request.set_region(region);
  request.set_with(with);
  return stage.Ask("tenure.v1.Regions/Merge", std::move(request));
}

// Another database than that of the clients, of one region.
constexpr const char* kSecond = "second";

bool HasSecond(Stage& stage) {
  return stage.CreateDatabase(kSecond, 1) && Rest(stage);
}

// The highest id: what was made last.
uint64_t NewestRegion(Stage& stage) {
  controller::Controller* const serving = stage.world().ServingController();
  if (serving == nullptr || serving->catalog().regions().empty()) return 0;
  return serving->catalog().regions().rbegin()->first;
}

bool SplitSecond(Stage& stage) {
  return Split(stage, NewestRegion(stage));
}

void DropSecondIn(Stage& stage, const pb::ProcedureRecord& after, std::string_view step) {
  const bool moves_slots = after.type() == "SplitRegion" || after.type() == "MergeRegions";
  if (moves_slots && after.step() == step) stage.Drop(kSecond);
}

void CancelInCopy(Stage& stage, const pb::ProcedureRecord& after) {
  const bool moves_slots = after.type() == "SplitRegion" || after.type() == "MergeRegions";
  if (moves_slots && after.step() == "copy") stage.Cancel(after.id());
}

bool AnyoneIsAway(Stage& stage) {
  for (size_t i = 0; i < stage.world().machines().size(); ++i) {
    if (stage.IsAway(i)) return true;
  }
  return false;
}

void BringAllBack(Stage& stage) {
  for (size_t i = 0; i < stage.world().machines().size(); ++i) {
    if (stage.IsAway(i)) stage.BringBack(i, kSoon);
  }
}

// The machine of the replica that was made last.
void TakeNewestAway(Stage& stage) {
  const auto region = stage.Region();
  if (!region || region->replicas().empty()) return;
  const auto newest =
      std::max_element(region->replicas().begin(), region->replicas().end(),
                       [](const auto& one, const auto& other) { return one.id() < other.id(); });
  if (const auto machine = stage.MachineOf(newest->node())) stage.TakeAway(*machine);
}

// The node of `record`'s replica that is to be made dies when that is to begin, and is back when it is to be
// destroyed.
void TargetIsAway(Stage& stage, const pb::ProcedureRecord& after, bool cancel) {
  if (after.type() != "MoveReplica") return;
  const auto region = stage.Region();
  if (after.step() == "create" && after.tasks().empty() && region && region->joining_size() == 1) {
    if (const auto machine = stage.MachineOf(region->joining(0).node())) stage.TakeAway(*machine);
    if (cancel) stage.Cancel(after.id());
  }
  if (after.step() == "undo_destroy") BringAllBack(stage);
}

// Takes the new replica away as soon as it votes. If it has not said that it has the region's log, what the
// old one has may be all that is left: that stays until the new one is back.
void NewestIsAwayForLong(Stage& stage, const pb::ProcedureRecord& after) {
  if (after.type() != "MoveReplica") return;
  World& world = stage.world();
  if (after.step() == "confirm" && !AnyoneIsAway(stage)) TakeNewestAway(stage);
  for (size_t i = 0; i < world.machines().size(); ++i) {
    if (!stage.IsAway(i)) continue;
    if (after.step() == "confirm") stage.BringBack(i, kLong);
    if (after.step() == "destroy" && world.NodeStateOf(i) == pb::NODE_DOWN) {
      world.Fail("a replica is kept while its region has no majority without the new one",
                 fmt::format("procedure {} destroys it", after.id()));
    }
  }
}

std::vector<Story> MakeStories() {
  std::vector<Story> stories;
  const auto add = [&stories](std::string_view name, std::string_view type,
                              std::vector<pb::ProcedureState> ends) -> Story& {
    return stories.emplace_back(Story{.name = name, .type = type, .ends = std::move(ends)});
  };
  Story* story = &add("create-database", "CreateDatabase", {pb::PROCEDURE_SUCCEEDED});
  story->act = [](Stage& stage) { return stage.CreateDatabase("second", 2); };

  story = &add("remove-regions", "RemoveRegions", {pb::PROCEDURE_SUCCEEDED});
  story->prepare = [](Stage& stage) { return stage.CreateDatabase("second", 2) && Rest(stage); };
  story->act = [](Stage& stage) {
    pb::DropDatabaseRequest request;
    request.set_name("second");
    return stage.Ask("tenure.v1.Catalog/DropDatabase", std::move(request));
  };

  // A node stands still while the replicas are made, and its own are made later.
  story = &add("create-replica", "CreateReplica", {pb::PROCEDURE_SUCCEEDED});
  story->act = [](Stage& stage) {
    stage.world().Pause(stage.world().machines().size() - 1);
    return stage.CreateDatabase("second", 3);
  };
  story->on_change = [](Stage& stage, const pb::ProcedureRecord& after) {
    if (after.type() != "CreateReplica") return;
    World& world = stage.world();
    world.scheduler().After(kSoon, "story", [&world] { world.Resume(world.machines().size() - 1); });
  };

  story = &add("move-replica", "MoveReplica", {pb::PROCEDURE_SUCCEEDED});
  story->act = MoveFollower;

  story = &add("move-leader", "MoveReplica", {pb::PROCEDURE_SUCCEEDED});
  story->act = [](Stage& stage) { return Change(stage, pb::REPLICA_MOVE, stage.Leader(), stage.Free()); };

  story = &add("add-replica", "AddReplica", {pb::PROCEDURE_SUCCEEDED});
  story->act = AddOne;
  story->tidy = RemoveOne;

  story = &add("remove-replica", "RemoveReplica", {pb::PROCEDURE_SUCCEEDED});
  story->prepare = [](Stage& stage) {
    return AddOne(stage) && stage.Until([&stage] {
      const auto region = stage.Region();
      return region && region->replicas_size() == 4 ? std::string() : std::string("four replicas");
    });
  };
  story->act = RemoveOne;

  story = &add("repair-replica", "RepairReplica", {pb::PROCEDURE_SUCCEEDED});
  story->shape = SoonRepaired;
  story->act = [](Stage& stage) {
    const auto machine = stage.Follower();
    if (!machine) return false;
    stage.TakeAway(*machine);
    return true;
  };
  story->on_change = [](Stage& stage, const pb::ProcedureRecord& after) {
    if (after.type() == "RepairReplica" && after.step() == "destroy") BringAllBack(stage);
  };

  story = &add("drain-node", "DrainNode", {pb::PROCEDURE_SUCCEEDED});
  story->act = [](Stage& stage) {
    const auto leader = stage.Leader();
    return leader && DrainNode(stage, *leader);
  };

  story = &add("resumed-drain", "DrainNode", {pb::PROCEDURE_CANCELLED, pb::PROCEDURE_SUCCEEDED});
  story->act = [](Stage& stage) {
    const auto machine = stage.Follower();
    return machine && DrainNode(stage, *machine);
  };
  story->on_change = [](Stage& stage, const pb::ProcedureRecord& after) {
    if (after.type() == "MoveReplica" && after.step() == "catch_up") stage.Cancel(after.parent());
  };

  story = &add("remove-drained-node", "RemoveNode", {pb::PROCEDURE_SUCCEEDED});
  story->prepare = [](Stage& stage) {
    return HoldOnLastMachine(stage) && DrainNode(stage, stage.world().machines().size() - 1) && Rest(stage);
  };
  story->act = [](Stage& stage) { return RemoveNode(stage, stage.world().machines().size() - 1); };

  story = &add("remove-lost-node", "RemoveNode", {pb::PROCEDURE_SUCCEEDED});
  story->shape = SoonDown;
  story->prepare = [](Stage& stage) {
    if (!HoldOnLastMachine(stage)) return false;
    const size_t last = stage.world().machines().size() - 1;
    stage.TakeAway(last);
    return stage.Until([&stage, last] {
      return stage.world().NodeStateOf(last) == pb::NODE_DOWN ? std::string() : std::string("node down");
    });
  };
  story->act = [](Stage& stage) {
    const size_t last = stage.world().machines().size() - 1;
    stage.world().machines()[last]->node = false;  // for good
    return RemoveNode(stage, last);
  };

  story = &add("hold-node", "HoldNode", {pb::PROCEDURE_SUCCEEDED});
  story->act = [](Stage& stage) {
    pb::CanStopRequest request;
    request.set_node(stage.NodeOf(3));
    request.set_reserve_ms(6000);
    return stage.AskUntilDone("tenure.v1.Cluster/CanStop", request.SerializeAsString());
  };

  story = &add("cancelled-in-create", "MoveReplica", {pb::PROCEDURE_CANCELLED});
  story->act = MoveFollower;
  story->on_change = [](Stage& stage, const pb::ProcedureRecord& after) {
    TargetIsAway(stage, after, /*cancel=*/true);
  };

  story = &add("cancelled-later", "MoveReplica", {pb::PROCEDURE_CANCELLED, pb::PROCEDURE_SUCCEEDED});
  story->act = MoveFollower;
  story->on_change = [](Stage& stage, const pb::ProcedureRecord& after) {
    if (after.type() == "MoveReplica" && after.step() == "catch_up") stage.Cancel(after.id());
  };

  story = &add("rolled-back", "MoveReplica", {pb::PROCEDURE_ROLLED_BACK});
  story->shape = SoonDown;
  story->act = MoveFollower;
  story->on_change = [](Stage& stage, const pb::ProcedureRecord& after) {
    TargetIsAway(stage, after, /*cancel=*/false);
  };

  // The new replica votes and is not there to say so, until the old one is to be destroyed.
  story = &add("lost-after-switch", "MoveReplica", {pb::PROCEDURE_SUCCEEDED});
  story->shape = SoonDown;
  story->act = MoveFollower;
  story->on_change = [](Stage& stage, const pb::ProcedureRecord& after) {
    if (after.type() != "MoveReplica") return;
    if (after.step() == "switch") TakeNewestAway(stage);
    if (after.step() == "destroy") BringAllBack(stage);
  };

  story = &add("split-region", "SplitRegion", {pb::PROCEDURE_SUCCEEDED});
  story->act = SplitRegion;

  story = &add("cancelled-split", "SplitRegion", {pb::PROCEDURE_CANCELLED, pb::PROCEDURE_SUCCEEDED});
  story->act = SplitRegion;
  story->on_change = CancelInCopy;

  // Who leads the region, and is to copy it, dies when that begins, and is back when the copy is there.
  story = &add("split-without-leader", "SplitRegion", {pb::PROCEDURE_SUCCEEDED});
  story->act = SplitRegion;
  story->on_change = [](Stage& stage, const pb::ProcedureRecord& after) {
    if (after.type() != "SplitRegion") return;
    const auto leader = stage.Leader();
    if (after.step() == "copy" && !AnyoneIsAway(stage) && leader) stage.TakeAway(*leader);
    if (after.step() == "switch") BringAllBack(stage);
  };

  // What the split made, into what it was made of: that one ends.
  story = &add("merge-regions", "MergeRegions", {pb::PROCEDURE_SUCCEEDED});
  story->prepare = HasTwoRegions;
  story->act = [](Stage& stage) { return MergeRegions(stage, NewestRegion(stage), 1); };

  story = &add("cancelled-merge", "MergeRegions", {pb::PROCEDURE_CANCELLED, pb::PROCEDURE_SUCCEEDED});
  story->prepare = HasTwoRegions;
  story->act = [](Stage& stage) { return MergeRegions(stage, NewestRegion(stage), 1); };
  story->on_change = CancelInCopy;

  AddSchemaStories(stories);

  // The drop is asked for while the split's region is on its way into the log.
  story = &add("drop-as-a-split-begins", "RemoveRegions", {pb::PROCEDURE_SUCCEEDED});
  story->prepare = HasSecond;
  story->act = SplitSecond;
  story->on_change = [](Stage& stage, const pb::ProcedureRecord& after) {
    DropSecondIn(stage, after, "prepare");
  };

  story = &add("drop-in-a-split", "RemoveRegions", {pb::PROCEDURE_SUCCEEDED});
  story->prepare = HasSecond;
  story->act = SplitSecond;
  story->on_change = [](Stage& stage, const pb::ProcedureRecord& after) {
    DropSecondIn(stage, after, "switch");
  };

  story = &add("drop-in-a-merge", "RemoveRegions", {pb::PROCEDURE_SUCCEEDED});
  story->prepare = [](Stage& stage) { return HasSecond(stage) && SplitSecond(stage) && Rest(stage); };
  story->act = [](Stage& stage) {
    const uint64_t newest = NewestRegion(stage);
    return newest > 1 && MergeRegions(stage, newest, newest - 1);
  };
  story->on_change = [](Stage& stage, const pb::ProcedureRecord& after) {
    DropSecondIn(stage, after, "switch");
  };
  story =
      &add("lost-after-switch-of-two", "MoveReplica", {pb::PROCEDURE_SUCCEEDED, pb::PROCEDURE_ROLLED_BACK});
  story->shape = [](SimOptions& options) { FewReplicas(options, 2); };
  story->act = MoveFollower;
  story->on_change = NewestIsAwayForLong;

  story =
      &add("lost-after-switch-of-one", "MoveReplica", {pb::PROCEDURE_SUCCEEDED, pb::PROCEDURE_ROLLED_BACK});
  story->shape = [](SimOptions& options) { FewReplicas(options, 1); };
  story->act = [](Stage& stage) { return Change(stage, pb::REPLICA_MOVE, stage.Leader(), stage.Free()); };
  story->on_change = NewestIsAwayForLong;

  return stories;
}

}  // namespace

bool HoldOnLastMachine(Stage& stage) {
  const size_t last = stage.world().machines().size() - 1;
  if (stage.Holds(last)) return Rest(stage);
  return Rest(stage) && Change(stage, pb::REPLICA_MOVE, stage.Follower(), last) && Rest(stage);
}

bool MoveReplica(Stage& stage, std::optional<size_t> from, std::optional<size_t> to) {
  return Change(stage, pb::REPLICA_MOVE, from, to);
}

std::span<const Story> Stories() {
  static const std::vector<Story> stories = MakeStories();
  return stories;
}

const Story* FindStory(std::string_view name) {
  for (const Story& story : Stories()) {
    if (story.name == name) return &story;
  }
  return nullptr;
}

SimOptions OptionsOf(const Story& story) {
  SimOptions options;
  options.seed = static_cast<uint64_t>(&story - Stories().data()) + 1;
  options.data_nodes = 2;
  options.regions = 1;
  options.key_clients = 1;
  options.entry_clients = 1;
  options.placement = true;
  options.balance = false;
  if (story.shape != nullptr) story.shape(options);
  return options;
}

// ---- the stage ----

bool Stage::AskUntilDone(std::string_view method, const std::string& request) {
  bool done = false;
  bool asking = false;
  Instant next{};
  std::string last;
  // What is still to be answered may outlive this call.
  const auto alive = std::make_shared<bool>(true);
  const bool in_time = wait_([&]() -> std::string {
    if (!done && !asking && world_.scheduler().now() >= next) {
      asking = true;
      world_.Ask(method, request, [&, alive](const StatusOr<std::string>& answer) {
        if (!*alive) return;
        asking = false;
        done = answer.ok();
        next = world_.scheduler().now() + kAgain;
        if (!answer.ok()) last = std::string(MessageOf(answer.status()));
      });
    }
    return done ? std::string() : fmt::format("{} to be done: {}", method, last);
  });
  *alive = false;
  return in_time;
}

bool Stage::CreateDatabase(const std::string& name, uint32_t regions) {
  const auto created = std::make_shared<bool>(false);
  world_.CreateDatabase(name, regions, [created] { *created = true; });
  return wait_([created] { return *created ? std::string() : std::string("the database"); });
}

void Stage::AskFromNow(std::string_view method, const std::string& request, std::function<void()> refused) {
  world_.Ask(method, request, [this, method, request, refused](const StatusOr<std::string>& answer) {
    if (answer.ok()) return;
    const StatusCode code = answer.status().code();
    if (code == StatusCode::kFailedPrecondition || code == StatusCode::kNotFound)
      return refused ? refused() : void();
    world_.scheduler().After(kAgain, "story",
                             [this, method, request, refused] { AskFromNow(method, request, refused); });
  });
}

void Stage::Cancel(uint64_t procedure) {
  pb::CancelProcedureRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_procedure(procedure);
  AskFromNow("tenure.v1.Procedures/Cancel", request.SerializeAsString(), [this] { cancel_refused_ = true; });
}

void Stage::Drop(const std::string& database) {
  pb::DropDatabaseRequest request;
  *request.mutable_id() = world_.NextRequestId();
  request.set_name(database);
  AskFromNow("tenure.v1.Catalog/DropDatabase", request.SerializeAsString(), {});
}

void Stage::TakeAway(size_t machine) {
  away_.insert(machine);
  world_.CrashNow(machine, CrashKind::kProcess);
}

void Stage::BringBack(size_t machine, Duration after) {
  world_.scheduler().After(after, "story", [this, machine] {
    away_.erase(machine);
    if (!world_.Up(machine)) world_.Boot(machine);
  });
}

std::optional<pb::RegionRecord> Stage::Region() {
  controller::Controller* const serving = world_.ServingController();
  if (serving == nullptr || !serving->catalog().regions().contains(1)) return std::nullopt;
  return serving->catalog().regions().at(1).region();
}

uint64_t Stage::NodeOf(size_t machine) {
  controller::Controller* const serving = world_.ServingController();
  if (serving == nullptr) return 0;
  for (const auto& [id, record] : serving->catalog().nodes()) {
    if (record.node().address() == world_.machines()[machine]->address) return id;
  }
  return 0;
}

std::optional<size_t> Stage::MachineOf(uint64_t node) {
  for (size_t i = 0; i < world_.machines().size(); ++i) {
    if (node != 0 && NodeOf(i) == node) return i;
  }
  return std::nullopt;
}

bool Stage::Holds(size_t machine) {
  const auto region = Region();
  const uint64_t node = NodeOf(machine);
  return region && std::any_of(region->replicas().begin(), region->replicas().end(),
                               [node](const pb::ReplicaRecord& replica) { return replica.node() == node; });
}

std::optional<size_t> Stage::Follower() {
  std::optional<size_t> found;
  for (size_t i = 0; i < world_.machines().size(); ++i) {
    if (!Holds(i) || Leader() == i) continue;
    // The catalog's leader only if there is no other.
    if (!found || world_.ServerOf(kCatalogGroup) != i) found = i;
  }
  return found;
}

std::optional<size_t> Stage::Free() {
  for (size_t i = world_.machines().size(); i-- > 0;) {
    if (world_.Up(i) && !Holds(i)) return i;
  }
  return std::nullopt;
}

}  // namespace tenure::sim
