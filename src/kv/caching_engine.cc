#include "kv/caching_engine.h"

#include <algorithm>
#include <array>
#include <compare>
#include <mutex>
#include <new>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/check.h"
#include "base/codec.h"
#include "base/hash.h"

namespace tenure::kv {
namespace {

// A record's head, its places in the index and the clock, the allocator's share.
constexpr size_t kRecordOverhead = 80;
// Iterators look for what is dirty by this much of the keys: of a group's state it is the kind of the
// records.
constexpr size_t kKindBytes = 10;
// A value in place of a longer one may leave so much and its own size unused.
constexpr size_t kSpareBytes = 64;
constexpr int kForgetOneByOne = 1000;  // records of a deleted range; of more, the whole table is forgotten

// One allocation: this head, the key, the value. A lookup that finds it touches the index and these bytes.
class Record {
 public:
  struct Free {
    void operator()(Record* record) const { ::operator delete(record); }
  };
  using Owner = std::unique_ptr<Record, Free>;

  static Owner Make(uint64_t hash, std::string_view key, std::optional<std::string_view> value) {
    const size_t room = value ? value->size() : 0;
    Owner record(new (::operator new(sizeof(Record) + key.size() + room)) Record(hash, key.size(), room));
    std::copy(key.begin(), key.end(), record->bytes());
    record->Replace(value);
    return record;
  }

  std::string_view key() const { return {bytes(), key_size_}; }
  std::optional<std::string_view> value() const {
    if (deleted_) return std::nullopt;
    return std::string_view(bytes() + key_size_, value_size_);
  }
  bool deleted() const { return deleted_; }
  size_t size() const { return kRecordOverhead + key_size_ + value_size_; }
  bool HasRoomFor(std::optional<std::string_view> value) const {
    const size_t wanted = value ? value->size() : 0;
    return wanted <= room_ && room_ - wanted <= wanted + kSpareBytes;
  }
  void Replace(std::optional<std::string_view> value) {
    deleted_ = !value;
    value_size_ = value ? static_cast<uint32_t>(value->size()) : 0;
    if (value) std::copy(value->begin(), value->end(), bytes() + key_size_);
  }

  const uint64_t hash;
  uint64_t spill = 0;     // the last one with it; none if the engine below had it
  uint32_t in_clock = 0;  // its place there
  uint32_t in_dirty = 0;  // its place there, while dirty
  bool used = false;      // since the hand passed
  bool retired = false;   // replaced, and kept only for the spill that has it

 private:
  Record(uint64_t record_hash, size_t key_size, size_t room)
      : hash(record_hash), key_size_(static_cast<uint32_t>(key_size)), room_(static_cast<uint32_t>(room)) {}
  char* bytes() { return reinterpret_cast<char*>(this + 1); }
  const char* bytes() const { return reinterpret_cast<const char*>(this + 1); }

  const uint32_t key_size_;
  const uint32_t room_;  // for the value
  uint32_t value_size_ = 0;
  bool deleted_ = false;
};

// The beginning of a key, to be compared without touching the key; decides unless it is the same.
struct Head {
  explicit Head(std::string_view key) {
    std::array<char, sizeof(words)> bytes{};
    std::copy_n(key.begin(), std::min(key.size(), bytes.size()), bytes.begin());
    for (size_t i = 0; i < words.size(); ++i) words[i] = GetBigEndian64(bytes.data() + i * sizeof(uint64_t));
  }
  auto operator<=>(const Head&) const = default;
  std::array<uint64_t, 3> words;
};

// By key.
std::vector<SortedWrite> Sorted(const std::vector<Record*>& records) {
  if (records.empty()) return {};
  const std::string_view first = records.front()->key();
  size_t common = first.size();
  for (const Record* record : records) {
    const std::string_view key = record->key();
    common = static_cast<size_t>(
        std::mismatch(first.data(), first.data() + std::min(common, key.size()), key.data()).first -
        first.data());
  }
  struct Item {
    Head head;
    const Record* record;
  };
  std::vector<Item> items;
  items.reserve(records.size());
  for (const Record* record : records) items.push_back({Head(record->key().substr(common)), record});
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    const auto order = a.head <=> b.head;
    return order != 0 ? order < 0 : a.record->key() < b.record->key();
  });
  std::vector<SortedWrite> writes;
  writes.reserve(items.size());
  for (const Item& item : items) writes.push_back({item.record->key(), item.record->value()});
  return writes;
}

// What a small record has; of a larger one the processor fetches the rest as it is read.
constexpr size_t kPrefetchedBytes = 384;
constexpr size_t kCacheLine = 64;

// The kind that all keys in [lower, upper) are of; none if they may be of several.
std::optional<std::string_view> OneKind(std::string_view lower, std::string_view upper) {
  const std::string_view kind = lower.substr(0, kKindBytes);
  if (kind.size() < kKindBytes) return std::nullopt;
  if (!upper.starts_with(kind) && upper != PrefixEnd(kind)) return std::nullopt;
  return kind;
}

}  // namespace

// A hash table of records, with a clock hand for eviction: a record used since the hand last passed stays; one
// that is dirty, or in a spill that the engine below may not have yet, stays until it is there.
//
// Spills are numbered. A record whose number is beyond the last spill taken is dirty; one whose number is
// beyond the last spill written is on its way, is read by whoever writes the spill, and so does not change: a
// new record takes its place.
class CachingEngine::Table {
 public:
  explicit Table(CachingOptions options) : options_(options) {}
  ~Table() {
    for (Record* record : clock_) Record::Free()(record);
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  const Record* Find(std::string_view key) {
    const auto it = index_.find(Key(key));
    if (it == index_.end()) return nullptr;
    it->record->used = true;
    return it->record;
  }

  // First all places in the index, then all records: none waits for another.
  void Prefetch(std::span<const std::string> keys) const {
    std::vector<AnyOf> wanted;
    wanted.reserve(keys.size());
    for (const std::string& key : keys) {
      wanted.push_back({HashBytes(key)});
      index_.prefetch(wanted.back());
    }
    for (const AnyOf& any : wanted) {
      const auto it = index_.find(any);
      if (it == index_.end()) continue;
      const char* bytes = reinterpret_cast<const char*>(it->record);
      for (size_t i = 0; i < kPrefetchedBytes; i += kCacheLine) __builtin_prefetch(bytes + i);
    }
  }

  // What the engine below answered.
  void Fill(std::string_view key, std::string_view value) {
    Add(Record::Make(HashBytes(key), key, value));
    MakeRoom();
  }

  void Set(std::string_view key, std::optional<std::string_view> value) {
    const Key wanted(key);
    const auto it = index_.find(wanted);
    const bool fresh = it == index_.end();
    Record* record = fresh ? Add(Record::Make(wanted.hash, key, value)) : Replace(*it, value);
    record->used = true;
    if (!IsDirty(*record)) {
      record->spill = spill_ + 1;
      record->in_dirty = static_cast<uint32_t>(dirty_.size());
      dirty_.push_back(record);
      const std::string_view kind = key.substr(0, kKindBytes);
      if (!dirty_kinds_.contains(kind)) dirty_kinds_.insert(std::string(kind));
      dirty_bytes_ += record->size();
    }
    if (fresh) MakeRoom();
  }

  // Everything dirty, in no order; clean afterwards, but kept as it is until OnSpilled.
  std::vector<Record*> TakeDirty() {
    ++spill_;
    spilling_bytes_ += std::exchange(dirty_bytes_, 0);
    spilling_kinds_.merge(dirty_kinds_);
    dirty_kinds_.clear();
    return std::exchange(dirty_, {});
  }

  // The engine below has all that was taken; `deleted` of it are deletions.
  void OnSpilled(const std::vector<Record*>& deleted) {
    written_ = spill_;
    spilling_bytes_ = 0;
    spilling_kinds_.clear();
    for (Record* record : deleted) {
      if (!record->retired) Release(record);
    }
    retired_.clear();
    retired_bytes_ = 0;
    MakeRoom();
  }

  // Of a record that the engine below has, if it is here.
  void Erase(std::string_view key) {
    if (const auto it = index_.find(Key(key)); it != index_.end()) Release(it->record);
  }

  void Clear() {
    TENURE_CHECK(dirty_.empty(), "cleared with {} dirty records", dirty_.size());
    index_.clear();
    for (Record* record : std::exchange(clock_, {})) Record::Free()(record);
    hand_ = 0;
    bytes_ = 0;
  }

  // Whether the engine below may lack some of these, because they are dirty; because they are in the spill.
  bool MayBeDirty(std::string_view lower, std::string_view upper) const {
    return Has(dirty_kinds_, lower, upper);
  }
  bool MayBeSpilling(std::string_view lower, std::string_view upper) const {
    return Has(spilling_kinds_, lower, upper);
  }
  bool ShouldSpill() const { return dirty_bytes_ >= options_.max_dirty_bytes; }
  bool dirty() const { return !dirty_.empty(); }
  size_t bytes() const { return bytes_ + retired_bytes_; }
  size_t dirty_bytes() const { return dirty_bytes_; }

 private:
  using Kinds = std::set<std::string, std::less<>>;
  static bool Has(const Kinds& kinds, std::string_view lower, std::string_view upper) {
    const auto kind = OneKind(lower, upper);
    return kind ? kinds.contains(*kind) : !kinds.empty();
  }

  // What the index holds. The hash is here as well: records are touched for their own sake only.
  struct Ref {
    uint64_t hash;
    mutable Record* record;  // another one of the same key may take its place
  };
  struct Key {
    explicit Key(std::string_view key) : hash(HashBytes(key)), bytes(key) {}
    uint64_t hash;
    std::string_view bytes;
  };
  struct AnyOf {
    uint64_t hash;
  };
  struct Hash {
    using is_transparent = void;
    template <class T>
    size_t operator()(const T& of) const {
      return of.hash;
    }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Ref& a, const Ref& b) const { return a.record == b.record; }
    bool operator()(const Ref& a, const Key& b) const {
      return a.hash == b.hash && a.record->key() == b.bytes;
    }
    bool operator()(const Ref& a, const AnyOf& b) const { return a.hash == b.hash; }
  };

  bool IsDirty(const Record& record) const { return record.spill > spill_; }
  bool IsOnItsWay(const Record& record) const { return record.spill > written_ && !IsDirty(record); }

  Record* Add(Record::Owner owner) {
    Record* record = owner.release();
    record->in_clock = static_cast<uint32_t>(clock_.size());
    clock_.push_back(record);
    index_.insert({record->hash, record});
    bytes_ += record->size();
    return record;
  }

  // The record with the new value: the same one, where that can be.
  Record* Replace(const Ref& ref, std::optional<std::string_view> value) {
    Record* record = ref.record;
#ifdef TENURE_MUTANT_spill_changes
    const bool on_its_way = false;
#else
    const bool on_its_way = IsOnItsWay(*record);
#endif
    bytes_ -= record->size();
    if (IsDirty(*record)) dirty_bytes_ -= record->size();
    if (on_its_way || !record->HasRoomFor(value)) {
      Record::Owner before(record);
      record = Record::Make(before->hash, before->key(), value).release();
      record->in_clock = before->in_clock;
      clock_[record->in_clock] = ref.record = record;
      if (IsDirty(*before)) {
        record->spill = before->spill;
        record->in_dirty = before->in_dirty;
        dirty_[record->in_dirty] = record;
      }
      if (on_its_way) {
        before->retired = true;
        retired_bytes_ += before->size();
        retired_.push_back(std::move(before));
      }
    } else {
      record->Replace(value);
    }
    bytes_ += record->size();
    if (IsDirty(*record)) dirty_bytes_ += record->size();
    return record;
  }

  void Release(Record* record) {
    bytes_ -= record->size();
    index_.erase(Ref{record->hash, record});
    clock_[record->in_clock] = clock_.back();
    clock_[record->in_clock]->in_clock = record->in_clock;
    clock_.pop_back();
    Record::Free()(record);
  }

  // At most twice around: if all that is left is dirty or in use, the next call goes on. A share is left to
  // clean records, whatever is dirty or on its way: the hand would pass all that for each new one.
  void MakeRoom() {
    const size_t staying = dirty_bytes_ + spilling_bytes_;
    const size_t limit = std::max(options_.max_bytes, staying + options_.max_bytes / 4);
    for (size_t steps = 2 * clock_.size(); bytes_ > limit && steps > 0; --steps) {
      if (hand_ >= clock_.size()) hand_ = 0;
      Record* record = clock_[hand_];
      if (record->spill > written_) {
        ++hand_;
      } else if (record->used) {
        record->used = false;
        ++hand_;
      } else {
        Release(record);  // the last one comes here, and is looked at next
      }
    }
  }

  const CachingOptions options_;
  absl::flat_hash_set<Ref, Hash, Equal> index_;
  std::vector<Record*> clock_;  // all of them; owned
  std::vector<Record*> dirty_;
  std::vector<Record::Owner> retired_;
  Kinds dirty_kinds_;
  Kinds spilling_kinds_;
  uint64_t spill_ = 0;    // the last one taken
  uint64_t written_ = 0;  // the last one that the engine below has
  size_t hand_ = 0;
  size_t bytes_ = 0;
  size_t dirty_bytes_ = 0;
  size_t retired_bytes_ = 0;   // not among bytes_
  size_t spilling_bytes_ = 0;  // taken and not written, as large as they were then
};

// What is on its way down, oldest first. Written by whoever comes first: the background, or the executor when
// it cannot go on without. The records stay as they are until the executor has seen that they are written.
struct CachingEngine::Spill {
  std::mutex writing;  // held while the engine below is written to; taken before `queue`
  Engine* base;        // guarded by writing; null once the CachingEngine is gone
  std::mutex queue;
  std::vector<std::vector<Record*>> batches;  // guarded by queue
  std::vector<Record*> deleted;               // guarded by writing; of those written since the last End

  void Push(std::vector<Record*> records) {
    const std::lock_guard lock(queue);
    batches.push_back(std::move(records));
  }
  void Write() {
    const std::lock_guard lock(writing);
    if (base != nullptr) WriteLocked();
  }
  void WriteAndFlush(Callback<Status> done) {
    const std::lock_guard lock(writing);
    if (base == nullptr) return;
    WriteLocked();
    base->Flush(std::move(done));
  }
  // The engine below has everything afterwards; the deletions among it.
  std::vector<Record*> End() {
    const std::lock_guard lock(writing);
    WriteLocked();
    return std::exchange(deleted, {});
  }
  // The same if it has everything already; waits for nobody.
  std::optional<std::vector<Record*>> EndIfWritten() {
    const std::unique_lock lock(writing, std::try_to_lock);
    if (!lock.owns_lock()) return std::nullopt;
    {
      const std::lock_guard queue_lock(queue);
      if (!batches.empty()) return std::nullopt;
    }
    return std::exchange(deleted, {});
  }

 private:
  void WriteLocked() {
    std::vector<std::vector<Record*>> taken;
    {
      const std::lock_guard lock(queue);
      taken.swap(batches);
    }
    for (const std::vector<Record*>& records : taken) {
      base->WriteSorted(Sorted(records));
      for (Record* record : records) {
        if (record->deleted()) deleted.push_back(record);
      }
    }
  }
};

CachingEngine::CachingEngine(Engine& base, runtime::Executor& home, runtime::Executor& background,
                             CachingOptions options)
    : base_(base),
      home_(home),
      background_(background),
      table_(std::make_unique<Table>(options)),
      spill_(std::make_shared<Spill>()) {
  spill_->base = &base;
}

CachingEngine::~CachingEngine() {
  *alive_ = false;
  const std::lock_guard lock(spill_->writing);
  spill_->base = nullptr;
}

std::optional<std::string> CachingEngine::Get(std::string_view key) const {
  if (const Record* record = table_->Find(key)) return std::optional<std::string>(record->value());
  std::optional<std::string> value = base_.Get(key);
  if (value) table_->Fill(key, *value);
  return value;
}

void CachingEngine::Prefetch(std::span<const std::string> keys) const {
  table_->Prefetch(keys);
}

std::unique_ptr<Iterator> CachingEngine::NewIterator(std::string_view lower, std::string_view upper) const {
  if (table_->MayBeDirty(lower, upper)) {
    Settle();
  } else if (table_->MayBeSpilling(lower, upper)) {
    EndSpill();
  }
  return base_.NewIterator(lower, upper);
}

void CachingEngine::Write(Batch batch) {
  unflushed_bytes_ += batch.bytes;
  const bool has_range =
      std::any_of(batch.operations.begin(), batch.operations.end(),
                  [](const Operation& o) { return o.kind == Operation::Kind::kDeleteRange; });
  if (has_range) return WriteThrough(std::move(batch));
  for (const Operation& operation : batch.operations) {
    std::optional<std::string_view> value;
    if (operation.kind == Operation::Kind::kPut) value = operation.value;
    table_->Set(operation.key, value);
  }
  if (table_->ShouldSpill()) BeginSpill();
}

void CachingEngine::WriteThrough(Batch batch) {
  Settle();
  for (const Operation& operation : batch.operations) {
    if (operation.kind == Operation::Kind::kDeleteRange) {
      ForgetRange(operation.key, operation.value);
    } else {
      table_->Erase(operation.key);
    }
  }
  base_.Write(std::move(batch));
}

// After Settle: what is cached is below as well, so an iterator there finds it.
void CachingEngine::ForgetRange(std::string_view lower, std::string_view upper) {
  const auto it = base_.NewIterator(lower, upper);
  for (int i = 0; it->Valid(); it->Next(), ++i) {
    if (i == kForgetOneByOne) return table_->Clear();
    table_->Erase(it->key());
  }
}

std::unique_ptr<Reader> CachingEngine::NewSnapshot() const {
  Settle();
  return base_.NewSnapshot();
}

void CachingEngine::Flush(Callback<Status> done) {
  unflushed_bytes_ = 0;
  Send([done = std::move(done)](Spill& spill) mutable { spill.WriteAndFlush(std::move(done)); });
}

uint64_t CachingEngine::ApproximateBytes(std::string_view lower, std::string_view upper) const {
  return base_.ApproximateBytes(lower, upper);
}
uint64_t CachingEngine::UnflushedBytes() const {
  return unflushed_bytes_;
}

size_t CachingEngine::bytes() const {
  return table_->bytes();
}
size_t CachingEngine::dirty_bytes() const {
  return table_->dirty_bytes();
}

void CachingEngine::BeginSpill() {
  EndSpill();
  Send([](Spill& spill) { spill.Write(); });
}

// What is dirty goes down in the background, by `write`.
template <class Write>
void CachingEngine::Send(Write write) {
  if (table_->dirty()) {
    spill_->Push(table_->TakeDirty());
    home_.SetMayBlock(true);
  }
  background_.Post([this, alive = alive_, home = &home_, spill = spill_, write = std::move(write)]() mutable {
    write(*spill);
    home->Post([this, alive] {
      if (!*alive) return;
      if (const auto deleted = spill_->EndIfWritten()) {
        table_->OnSpilled(*deleted);
        home_.SetMayBlock(false);
      }
    });
  });
}

// The engine below has the spill afterwards.
void CachingEngine::EndSpill() const {
  table_->OnSpilled(spill_->End());
  home_.SetMayBlock(false);
}

// The engine below has everything afterwards.
void CachingEngine::Settle() const {
  EndSpill();
  if (!table_->dirty()) return;
  Batch batch;
  std::vector<Record*> deleted;
  for (Record* record : table_->TakeDirty()) {
    if (const auto value = record->value()) {
      batch.Put(std::string(record->key()), std::string(*value));
    } else {
      batch.Delete(std::string(record->key()));
      deleted.push_back(record);
    }
  }
  base_.Write(std::move(batch));
  table_->OnSpilled(deleted);
}

}  // namespace tenure::kv
