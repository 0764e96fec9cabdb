#include "base/rare_path.h"

#include <utility>

namespace tenure {
namespace {

// Constant-initialised: marks of other files are made in any order.
constinit RarePath* first_path = nullptr;

}  // namespace

RarePath::RarePath(const char* name) : name_(name), next_(std::exchange(first_path, this)) {}

std::map<std::string, uint64_t> RarePath::Hits() {
  std::map<std::string, uint64_t> hits;
  for (const RarePath* path = first_path; path != nullptr; path = path->next_)
    hits[path->name_] += path->hits_.load(std::memory_order_relaxed);
  return hits;
}

}  // namespace tenure
