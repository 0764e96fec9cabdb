// The parts of PlanRebalance (placement.h): what they share, and the stages in the order in which they count.
// A stage plans steps that lower its own measure and leave those of the stages before it as they are.
//
// Threading:  one owner, one plan.
// Lifetime:   refers to the request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/placement.h"
#include "planner/placement_choice.h"
#include "planner/placement_state.h"

namespace tenure::planner {

// The state with the steps planned so far, the limits, and the plan itself.
class Rebalance {
 public:
  Rebalance(const PlacementView& view, const RebalanceRequest& request);

  const PlacementState& state() const { return state_; }
  const RebalanceRequest& request() const { return request_; }
  // UP and not held back: what is evened out.
  bool IsCounted(uint32_t node) const { return counted_[node]; }
  // Counted, with the labels that the database requires.
  bool IsFor(uint32_t node, uint32_t database) const;
  // Reconfigured, cooling, or part of the plan already.
  bool IsBusy(uint32_t region) const { return busy_[region]; }

  size_t moves_left() const;
  size_t transfers_left() const;
  bool MayGive(uint32_t node) const { return outgoing_[node] < request_.max_outgoing; }
  bool MayTake(uint32_t node) const { return incoming_[node] < request_.max_incoming; }
  bool MayTransfer(uint32_t node, uint32_t count = 1) const {
    return transfers_[node] + count <= request_.max_transfers_per_node;
  }
  // A limit kept a stage from going on.
  void SetLimited() { plan_.limited = true; }

  // Plans the move of a replica. `measure`: what was compared, for the explanation: of two nodes, who has
  // more.
  enum class Measure : uint8_t { kSpread, kDatabaseReplicas, kReplicas, kBytes };
  void Move(uint32_t region, uint32_t from, uint32_t to, Measure measure, std::string why);
  void Transfer(uint32_t region, uint32_t to, std::string why);

  bool is_paused() const { return !plan_.paused.empty(); }
  RebalancePlan TakePlan() { return std::move(plan_); }

  // Replicas that these regions, all of one database, have on each node; or leaders. Quicker than to ask for
  // every node where databases are many.
  std::vector<uint32_t> CountReplicas(const std::vector<uint32_t>& regions) const;
  std::vector<uint32_t> CountLeaders(const std::vector<uint32_t>& regions) const;
  // The difference that is left alone.
  static uint64_t Tolerance(const Slack& slack, uint64_t sum, size_t nodes);

 private:
  // Why nothing is looked at now; empty: it is.
  std::string WhyPaused() const;
  void CountRunning();
  void Explain(uint32_t region, uint32_t from, uint32_t to, Measure measure, const std::string& why);
  uint64_t ValueOf(uint32_t node, uint32_t database, Measure measure) const;

  const RebalanceRequest& request_;
  PlacementState state_;
  std::vector<bool> counted_;
  std::vector<bool> busy_;
  std::vector<uint32_t> incoming_;
  std::vector<uint32_t> outgoing_;
  std::vector<uint32_t> transfers_;
  RebalancePlan plan_;
};

// 1. Replicas that lack a required label, or that a better spread exists for. 2. Even counts of one database.
void EvenOutDatabase(Rebalance& rebalance, uint32_t database, const std::vector<uint32_t>& regions);
// 3. Even counts in all.
void EvenOutReplicas(Rebalance& rebalance);
// 4. Even bytes: a move where the counts allow one, else two replicas of a database change places.
void EvenOutBytes(Rebalance& rebalance);
// 5. Leaders in the preferred zone; even leaders of one database. 6. Even leaders in all.
void EvenOutDatabaseLeaders(Rebalance& rebalance, uint32_t database, const std::vector<uint32_t>& regions);
void EvenOutAllLeaders(Rebalance& rebalance);

}  // namespace tenure::planner
