#include "runtime/disk.h"

namespace tenure::runtime {

StatusOr<std::string> ReadWholeFile(Disk& disk, const std::string& path) {
  TENURE_ASSIGN_OR_RETURN(std::unique_ptr<File> file, disk.Open(path, OpenMode::kReadOnly));
  TENURE_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  return file->Read(0, size);
}

Status WriteWholeFile(Disk& disk, const std::string& path, std::string_view content) {
  const std::string temporary = path + ".new";
  {
    TENURE_ASSIGN_OR_RETURN(std::unique_ptr<File> file, disk.Open(temporary, OpenMode::kCreate));
    TENURE_RETURN_IF_ERROR(file->Truncate(0));
    TENURE_RETURN_IF_ERROR(file->Write(0, content));
    TENURE_RETURN_IF_ERROR(file->SyncNow());
  }
  TENURE_RETURN_IF_ERROR(disk.Rename(temporary, path));
  const size_t slash = path.rfind('/');
  return disk.SyncDirectory(slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1)));
}

}  // namespace tenure::runtime
