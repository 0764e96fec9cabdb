// A kv::View over a std::map, for tests: what is written is there at once.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kv/kv.h"

namespace tenure::store {

class MapView : public kv::View {
 public:
  using Map = std::map<std::string, std::string, std::less<>>;

  std::optional<std::string> Get(std::string_view key) const override {
    ++gets_;
    const auto found = map_.find(key);
    return found == map_.end() ? std::nullopt : std::optional<std::string>(found->second);
  }
  std::unique_ptr<kv::Iterator> NewIterator(std::string_view lower, std::string_view upper) const override {
    return std::make_unique<MapIterator>(map_, std::string(lower), std::string(upper));
  }
  void Put(std::string_view key, std::string_view value) override {
    ++puts_;
    map_.insert_or_assign(std::string(key), std::string(value));
  }
  void Delete(std::string_view key) override {
    ++deletes_;
    if (const auto found = map_.find(key); found != map_.end()) map_.erase(found);
  }
  void DeleteRange(std::string_view lower, std::string_view upper) override {
    ++range_deletes_;
    map_.erase(map_.lower_bound(lower), upper.empty() ? map_.end() : map_.lower_bound(upper));
  }
  // What an overlay collected.
  void Write(const kv::Batch& batch) {
    for (const kv::Operation& operation : batch.operations) {
      switch (operation.kind) {
        case kv::Operation::Kind::kPut:
          Put(operation.key, operation.value);
          break;
        case kv::Operation::Kind::kDelete:
          Delete(operation.key);
          break;
        case kv::Operation::Kind::kDeleteRange:
          DeleteRange(operation.key, operation.value);
          break;
      }
    }
  }

  const Map& map() const { return map_; }

  // How often each was called, since the last reset.
  struct Calls {
    int gets = 0, puts = 0, deletes = 0, range_deletes = 0;
    friend bool operator==(const Calls&, const Calls&) = default;
  };
  Calls TakeCalls() {
    const Calls calls{gets_, puts_, deletes_, range_deletes_};
    gets_ = puts_ = deletes_ = range_deletes_ = 0;
    return calls;
  }

 private:
  class MapIterator : public kv::Iterator {
   public:
    MapIterator(const Map& map, std::string lower, std::string upper)
        : map_(map), lower_(std::move(lower)), upper_(std::move(upper)), at_(map_.lower_bound(lower_)) {}
    void Seek(std::string_view key) override {
      at_ = map_.lower_bound(std::max<std::string_view>(key, lower_));
    }
    bool Valid() const override { return at_ != map_.end() && (upper_.empty() || at_->first < upper_); }
    void Next() override { ++at_; }
    std::string_view key() const override { return at_->first; }
    std::string_view value() const override { return at_->second; }

   private:
    const Map& map_;
    std::string lower_;
    std::string upper_;
    Map::const_iterator at_;
  };

  Map map_;
  mutable int gets_ = 0;
  int puts_ = 0;
  int deletes_ = 0;
  int range_deletes_ = 0;
};

}  // namespace tenure::store
