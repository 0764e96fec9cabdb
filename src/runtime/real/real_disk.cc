#include "runtime/real/real_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "runtime/helper.h"

namespace tenure::runtime {

// Memory that the device can read from, for what is not aligned; as large as was needed so far.
class DirectBuffer {
 public:
  static constexpr size_t kMaxBytes = 8 << 20;  // of one write; a commit of the log is rarely larger

  // The same bytes, aligned; until the next call.
  const char* Aligned(std::string_view bytes) {
    if (reinterpret_cast<uintptr_t>(bytes.data()) % kAlignment == 0) return bytes.data();
    if (size_ < bytes.size()) {
      size_ = std::bit_ceil(bytes.size());
      memory_ = std::make_unique_for_overwrite<char[]>(size_ + kAlignment);
    }
    const auto begin = reinterpret_cast<uintptr_t>(memory_.get());
    char* const to = memory_.get() + (kAlignment - begin % kAlignment) % kAlignment;
    return static_cast<const char*>(std::memcpy(to, bytes.data(), bytes.size()));
  }

 private:
  static constexpr size_t kAlignment = 4096;
  size_t size_ = 0;
  std::unique_ptr<char[]> memory_;
};

namespace {

StatusCode CodeOf(int error) {
  switch (error) {
    case ENOENT:
      return StatusCode::kNotFound;
    case EEXIST:
      return StatusCode::kAlreadyExists;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
      return StatusCode::kResourceExhausted;
    case EACCES:
    case EPERM:
    case EROFS:
      return StatusCode::kPermissionDenied;
    default:
      return StatusCode::kInternal;
  }
}

Status SystemError(int error, std::string_view operation, const std::string& path) {
  return Error(CodeOf(error), "cannot {} {}: {}", operation, path, std::generic_category().message(error));
}

// Repeats a call that a signal interrupted.
template <class Function>
auto Retry(Function function) {
  for (;;) {
    const auto result = function();
    if (result != -1 || errno != EINTR) return result;
  }
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }

 private:
  int fd_;
};

Descriptor OpenDescriptor(const std::string& path, int flags) {
  return Descriptor(Retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0644); }));
}

class RealFile final : public File {
 public:
  RealFile(Executor& executor, std::shared_ptr<DirectBuffer> buffer, std::string path, Descriptor fd)
      : executor_(executor), buffer_(std::move(buffer)), path_(std::move(path)), fd_(std::move(fd)) {}

  StatusOr<std::string> Read(uint64_t offset, size_t size) const override {
    // A size beyond the file's end must not cost memory.
    TENURE_ASSIGN_OR_RETURN(const uint64_t end, Size());
    std::string bytes(offset >= end ? 0 : std::min<uint64_t>(size, end - offset), '\0');
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n = Retry([&] {
        return ::pread(fd_.get(), bytes.data() + done, bytes.size() - done,
                       static_cast<off_t>(offset + done));
      });
      if (n < 0) return SystemError(errno, "read", path_);
      if (n == 0) break;  // truncated meanwhile
      done += static_cast<size_t>(n);
    }
    bytes.resize(done);
    return bytes;
  }

  Status Write(uint64_t offset, std::string_view bytes) override {
    if (direct_ && offset % kSectorBytes == 0 && bytes.size() % kSectorBytes == 0) {
      TENURE_RETURN_IF_ERROR(WriteDirect(offset, bytes));
    }
    while (!bytes.empty()) {
      const ssize_t n =
          Retry([&] { return ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
      if (n < 0) return SystemError(errno, "write", path_);
      bytes.remove_prefix(static_cast<size_t>(n));
      offset += static_cast<uint64_t>(n);
    }
    return OkStatus();
  }

  void PreferDirectWrites() override {
    Descriptor direct = OpenDescriptor(path_, O_WRONLY | O_DIRECT);
    if (direct.valid()) direct_.emplace(std::move(direct));  // else the file system has none
  }

  void Sync(Callback<Status> done) override {
    executor_.Post([done = std::move(done), status = SyncNow()]() mutable { done(std::move(status)); });
  }

  Status SyncNow() override {
    Helper::BeforeBlocking();
    if (::fdatasync(fd_.get()) != 0) return SystemError(errno, "sync", path_);
    return OkStatus();
  }

  Status Truncate(uint64_t size) override {
    if (Retry([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size)); }) != 0) {
      return SystemError(errno, "truncate", path_);
    }
    return OkStatus();
  }

  StatusOr<uint64_t> Size() const override {
    struct stat info{};
    if (::fstat(fd_.get(), &info) != 0) return SystemError(errno, "stat", path_);
    return static_cast<uint64_t>(info.st_size);
  }

 private:
  // Takes off `bytes` what it has written; what is left then is for the page cache.
  Status WriteDirect(uint64_t& offset, std::string_view& bytes) {
    Helper::BeforeBlocking();
    while (!bytes.empty()) {
      const size_t size = std::min(bytes.size(), DirectBuffer::kMaxBytes);
      const char* const from = buffer_->Aligned(bytes.substr(0, size));
      const ssize_t n =
          Retry([&] { return ::pwrite(direct_->get(), from, size, static_cast<off_t>(offset)); });
      if (n < 0 && errno != EINVAL) return SystemError(errno, "write", path_);
      const size_t written = n < 0 ? 0 : static_cast<size_t>(n) / kSectorBytes * kSectorBytes;
      if (written == 0) {  // sectors of this device are larger
        direct_.reset();
        return OkStatus();
      }
      bytes.remove_prefix(written);
      offset += written;
    }
    return OkStatus();
  }

  static constexpr uint64_t kSectorBytes = 512;

  Executor& executor_;
  const std::shared_ptr<DirectBuffer> buffer_;
  const std::string path_;
  const Descriptor fd_;
  std::optional<Descriptor> direct_;  // of the same file
};

// The kernel releases the lock with the descriptor.
class RealFileLock final : public FileLock {
 public:
  explicit RealFileLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  const Descriptor fd_;
};

// What the lock's owner wrote into it; empty if that is no number.
std::string ReadOwner(int fd) {
  char text[32];
  const ssize_t n = ::pread(fd, text, sizeof(text), 0);
  std::string owner(text, static_cast<size_t>(std::max<ssize_t>(n, 0)));
  owner.erase(std::find(owner.begin(), owner.end(), '\n'), owner.end());
  return owner.find_first_not_of("0123456789") == std::string::npos ? owner : "";
}

}  // namespace

RealDisk::RealDisk(Executor& executor) : executor_(executor), buffer_(std::make_shared<DirectBuffer>()) {}

StatusOr<std::unique_ptr<File>> RealDisk::Open(const std::string& path, OpenMode mode) {
  const int flags = mode == OpenMode::kReadOnly    ? O_RDONLY
                    : mode == OpenMode::kReadWrite ? O_RDWR
                    : mode == OpenMode::kCreate    ? O_RDWR | O_CREAT
                                                   : O_RDWR | O_CREAT | O_EXCL;
  Descriptor fd = OpenDescriptor(path, flags);
  if (!fd.valid()) return SystemError(errno, (flags & O_CREAT) != 0 ? "create" : "open", path);
  struct stat info{};
  if (::fstat(fd.get(), &info) == 0 && S_ISDIR(info.st_mode)) return SystemError(EISDIR, "open", path);
  return std::make_unique<RealFile>(executor_, buffer_, path, std::move(fd));
}

Status RealDisk::Rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return OkStatus();
  const int error = errno;
  return SystemError(error, fmt::format("rename {} to", from), to);
}

Status RealDisk::Remove(const std::string& path) {
  if (::unlink(path.c_str()) == 0) return OkStatus();
  return SystemError(errno, "remove", path);
}

Status RealDisk::MakeDirectories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return SystemError(error.value(), "make directory", path);
  return OkStatus();
}

bool RealDisk::Exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

StatusOr<std::vector<std::string>> RealDisk::List(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;  // a name that vanishes meanwhile is not there
    if (entry->is_directory(ignored)) continue;
    names.push_back(entry->path().filename().string());
  }
  if (error) return SystemError(error.value(), "list", path);
  std::sort(names.begin(), names.end());
  return names;
}

Status RealDisk::SyncDirectory(const std::string& path) {
  const Descriptor fd = OpenDescriptor(path, O_RDONLY | O_DIRECTORY);
  if (!fd.valid()) return SystemError(errno, "open directory", path);
  Helper::BeforeBlocking();
  if (::fsync(fd.get()) != 0) return SystemError(errno, "sync directory", path);
  return OkStatus();
}

StatusOr<std::unique_ptr<FileLock>> RealDisk::Lock(const std::string& path) {
  Descriptor fd = OpenDescriptor(path, O_RDWR | O_CREAT);
  if (!fd.valid()) return SystemError(errno, "create lock", path);
  if (Retry([&] { return ::flock(fd.get(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno != EWOULDBLOCK) return SystemError(errno, "lock", path);
    const std::string owner = ReadOwner(fd.get());
    return Error(StatusCode::kFailedPrecondition, "{} is locked by {}", path,
                 owner.empty() ? std::string("another process") : "process " + owner);
  }
  // The pid is for people: not writing it does not lose the lock, but a full disk is worth knowing about.
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::pwrite(fd.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return SystemError(errno, "write lock", path);
  }
  return std::make_unique<RealFileLock>(std::move(fd));
}

StatusOr<std::unique_ptr<FileLock>> RealDisk::LockForReading(const std::string& path) {
  Descriptor fd = OpenDescriptor(path, O_RDONLY);
  if (!fd.valid()) {
    if (errno == ENOENT) return std::unique_ptr<FileLock>();
    return SystemError(errno, "open lock", path);
  }
  if (Retry([&] { return ::flock(fd.get(), LOCK_SH | LOCK_NB); }) != 0) {
    if (errno != EWOULDBLOCK) return SystemError(errno, "lock", path);
    const std::string owner = ReadOwner(fd.get());
    return Error(StatusCode::kFailedPrecondition, "{} is locked by {}: stop it first", path,
                 owner.empty() ? std::string("another process") : "process " + owner);
  }
  return std::make_unique<RealFileLock>(std::move(fd));
}

StatusOr<uint64_t> RealDisk::FreeBytes(const std::string& path) {
  struct statvfs info{};
  if (::statvfs(path.c_str(), &info) != 0) return SystemError(errno, "ask for the free space of", path);
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace tenure::runtime
