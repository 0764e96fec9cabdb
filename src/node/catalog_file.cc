#include "node/catalog_file.h"

#include <utility>

namespace tenure::node {

CatalogFile::CatalogFile(runtime::Executor& home, runtime::Executor& background, runtime::Disk& disk,
                         std::string path, Duration delay, Logger logger)
    : home_(home),
      background_(background),
      disk_(disk),
      path_(std::move(path)),
      delay_(delay),
      logger_(std::move(logger)) {}

CatalogFile::~CatalogFile() {
  *alive_ = false;
}

std::optional<CatalogView> CatalogFile::Load(runtime::Disk& disk, const std::string& path,
                                             const Logger& logger) {
  StatusOr<std::string> bytes = runtime::ReadWholeFile(disk, path);
  if (!bytes.ok()) {
    if (bytes.status().code() != StatusCode::kNotFound) {
      logger.Warn("{}: {}; regions start when a controller answers", path, MessageOf(bytes.status()));
    }
    return std::nullopt;
  }
  StatusOr<CatalogView> view = CatalogView::Decode(*bytes);
  if (!view.ok()) {
    logger.Warn("{}: {}; regions start when a controller answers", path, MessageOf(view.status()));
    return std::nullopt;
  }
  return std::move(*view);
}

void CatalogFile::SaveLater(const CatalogView& view) {
  if (writing_) {
    changed_while_writing_ = true;
    return;
  }
  if (std::exchange(scheduled_, true)) return;
  timer_ = home_.After(delay_, [this, &view] { Save(view); });
}

void CatalogFile::Save(const CatalogView& view) {
  scheduled_ = false;
  writing_ = true;
  // The work owns what it uses: it may outlive this object.
  background_.Post([this, &view, &home = home_, &disk = disk_, path = path_, bytes = view.Encode(),
                    alive = alive_]() mutable {
    Status status = runtime::WriteWholeFile(disk, path, bytes);
    home.Post([this, &view, status = std::move(status), alive = std::move(alive)] {
      if (*alive) OnSaved(view, status);
    });
  });
}

void CatalogFile::OnSaved(const CatalogView& view, const Status& status) {
  writing_ = false;
  if (!status.ok()) logger_.Warn("{}: not written: {}", path_, MessageOf(status));
  if (std::exchange(changed_while_writing_, false)) SaveLater(view);
}

}  // namespace tenure::node
