// The history of changes as the nodes that lead the regions tell it (NodeInternal/BeginOfChanges).
//
// Threading: the controller's executor.
#pragma once

#include <map>

#include "controller/changefeeds/change_history.h"
#include "controller/changefeeds/node_calls.h"

namespace tenure::controller {

class NodeChangeHistory final : public ChangeHistory {
 public:
  NodeChangeHistory(CatalogAccess& access, AgentService& agents, NodeCalls& nodes)
      : access_(access), agents_(agents), nodes_(nodes) {}
  runtime::Task<StatusOr<changefeed::CommitTs>> BeginOf(uint64_t database, runtime::StopToken stop) override;
  runtime::Task<StatusOr<changefeed::CommitTs>> ResolvedOf(uint64_t database,
                                                           runtime::StopToken stop) override;

 private:
  struct Range {
    changefeed::CommitTs begin;
    changefeed::CommitTs resolved;
  };
  runtime::Task<StatusOr<Range>> Ask(uint64_t database, runtime::StopToken stop);
  // The versions of the ranges of the database's regions.
  std::map<uint64_t, uint64_t> RangesOf(uint64_t database) const;

  CatalogAccess& access_;
  AgentService& agents_;
  NodeCalls& nodes_;
};

}  // namespace tenure::controller
