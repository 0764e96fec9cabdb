// Marks of places that are seldom reached and must not go untested: a big run of the simulator fails if one
// of them was never hit (scripts/run_sim.py).
//
//   TENURE_RARE_PATH("raft: conflicting entries are truncated");
//
// A mark costs one relaxed increment where it is hit. Every mark that is linked is known from the start of
// the program, hit or not. Names are unique, "folder: what happens".
//
// Threading: any.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace tenure {

class RarePath {
 public:
  explicit RarePath(const char* name);
  RarePath(const RarePath&) = delete;
  RarePath& operator=(const RarePath&) = delete;
  void Hit() { hits_.fetch_add(1, std::memory_order_relaxed); }

  // How often each was hit since the program began, by name.
  static std::map<std::string, uint64_t> Hits();

 private:
  const char* const name_;
  std::atomic<uint64_t> hits_{0};
  RarePath* const next_;
};

template <size_t N>
struct RarePathName {
  consteval RarePathName(const char (&name)[N]) { std::copy_n(name, N, text); }  // NOLINT: from a literal
  char text[N] = {};
};

// One object for each name, made before main begins.
template <RarePathName kName>
struct RarePathMark {
  static inline RarePath path{kName.text};
};

}  // namespace tenure

#define TENURE_RARE_PATH(name) ::tenure::RarePathMark<name>::path.Hit()
