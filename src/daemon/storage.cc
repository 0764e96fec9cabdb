#include "daemon/storage.h"

#include <utility>
#include <vector>

#include "base/format.h"
#include "catalog/refusal.h"
#include "recovery/intent.h"

namespace tenure::daemon {
namespace {

namespace pb = ::tenure::v1;

std::string InitialMembers(const Config& config) {
  std::string members;
  for (const auto& [id, address] : config.initial_controllers) {
    members += fmt::format("{}{}={}", members.empty() ? "" : ",", id, address.ToString());
  }
  return members;
}

// Hands the first failure on and drops the others.
class OnceOnly {
 public:
  explicit OnceOnly(std::function<void(Status)> handler) : handler_(std::move(handler)) {}
  void operator()(Status status) {
    if (!used_.exchange(true)) handler_(std::move(status));
  }

 private:
  std::atomic<bool> used_{false};
  const std::function<void(Status)> handler_;
};

}  // namespace

Status CheckRoom(const std::string& path, const StatusOr<uint64_t>& free_bytes) {
  TENURE_RETURN_IF_ERROR(free_bytes.status());
  if (*free_bytes >= kLeastFreeBytes) return OkStatus();
  return Error(StatusCode::kResourceExhausted,
               "the disk of {} has {} bytes free, {} are needed to start: make room", path, *free_bytes,
               kLeastFreeBytes);
}

std::string MakeUuid(Prng& prng) {
  const uint64_t high = (prng.Next64() & ~uint64_t{0xf000}) | 0x4000;
  const uint64_t low = (prng.Next64() & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, (high >> 16) & 0xffff, high & 0xffff,
                     low >> 48, low & 0xffffffffffff);
}

StatusOr<std::unique_ptr<Storage>> Storage::Open(const Config& config, Threads& threads, Prng prng,
                                                 Logger logger, std::function<void(Status)> on_failure) {
  std::unique_ptr<Storage> storage(new Storage(threads));
  TENURE_RETURN_IF_ERROR(storage->OpenDirectory(config, prng));
  TENURE_RETURN_IF_ERROR(CheckRoom(config.data, storage->background_disk_.FreeBytes(config.data)));
  auto failed = std::make_shared<OnceOnly>(std::move(on_failure));
  auto on_log_failure = [failed](Status status) { (*failed)(Annotate(status, "the log on disk")); };
  TENURE_ASSIGN_OR_RETURN(storage->wal_,
                          wal::Wal::Open(storage->wal_disk_, threads.wal, storage->directory_->log_path(), {},
                                         logger.Named("wal"), std::move(on_log_failure)));
  // A recovery that was interrupted is finished or forgotten before anybody acts on either state.
  const auto catalog_log = storage->wal_->recovered().find(kCatalogGroup);
  TENURE_RETURN_IF_ERROR(recovery::Resolve(
      *storage->directory_,
      catalog_log == storage->wal_->recovered().end() ? nullptr : &catalog_log->second.state));
  // A controller that crashed while its cluster formed has voted already, although it does not know the
  // cluster's id.
  if (storage->wal_->recovered().contains(kCatalogGroup)) storage->fresh_ = false;
  TENURE_RETURN_IF_ERROR(storage->CheckRetired(config));
  auto on_engine_failure = [failed](Status status) { (*failed)(Annotate(status, "the key-value engine")); };
  TENURE_ASSIGN_OR_RETURN(storage->engine_,
                          kv::OpenRocksEngine(storage->directory_->state_path(), {}, threads.engine,
                                              threads.engine, std::move(on_engine_failure)));
  TENURE_ASSIGN_OR_RETURN(storage->snapshots_, wal::SnapshotStore::Open(storage->background_disk_,
                                                                        storage->directory_->snapshots_path(),
                                                                        logger.Named("snapshots")));
  return storage;
}

Status Storage::OpenDirectory(const Config& config, Prng prng) {
  if (wal::DataDirectory::IsInitialised(background_disk_, config.data)) {
    TENURE_ASSIGN_OR_RETURN(directory_, wal::DataDirectory::Open(background_disk_, config.data));
    TENURE_RETURN_IF_ERROR(directory_->CheckLog());
    fresh_ = directory_->identity().cluster_id.empty();
    return CheckIdentity(config, prng);
  }
  if (config.controller && config.initial_controllers.empty() && config.controllers.empty()) {
    return catalog::Refuse(
        pb::REASON_INVALID_ARGUMENT,
        "{} is empty: a controller needs --initial-controllers to form a cluster, or --controllers "
        "to join one",
        config.data);
  }
  if (config.controller && config.id == 0) {
    return catalog::Refuse(
        pb::REASON_INVALID_ARGUMENT,
        "{} is empty: a controller that joins a cluster needs --id, a number that no controller of "
        "it has had",
        config.data);
  }
  wal::Identity identity;
  if (config.controller) {
    identity.controller_id = ControllerId(config.id);
    identity.controller_uuid = MakeUuid(prng);
  }
  if (config.node) identity.node_uuid = MakeUuid(prng);
  identity.name = config.name;
  identity.initial_members = InitialMembers(config);
  TENURE_ASSIGN_OR_RETURN(directory_, wal::DataDirectory::Create(background_disk_, config.data, identity));
  fresh_ = true;
  return OkStatus();
}

// The directory's process must be the one that is started.
Status Storage::CheckIdentity(const Config& config, Prng& prng) {
  wal::Identity identity = directory_->identity();
  if (config.controller && identity.controller_id.IsNone()) {
    return catalog::Refuse(pb::REASON_CONDITION_FAILED,
                           "{} belongs to a node that is no controller: --roles must be node", config.data);
  }
  if (!config.node && !identity.node_uuid.empty()) {
    return catalog::Refuse(pb::REASON_CONDITION_FAILED,
                           "{} holds a node's regions: --roles must include node", config.data);
  }
  if (config.id != 0 && ControllerId(config.id) != identity.controller_id) {
    return catalog::Refuse(pb::REASON_CONDITION_FAILED, "{} belongs to controller {}, --id is {}",
                           config.data, identity.controller_id, config.id);
  }
  const bool new_node = config.node && identity.node_uuid.empty();
  const bool new_controller = config.controller && identity.controller_uuid.empty();
  if (!new_node && !new_controller && identity.name == config.name) return OkStatus();
  if (new_controller) identity.controller_uuid = MakeUuid(prng);
  if (new_node) identity.node_uuid = MakeUuid(prng);
  identity.name = config.name;
  return directory_->Update(identity);
}

// A controller that was removed left a tombstone in its log.
Status Storage::CheckRetired(const Config& config) {
  const wal::Identity& identity = directory_->identity();
  const auto group = wal_->recovered().find(kCatalogGroup);
  retired_ = group != wal_->recovered().end() && group->second.tombstone;
  if (retired_ && config.controller) {
    return catalog::Refuse(
        pb::REASON_CONDITION_FAILED,
        "{} belongs to controller {}, which was removed from cluster {} and cannot come back: {}",
        config.data, identity.controller_id, identity.cluster_id,
        identity.node_uuid.empty()
            ? "start a new controller with an empty directory and a new --id"
            : "its node goes on with --roles node; a new controller needs a directory and an "
              "--id of its own");
  }
  if (retired_ || config.controller || identity.controller_id.IsNone()) return OkStatus();
  return catalog::Refuse(pb::REASON_CONDITION_FAILED,
                         "{} belongs to controller {}: --roles must include controller", config.data,
                         identity.controller_id);
}

wal::Identity Storage::identity() const {
  const std::lock_guard lock(mutex_);
  return directory_->identity();
}

Status Storage::AdoptCluster(const std::string& cluster_id, uint64_t incarnation) {
  const std::lock_guard lock(mutex_);
  wal::Identity identity = directory_->identity();
  if (identity.cluster_id == cluster_id && identity.incarnation >= incarnation) return OkStatus();
  if (!identity.cluster_id.empty() && identity.cluster_id != cluster_id) {
    return catalog::Refuse(pb::REASON_WRONG_CLUSTER, "the data directory {} belongs to cluster {}, not to {}",
                           directory_->path(), identity.cluster_id, cluster_id);
  }
  if (!identity.cluster_id.empty() && !identity.controller_id.IsNone() && !retired_)
    return LeftBehind(identity, incarnation);
  const bool joined_before = !identity.cluster_id.empty();
  identity.incarnation = incarnation;
  identity.cluster_id = cluster_id;
  return joined_before ? directory_->EnterIncarnation(identity) : directory_->Update(identity);
}

Status Storage::LeftBehind(const wal::Identity& identity, uint64_t incarnation) const {
  return catalog::Refuse(pb::REASON_STALE_INCARNATION,
                         "the data directory {} is of incarnation {} of cluster {}, the cluster is at "
                         "incarnation {}: controller {} "
                         "was left behind by a recovery and cannot join again. Keep the directory aside, or "
                         "empty it and let the "
                         "process join as a new one (docs/recovery.md)",
                         directory_->path(), identity.incarnation, identity.cluster_id, incarnation,
                         identity.controller_id);
}

std::map<uint64_t, std::string> Storage::controllers() const {
  return wal::ControllersOf(identity());
}

Status Storage::RememberControllers(const std::map<uint64_t, std::string>& controllers) {
  std::string text = wal::EncodeControllers(controllers);
  const std::lock_guard lock(mutex_);
  wal::Identity identity = directory_->identity();
  if (identity.controllers == text) return OkStatus();
  identity.controllers = std::move(text);
  return directory_->Update(identity);
}

void Storage::Close(Duration limit) {
  StartAndWait(threads_.wal, limit, [this](Closure done) {
    wal_->Close([done = std::make_shared<Closure>(std::move(done))](Status) { (*done)(); });
  });
}

}  // namespace tenure::daemon
