#include "kv/memory_engine.h"

#include <mutex>

#include "base/check.h"

namespace tenure::kv {
namespace {

using Value = std::optional<std::string>;

struct Version {
  uint64_t sequence;  // of the batch that wrote it
  Value value;        // none: deleted
};

// Newest last; never empty while in the map.
using Versions = std::vector<Version>;

}  // namespace

class MemoryStore::Impl {
 public:
  using Table = std::map<std::string, Versions, std::less<>>;

  std::mutex mutex;
  Table table;
  uint64_t sequence = 0;          // of the last batch
  uint64_t durable_sequence = 0;  // what a crash cannot take away
  std::multiset<uint64_t> snapshots;
  int engines = 0;

  struct Undo {
    uint64_t sequence;
    size_t bytes;
    std::vector<std::pair<std::string, Value>> previous;  // in order of writing
  };
  std::deque<Undo> undo;  // of the batches after durable_sequence
  uint64_t undo_bytes = 0;
  // Keys with versions or deletions that only snapshots hold on to.
  std::set<std::string, std::less<>> stale;

  void Apply(Batch batch) {
    ++sequence;
    Undo entry{sequence, batch.bytes, {}};
    for (auto& operation : batch.operations) {
      switch (operation.kind) {
        case Operation::Kind::kPut:
          Set(std::move(operation.key), std::move(operation.value), entry);
          break;
        case Operation::Kind::kDelete:
          Set(std::move(operation.key), std::nullopt, entry);
          break;
        case Operation::Kind::kDeleteRange:
          DeleteRange(operation.key, operation.value, entry);
          break;
      }
    }
    undo_bytes += entry.bytes;
    undo.push_back(std::move(entry));
  }

  // The newest version that `at` can see.
  static const Value* Visible(const Versions& versions, uint64_t at) {
    for (auto it = versions.rbegin(); it != versions.rend(); ++it) {
      if (it->sequence <= at) return it->value ? &it->value : nullptr;
    }
    return nullptr;
  }

  uint64_t Pin() {
    snapshots.insert(sequence);
    return sequence;
  }

  void Unpin(uint64_t at) {
    snapshots.erase(snapshots.find(at));
    if (!stale.empty() && (snapshots.empty() || *snapshots.begin() > at)) CollectStale();
  }

  uint64_t flushes = 0;  // finished

  void MarkDurable(uint64_t upto) {
    durable_sequence = std::max(durable_sequence, upto);
    while (!undo.empty() && undo.front().sequence <= durable_sequence) {
      undo_bytes -= undo.front().bytes;
      undo.pop_front();
    }
  }

  void RollBackTo(uint64_t target) {
    while (!undo.empty() && undo.back().sequence > target) {
      auto& previous = undo.back().previous;
      for (auto it = previous.rbegin(); it != previous.rend(); ++it) {
        table.erase(it->first);
        if (it->second) table[it->first].push_back({target, std::move(it->second)});
      }
      undo_bytes -= undo.back().bytes;
      undo.pop_back();
    }
    sequence = target;
  }

 private:
  void Set(std::string key, Value value, Undo& log) {
    const auto it = table.lower_bound(key);
    if (it == table.end() || it->first != key) {
      log.previous.emplace_back(key, std::nullopt);
      if (value)
        table.emplace_hint(it, std::move(key), Versions{})->second.push_back({sequence, std::move(value)});
      return;
    }
    Replace(it, std::move(value), log);
  }

  // Returns the place after it.
  Table::iterator Replace(Table::iterator it, Value value, Undo& log) {
    Versions& versions = it->second;
    Version& newest = versions.back();
    const bool seen = !snapshots.empty() && *snapshots.rbegin() >= newest.sequence;
    if (seen) {
      log.previous.emplace_back(it->first, newest.value);
      versions.push_back({sequence, std::move(value)});
      stale.insert(it->first);
      return std::next(it);
    }
    log.previous.emplace_back(it->first, std::move(newest.value));
    newest.sequence = sequence;
    newest.value = std::move(value);
    if (!newest.value && versions.size() == 1) return table.erase(it);
    return std::next(it);
  }

  void DeleteRange(const std::string& lower, const std::string& upper, Undo& log) {
    auto it = table.lower_bound(lower);
    while (it != table.end() && (upper.empty() || it->first < upper)) {
      if (it->second.back().value) {
        it = Replace(it, std::nullopt, log);
      } else {
        ++it;
      }
    }
  }

  // Drops what the oldest snapshot does not see any more.
  void CollectStale() {
    const uint64_t oldest = snapshots.empty() ? sequence : *snapshots.begin();
    for (auto key = stale.begin(); key != stale.end();) {
      const auto it = table.find(*key);
      if (it == table.end()) {
        key = stale.erase(key);
        continue;
      }
      Versions& versions = it->second;
      size_t keep = versions.size() - 1;
      while (keep > 0 && versions[keep].sequence > oldest) --keep;
      versions.erase(versions.begin(), versions.begin() + static_cast<ptrdiff_t>(keep));
      if (versions.size() == 1) {
        if (!versions.front().value) table.erase(it);
        key = stale.erase(key);
      } else {
        ++key;
      }
    }
  }
};

namespace {

// Shared by iterators and snapshots: holds a version of the store.
template <class Impl>
class Pinned {
 public:
  explicit Pinned(std::shared_ptr<Impl> store) : store_(std::move(store)) {
    const std::lock_guard lock(store_->mutex);
    at_ = store_->Pin();
  }
  ~Pinned() {
    const std::lock_guard lock(store_->mutex);
    store_->Unpin(at_);
  }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  Impl& store() const { return *store_; }
  uint64_t at() const { return at_; }

 private:
  std::shared_ptr<Impl> store_;
  uint64_t at_;
};

// Copies what it stands on: writers may move the map's strings.
template <class Impl>
class MemoryIterator : public Iterator {
 public:
  MemoryIterator(std::shared_ptr<Pinned<Impl>> pin, std::string_view lower, std::string_view upper)
      : pin_(std::move(pin)), lower_(lower), upper_(upper) {
    MemoryIterator::Seek(lower_);
  }
  void Seek(std::string_view key) override {
    Impl& store = pin_->store();
    const std::lock_guard lock(store.mutex);
    Show(store.table.lower_bound(std::max(key, std::string_view(lower_))));
  }
  bool Valid() const override { return valid_; }
  void Next() override {
    TENURE_CHECK(valid_, "Next on an iterator at its end");
    Impl& store = pin_->store();
    const std::lock_guard lock(store.mutex);
    // A key that this iterator's version shows is kept by it: no need to look it up again.
    Show(std::next(position_));
  }
  std::string_view key() const override { return key_; }
  std::string_view value() const override { return value_; }

 private:
  void Show(typename Impl::Table::const_iterator it) {
    const auto end = pin_->store().table.cend();
    for (; it != end && (upper_.empty() || it->first < upper_); ++it) {
      if (const auto* value = Impl::Visible(it->second, pin_->at())) {
        position_ = it;
        key_ = it->first;
        value_ = **value;
        valid_ = true;
        return;
      }
    }
    valid_ = false;
  }

  std::shared_ptr<Pinned<Impl>> pin_;
  const std::string lower_;
  const std::string upper_;
  typename Impl::Table::const_iterator position_;
  bool valid_ = false;
  std::string key_;
  std::string value_;
};

template <class Impl>
class MemorySnapshot : public Reader {
 public:
  explicit MemorySnapshot(std::shared_ptr<Impl> store)
      : pin_(std::make_shared<Pinned<Impl>>(std::move(store))) {}
  std::optional<std::string> Get(std::string_view key) const override {
    Impl& store = pin_->store();
    const std::lock_guard lock(store.mutex);
    const auto it = store.table.find(key);
    if (it == store.table.end()) return std::nullopt;
    const auto* value = Impl::Visible(it->second, pin_->at());
    return value ? *value : std::nullopt;
  }
  std::unique_ptr<Iterator> NewIterator(std::string_view lower, std::string_view upper) const override {
    return std::make_unique<MemoryIterator<Impl>>(pin_, lower, upper);
  }

 private:
  std::shared_ptr<Pinned<Impl>> pin_;
};

}  // namespace

MemoryStore::MemoryStore() : impl_(std::make_shared<Impl>()) {}
MemoryStore::~MemoryStore() = default;

void MemoryStore::Crash(Prng& prng) {
  const std::lock_guard lock(impl_->mutex);
  TENURE_CHECK(impl_->engines == 0 && impl_->snapshots.empty(), "crash of a store that is open");
  const uint64_t lost = prng.Below(impl_->sequence - impl_->durable_sequence + 1);
  impl_->RollBackTo(impl_->sequence - lost);
  impl_->MarkDurable(impl_->sequence);  // it is on the disk now, whichever it was
}

void MemoryStore::FlushAll() {
  const std::lock_guard lock(impl_->mutex);
  impl_->MarkDurable(impl_->sequence);
}

uint64_t MemoryStore::flushes() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->flushes;
}

size_t MemoryStore::unflushed_batches() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->undo.size();
}

// Flushes under way, dropped with the engine.
struct MemoryEngine::Pending {
  struct One {
    uint64_t upto;
    Callback<Status> done;
    runtime::Timer timer;
  };
  std::mutex mutex;
  std::map<uint64_t, One> flushes;
  uint64_t next_id = 1;
};

MemoryEngine::MemoryEngine(std::shared_ptr<MemoryStore> store, runtime::Executor& executor,
                           MemoryEngineOptions options)
    : store_(std::move(store)),
      executor_(executor),
      options_(options),
      pending_(std::make_shared<Pending>()) {
  const std::lock_guard lock(store_->impl_->mutex);
  TENURE_CHECK(store_->impl_->engines == 0, "a memory store opened twice");
  ++store_->impl_->engines;
}

MemoryEngine::~MemoryEngine() {
  pending_.reset();
  const std::lock_guard lock(store_->impl_->mutex);
  --store_->impl_->engines;
}

std::optional<std::string> MemoryEngine::Get(std::string_view key) const {
  auto& store = *store_->impl_;
  const std::lock_guard lock(store.mutex);
  const auto it = store.table.find(key);
  return it == store.table.end() ? std::nullopt : it->second.back().value;
}

std::unique_ptr<Iterator> MemoryEngine::NewIterator(std::string_view lower, std::string_view upper) const {
  using Impl = MemoryStore::Impl;
  return std::make_unique<MemoryIterator<Impl>>(std::make_shared<Pinned<Impl>>(store_->impl_), lower, upper);
}

void MemoryEngine::Write(Batch batch) {
  if (batch.empty()) return;
  const std::lock_guard lock(store_->impl_->mutex);
  store_->impl_->Apply(std::move(batch));
}

std::unique_ptr<Reader> MemoryEngine::NewSnapshot() const {
  return std::make_unique<MemorySnapshot<MemoryStore::Impl>>(store_->impl_);
}

void MemoryEngine::Flush(Callback<Status> done) {
  uint64_t upto;
  {
    const std::lock_guard lock(store_->impl_->mutex);
    upto = store_->impl_->sequence;
  }
  // Timers are created on the executor itself.
  executor_.Post([pending = std::weak_ptr(pending_), store = store_->impl_, delay = options_.flush_delay,
                  executor = &executor_, upto, done = std::move(done)]() mutable {
    const auto alive = pending.lock();
    if (!alive) return;
    const std::lock_guard lock(alive->mutex);
    const uint64_t id = alive->next_id++;
    auto& one = alive->flushes.emplace(id, Pending::One{upto, std::move(done), {}}).first->second;
    one.timer = executor->After(delay, [pending, store, id] {
      const auto still = pending.lock();
      if (!still) return;
      std::unique_lock inner(still->mutex);
      auto node = still->flushes.extract(id);
      inner.unlock();
      {
        const std::lock_guard content(store->mutex);
        store->MarkDurable(node.mapped().upto);
        ++store->flushes;
      }
      node.mapped().done(OkStatus());
    });
  });
}

uint64_t MemoryEngine::ApproximateBytes(std::string_view lower, std::string_view upper) const {
  auto& store = *store_->impl_;
  const std::lock_guard lock(store.mutex);
  uint64_t bytes = 0;
  for (auto it = store.table.lower_bound(lower);
       it != store.table.end() && (upper.empty() || it->first < upper); ++it) {
    if (const auto& value = it->second.back().value) bytes += it->first.size() + value->size();
  }
  return bytes;
}

uint64_t MemoryEngine::UnflushedBytes() const {
  const std::lock_guard lock(store_->impl_->mutex);
  return store_->impl_->undo_bytes;
}

}  // namespace tenure::kv
