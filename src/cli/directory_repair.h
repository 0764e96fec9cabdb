// What `tenure repair DIR` finds out and does: a stopped process's directory whose log or snapshots are
// damaged is made startable again, without the replicas that lost something they had acknowledged.
//
// Threading: blocks the calling thread. Holds the directory's lock as long as it lives.
// Errors:    NOT_FOUND: no data directory. FAILED_PRECONDITION: in use, of a newer format, or healthy.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "runtime/real/real_disk.h"
#include "runtime/real/real_executor.h"
#include "wal/data_directory.h"
#include "wal/repair.h"

namespace tenure::cli {

class DirectoryRepair {
 public:
  // Looks; changes nothing.
  static StatusOr<std::unique_ptr<DirectoryRepair>> Open(const std::string& directory);

  const wal::Identity& identity() const { return owned_->identity(); }
  const std::string& path() const { return owned_->path(); }
  // An earlier repair got as far as exchanging the logs: all that is left is to finish it. `plan` is then
  // empty.
  bool unfinished() const { return unfinished_; }
  const wal::RepairPlan& plan() const { return plan_; }
  // Why a group has to go although the log does not say so.
  const std::map<GroupId, std::string>& other_reasons() const { return other_reasons_; }
  // As it was found; Execute may take it away.
  ControllerId controller_id() const { return controller_id_; }
  bool DropsController() const { return plan_.dropped.contains(kCatalogGroup); }
  // Nothing would be left that a process could run.
  bool NothingLeft() const { return plan_.everything || (DropsController() && identity().node_uuid.empty()); }

  // Does it. FAILED_PRECONDITION if nothing is left, or if group 0 is affected and `drop_controller` is not
  // given. Returns where the damaged log is now.
  StatusOr<std::string> Execute(bool drop_controller);

 private:
  DirectoryRepair();
  Status Look(const std::string& directory);
  Status LookAtSnapshots();
  Status RecordInIdentity();
  Status Build();

  runtime::RealExecutor executor_;
  runtime::RealDisk disk_;
  std::unique_ptr<wal::DataDirectory> owned_;
  ControllerId controller_id_;
  bool unfinished_ = false;
  wal::RepairPlan plan_;
  std::map<GroupId, std::string> other_reasons_;
};

}  // namespace tenure::cli
