#include "runtime/helper.h"

#include <utility>

namespace tenure::runtime {
namespace {

thread_local Helper* current = nullptr;

}  // namespace

Helper::Helper() : outer_(std::exchange(current, this)) {}

Helper::~Helper() {
  Release();
  current = outer_;
}

void Helper::BeforeBlocking() {
  if (current != nullptr) current->Release();
}

Helper* Helper::OfThisThread() {
  return current;
}

void Helper::End(bool only_release) {
  // What runs now posts as its executor does: nothing is claimed meanwhile.
  Helper* const self = std::exchange(current, nullptr);
  for (Helped* helped : claimed_) helped->Help(only_release);
  claimed_.clear();
  current = self;
}

}  // namespace tenure::runtime
