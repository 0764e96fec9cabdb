#include "tests/wal/fake_disk.h"

namespace tenure::wal {
namespace {

constexpr uint64_t kSector = 512;

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

Status Dead() {
  return Error(StatusCode::kAborted, "the process is dead");
}

}  // namespace

bool FakeStorage::Live() {
  ++operations;
  if (dead) return false;
  if (!operations_left) return true;
  if (*operations_left == 0) {
    dead = true;
    return false;
  }
  --*operations_left;
  return true;
}

void FakeStorage::ChangeName(NameChange change) {
  if (!change.removed.empty()) names_.erase(change.removed);
  if (!change.added.empty()) names_[change.added] = change.inode;
  name_changes_.push_back(std::move(change));
}

void FakeStorage::SyncNames(const std::string& directory) {
  std::erase_if(name_changes_, [&](const NameChange& change) {
    if (DirectoryOf(change.added.empty() ? change.removed : change.added) != directory) return false;
    if (!change.removed.empty()) durable_names_.erase(change.removed);
    if (!change.added.empty()) durable_names_[change.added] = change.inode;
    return true;
  });
}

void FakeStorage::Sync(Inode& inode) {
  ++syncs;
  inode.durable.resize(inode.cached.size(), '\0');
  for (const uint64_t sector : inode.dirty) {
    const uint64_t at = sector * kSector;
    if (at < inode.cached.size()) inode.durable.replace(at, kSector, inode.cached, at, kSector);
  }
  inode.dirty.clear();
}

// All, none, a prefix or any choice of the dirty sectors.
void FakeStorage::Tear(Inode& inode) {
  const uint64_t fate = prng_.Below(4);
  const uint64_t prefix = prng_.Below(inode.dirty.size() + 1);
  if (fate != 0 && inode.cached.size() > inode.durable.size() && prng_.Chance(1, 2)) {
    inode.durable.resize(inode.cached.size(), '\0');
  }
  uint64_t i = 0;
  for (const uint64_t sector : inode.dirty) {
    const bool keep = fate == 1 || (fate == 2 && i < prefix) || (fate == 3 && prng_.Chance(1, 2));
    ++i;
    const uint64_t at = sector * kSector;
    if (!keep || at >= inode.cached.size()) continue;
    const uint64_t end = std::min<uint64_t>(at + kSector, inode.cached.size());
    if (inode.durable.size() < end) inode.durable.resize(end, '\0');
    inode.durable.replace(at, end - at, inode.cached, at, end - at);
  }
  inode.dirty.clear();
}

void FakeStorage::Crash(bool power_loss) {
  dead = false;
  operations_left.reset();
  if (!power_loss) return;
  for (const NameChange& change : name_changes_) {
    if (prng_.Chance(1, 2)) continue;
    if (!change.removed.empty()) durable_names_.erase(change.removed);
    if (!change.added.empty()) durable_names_[change.added] = change.inode;
  }
  name_changes_.clear();
  names_ = durable_names_;
  for (auto& [path, inode] : names_) {
    Tear(*inode);
    inode->cached = inode->durable;
  }
}

void FakeStorage::Settle() {
  durable_names_ = names_;
  name_changes_.clear();
  for (auto& [path, inode] : names_) {
    inode->durable = inode->cached;
    inode->dirty.clear();
  }
}

uint64_t FakeStorage::used_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [path, inode] : names_) bytes += inode->cached.size();
  return bytes;
}

class FakeFile : public runtime::File {
 public:
  FakeFile(FakeDisk& disk, std::shared_ptr<FakeStorage::Inode> inode)
      : disk_(disk), storage_(disk.storage_), inode_(std::move(inode)) {}
  StatusOr<std::string> Read(uint64_t offset, size_t size) const override {
    if (offset >= inode_->cached.size()) return std::string();
    return inode_->cached.substr(offset, size);
  }
  Status Write(uint64_t offset, std::string_view bytes) override {
    if (!storage_.Live()) return Dead();
    ++storage_.writes;
    if (storage_.fail_writes != 0) {
      if (storage_.fail_writes > 0) --storage_.fail_writes;
      return Error(StatusCode::kInternal, "write failed");
    }
    const uint64_t end = offset + bytes.size();
    if (end > inode_->cached.size()) {
      if (storage_.used_bytes() + end - inode_->cached.size() > storage_.capacity) {
        return Error(StatusCode::kResourceExhausted, "no space left on device");
      }
      inode_->cached.resize(end, '\0');
    }
    inode_->cached.replace(offset, bytes.size(), bytes);
    for (uint64_t at = offset / kSector; at * kSector < end; ++at) inode_->dirty.insert(at);
    return OkStatus();
  }
  void Sync(Callback<Status> done) override {
    if (!storage_.Live()) return;
    Status status = Decide();
    auto finish = [&storage = storage_, inode = inode_, status, done = std::move(done)]() mutable {
      if (storage.dead) return;
      if (status.ok()) storage.Sync(*inode);
      done(status);
    };
    if (disk_.sync_delay_ == Duration{}) {
      disk_.executor_.Post(std::move(finish));
    } else {
      disk_.timers_.push_back(disk_.executor_.After(disk_.sync_delay_, std::move(finish)));
    }
  }
  Status SyncNow() override {
    if (!storage_.Live()) return Dead();
    const Status status = Decide();
    if (status.ok()) storage_.Sync(*inode_);
    return status;
  }
  Status Truncate(uint64_t size) override {
    if (!storage_.Live()) return Dead();
    inode_->cached.resize(size, '\0');
    inode_->durable.resize(std::min<uint64_t>(inode_->durable.size(), size));
    return OkStatus();
  }
  StatusOr<uint64_t> Size() const override { return inode_->cached.size(); }

 private:
  Status Decide() {
    if (storage_.fail_syncs == 0) return OkStatus();
    if (storage_.fail_syncs > 0) --storage_.fail_syncs;
    storage_.Tear(*inode_);  // and the cache calls it clean
    return Error(StatusCode::kInternal, "sync failed");
  }
  FakeDisk& disk_;
  FakeStorage& storage_;
  std::shared_ptr<FakeStorage::Inode> inode_;
};

StatusOr<std::unique_ptr<runtime::File>> FakeDisk::Open(const std::string& path, runtime::OpenMode mode) {
  if (storage_.dead) return Dead();
  const bool create = mode == runtime::OpenMode::kCreate || mode == runtime::OpenMode::kCreateNew;
  if (storage_.names_.contains(path)) {
    if (mode == runtime::OpenMode::kCreateNew) return Error(StatusCode::kAlreadyExists, "{} exists", path);
  } else {
    if (!create) return Error(StatusCode::kNotFound, "{} does not exist", path);
    if (!storage_.Live()) return Dead();
    storage_.ChangeName({"", path, std::make_shared<FakeStorage::Inode>()});
  }
  return std::make_unique<FakeFile>(*this, storage_.names_.at(path));
}

Status FakeDisk::Rename(const std::string& from, const std::string& to) {
  if (!storage_.Live()) return Dead();
  const auto it = storage_.names_.find(from);
  if (it == storage_.names_.end()) return Error(StatusCode::kNotFound, "{} does not exist", from);
  storage_.ChangeName({from, to, it->second});
  return OkStatus();
}

Status FakeDisk::Remove(const std::string& path) {
  if (!storage_.Live()) return Dead();
  if (!storage_.names_.contains(path)) return Error(StatusCode::kNotFound, "{} does not exist", path);
  storage_.ChangeName({path, "", nullptr});
  return OkStatus();
}

StatusOr<std::vector<std::string>> FakeDisk::List(const std::string& path) {
  std::vector<std::string> names;
  for (const auto& [name, inode] : storage_.names_) {
    if (DirectoryOf(name) == path) names.push_back(name.substr(path.size() + 1));
  }
  return names;
}

Status FakeDisk::SyncDirectory(const std::string& path) {
  if (!storage_.Live()) return Dead();
  storage_.SyncNames(path);
  return OkStatus();
}

namespace {
class FakeLock : public runtime::FileLock {
 public:
  FakeLock(std::set<std::string>& locks, std::string path) : locks_(locks), path_(std::move(path)) {
    locks_.insert(path_);
  }
  ~FakeLock() override { locks_.erase(path_); }

 private:
  std::set<std::string>& locks_;
  std::string path_;
};
}  // namespace

StatusOr<std::unique_ptr<runtime::FileLock>> FakeDisk::Lock(const std::string& path) {
  if (locks_.contains(path)) return Error(StatusCode::kFailedPrecondition, "{} is locked by process 1", path);
  return std::make_unique<FakeLock>(locks_, path);
}

StatusOr<uint64_t> FakeDisk::FreeBytes(const std::string&) {
  const uint64_t used = storage_.used_bytes();
  return used > storage_.capacity ? 0 : storage_.capacity - used;
}

}  // namespace tenure::wal
