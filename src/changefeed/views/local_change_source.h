// ChangeSource over the replicas of this node.
//
// Threading: `home` is the dispatchers' executor, where it is made, used and destroyed; `node` is the
//            executor that `logs` belongs to. Nothing waits for the other executor but who reads.
// Lifetime:  `logs` outlives it; every reader has been stopped before it is destroyed.
#pragma once

#include <map>
#include <memory>

#include "changefeed/dispatcher/change_source.h"
#include "node/change_logs.h"

namespace tenure::changefeed {

class LocalChangeSource final : public ChangeSource {
 public:
  // Listens to `logs` from now on.
  LocalChangeSource(runtime::Executor& home, runtime::Executor& node, node::ChangeLogs& logs);
  ~LocalChangeSource() override;

  runtime::Task<StatusOr<ChangeBatch>> Read(ReadPosition position, size_t max_bytes,
                                            runtime::StopToken stop) override;
  runtime::Task<StatusOr<SnapshotBatch>> ReadSnapshot(ReadPosition position, std::string from,
                                                      size_t max_bytes, runtime::StopToken stop) override;
  uint64_t BytesOf(RegionId region) const override;

 private:
  // Shared with closures that may come later than the end of this object.
  struct Home;

  runtime::Executor& home_;
  runtime::Executor& node_;
  node::ChangeLogs& logs_;
  std::shared_ptr<Home> state_;
};

}  // namespace tenure::changefeed
