// Recent changes of the catalog in memory, and the watch streams that follow them.
//
// A stream is sent what it may take: while its buffer is above a mark nothing is added, so a slow watcher
// costs the mark and no more. It is cut off when the history has moved past it (OUT_OF_RANGE) or when it
// takes nothing for too long (OVERLOADED). Served by the leader only: streams end with NOT_LEADER when
// leadership does.
//
// Driven by CatalogMachine (listener and event sink).
// Threading:  the controller's executor.
// Lifetime:   streams may outlive the hub (the network owns their handlers).
// Invariants: W1 a stream's events are those that match, each once, in order, with revision > after_revision.
//             W2 progress_revision is sent only when everything matching up to it was sent before or with it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "base/order.h"
#include "controller/catalog_machine.h"
#include "controller/leadership/leader_service.h"
#include "controller/leadership/leadership.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::controller {

struct WatchOptions {
  size_t history_events = 100000;
  size_t history_bytes = 32 << 20;
  size_t message_bytes = 1 << 20;      // events in one message, about
  size_t buffer_mark_bytes = 1 << 20;  // a stream that buffers more is not sent anything
  Duration progress_interval = std::chrono::milliseconds(500);
  Duration retry_interval = std::chrono::milliseconds(20);  // for streams above the mark
  Duration stall_limit = std::chrono::seconds(30);
};

class WatchHub : public CatalogListener, public LeaderService {
 public:
  WatchHub(runtime::Executor& executor, const Leadership& leadership, WatchOptions options, Logger logger);
  ~WatchHub() override;

  // A new stream; its first message is the WatchRequest.
  std::unique_ptr<runtime::StreamHandler> Accept(std::unique_ptr<runtime::Stream> stream);
  // Events of a written batch; called after OnCatalogChanged.
  void Take(catalog::Events events);

  // Tells every watcher up to where it has been sent everything, now and not with the next tick: somebody
  // waits.
  void SendProgress();
  // Events with a greater revision are all in memory.
  Revision history_from() const { return history_from_; }
  size_t streams() const { return streams_.size(); }

  // CatalogListener
  void OnCatalogChanged(const std::vector<::tenure::v1::Event>& events, Revision applied) override;
  void OnCatalogReset(Revision applied) override;
  // LeaderService
  std::string_view name() const override { return "watch"; }
  runtime::Task<Status> Start(Term epoch, runtime::StopToken stop) override;
  void Stop() override;

 private:
  class WatchStream;
  // An event as it is sent: kept in one piece, for it is mostly old when it goes. Those of records are in the
  // same form, without a key.
  struct Kept {
    ::tenure::v1::RecordKind kind;
    catalog::EntryEvent event;
    size_t size() const { return sizeof(Kept) + event.message.size(); }
  };

  void Keep(::tenure::v1::RecordKind kind, catalog::EntryEvent event);
  void CloseAll(const Status& status);
  void PumpAll();
  void SchedulePump();
  void OnTick();

  runtime::Executor& executor_;
  const Leadership& leadership_;
  const WatchOptions options_;
  Logger logger_;

  std::deque<Kept> history_;
  uint64_t first_number_ = 0;  // of history_.front(), counting all events ever kept
  size_t history_bytes_ = 0;
  Revision history_from_;
  Revision applied_;

  std::set<WatchStream*, ByNumber> streams_;
  uint64_t next_stream_ = 1;
  bool pump_posted_ = false;
  bool tick_retry_ = false;  // retry_ is set
  runtime::Timer tick_;
  runtime::Timer retry_;
  std::shared_ptr<WatchHub*> self_;  // null inside once the hub is gone
};

}  // namespace tenure::controller
