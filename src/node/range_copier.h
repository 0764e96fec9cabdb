// Copies slots that are frozen in a region with a replica here into the log of another region, wherever that
// is led: the task of a procedure that splits or merges regions.
//
// Any replica will do whose own log says that the procedure has frozen the slots: from there on they do not
// change (R2 of store/region_range.h). It is read from a snapshot, so the region goes on meanwhile.
//
// Threading: one executor.
// Errors:    whatever stands in the way ends the copy; another attempt begins anew. A copy that the other
//            region says is complete is success, whoever made it.
// Bounds:    one chunk of chunk_bytes, or of one value if that is larger, on its way; kMaxCopies copies.
#pragma once

#include <optional>
#include <string>

#include "base/log.h"
#include "group/group_host.h"
#include "node/agent.h"
#include "node/catalog_view.h"
#include "node/region_table.h"
#include "runtime/network.h"
#include "runtime/task.h"
#include "store/range_copy.h"
#include "tenure/internal/v1/agent.pb.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::node {

class RangeCopier {
 public:
  static constexpr size_t kMaxCopies = 8;
  static constexpr uint64_t kKeysPerClear = 1000;

  struct Surroundings {
    runtime::Executor& executor;
    runtime::Network& network;
    group::GroupHost& host;
    RegionTable& table;
    const CatalogView& view;
    const Agent& agent;
    size_t chunk_bytes;
  };
  RangeCopier(Surroundings surroundings, Logger logger)
      : surroundings_(surroundings), logger_(std::move(logger)), scope_(surroundings.executor) {}
  void SetClusterId(std::string cluster_id) { cluster_id_ = std::move(cluster_id); }

  void Copy(const ::tenure::internal::v1::SlotCopy& copy, Callback<Status> done);
  void StopAndJoin(Closure joined) { scope_.StopAndJoin(std::move(joined)); }

 private:
  using SlotCopy = ::tenure::internal::v1::SlotCopy;
  using Response = ::tenure::internal::v1::ChangeRangeResponse;

  Status CheckFrozen(const SlotCopy& copy) const;
  runtime::Task<void> Run(SlotCopy copy, Callback<Status> done);
  runtime::Task<Status> Transfer(SlotCopy copy);
  // Asks the region's leader; without `change` for its range.
  runtime::Task<StatusOr<Response>> Ask(uint64_t region,
                                        std::optional<::tenure::internal::v1::RangeChange> change);

  Surroundings surroundings_;
  Logger logger_;
  std::string cluster_id_;
  runtime::TaskScope scope_;
};

}  // namespace tenure::node
