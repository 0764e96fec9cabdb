// The leader's service for changefeeds: asks every node what it runs, has one driver for each record, hears
// what maintainers report, and spreads them over the nodes.
//
//   Start --collect from all nodes--> drivers bootstrap as answers come --> record, reports, time -> Look
//
// Threading:  the controller's executor.
// Lifetime:   StopAndJoin is called and finished before destruction, unless the executor has stopped for
//             good.
// Invariants: K1 reports are heeded only under this leadership, and in the record's epoch (FeedDriver).
// Reference:  docs/changefeeds.md.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/prng.h"
#include "controller/catalog_machine.h"
#include "controller/changefeeds/feed_driver.h"
#include "controller/leadership/leader_service.h"
#include "runtime/network.h"

namespace tenure::controller {

class ChangefeedCoordinator : public LeaderService, public CatalogListener, public runtime::Service {
 public:
  static constexpr std::string_view kName = "tenure.internal.v1.ChangefeedCoordinator";

  ChangefeedCoordinator(runtime::Executor& executor, CatalogAccess& access, BarrierService& barriers,
                        NodeCalls& nodes, ChangeHistory& history, FeedOptions options, Prng prng,
                        Logger logger);
  ~ChangefeedCoordinator() override;

  // The driver of a changefeed; null while this controller does not lead, or if there is no such changefeed.
  FeedDriver* Find(uint64_t id);
  // Moves it to `node`, or to the one with the fewest maintainers. A refusal names what is in the way.
  Status Move(uint64_t id, NodeId node);
  NodeCalls& nodes() { return nodes_; }
  Term epoch() const { return epoch_; }
  void StopAndJoin(Closure done) { scope_.StopAndJoin(std::move(done)); }

  struct Numbers {
    struct Feed {
      std::string name;
      std::string state;
      uint64_t epoch = 0;
      int64_t lag_ms = 0;
      uint64_t rows_per_second = 0;
      std::optional<uint64_t> lag_rows;  // none while nothing runs
    };
    std::vector<Feed> feeds;
    std::map<std::string, uint64_t> refusals;  // of reports, by kind
  };
  // Empty on a controller that does not lead.
  Numbers GetNumbers() const;

  // LeaderService
  std::string_view name() const override { return "changefeeds"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;
  // CatalogListener
  void OnCatalogChanged(const std::vector<::tenure::v1::Event>& events, Revision applied) override;
  void OnCatalogReset(Revision) override {}
  // runtime::Service
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }

 private:
  void OnBeat();
  void LookLater();
  void LookAll();
  void Balance();
  // Asks one process what it runs, until it answers, is gone, or is no process of the catalog any more.
  runtime::Task<void> Collect(changefeed::Process process, Term epoch, runtime::StopToken stop);

  runtime::Executor& executor_;
  CatalogAccess& access_;
  BarrierService& barriers_;
  NodeCalls& nodes_;
  ChangeHistory& history_;
  const FeedOptions options_;
  Prng prng_;
  Logger logger_;

  Term epoch_;  // none while stopped
  runtime::StopToken stop_;
  changefeed::BootstrapEvidence evidence_;
  std::map<uint64_t, std::shared_ptr<FeedDriver>> drivers_;
  std::map<std::string, uint64_t> refusals_;
  runtime::Timer beat_;
  Instant next_balance_;
  bool look_posted_ = false;
  std::shared_ptr<ChangefeedCoordinator*> self_;  // null inside once this is gone
  runtime::TaskScope scope_;                      // last: its tasks use the others
};

}  // namespace tenure::controller
