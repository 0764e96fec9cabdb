#include "sim/slow_destruction.h"

#include <fmt/format.h>

#include <climits>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/format.h"
#include "catalog/procedures.h"
#include "sim/phases.h"
#include "sim/procedure_stories.h"
#include "sim/server.h"
#include "tenure/v1/procedures.pb.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

constexpr Duration kLimit = std::chrono::seconds(120);
constexpr Duration kSlowly = std::chrono::minutes(10);
constexpr Duration kFailing = std::chrono::minutes(3);
constexpr Duration kBetweenLeaders = std::chrono::seconds(140);
constexpr Duration kAway = std::chrono::seconds(5);
// Until a new leader has heard from the node what it does.
constexpr Duration kHearing = std::chrono::seconds(15);
constexpr Duration kAsk = std::chrono::seconds(5);
constexpr size_t kBackground = 3;  // executor of a process
constexpr char kInvariant[] = "a destruction is done once, and done when it is reported done";

class Destruction : private Phases {
 public:
  Destruction(bool fails, LogSink* trace)
      : Phases(OptionsOf(*FindStory("move-replica")), trace, nullptr),
        fails_(fails),
        stage_(world_, [this](const std::function<std::string()>& waiting) {
          return Until(kLimit, [&] { return waiting().empty(); }, waiting, kInvariant);
        }) {}

  RunResult Go() {
    if (Begin() && Last() && End() && Settle()) Judge();
    return Sum();
  }

 private:
  size_t machine() { return world_.machines().size() - 1; }  // a node only
  Machine& Node() { return *world_.machines()[machine()]; }

  bool Begin() {
    if (!Form()) return false;
    world_.StartClients();
    if (!HoldOnLastMachine(stage_)) return false;
    Enter("move");
    world_.procedures().SetOnChange(
        [this](const pb::ProcedureRecord*, const pb::ProcedureRecord& after, LogIndex) { OnChange(after); });
    return MoveReplica(stage_, machine(), stage_.Free()) && stage_.Until([this] {
      const bool begun = world_.procedures().Begun(procedure_, "destroy") > 0;
      return begun ? std::string() : std::string("the destruction to begin");
    });
  }

  // The task is still to be submitted.
  void OnChange(const pb::ProcedureRecord& after) {
    if (after.type() != "MoveReplica" || after.step() != "destroy" || procedure_ != 0) return;
    procedure_ = after.id();
    if (fails_) {
      LeaveFile();
      Node().disk.FailRemovals(INT_MAX, "/snapshots/1-");
    } else {
      Node().server->process().executors()[kBackground]->Pause();
    }
  }

  // As a transfer that was broken off leaves it.
  void LeaveFile() {
    SimProcess& process = Node().server->process();
    const auto disk = Node().disk.MakeView(process, *process.executors()[kBackground]);
    const auto file =
        disk->Open(std::string(Server::kData) + "/snapshots/1-5-1.snap.part", runtime::OpenMode::kCreate);
    if (!file.ok() || !(*file)->Write(0, "half a snapshot").ok())
      world_.Fail("the simulated disk takes a file", "it did not");
  }

  bool Last() {
    Enter("destruction");
    const Instant end = world_.scheduler().now() + (fails_ ? kFailing : kSlowly);
    Instant next_leader = world_.scheduler().now() + kBetweenLeaders;
    Instant next_question{};
    int leaders = fails_ ? 1 : 3;
    while (world_.scheduler().now() < end && !world_.failed()) {
      Pass();
      Check();
      const Instant now = world_.scheduler().now();
      if (now >= next_question) {
        next_question = now + kAsk;
        Question();
      }
      if (now < next_leader || leaders == 0) continue;
      next_leader = now + kBetweenLeaders;
      if (ChangeLeader()) --leaders;
    }
    if (leaders > 0) world_.Fail(kInvariant, "not so many leaders as were to be changed");
    if (fails_ && world_.procedures().Begun(procedure_, "destroy") < 4)
      world_.Fail(kInvariant, "a destruction that fails is tried again");
    return !world_.failed();
  }

  bool ChangeLeader() {
    const auto leader = world_.ServerOf(kCatalogGroup);
    if (!leader) return false;
    changed_at_ = world_.scheduler().now();
    world_.Kill(*leader, CrashKind::kProcess);
    world_.scheduler().After(kAway, "back", [this, leader] {
      if (!world_.Up(*leader)) world_.Boot(*leader);
    });
    return true;
  }

  void Check() {
    const uint64_t begun = world_.procedures().Begun(procedure_, "destroy");
    if (!fails_ && begun != 1) world_.Fail(kInvariant, fmt::format("it was begun {} times", begun));
    if (world_.procedures().Succeeded(procedure_, "destroy") != 0)
      world_.Fail(kInvariant, "its node says that it is done");
    const controller::Controller* const serving = world_.ServingController();
    if (serving == nullptr) return;
    const auto record = serving->catalog().procedures().find(procedure_);
    if (record == serving->catalog().procedures().end() ||
        catalog::IsEnded(record->second.procedure().state()) ||
        record->second.procedure().step() != "destroy") {
      world_.Fail(kInvariant, "its procedure does not wait for it");
    }
  }

  // What people are told.
  void Question() {
    pb::GetProcedureRequest request;
    request.set_id(procedure_);
    world_.Ask("tenure.v1.Procedures/Get", request.SerializeAsString(),
               [this](const StatusOr<std::string>& answer) {
                 pb::GetProcedureResponse response;
                 if (!answer.ok() || !response.ParseFromString(*answer)) return;
                 ++answers_;
                 if (world_.scheduler().now() - changed_at_ < kHearing || over_) return;
                 const pb::ProcedureStatus& status = response.procedure();
                 const bool listed = status.tasks_size() == 1;
                 const std::string state = listed ? status.tasks(0).state() : "no task";
                 if (listed && (fails_ ? state != "SUCCESS" : state == "PROCESSING")) return;
                 world_.Fail(kInvariant, fmt::format("its task is listed as {}", state));
               });
  }

  bool End() {
    Enter("end");
    over_ = true;
    if (fails_) {
      Node().disk.FailRemovals(0);
    } else {
      Node().server->process().executors()[kBackground]->Resume();
    }
    if (!stage_.Until([this] { return world_.Unsettled(/*replicas=*/true); })) return false;
    const controller::Controller* const serving = world_.ServingController();
    const auto record = serving->catalog().procedures().find(procedure_);
    const uint64_t succeeded = world_.procedures().Succeeded(procedure_, "destroy");
    const uint64_t begun = world_.procedures().Begun(procedure_, "destroy");
    if (record == serving->catalog().procedures().end() ||
        record->second.procedure().state() != pb::PROCEDURE_SUCCEEDED || succeeded != 1 ||
        (!fails_ && begun != 1)) {
      world_.Fail(kInvariant, fmt::format("begun {} times, ended {} times", begun, succeeded));
    }
    if (answers_ == 0) world_.Fail(kInvariant, "nobody could ask for it");
    return !world_.failed();
  }

  const bool fails_;
  Stage stage_;
  uint64_t procedure_ = 0;
  Instant changed_at_{};
  uint64_t answers_ = 0;
  bool over_ = false;
};

}  // namespace

RunResult RunSlowDestruction(LogSink* trace) {
  return Destruction(/*fails=*/false, trace).Go();
}

RunResult RunFailingDestruction(LogSink* trace) {
  return Destruction(/*fails=*/true, trace).Go();
}

}  // namespace tenure::sim
