#include "sim/sim_disk.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace tenure::sim {
namespace {

constexpr uint64_t kSector = 512;

// The path without "." parts and doubled slashes: one name per file.
std::string Normal(std::string_view path) {
  std::string out;
  if (!path.empty() && path.front() == '/') out = "/";
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
    if (part.empty() || part == ".") continue;
    if (!out.empty() && out.back() != '/') out += '/';
    out.append(part);
  }
  return out.empty() ? "." : out;
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status NoSuchFile(std::string_view operation, const std::string& path) {
  return Error(StatusCode::kNotFound, "cannot {} {}: No such file or directory", operation, path);
}

}  // namespace

// --- changes
// ---------------------------------------------------------------------------------------------------

void SimDisk::Apply(const Change& change, std::string& content) {
  if (change.size) {
    content.resize(*change.size, '\0');
    return;
  }
  if (content.size() < change.offset + change.bytes.size()) {
    content.resize(change.offset + change.bytes.size(), '\0');
  }
  content.replace(change.offset, change.bytes.size(), change.bytes);
}

void SimDisk::Apply(const NameChange& change, Names& names) {
  if (!change.removed.empty()) names.erase(change.removed);
  if (!change.added.empty()) names[change.added] = change.inode;
}

void SimDisk::AddChange(Inode& inode, Change change) {
  change.sequence = next_sequence_++;
  Apply(change, inode.current);
  inode.unsynced.push_back(std::move(change));
}

void SimDisk::Settle(Inode& inode, uint64_t sequence) {
  auto change = inode.unsynced.begin();
  for (; change != inode.unsynced.end() && change->sequence < sequence; ++change)
    Apply(*change, inode.durable);
  inode.unsynced.erase(inode.unsynced.begin(), change);
}

void SimDisk::Tear(Inode& inode) {
  enum Fate : uint64_t { kNothing, kAll, kPrefix, kChanges, kSectors };
  const uint64_t fate = std::min<uint64_t>(prng_.Below(kSectors + 3), kSectors);
  const uint64_t prefix = prng_.Below(inode.unsynced.size() + 1);
  for (size_t i = 0; i < inode.unsynced.size() && fate != kNothing; ++i) {
    const Change& change = inode.unsynced[i];
    if (fate == kPrefix && i >= prefix) break;
    if (fate == kAll || fate == kPrefix || (change.size && prng_.Chance(1, 2))) {
      Apply(change, inode.durable);
    } else if (change.size) {
      continue;
    } else if (fate == kChanges) {
      if (prng_.Chance(1, 2)) Apply(change, inode.durable);
    } else {
      // Sector by sector; the last one of a prefix write cut in the middle is the torn write of the
      // textbooks.
      const uint64_t end = change.offset + change.bytes.size();
      if (prng_.Chance(1, 2) && inode.durable.size() < end) inode.durable.resize(end, '\0');
      for (uint64_t at = change.offset; at < end;) {
        const uint64_t next = std::min(end, (at / kSector + 1) * kSector);
        if (prng_.Chance(1, 2)) {
          Apply(Change{.offset = at, .bytes = change.bytes.substr(at - change.offset, next - at)},
                inode.durable);
        }
        at = next;
      }
    }
  }
  inode.unsynced.clear();
}

void SimDisk::ChangeName(NameChange change) {
  Apply(change, names_);
  unsynced_names_.push_back(std::move(change));
}

void SimDisk::SyncNames(const std::string& directory) {
  std::vector<NameChange> rest;
  for (NameChange& change : unsynced_names_) {
    if (change.directory == directory) {
      Apply(change, durable_names_);
    } else {
      rest.push_back(std::move(change));
    }
  }
  unsynced_names_ = std::move(rest);
}

// --- faults
// ----------------------------------------------------------------------------------------------------

SimDisk::SimDisk(Scheduler& world, std::string name, Prng prng, SimDiskOptions options)
    : world_(world),
      name_(std::move(name)),
      sync_label_(world.Intern(name_ + " sync")),
      prng_(prng),
      options_(options),
      directories_{"/", "."} {}

SimDisk::~SimDisk() = default;

void SimDisk::Crash(CrashKind kind) {
  locks_.clear();
  hanging_.clear();
  hung_ = false;
  if (kind == CrashKind::kProcess) return;
  for (const NameChange& change : unsynced_names_) {
    if (prng_.Chance(1, 2)) Apply(change, durable_names_);
  }
  unsynced_names_.clear();
  names_ = durable_names_;
  std::set<const Inode*> seen;  // lint: allow(pointer) a sum over a set
  for (const auto& [path, inode] : names_) {
    if (!seen.insert(inode.get()).second) continue;  // two names: a torn rename across directories
    if (!inode->unsynced.empty()) ++torn_files_;
    Tear(*inode);
    inode->current = inode->durable;
  }
}

void SimDisk::Replace() {
  names_.clear();
  durable_names_.clear();
  unsynced_names_.clear();
  directories_.clear();
}

void SimDisk::ReleaseSyncs() {
  hung_ = false;
  for (Closure& sync : std::exchange(hanging_, {})) {
    world_.After(DrawSyncTime(), name_ + " sync released", std::move(sync));
  }
}

void SimDisk::FailSyncs(int count, std::string part) {
  failing_syncs_ = count;
  failing_syncs_part_ = std::move(part);
}

void SimDisk::FailWrites(int count, std::string part) {
  failing_writes_ = count;
  failing_writes_part_ = std::move(part);
}

void SimDisk::FailRemovals(int count, std::string part) {
  failing_removals_ = count;
  failing_removals_part_ = std::move(part);
}

bool SimDisk::TakeFailure(int& count, const std::string& part, const std::string& path) {
  if (count == 0 || path.find(part) == std::string::npos) return false;
  --count;
  ++failures_;
  return true;
}

bool SimDisk::FlipBit(const std::string& path, uint64_t byte, unsigned bit) {
  const auto found = names_.find(Normal(path));
  if (found == names_.end()) return false;
  Inode& inode = *found->second;
  const auto flip = [&](std::string& content) {
    if (byte >= content.size()) return false;
    content[byte] = static_cast<char>(content[byte] ^ (1 << (bit % 8)));
    return true;
  };
  const bool durable = flip(inode.durable);
  return flip(inode.current) || durable;
}

std::optional<std::pair<std::string, uint64_t>> SimDisk::FlipRandomBit(std::string_view part) {
  std::vector<std::string> candidates;
  for (const auto& [path, inode] : names_) {
    if (path.find(part) != std::string::npos && !inode->durable.empty()) candidates.push_back(path);
  }
  if (candidates.empty()) return std::nullopt;
  const std::string& path = candidates[prng_.Below(candidates.size())];
  const uint64_t byte = prng_.Below(names_[path]->durable.size());
  FlipBit(path, byte, static_cast<unsigned>(prng_.Below(8)));
  return std::make_pair(path, byte);
}

Duration SimDisk::DrawSyncTime() {
  if (prng_.Chance(options_.stalls_per_million, 1'000'000)) {
    return Duration(prng_.Between(options_.min_stall.count(), options_.max_stall.count()));
  }
  return Duration(prng_.Between(options_.min_sync.count(), options_.max_sync.count()));
}

void SimDisk::AtBoundary(std::string_view operation, const std::string& path) {
  if (boundary_) boundary_(operation, path);
}

uint64_t SimDisk::used_bytes() const {
  uint64_t used = 0;
  for (const auto& [path, inode] : names_) used += inode->current.size();
  return used;
}

std::vector<std::string> SimDisk::Paths() const {
  std::vector<std::string> paths;
  for (const auto& [path, inode] : names_) paths.push_back(path);
  return paths;
}

std::optional<std::string> SimDisk::Content(const std::string& path) const {
  const auto found = names_.find(Normal(path));
  return found == names_.end() ? std::nullopt : std::optional(found->second->current);
}

std::optional<std::string> SimDisk::DurableContent(const std::string& path) const {
  const auto found = durable_names_.find(Normal(path));
  return found == durable_names_.end() ? std::nullopt : std::optional(found->second->durable);
}

// --- what a process sees
// ---------------------------------------------------------------------------------------

// What the files and locks of one view share with it; says whether the process still has hands.
struct SimDiskUser {
  SimDisk& disk;
  SimProcess& process;
  SimExecutor& executor;
  bool dead = false;
};

class SimFile final : public runtime::File {
 public:
  using Inode = SimDisk::Inode;
  SimFile(std::shared_ptr<SimDiskUser> user, std::string path, std::shared_ptr<Inode> inode, bool writable)
      : user_(std::move(user)), path_(std::move(path)), inode_(std::move(inode)), writable_(writable) {}

  StatusOr<std::string> Read(uint64_t offset, size_t size) const override {
    if (offset >= inode_->current.size()) return std::string();
    return inode_->current.substr(offset, size);
  }

  Status Write(uint64_t offset, std::string_view bytes) override {
    TENURE_RETURN_IF_ERROR(Check("write"));
    SimDisk& disk = user_->disk;
    if (disk.TakeFailure(disk.failing_writes_, disk.failing_writes_part_, path_)) {
      return Error(StatusCode::kInternal, "cannot write {}: Input/output error", path_);
    }
    const uint64_t end = offset + bytes.size();
    if (end > inode_->current.size() &&
        disk.used_bytes() + (end - inode_->current.size()) > disk.options_.capacity) {
      ++disk.failures_;
      return Error(StatusCode::kResourceExhausted, "cannot write {}: No space left on device", path_);
    }
    if (!bytes.empty()) disk.AddChange(*inode_, {.offset = offset, .bytes = std::string(bytes)});
    disk.AtBoundary("write", path_);
    return OkStatus();
  }

  void Sync(Callback<Status> done) override {
    if (user_->dead) return;  // D2; nobody is left to be told
    SimDisk& disk = user_->disk;
    const uint64_t upto = disk.next_sequence_++;
    auto finish = [user = user_, inode = inode_, path = path_, upto, done = std::move(done)]() mutable {
      if (user->dead) return;
      SimDisk& d = user->disk;
      const Status status = Complete(d, *inode, path, upto);
      user->executor.Post([done = std::move(done), status]() mutable { done(std::move(status)); });
      d.AtBoundary("sync", path);
    };
    auto arrive = [user = user_, finish = std::move(finish)]() mutable {
      if (user->dead) return;
      SimDisk& d = user->disk;
      if (d.hung_) {
        d.hanging_.push_back(std::move(finish));
      } else {
        finish();
      }
    };
    disk.world_.Post(disk.world_.now() + disk.DrawSyncTime(), disk.sync_label_, std::move(arrive));
  }

  Status SyncNow() override {
    TENURE_RETURN_IF_ERROR(Check("sync"));
    const Status status = Complete(user_->disk, *inode_, path_, user_->disk.next_sequence_++);
    user_->disk.AtBoundary("sync", path_);
    return status;
  }

  Status Truncate(uint64_t size) override {
    TENURE_RETURN_IF_ERROR(Check("truncate"));
    if (size != inode_->current.size()) user_->disk.AddChange(*inode_, {.size = size});
    user_->disk.AtBoundary("truncate", path_);
    return OkStatus();
  }

  StatusOr<uint64_t> Size() const override { return inode_->current.size(); }

 private:
  Status Check(std::string_view operation) const {
    if (user_->dead)
      return Error(StatusCode::kAborted, "cannot {} {}: the process is dead", operation, path_);
    if (!writable_ && operation != "sync") {
      return Error(StatusCode::kInternal, "cannot {} {}: Bad file descriptor", operation, path_);
    }
    return OkStatus();
  }

  static Status Complete(SimDisk& disk, Inode& inode, const std::string& path, uint64_t upto) {
    ++disk.syncs_;
    if (disk.TakeFailure(disk.failing_syncs_, disk.failing_syncs_part_, path)) {
      disk.Tear(inode);  // and the page cache calls it clean
      return Error(StatusCode::kInternal, "cannot sync {}: Input/output error", path);
    }
    SimDisk::Settle(inode, upto);  // D1
    return OkStatus();
  }

  const std::shared_ptr<SimDiskUser> user_;
  const std::string path_;
  const std::shared_ptr<Inode> inode_;
  const bool writable_;
};

class SimFileLock final : public runtime::FileLock {
 public:
  SimFileLock(std::shared_ptr<SimDiskUser> user, std::map<std::string, std::string>& locks, std::string path)
      : user_(std::move(user)), locks_(locks), path_(std::move(path)) {}
  ~SimFileLock() override {
    if (!user_->dead) locks_.erase(path_);
  }

 private:
  const std::shared_ptr<SimDiskUser> user_;
  std::map<std::string, std::string>& locks_;
  const std::string path_;
};

class SimDiskView final : public runtime::Disk {
 public:
  explicit SimDiskView(std::shared_ptr<SimDiskUser> user) : user_(std::move(user)), disk_(user_->disk) {}

  StatusOr<std::unique_ptr<runtime::File>> Open(const std::string& raw, runtime::OpenMode mode) override {
    const std::string path = Normal(raw);
    const bool create = mode == runtime::OpenMode::kCreate || mode == runtime::OpenMode::kCreateNew;
    TENURE_RETURN_IF_ERROR(Check(create ? "create" : "open", path));
    if (disk_.directories_.contains(path)) {
      return Error(StatusCode::kInternal, "cannot open {}: Is a directory", path);
    }
    auto found = disk_.names_.find(path);
    if (found != disk_.names_.end() && mode == runtime::OpenMode::kCreateNew) {
      return Error(StatusCode::kAlreadyExists, "cannot create {}: File exists", path);
    }
    if (found == disk_.names_.end()) {
      if (!create || !disk_.directories_.contains(DirectoryOf(path))) {
        return NoSuchFile(create ? "create" : "open", path);
      }
      disk_.ChangeName({DirectoryOf(path), "", path, std::make_shared<SimDisk::Inode>()});
      found = disk_.names_.find(path);
    }
    const auto inode = found->second;
    disk_.AtBoundary("open", path);
    return std::make_unique<SimFile>(user_, path, inode, mode != runtime::OpenMode::kReadOnly);
  }

  Status Rename(const std::string& raw_from, const std::string& raw_to) override {
    const std::string from = Normal(raw_from);
    const std::string to = Normal(raw_to);
    TENURE_RETURN_IF_ERROR(Check("rename", from));
    if (disk_.directories_.contains(from)) return RenameDirectory(from, to);
    const auto found = disk_.names_.find(from);
    if (found == disk_.names_.end() || !disk_.directories_.contains(DirectoryOf(to))) {
      return NoSuchFile(fmt::format("rename {} to", from), to);
    }
    if (from != to) disk_.ChangeName({DirectoryOf(to), from, to, found->second});
    disk_.AtBoundary("rename", to);
    return OkStatus();
  }

  Status Remove(const std::string& raw) override {
    const std::string path = Normal(raw);
    TENURE_RETURN_IF_ERROR(Check("remove", path));
    if (!disk_.names_.contains(path)) return NoSuchFile("remove", path);
    if (disk_.TakeFailure(disk_.failing_removals_, disk_.failing_removals_part_, path))
      return Error(StatusCode::kInternal, "cannot remove {}: Input/output error", path);
    disk_.ChangeName({DirectoryOf(path), path, "", nullptr});
    disk_.AtBoundary("remove", path);
    return OkStatus();
  }

  Status MakeDirectories(const std::string& raw) override {
    std::string path = Normal(raw);
    TENURE_RETURN_IF_ERROR(Check("make directory", path));
    for (; !disk_.directories_.contains(path); path = DirectoryOf(path)) {
      if (disk_.names_.contains(path)) {
        return Error(StatusCode::kInternal, "cannot make directory {}: Not a directory", path);
      }
      disk_.directories_.insert(path);
    }
    return OkStatus();
  }

  bool Exists(const std::string& raw) override {
    const std::string path = Normal(raw);
    return disk_.names_.contains(path) || disk_.directories_.contains(path);
  }

  StatusOr<std::vector<std::string>> List(const std::string& raw) override {
    const std::string directory = Normal(raw);
    if (!disk_.directories_.contains(directory)) return NoSuchFile("list", directory);
    std::vector<std::string> names;
    for (const auto& [path, inode] : disk_.names_) {
      if (DirectoryOf(path) == directory) names.push_back(path.substr(path.rfind('/') + 1));
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  Status SyncDirectory(const std::string& raw) override {
    const std::string directory = Normal(raw);
    TENURE_RETURN_IF_ERROR(Check("sync directory", directory));
    if (!disk_.directories_.contains(directory)) return NoSuchFile("open directory", directory);
    if (disk_.TakeFailure(disk_.failing_syncs_, disk_.failing_syncs_part_, directory)) {
      return Error(StatusCode::kInternal, "cannot sync directory {}: Input/output error", directory);
    }
    disk_.SyncNames(directory);
    disk_.AtBoundary("sync directory", directory);
    return OkStatus();
  }

  StatusOr<std::unique_ptr<runtime::FileLock>> Lock(const std::string& raw) override {
    const std::string path = Normal(raw);
    TENURE_RETURN_IF_ERROR(Check("lock", path));
    if (const auto held = disk_.locks_.find(path); held != disk_.locks_.end()) {
      return Error(StatusCode::kFailedPrecondition, "{} is locked by process {}", path, held->second);
    }
    if (!disk_.directories_.contains(DirectoryOf(path))) return NoSuchFile("create lock", path);
    if (!disk_.names_.contains(path)) {
      disk_.ChangeName({DirectoryOf(path), "", path, std::make_shared<SimDisk::Inode>()});
    }
    disk_.locks_[path] = user_->process.name();
    return std::make_unique<SimFileLock>(user_, disk_.locks_, path);
  }

  StatusOr<uint64_t> FreeBytes(const std::string&) override {
    const uint64_t used = disk_.used_bytes();
    return used >= disk_.options_.capacity ? 0 : disk_.options_.capacity - used;
  }

 private:
  Status Check(std::string_view operation, const std::string& path) const {
    if (!user_->dead) return OkStatus();
    return Error(StatusCode::kAborted, "cannot {} {}: the process is dead", operation, path);
  }

  // One change of the directory above, whatever is in it. (A crash undoes it name by name, where a real one
  // would undo it as one: callers that sync between their steps see no difference.)
  Status RenameDirectory(const std::string& from, const std::string& to) {
    if (disk_.directories_.contains(to) || disk_.names_.contains(to))
      return Error(StatusCode::kInternal, "cannot rename {} to {}: File exists", from, to);
    // What is not durable yet inside of it goes where it goes; here that is settled, or it would come true
    // under names that another directory has by then.
    disk_.SyncNames(from);
    disk_.directories_.insert(to);
    std::vector<std::pair<std::string, std::shared_ptr<SimDisk::Inode>>> moved;
    for (const auto& [path, inode] : disk_.names_) {
      if (DirectoryOf(path) == from) moved.emplace_back(path, inode);
    }
    for (const auto& [path, inode] : moved)
      disk_.ChangeName({DirectoryOf(to), path, to + path.substr(from.size()), inode});
    disk_.directories_.erase(from);
    disk_.AtBoundary("rename", to);
    return OkStatus();
  }

  const std::shared_ptr<SimDiskUser> user_;
  SimDisk& disk_;
};

std::unique_ptr<runtime::Disk> SimDisk::MakeView(SimProcess& process, SimExecutor& executor) {
  TENURE_CHECK(process.alive(), "process {} is dead", process.name());
  auto user = std::make_shared<SimDiskUser>(SimDiskUser{*this, process, executor});
  process.OnKill([this, user] {
    user->dead = true;
    std::erase_if(locks_, [&](const auto& lock) { return lock.second == user->process.name(); });
  });
  return std::make_unique<SimDiskView>(std::move(user));
}

}  // namespace tenure::sim
