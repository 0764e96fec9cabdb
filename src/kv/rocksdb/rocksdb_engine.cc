#include "kv/rocksdb/rocksdb_engine.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include "base/check.h"

namespace tenure::kv {
namespace {

constexpr size_t kTableFileBytes = 1 << 20;  // a batch from which on a table file of its own pays
constexpr size_t kPrefetchAhead = 8;         // records, of which bytes are fetched before they are needed
constexpr std::string_view kAddedFilePrefix = "added-";

rocksdb::Slice ToSlice(std::string_view bytes) {
  return {bytes.data(), bytes.size()};
}
std::string_view ToView(const rocksdb::Slice& slice) {
  return {slice.data(), slice.size()};
}

Status ToStatus(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return OkStatus();
  const StatusCode code = status.IsCorruption() ? StatusCode::kDataLoss
                          : status.IsNoSpace()  ? StatusCode::kResourceExhausted
                          : status.IsNotFound() ? StatusCode::kNotFound
                          : status.IsBusy()     ? StatusCode::kFailedPrecondition
                                                : StatusCode::kInternal;
  return Error(code, "rocksdb: {}: {}", what, status.ToString());
}

// Hands the first error on; shared with RocksDB's listener, which may outlive a failed Open.
class FatalOnce {
 public:
  explicit FatalOnce(Callback<Status> handler) : handler_(std::move(handler)) {}
  void Report(const Status& status) {
    if (!reported_.exchange(true) && handler_) handler_(status);
  }

 private:
  std::atomic<bool> reported_ = false;
  Callback<Status> handler_;
};

class ErrorListener : public rocksdb::EventListener {
 public:
  explicit ErrorListener(std::shared_ptr<FatalOnce> fatal) : fatal_(std::move(fatal)) {}
  void OnBackgroundError(rocksdb::BackgroundErrorReason /*reason*/, rocksdb::Status* status) override {
    if (status->IsShutdownInProgress() || status->IsColumnFamilyDropped()) return;
    fatal_->Report(ToStatus(*status, "background work failed"));
  }

 private:
  std::shared_ptr<FatalOnce> fatal_;
};

// What this build of RocksDB has of the kinds, the first that it has.
rocksdb::CompressionType FirstSupported(std::initializer_list<rocksdb::CompressionType> wanted) {
  const auto kinds = rocksdb::GetSupportedCompressions();
  for (const rocksdb::CompressionType kind : wanted) {
    if (std::find(kinds.begin(), kinds.end(), kind) != kinds.end()) return kind;
  }
  return rocksdb::kNoCompression;
}

rocksdb::Options MakeOptions(const RocksOptions& settings, std::shared_ptr<rocksdb::Cache> cache,
                             std::shared_ptr<FatalOnce> fatal) {
  rocksdb::Options options;
  options.create_if_missing = settings.create_if_missing;
  options.paranoid_checks = true;
  options.write_buffer_size = settings.write_buffer_bytes;
  options.max_write_buffer_number = settings.max_write_buffers;
  options.max_open_files = settings.max_open_files;
  options.max_background_jobs = settings.background_threads;
  options.avoid_flush_during_shutdown = !settings.flush_on_close;
  options.level_compaction_dynamic_level_bytes = true;
  options.max_bytes_for_level_base = 32 << 20;
  options.target_file_size_base = 8 << 20;
  options.bytes_per_sync = 1 << 20;
  options.compression = FirstSupported({rocksdb::kLZ4Compression});
  // The last level holds nearly everything and is written least. LZ4 leaves text without repetitions as it
  // is.
  options.bottommost_compression = FirstSupported({rocksdb::kZSTD, rocksdb::kLZ4Compression});
  options.bottommost_compression_opts.enabled = true;
  options.bottommost_compression_opts.level = 1;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.max_log_file_size = 4 << 20;
  options.keep_log_file_num = 3;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.memtable_prefix_bloom_size_ratio = 0.02;
  options.memtable_whole_key_filtering = true;
  options.listeners.push_back(std::make_shared<ErrorListener>(std::move(fatal)));

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = std::move(cache);
  table.block_size = 16 << 10;
  // Ribbon is smaller than Bloom and slower to build: Bloom for the level that is written most.
  table.filter_policy.reset(rocksdb::NewRibbonFilterPolicy(10, 1));
  table.whole_key_filtering = true;
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.format_version = 5;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

class RocksIterator : public Iterator {
 public:
  RocksIterator(rocksdb::DB& db, FatalOnce& fatal, const rocksdb::Snapshot* snapshot, std::string_view lower,
                std::string_view upper)
      : fatal_(fatal), lower_(lower), upper_(upper), lower_slice_(lower_), upper_slice_(upper_) {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot;
    if (!lower_.empty()) options.iterate_lower_bound = &lower_slice_;
    if (!upper_.empty()) options.iterate_upper_bound = &upper_slice_;
    iterator_.reset(db.NewIterator(options));
    iterator_->Seek(lower_slice_);
    Look();
  }
  void Seek(std::string_view key) override {
    iterator_->Seek(ToSlice(std::max(key, std::string_view(lower_))));
    Look();
  }
  bool Valid() const override { return valid_; }
  void Next() override {
    iterator_->Next();
    Look();
  }
  std::string_view key() const override { return ToView(iterator_->key()); }
  std::string_view value() const override { return ToView(iterator_->value()); }

 private:
  void Look() {
    valid_ = iterator_->Valid();
    if (!valid_ && !iterator_->status().ok()) fatal_.Report(ToStatus(iterator_->status(), "iterating"));
  }

  FatalOnce& fatal_;
  const std::string lower_;
  const std::string upper_;
  const rocksdb::Slice lower_slice_;
  const rocksdb::Slice upper_slice_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
  bool valid_ = false;
};

std::optional<std::string> GetFrom(rocksdb::DB& db, FatalOnce& fatal, const rocksdb::ReadOptions& options,
                                   std::string_view key) {
  rocksdb::PinnableSlice value;
  const rocksdb::Status status = db.Get(options, db.DefaultColumnFamily(), ToSlice(key), &value);
  if (status.ok()) return std::string(value.data(), value.size());
  if (!status.IsNotFound()) fatal.Report(ToStatus(status, "reading"));
  return std::nullopt;
}

class RocksSnapshot : public Reader {
 public:
  RocksSnapshot(rocksdb::DB& db, FatalOnce& fatal) : db_(db), fatal_(fatal), snapshot_(db.GetSnapshot()) {}
  ~RocksSnapshot() override { db_.ReleaseSnapshot(snapshot_); }
  RocksSnapshot(const RocksSnapshot&) = delete;
  RocksSnapshot& operator=(const RocksSnapshot&) = delete;
  std::optional<std::string> Get(std::string_view key) const override {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot_;
    return GetFrom(db_, fatal_, options, key);
  }
  std::unique_ptr<Iterator> NewIterator(std::string_view lower, std::string_view upper) const override {
    return std::make_unique<RocksIterator>(db_, fatal_, snapshot_, lower, upper);
  }

 private:
  rocksdb::DB& db_;
  FatalOnce& fatal_;
  const rocksdb::Snapshot* snapshot_;
};

class RocksEngineImpl : public RocksEngine {
 public:
  RocksEngineImpl(std::unique_ptr<rocksdb::DB> db, std::shared_ptr<rocksdb::Cache> cache,
                  std::shared_ptr<FatalOnce> fatal, runtime::Executor& background, runtime::Executor& reply)
      : shared_(std::make_shared<Shared>()),
        cache_(std::move(cache)),
        background_(background),
        reply_(reply) {
    shared_->db = std::move(db);
    shared_->fatal = std::move(fatal);
  }

  // Waits for a Flush under way; those not yet begun find the engine gone.
  ~RocksEngineImpl() override {
    const std::lock_guard lock(shared_->mutex);
    (void)shared_->db->Close();
    shared_->db.reset();
  }

  std::optional<std::string> Get(std::string_view key) const override {
    return GetFrom(db(), fatal(), rocksdb::ReadOptions(), key);
  }
  std::unique_ptr<Iterator> NewIterator(std::string_view lower, std::string_view upper) const override {
    return std::make_unique<RocksIterator>(db(), fatal(), nullptr, lower, upper);
  }
  std::unique_ptr<Reader> NewSnapshot() const override {
    return std::make_unique<RocksSnapshot>(db(), fatal());
  }

  void Write(Batch batch) override {
    if (batch.empty()) return;
    rocksdb::WriteBatch writes(batch.bytes + batch.operations.size() * 12 + 12);
    for (const auto& operation : batch.operations) Add(writes, operation);
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    const rocksdb::Status status = db().Write(options, &writes);
    if (!status.ok()) fatal().Report(ToStatus(status, "writing"));
  }

  // As a table file of its own, which costs what flushing the records would and leaves the memtable out.
  void WriteSorted(std::span<const SortedWrite> writes) override {
    size_t bytes = 0;
    for (const SortedWrite& write : writes)
      bytes += write.key.size() + (write.value ? write.value->size() : 0);
    if (bytes < kTableFileBytes) return Engine::WriteSorted(writes);
    const rocksdb::Status status = AddTableFile(writes);
    if (!status.ok()) fatal().Report(ToStatus(status, "adding a table file"));
  }

  void Flush(Callback<Status> done) override {
    background_.Post([shared = shared_, &reply = reply_, done = std::move(done)]() mutable {
      Status result = Error(StatusCode::kCancelled, "rocksdb: flush: the engine was closed");
      {
        const std::lock_guard lock(shared->mutex);
        if (shared->db) result = FlushNow(*shared);
      }
      reply.Post([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
    });
  }

  uint64_t ApproximateBytes(std::string_view lower, std::string_view upper) const override {
    std::string last;
    if (upper.empty() && !LastKey(&last)) return 0;
    const rocksdb::Range range(ToSlice(lower), upper.empty() ? rocksdb::Slice(last) : ToSlice(upper));
    rocksdb::SizeApproximationOptions options;
    options.include_memtables = true;
    options.include_files = true;
    uint64_t bytes = 0;
    (void)db().GetApproximateSizes(options, db().DefaultColumnFamily(), &range, 1, &bytes);
    return bytes;
  }
  uint64_t UnflushedBytes() const override { return Property(rocksdb::DB::Properties::kCurSizeAllMemTables); }

  RocksStats Stats() const override {
    using Properties = rocksdb::DB::Properties;
    RocksStats stats;
    stats.memtable_bytes = Property(Properties::kSizeAllMemTables);
    stats.table_file_bytes = Property(Properties::kTotalSstFilesSize);
    stats.estimated_keys = Property(Properties::kEstimateNumKeys);
    stats.block_cache_bytes = cache_->GetUsage();
    stats.table_reader_bytes = Property(Properties::kEstimateTableReadersMem);
    stats.pending_compaction_bytes = Property(Properties::kEstimatePendingCompactionBytes);
    stats.running_flushes = Property(Properties::kNumRunningFlushes);
    stats.running_compactions = Property(Properties::kNumRunningCompactions);
    stats.write_stopped = Property(Properties::kIsWriteStopped) != 0;
    return stats;
  }

  Status CompactRange(std::string_view lower, std::string_view upper) override {
    const rocksdb::Slice from = ToSlice(lower);
    const rocksdb::Slice to = ToSlice(upper);
    rocksdb::CompactRangeOptions options;
    options.exclusive_manual_compaction = false;
    return ToStatus(db().CompactRange(options, &from, upper.empty() ? nullptr : &to), "compacting");
  }

 private:
  struct Shared {
    std::mutex mutex;  // held by a Flush and by the destructor
    std::unique_ptr<rocksdb::DB> db;
    std::shared_ptr<FatalOnce> fatal;
  };

  rocksdb::Status AddTableFile(std::span<const SortedWrite> writes) {
    const std::string path =
        fmt::format("{}/{}{}", db().GetName(), kAddedFilePrefix, next_file_.fetch_add(1));
    // A compaction reads it soon: it is not compressed, and stays in the page cache.
    rocksdb::Options options = db().GetOptions();
    options.compression = rocksdb::kNoCompression;
    options.bottommost_compression = rocksdb::kDisableCompressionOption;
    options.bottommost_compression_opts.enabled = false;
    rocksdb::SstFileWriter writer(rocksdb::EnvOptions(options), options, /*column_family=*/nullptr,
                                  /*invalidate_page_cache=*/false);
    rocksdb::Status status = writer.Open(path);
    for (size_t i = 0; i < writes.size(); ++i) {
      if (!status.ok()) return status;
      // Keys in order are nowhere near each other.
      if (i + kPrefetchAhead < writes.size()) __builtin_prefetch(writes[i + kPrefetchAhead].key.data());
      const SortedWrite& write = writes[i];
      status = write.value ? writer.Put(ToSlice(write.key), ToSlice(*write.value))
                           : writer.Delete(ToSlice(write.key));
    }
    if (status.ok()) status = writer.Finish();
    // The file is durable at once: what was written before it has to be, too.
    if (status.ok()) status = db().Flush(rocksdb::FlushOptions());
    rocksdb::IngestExternalFileOptions ingestion;
    ingestion.move_files = true;
    ingestion.snapshot_consistency = true;
    if (status.ok()) status = db().IngestExternalFile({path}, ingestion);
    return status;
  }

  rocksdb::DB& db() const { return *shared_->db; }
  FatalOnce& fatal() const { return *shared_->fatal; }

  static Status FlushNow(Shared& shared) {
    rocksdb::FlushOptions options;
    options.wait = true;
    options.allow_write_stall = false;
    Status result = ToStatus(shared.db->Flush(options), "flush");
    if (!result.ok()) shared.fatal->Report(result);
    return result;
  }

  void Add(rocksdb::WriteBatch& writes, const Operation& operation) {
    rocksdb::Status status;
    switch (operation.kind) {
      case Operation::Kind::kPut:
        status = writes.Put(operation.key, operation.value);
        break;
      case Operation::Kind::kDelete:
        status = writes.Delete(operation.key);
        break;
      case Operation::Kind::kDeleteRange: {
        std::string upper = operation.value;
        if (upper.empty()) upper = AfterEverything(writes);
        if (operation.key < upper) status = writes.DeleteRange(operation.key, upper);
        break;
      }
    }
    TENURE_CHECK(status.ok(), "rocksdb write batch: {}", status.ToString());
  }

  // RocksDB knows no unbounded range: a key after all there are, in the engine and in the batch so far.
  std::string AfterEverything(const rocksdb::WriteBatch& writes) {
    struct Largest : rocksdb::WriteBatch::Handler {
      std::string key;
      rocksdb::Status PutCF(uint32_t, const rocksdb::Slice& k, const rocksdb::Slice&) override {
        key = std::max(key, k.ToString());
        return rocksdb::Status::OK();
      }
      rocksdb::Status DeleteCF(uint32_t, const rocksdb::Slice&) override { return rocksdb::Status::OK(); }
      rocksdb::Status DeleteRangeCF(uint32_t, const rocksdb::Slice&, const rocksdb::Slice&) override {
        return rocksdb::Status::OK();
      }
    };
    Largest largest;
    (void)writes.Iterate(&largest);
    std::string last;
    LastKey(&last);
    return std::max(largest.key, last) + '\0';
  }

  bool LastKey(std::string* key) const {
    std::unique_ptr<rocksdb::Iterator> it(db().NewIterator(rocksdb::ReadOptions()));
    it->SeekToLast();
    if (!it->Valid()) return false;
    key->assign(it->key().data(), it->key().size());
    return true;
  }

  uint64_t Property(const std::string& name) const {
    uint64_t value = 0;
    (void)db().GetIntProperty(name, &value);
    return value;
  }

  std::atomic<uint64_t> next_file_ = 0;
  std::shared_ptr<Shared> shared_;
  std::shared_ptr<rocksdb::Cache> cache_;
  runtime::Executor& background_;
  runtime::Executor& reply_;
};

// Table files that a crash kept from becoming part of the database.
void RemoveUnadded(const std::string& path) {
  rocksdb::Env* env = rocksdb::Env::Default();
  std::vector<std::string> names;
  if (!env->GetChildren(path, &names).ok()) return;  // a new database
  for (const std::string& name : names) {
    if (name.starts_with(kAddedFilePrefix)) (void)env->DeleteFile(path + "/" + name);
  }
}

}  // namespace

StatusOr<std::unique_ptr<RocksEngine>> OpenRocksEngine(const std::string& path, const RocksOptions& options,
                                                       runtime::Executor& background,
                                                       runtime::Executor& reply, Callback<Status> on_fatal) {
  const auto fatal = std::make_shared<FatalOnce>(std::move(on_fatal));
  const auto cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  const rocksdb::Options settings = MakeOptions(options, cache, fatal);
  if (!options.read_only) RemoveUnadded(path);
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = options.read_only ? rocksdb::DB::OpenForReadOnly(settings, path, &db)
                                                   : rocksdb::DB::Open(settings, path, &db);
  if (!status.ok()) return ToStatus(status, fmt::format("opening {}", path));
  return std::make_unique<RocksEngineImpl>(std::unique_ptr<rocksdb::DB>(db), cache, fatal, background, reply);
}

}  // namespace tenure::kv
