#include "kv/kv.h"

namespace tenure::kv {
namespace {

std::string Join(std::string_view prefix, std::string_view key) {
  std::string joined;
  joined.reserve(prefix.size() + key.size());
  joined.append(prefix).append(key);
  return joined;
}

class PrefixIterator : public Iterator {
 public:
  PrefixIterator(std::unique_ptr<Iterator> base, std::string prefix)
      : base_(std::move(base)), prefix_(std::move(prefix)) {}
  void Seek(std::string_view key) override { base_->Seek(Join(prefix_, key)); }
  bool Valid() const override { return base_->Valid(); }
  void Next() override { base_->Next(); }
  std::string_view key() const override { return base_->key().substr(prefix_.size()); }
  std::string_view value() const override { return base_->value(); }

 private:
  std::unique_ptr<Iterator> base_;
  std::string prefix_;
};

}  // namespace

std::optional<std::string> PrefixReader::Get(std::string_view key) const {
  return base_.Get(Join(prefix_, key));
}

void PrefixReader::Prefetch(std::span<const std::string> keys) const {
  std::vector<std::string> joined;
  joined.reserve(keys.size());
  for (const std::string& key : keys) joined.push_back(Join(prefix_, key));
  base_.Prefetch(joined);
}

std::unique_ptr<Iterator> PrefixReader::NewIterator(std::string_view lower, std::string_view upper) const {
  const std::string end = upper.empty() ? PrefixEnd(prefix_) : Join(prefix_, upper);
  return std::make_unique<PrefixIterator>(base_.NewIterator(Join(prefix_, lower), end), prefix_);
}

}  // namespace tenure::kv
