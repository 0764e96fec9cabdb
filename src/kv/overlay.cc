// The overlay keeps the final state of what was written, not the history: a map of single keys (nothing =
// deleted) and a set of disjoint ranges that hide the base. A key in the map wins over a range, because a
// DeleteRange removes the map's keys under it and later writes put them back.
#include "base/check.h"
#include "kv/kv.h"

namespace tenure::kv {
namespace {

// An upper bound of a range; empty means none.
bool Below(std::string_view key, std::string_view upper) {
  return upper.empty() || key < upper;
}
bool UpperLess(std::string_view a, std::string_view b) {
  return !a.empty() && (b.empty() || a < b);
}

}  // namespace

class Overlay::Impl {
 public:
  using Entries = std::map<std::string, std::optional<std::string>, std::less<>>;

  Impl(const Reader& base, std::string prefix) : prefix_(std::move(prefix)), base_(base, prefix_) {}

  std::optional<std::string> Get(std::string_view key) const {
    if (const auto it = entries_.find(key); it != entries_.end()) return it->second;
    if (RangeOver(key) != ranges_.end()) return std::nullopt;
    return base_.Get(key);
  }

  void Prefetch(std::span<const std::string> keys) const { base_.Prefetch(keys); }

  void Set(std::string_view key, std::optional<std::string> value) {
    const size_t added = value ? value->size() : 0;
    const auto it = entries_.lower_bound(key);
    if (it != entries_.end() && it->first == key) {
      bytes_ += added;
      bytes_ -= it->second ? it->second->size() : 0;
      it->second = std::move(value);
    } else {
      bytes_ += key.size() + added;
      entries_.emplace_hint(it, std::string(key), std::move(value));
    }
    ++generation_;
  }

  void Delete(std::string_view key) {
    if (!ranges_.empty() && RangeOver(key) != ranges_.end()) {
      // The range deletes it already in the base.
      if (const auto it = entries_.find(key); it != entries_.end()) Erase(it);
      ++generation_;
      return;
    }
    Set(key, std::nullopt);
  }

  void DeleteRange(std::string_view lower, std::string_view upper) {
    if (!Below(lower, upper)) return;
    ++generation_;
    for (auto it = entries_.lower_bound(lower); it != entries_.end() && Below(it->first, upper);)
      it = Erase(it);

    std::string from(lower);
    std::string to(upper);
    // Swallow every range that touches [from, to).
    auto it = ranges_.upper_bound(from);
    if (it != ranges_.begin()) {
      const auto before = std::prev(it);
      if (before->second.empty() || from <= before->second) it = before;
    }
    while (it != ranges_.end() && (to.empty() || it->first <= to)) {
      from = std::min(from, it->first);
      if (UpperLess(to, it->second)) to = it->second;
      bytes_ -= it->first.size() + it->second.size();
      it = ranges_.erase(it);
    }
    bytes_ += from.size() + to.size();
    ranges_.emplace(std::move(from), std::move(to));
  }

  Batch TakeBatch() {
    Batch batch;
    batch.operations.reserve(ranges_.size() + entries_.size());
    // Ranges first: what is in the map was written after them or is outside them.
    for (const auto& [lower, upper] : ranges_) {
      batch.DeleteRange(prefix_ + lower, upper.empty() ? PrefixEnd(prefix_) : prefix_ + upper);
    }
    for (auto& [key, value] : entries_) {
      if (value) {
        batch.Put(prefix_ + key, std::move(*value));
      } else {
        batch.Delete(prefix_ + key);
      }
    }
    ranges_.clear();
    entries_.clear();
    bytes_ = 0;
    ++generation_;
    return batch;
  }

  size_t bytes() const { return bytes_; }
  class MergingIterator;

 private:
  friend class MergingIterator;
  using Ranges = std::map<std::string, std::string, std::less<>>;

  Entries::iterator Erase(Entries::iterator it) {
    bytes_ -= it->first.size() + (it->second ? it->second->size() : 0);
    return entries_.erase(it);
  }

  Ranges::const_iterator RangeOver(std::string_view key) const {
    if (ranges_.empty()) return ranges_.end();
    auto it = ranges_.upper_bound(key);
    if (it == ranges_.begin()) return ranges_.end();
    --it;
    return Below(key, it->second) ? it : ranges_.end();
  }

  std::string prefix_;
  PrefixReader base_;
  Entries entries_;
  Ranges ranges_;
  size_t bytes_ = 0;
  uint64_t generation_ = 0;  // rises with every change; iterators then look their place up again
};

// Merges the map with what the base shows outside the ranges. Changes of the overlay under way are seen from
// the next move on.
class Overlay::Impl::MergingIterator : public Iterator {
 public:
  MergingIterator(const Impl& overlay, std::string_view lower, std::string_view upper)
      : overlay_(overlay), lower_(lower), upper_(upper), base_(overlay.base_.NewIterator(lower, upper)) {
    PositionEntry(lower_);
    Settle();
  }

  void Seek(std::string_view key) override {
    const std::string_view from = std::max(key, std::string_view(lower_));
    base_->Seek(from);
    base_ended_ = false;
    PositionEntry(from);
    Settle();
  }

  bool Valid() const override { return source_ != Source::kNone; }

  void Next() override {
    TENURE_CHECK(Valid(), "Next on an iterator at its end");
    if (generation_ == overlay_.generation_) {
      if (source_ == Source::kEntry) {
        ++entry_;
      } else {
        base_->Next();
      }
    } else {
      if (BaseValid() && base_->key() <= current_) base_->Next();
      entry_ = overlay_.entries_.upper_bound(current_);
      generation_ = overlay_.generation_;
    }
    Settle();
  }

  std::string_view key() const override { return current_; }
  std::string_view value() const override {
    return source_ == Source::kEntry ? *entry_->second : base_->value();
  }

 private:
  enum class Source { kNone, kEntry, kBase };

  void PositionEntry(std::string_view key) {
    entry_ = overlay_.entries_.lower_bound(key);
    generation_ = overlay_.generation_;
  }
  bool BaseValid() const { return !base_ended_ && base_->Valid(); }
  bool HasEntry() const { return entry_ != overlay_.entries_.end() && Below(entry_->first, upper_); }

  // Moves both sides forward until the smaller one is something to show.
  void Settle() {
    while (true) {
      SkipHiddenBase();
      const bool has_entry = HasEntry();
      if (!has_entry && !BaseValid()) {
        source_ = Source::kNone;
        return;
      }
      if (!has_entry || (BaseValid() && base_->key() < entry_->first)) {
        source_ = Source::kBase;
        current_.assign(base_->key());
        return;
      }
      if (BaseValid() && base_->key() == entry_->first) base_->Next();
      if (entry_->second) {
        source_ = Source::kEntry;
        current_ = entry_->first;
        return;
      }
      ++entry_;
    }
  }

  void SkipHiddenBase() {
    while (BaseValid()) {
      const auto range = overlay_.RangeOver(base_->key());
      if (range == overlay_.ranges_.end()) return;
      if (range->second.empty()) {
        base_ended_ = true;
        return;
      }
      base_->Seek(range->second);
    }
  }

  const Impl& overlay_;
  const std::string lower_;
  const std::string upper_;
  std::unique_ptr<Iterator> base_;
  bool base_ended_ = false;  // the rest of it is hidden
  Entries::const_iterator entry_;
  uint64_t generation_ = 0;
  Source source_ = Source::kNone;
  std::string current_;
};

Overlay::Overlay(const Reader& base, std::string prefix)
    : impl_(std::make_unique<Impl>(base, std::move(prefix))) {}
Overlay::~Overlay() = default;

std::optional<std::string> Overlay::Get(std::string_view key) const {
  return impl_->Get(key);
}
void Overlay::Prefetch(std::span<const std::string> keys) const {
  impl_->Prefetch(keys);
}
std::unique_ptr<Iterator> Overlay::NewIterator(std::string_view lower, std::string_view upper) const {
  return std::make_unique<Impl::MergingIterator>(*impl_, lower, upper);
}
void Overlay::Put(std::string_view key, std::string_view value) {
  impl_->Set(key, std::string(value));
}
void Overlay::Delete(std::string_view key) {
  impl_->Delete(key);
}
void Overlay::DeleteRange(std::string_view lower, std::string_view upper) {
  impl_->DeleteRange(lower, upper);
}
Batch Overlay::TakeBatch() {
  return impl_->TakeBatch();
}
size_t Overlay::bytes() const {
  return impl_->bytes();
}

}  // namespace tenure::kv
