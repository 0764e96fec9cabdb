// The node's durable copy of its catalog view (file `catalog-view` in the data directory), so that the
// replicas of a cluster that lost power come up before any controller answers.
//
// It may be older than what the node knew when it stopped: nothing may be destroyed on its word
// (region_reconciler.h).
// Threading:  home executor; the file is written on the background executor, to which `disk` belongs.
// Durability: written some time after a change, as a whole; a crash leaves the old or the new content.
// Errors:     a copy that cannot be read is as none; a failed write is logged and repeated with the next
//             change.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "node/catalog_view.h"
#include "runtime/disk.h"
#include "runtime/executor.h"

namespace tenure::node {

class CatalogFile {
 public:
  CatalogFile(runtime::Executor& home, runtime::Executor& background, runtime::Disk& disk, std::string path,
              Duration delay, Logger logger);
  ~CatalogFile();

  // For start-up, before anything runs: blocks. None if there is no copy or it is damaged.
  static std::optional<CatalogView> Load(runtime::Disk& disk, const std::string& path, const Logger& logger);

  // Writes `view` as it is `delay` after the first change since the last write. `view` must outlive this.
  void SaveLater(const CatalogView& view);

 private:
  void Save(const CatalogView& view);
  void OnSaved(const CatalogView& view, const Status& status);

  runtime::Executor& home_;
  runtime::Executor& background_;
  runtime::Disk& disk_;
  const std::string path_;
  const Duration delay_;
  Logger logger_;
  runtime::Timer timer_;
  bool scheduled_ = false;
  bool writing_ = false;
  bool changed_while_writing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::node
