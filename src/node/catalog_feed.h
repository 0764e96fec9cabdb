// Keeps the catalog view current: one complete list of every kind, then the events of a watch, and a new list
// when the watch's history does not reach back far enough.
//
//   Listing --lists taken--> Watching --stream ended--> Watching (from the view's revision)
//      ^----------------------OUT_OF_RANGE----------------'
//
// Threading:  one executor.
// Errors:     never given up; retried with growing pauses and logged when the reason changes.
// Invariants: F1 a list is taken over only whole, only if it names this node under its own id and uuid, and
//             only if it is not older than anything seen before: another cluster's catalog, or one restored
//             from an old copy, is not believed (what stands here must not be destroyed on its word).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "node/catalog_view.h"
#include "node/cluster_link.h"
#include "node/node_options.h"
#include "runtime/task.h"

namespace tenure::node {

class CatalogFeed final : private runtime::StreamHandler {
 public:
  struct Callbacks {
    std::function<void()> on_pulled;    // complete lists were taken over
    std::function<void()> on_change;    // an event changed the view
    std::function<void()> on_progress;  // the view's revision rose without a change
  };
  CatalogFeed(runtime::Executor& executor, ClusterLink& link, CatalogView& view, const NodeOptions& options,
              Callbacks callbacks, Logger logger);
  ~CatalogFeed() override;

  // Once this node is registered.
  void Start(NodeId self, std::string uuid);
  void StopAndJoin(Closure joined);
  // The cluster has a new incarnation, whose catalog may stand at an older revision than the one followed so
  // far: everything is listed again.
  void StartOver();
  // Lists everything again, if that is not being done already.
  void Pull();
  // Of the last complete lists that were taken over: nothing older is in the view. None: there were none.
  Revision pulled() const { return pulled_; }
  // A complete list was taken over in this run: what is absent from the view does not exist.
  bool current() const { return current_; }
  // The leading controller's revision: a watch that stays behind it is opened anew.
  void OnLeaderRevision(Revision revision);

 private:
  struct List {
    std::vector<pb::Record> records;
    Revision revision;
  };
  runtime::Task<void> Run();
  runtime::Task<Status> ListAll();
  runtime::Task<StatusOr<List>> ListKind(pb::RecordKind kind);
  Status TakeOver(const std::vector<List>& lists);
  runtime::Task<Status> Watch();
  void OnMessage(std::string message) override;
  void OnClosed(Status status) override;
  void EndWatch(Status status);
  void LogFailure(const Status& status);

  runtime::Executor& executor_;
  ClusterLink& link_;
  CatalogView& view_;
  const NodeOptions& options_;
  Callbacks callbacks_;
  Logger logger_;

  NodeId self_;
  std::string uuid_;
  bool current_ = false;
  Revision pulled_;
  std::string last_failure_;

  std::unique_ptr<runtime::Stream> stream_;
  runtime::Endpoint stream_to_;
  Status stream_end_;
  bool stream_answered_ = false;
  runtime::Event stream_ended_;

  Revision awaited_;  // a revision of the leader that the watch has to reach ...
  Instant awaited_since_;

  runtime::TaskScope scope_;
};

}  // namespace tenure::node
