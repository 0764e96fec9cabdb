// DrainNode: leaderships leave a node, then its replicas, each by a MoveReplica of its own; maintainers of
// changefeeds are taken away by their coordinator. The node stays DRAINING and takes nothing.
//
//   drain --nothing is on it any more--> SUCCEEDED
//     |  '--replicas left, moves started--> (waits for its children, looks again)
//     '--cancelled (`tenure node resume`)--> CANCELLED: the node is UP again
//
// RemoveNode: the node's record goes to REMOVED once no replica is on it; what a node that is away still held
// is replaced by the region scheduler.
//
//   replace --nothing is on it, or only regions that were given up by name; and it has no lease--> SUCCEEDED:
//   REMOVED for ever
//
// A removed node is passed over by barriers: so it is removed only when it said that it is fenced, or has
// been silent until its lease has certainly run out, or an operator vouches that its process has ended.
#pragma once

#include <string>
#include <vector>

#include "controller/procedure/procedure_type.h"
#include "controller/procedure/step_context.h"

namespace tenure::controller {

struct DrainOptions {
  size_t max_moves = 4;                             // at once
  Duration retry_after = std::chrono::seconds(10);  // a region whose move failed
  Duration transfer_every = std::chrono::seconds(2);
};

class DrainNode : public ProcedureType {
 public:
  static constexpr std::string_view kName = "DrainNode";
  explicit DrainNode(DrainOptions options) : options_(options) {}

  // Submitted with the effect that makes the node DRAINING.
  static ::tenure::v1::ProcedureRecord New(const catalog::Catalog& catalog, NodeId node);

  // What people are told: `replicas` were there at the beginning, `elapsed` ago; the rest is expected to take
  // as long in proportion. `changefeeds`: whose maintainers are still there.
  static std::string Progress(size_t replicas, size_t left, size_t running, Duration elapsed,
                              const std::vector<std::string>& changefeeds = {});

  std::string_view name() const override { return kName; }
  std::string_view first_step() const override { return "drain"; }
  size_t max_running() const override { return 16; }
  bool IsCancellable(std::string_view) const override { return true; }
  Status Check(const ::tenure::v1::ProcedureRecord& procedure) const override;
  StepEnd Withdraw(const catalog::Catalog& catalog,
                   const ::tenure::v1::ProcedureRecord& procedure) const override;
  runtime::Task<StatusOr<StepEnd>> Run(StepContext& context) override;

 private:
  // The next moves, as children; empty: nothing can be started now.
  std::vector<::tenure::v1::ProcedureRecord> NextMoves(StepContext& context, NodeId node,
                                                       Instant& next_transfer) const;

  const DrainOptions options_;
};

class RemoveNode : public ProcedureType {
 public:
  static constexpr std::string_view kName = "RemoveNode";

  // Submitted with the effect that makes the node REMOVING.
  static ::tenure::v1::ProcedureRecord New(NodeId node, const std::vector<uint64_t>& force_regions,
                                           bool gone);

  std::string_view name() const override { return kName; }
  std::string_view first_step() const override { return "replace"; }
  size_t max_running() const override { return 16; }
  bool IsCancellable(std::string_view) const override { return false; }
  Status Check(const ::tenure::v1::ProcedureRecord& procedure) const override;
  runtime::Task<StatusOr<StepEnd>> Run(StepContext& context) override;
};

}  // namespace tenure::controller
