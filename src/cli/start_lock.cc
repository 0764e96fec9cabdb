#include "cli/start_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cli/process.h"

namespace tenure::cli {
namespace {

constexpr Duration kLockInterval = std::chrono::milliseconds(50);

StatusCode CodeOfLock(int error) {
  return error == ENOSPC || error == EDQUOT ? StatusCode::kResourceExhausted : StatusCode::kPermissionDenied;
}

}  // namespace

StatusOr<StartLock> StartLock::Take(const std::string& directory, Duration limit) {
  const std::string path = directory + "/up.lock";
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return Error(CodeOfLock(error.value()), "cannot make {}: {}", directory, error.message());
  StartLock lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (lock.file_ < 0) return Error(CodeOfLock(errno), "cannot write {}: {}", path, std::strerror(errno));
  const auto end = std::chrono::steady_clock::now() + limit;
  while (::flock(lock.file_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return Error(StatusCode::kFailedPrecondition, "cannot lock {}: {}", path, std::strerror(errno));
    if (std::chrono::steady_clock::now() >= end)
      return Error(StatusCode::kDeadlineExceeded, "another `tenure up` is starting {} and holds {}",
                   directory, path);
    if (WaitForEndSignal(kLockInterval) != 0)
      return absl::CancelledError("stopped while another `tenure up` starts");
  }
  return lock;
}

StartLock::StartLock(StartLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

StartLock::~StartLock() {
  if (file_ >= 0) ::close(file_);
}

}  // namespace tenure::cli
