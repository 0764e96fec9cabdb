// Stories about procedures: one for each type, and for each way in which a type may end, small enough that
// every change of it can be the moment of a crash (procedure_cases.h).
//
// Three controllers that are nodes too, two machines that are nodes only, one database of one region, one
// client of each kind.
// Threading:  the simulation's thread, from outside any event unless said otherwise.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/world.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::sim {

// What a story has to work with.
class Stage {
 public:
  // Passes time until what is waited for is empty; false: it took too long, or something was violated.
  using Wait = std::function<bool(const std::function<std::string()>& waiting)>;
  Stage(World& world, Wait wait) : world_(world), wait_(std::move(wait)) {}

  World& world() { return world_; }
  bool Until(const std::function<std::string()>& waiting) { return wait_(waiting); }
  // Asks as an operator, under one id, until it is done.
  template <class Request>
  bool Ask(std::string_view method, Request request) {
    *request.mutable_id() = world_.NextRequestId();
    return AskUntilDone(method, request.SerializeAsString());
  }
  bool AskUntilDone(std::string_view method, const std::string& request);
  bool CreateDatabase(const std::string& name, uint32_t regions);
  // Asks again and again from now on, until it is done or refused; may be called inside an event.
  void Cancel(uint64_t procedure);
  void Drop(const std::string& database);
  bool cancel_refused() const { return cancel_refused_; }

  // A machine is gone from now on; nobody brings it back but the story. May be called inside an event.
  void TakeAway(size_t machine);
  void BringBack(size_t machine, Duration after);
  bool IsAway(size_t machine) const { return away_.contains(machine); }

  // Empty while nobody serves.
  std::optional<::tenure::v1::RegionRecord> Region();
  uint64_t NodeOf(size_t machine);
  std::optional<size_t> MachineOf(uint64_t node);
  // Machines by what they hold of the region; none: there is no such machine now.
  std::optional<size_t> Leader() { return world_.ServerOf(GroupId(1)); }
  std::optional<size_t> Follower();
  std::optional<size_t> Free();
  bool Holds(size_t machine);

 private:
  void AskFromNow(std::string_view method, const std::string& request, std::function<void()> refused);

  World& world_;
  const Wait wait_;
  std::set<size_t> away_;
  bool cancel_refused_ = false;
};

struct Story {
  std::string_view name;
  std::string_view type;  // of the procedure that it is about: the newest one of that type
  std::vector<::tenure::v1::ProcedureState> ends;
  // How long its step `announce` may take if nobody crashes; none: it has no such step, or nobody minds.
  std::optional<Duration> announced_within;
  std::optional<Duration> made_within;  // likewise of all of it
  void (*shape)(SimOptions& options) = nullptr;
  bool (*prepare)(Stage& stage) = nullptr;
  bool (*act)(Stage& stage) = nullptr;
  // After each change of a procedure's record since `act`, in an event of its own.
  void (*on_change)(Stage& stage, const ::tenure::v1::ProcedureRecord& after) = nullptr;
  bool (*tidy)(Stage& stage) = nullptr;
};

// A replica of the region is on the last machine, which is a node only.
bool HoldOnLastMachine(Stage& stage);
bool MoveReplica(Stage& stage, std::optional<size_t> from, std::optional<size_t> to);

std::span<const Story> Stories();
const Story* FindStory(std::string_view name);
SimOptions OptionsOf(const Story& story);

}  // namespace tenure::sim
