#include "kv/caching_engine.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <set>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/check.h"
#include "base/codec.h"
#include "base/hash.h"

namespace tenure::kv {
namespace {

constexpr size_t kRecordOverhead = 128;  // the slot, its place in the index, the allocator's share
// Iterators look for what is dirty by this much of the keys: of a group's state it is the kind of the
// records.
constexpr size_t kKindBytes = 10;
constexpr int kForgetOneByOne = 1000;  // records of a deleted range; of more, the whole table is forgotten

// By key. Most comparisons are decided by eight bytes kept at hand.
void Sort(std::vector<Operation>& operations) {
  if (operations.empty()) return;
  const std::string& first = operations.front().key;
  size_t common = first.size();
  for (const Operation& operation : operations) {
    const std::string& key = operation.key;
    common = static_cast<size_t>(
        std::mismatch(first.data(), first.data() + std::min(common, key.size()), key.data()).first -
        first.data());
  }
  struct Item {
    uint64_t head;
    Operation* operation;
  };
  std::vector<Item> items;
  items.reserve(operations.size());
  for (Operation& operation : operations) {
    std::string head = operation.key.substr(common, sizeof(uint64_t));
    head.resize(sizeof(uint64_t));
    items.push_back({GetBigEndian64(head.data()), &operation});
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return a.head != b.head ? a.head < b.head : a.operation->key < b.operation->key;
  });
  std::vector<Operation> sorted;
  sorted.reserve(items.size());
  for (const Item& item : items) sorted.push_back(std::move(*item.operation));
  operations = std::move(sorted);
}

// The kind that all keys in [lower, upper) are of; none if they may be of several.
std::optional<std::string_view> OneKind(std::string_view lower, std::string_view upper) {
  const std::string_view kind = lower.substr(0, kKindBytes);
  if (kind.size() < kKindBytes) return std::nullopt;
  if (!upper.starts_with(kind) && upper != PrefixEnd(kind)) return std::nullopt;
  return kind;
}

}  // namespace

// A hash table over slots, with a clock hand for eviction: a slot used since the hand last passed stays; one
// that is dirty, or in a spill that the engine below may not have yet, stays until it is there.
class CachingEngine::Table {
 public:
  struct Slot {
    std::string key;
    std::optional<std::string> value;  // none: deleted (only while dirty)
    uint64_t spilled = 0;              // the last spill with it
    bool used = false;                 // since the hand passed
    bool dirty = false;
    bool free = false;
  };

  explicit Table(CachingOptions options) : options_(options) {}

  const Slot* Find(std::string_view key) {
    const auto it = index_.find(key);
    if (it == index_.end()) return nullptr;
    Slot& slot = slots_[*it];
    slot.used = true;
    return &slot;
  }

  // What the engine below answered.
  void Fill(std::string_view key, std::string_view value) {
    Slot& slot = Take(key);
    slot.value.emplace(value);
    bytes_ += SizeOf(slot);
    MakeRoom();
  }

  void Set(std::string&& key, std::optional<std::string>&& value) {
    const auto it = index_.find(key);
    Slot* slot;
    if (it == index_.end()) {
      slot = &Take(key);
    } else {
      slot = &slots_[*it];
      bytes_ -= SizeOf(*slot);
      if (slot->dirty) dirty_bytes_ -= SizeOf(*slot);
    }
    slot->value = std::move(value);
    slot->used = true;
    bytes_ += SizeOf(*slot);
    dirty_bytes_ += SizeOf(*slot);
    if (!slot->dirty) {
      slot->dirty = true;
      const std::string_view kind = std::string_view(slot->key).substr(0, kKindBytes);
      if (!dirty_kinds_.contains(kind)) dirty_kinds_.insert(std::string(kind));
      dirty_.push_back(static_cast<uint32_t>(it == index_.end() ? last_taken_ : *it));
    }
    if (it == index_.end()) MakeRoom();
  }

  // Everything dirty, in no order; clean afterwards, but kept until OnSpilled.
  Batch TakeDirty() {
    ++spill_;
    Batch batch;
    batch.operations.reserve(dirty_.size());
    for (const uint32_t number : dirty_) {
      Slot& slot = slots_[number];
      slot.dirty = false;
      slot.spilled = spill_;
      if (slot.value) {
        batch.Put(slot.key, *slot.value);
      } else {
        batch.Delete(slot.key);
        deleted_.push_back(number);
      }
    }
    dirty_.clear();
    dirty_bytes_ = 0;
    spilling_kinds_.swap(dirty_kinds_);
    dirty_kinds_.clear();
    return batch;
  }

  // The engine below has what was taken.
  void OnSpilled() {
    written_ = spill_;
    spilling_kinds_.clear();
    for (const uint32_t number : deleted_) {
      const Slot& slot = slots_[number];
      if (!slot.value && !slot.dirty && !slot.free) Release(number);
    }
    deleted_.clear();
    MakeRoom();
  }

  // Of a record that the engine below has, if it is here.
  void Erase(std::string_view key) {
    if (const auto it = index_.find(key); it != index_.end()) Release(*it);
  }

  void Clear() {
    TENURE_CHECK(dirty_.empty(), "cleared with {} dirty records", dirty_.size());
    index_.clear();
    slots_.clear();
    free_.clear();
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
  size_t bytes() const { return bytes_; }
  size_t dirty_bytes() const { return dirty_bytes_; }

 private:
  using Kinds = std::set<std::string, std::less<>>;
  static bool Has(const Kinds& kinds, std::string_view lower, std::string_view upper) {
    const auto kind = OneKind(lower, upper);
    return kind ? kinds.contains(*kind) : !kinds.empty();
  }

  // The index holds slot numbers and looks at the slots' keys.
  struct Hash {
    using is_transparent = void;
    const std::deque<Slot>* slots;
    size_t operator()(std::string_view key) const { return HashBytes(key); }
    size_t operator()(uint32_t number) const { return HashBytes((*slots)[number].key); }
  };
  struct Equal {
    using is_transparent = void;
    const std::deque<Slot>* slots;
    bool operator()(uint32_t a, uint32_t b) const { return a == b; }
    bool operator()(uint32_t a, std::string_view key) const { return (*slots)[a].key == key; }
    bool operator()(std::string_view key, uint32_t a) const { return (*slots)[a].key == key; }
  };

  static size_t SizeOf(const Slot& slot) {
    return kRecordOverhead + slot.key.size() + (slot.value ? slot.value->size() : 0);
  }

  Slot& Take(std::string_view key) {
    if (free_.empty()) {
      last_taken_ = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      last_taken_ = free_.back();
      free_.pop_back();
    }
    Slot& slot = slots_[last_taken_];
    slot.key.assign(key);
    slot.spilled = 0;
    slot.used = false;
    slot.dirty = false;
    slot.free = false;
    index_.insert(last_taken_);
    return slot;
  }

  void Release(uint32_t number) {
    Slot& slot = slots_[number];
    bytes_ -= SizeOf(slot);
    index_.erase(number);
    slot.free = true;
    // The memory goes too: a slot of a large record must not keep it for a small one.
    slot.key = {};
    slot.value.reset();
    free_.push_back(number);
  }

  // At most once around: if all that is left is dirty or in use, the next call goes on.
  void MakeRoom() {
    for (size_t steps = 0; bytes_ > options_.max_bytes && steps < 2 * slots_.size(); ++steps) {
      if (hand_ >= slots_.size()) hand_ = 0;
      const auto number = static_cast<uint32_t>(hand_++);
      Slot& slot = slots_[number];
      if (slot.free || slot.dirty || slot.spilled > written_) continue;
      if (slot.used) {
        slot.used = false;
        continue;
      }
      Release(number);
    }
  }

  const CachingOptions options_;
  std::deque<Slot> slots_;
  std::vector<uint32_t> free_;
  absl::flat_hash_set<uint32_t, Hash, Equal> index_{0, Hash{&slots_}, Equal{&slots_}};
  std::vector<uint32_t> dirty_;
  Kinds dirty_kinds_;
  Kinds spilling_kinds_;
  std::vector<uint32_t> deleted_;  // in the spill under way
  uint64_t spill_ = 0;             // the last one taken
  uint64_t written_ = 0;           // the last one that the engine below has
  uint32_t last_taken_ = 0;
  size_t hand_ = 0;
  size_t bytes_ = 0;
  size_t dirty_bytes_ = 0;
};

// The batch on its way down. Written under the mutex by whoever comes first: the background, or the executor
// when it cannot go on without.
struct CachingEngine::Spill {
  std::mutex mutex;
  Engine* base;                // guarded by mutex; null once the CachingEngine is gone
  std::optional<Batch> batch;  // guarded by mutex

  void Write() {
    const std::lock_guard lock(mutex);
    if (!batch || base == nullptr) return;
    Sort(batch->operations);
    base->WriteSorted(*std::exchange(batch, std::nullopt));
  }
};

CachingEngine::CachingEngine(Engine& base, runtime::Executor& background, CachingOptions options)
    : base_(base),
      background_(background),
      table_(std::make_unique<Table>(options)),
      spill_(std::make_shared<Spill>()) {
  spill_->base = &base;
}

CachingEngine::~CachingEngine() {
  const std::lock_guard lock(spill_->mutex);
  spill_->base = nullptr;
}

std::optional<std::string> CachingEngine::Get(std::string_view key) const {
  if (const Table::Slot* slot = table_->Find(key)) return slot->value;
  std::optional<std::string> value = base_.Get(key);
  if (value) table_->Fill(key, *value);
  return value;
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
  for (Operation& operation : batch.operations) {
    std::optional<std::string> value;
    if (operation.kind == Operation::Kind::kPut) value = std::move(operation.value);
    table_->Set(std::move(operation.key), std::move(value));
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
  Settle();
  unflushed_bytes_ = 0;
  base_.Flush(std::move(done));
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
  {
    const std::lock_guard lock(spill_->mutex);
    spill_->batch = table_->TakeDirty();
  }
  background_.Post([spill = spill_] { spill->Write(); });
}

// The engine below has the spill afterwards.
void CachingEngine::EndSpill() const {
  spill_->Write();
  table_->OnSpilled();
}

// The engine below has everything afterwards.
void CachingEngine::Settle() const {
  EndSpill();
  if (!table_->dirty()) return;
  base_.Write(table_->TakeDirty());
  table_->OnSpilled();
}

}  // namespace tenure::kv
