// Order of objects that are held by pointer: by a number they were given, never by address, which differs
// from run to run and would decide what happens first.
#pragma once

namespace tenure {

// For std::set<T*, ByNumber>; T has `uint64_t number() const`, constant and unique in the set.
struct ByNumber {
  template <class T>
  bool operator()(const T* a, const T* b) const {
    return a->number() < b->number();
  }
};

}  // namespace tenure
