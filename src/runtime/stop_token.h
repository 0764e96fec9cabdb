// Cancellation by epoch: a StopSource is owned by whoever started the work, tokens are handed to the work.
//
// Threading: one executor; not synchronised. Tokens may outlive the source (they then count as stopped).
// Ordering: callbacks run inside RequestStop, in order of registration, each at most once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "base/function.h"

namespace tenure::runtime {

namespace internal {
struct StopState {
  bool stopped = false;
  uint64_t next_id = 1;
  std::map<uint64_t, Closure> callbacks;
};
}  // namespace internal

class StopToken;

// Unregisters its callback when destroyed.
class StopRegistration {
 public:
  StopRegistration() = default;
  StopRegistration(std::weak_ptr<internal::StopState> state, uint64_t id)
      : state_(std::move(state)), id_(id) {}
  StopRegistration(StopRegistration&& other) noexcept : state_(std::move(other.state_)), id_(other.id_) {
    other.id_ = 0;
  }
  StopRegistration& operator=(StopRegistration&& other) noexcept {
    Unregister();
    state_ = std::move(other.state_);
    id_ = other.id_;
    other.id_ = 0;
    return *this;
  }
  ~StopRegistration() { Unregister(); }

 private:
  void Unregister() {
    if (id_ == 0) return;
    if (auto state = state_.lock()) state->callbacks.erase(id_);
    id_ = 0;
  }
  std::weak_ptr<internal::StopState> state_;
  uint64_t id_ = 0;
};

class StopToken {
 public:
  // A default token never stops.
  StopToken() = default;
  explicit StopToken(std::shared_ptr<internal::StopState> state) : state_(std::move(state)) {}
  bool stop_requested() const { return state_ && state_->stopped; }
  // Runs `callback` when stop is requested; at once if it already was.
  [[nodiscard]] StopRegistration OnStop(Closure callback) const {
    if (!state_) return {};
    if (state_->stopped) {
      callback();
      return {};
    }
    const uint64_t id = state_->next_id++;
    state_->callbacks.emplace(id, std::move(callback));
    return StopRegistration(state_, id);
  }

 private:
  std::shared_ptr<internal::StopState> state_;
};

class StopSource {
 public:
  StopSource() : state_(std::make_shared<internal::StopState>()) {}
  StopSource(StopSource&&) = default;
  StopSource& operator=(StopSource&& other) noexcept {
    RequestStop();
    state_ = std::move(other.state_);
    return *this;
  }
  ~StopSource() { RequestStop(); }
  StopToken token() const { return StopToken(state_); }
  bool stop_requested() const { return !state_ || state_->stopped; }
  void RequestStop() {
    if (!state_ || state_->stopped) return;
    state_->stopped = true;
    const auto state = state_;  // a callback may destroy this source
    while (!state->callbacks.empty()) {
      auto first = state->callbacks.extract(state->callbacks.begin());
      first.mapped()();
    }
  }

 private:
  std::shared_ptr<internal::StopState> state_;
};

}  // namespace tenure::runtime
