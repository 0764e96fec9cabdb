// An immutable byte string that is shared instead of copied: a log entry's payload is the same memory in
// the log's cache, in the write to disk and in the messages to followers.
//
// Threading: the reference count is atomic, the content never changes.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace tenure {

class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(std::string content)
      : content_(content.empty() ? nullptr : std::make_shared<const std::string>(std::move(content))) {}

  std::string_view view() const { return content_ ? std::string_view(*content_) : std::string_view(); }
  size_t size() const { return content_ ? content_->size() : 0; }
  bool empty() const { return size() == 0; }
  friend bool operator==(const Bytes& a, const Bytes& b) { return a.view() == b.view(); }

 private:
  std::shared_ptr<const std::string> content_;
};

}  // namespace tenure
