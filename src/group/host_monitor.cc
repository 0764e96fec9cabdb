#include "group/host_monitor.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/format.h"

namespace tenure::group {

HostMonitor::HostMonitor(runtime::Executor& executor, Transport& transport, HostListener& listener,
                         uint64_t incarnation, Options options)
    : executor_(executor),
      transport_(transport),
      listener_(listener),
      incarnation_(incarnation),
      options_(options) {}

void HostMonitor::Watch(uint64_t id) {
  Host& host = hosts_[id];
  if (host.watchers++ > 0) return;
  host.confirmed_at = executor_.Now();
  if (!scheduled_) {
    last_beat_ = executor_.Now();
    Schedule();
  }
}

void HostMonitor::Unwatch(uint64_t id) {
  const auto it = hosts_.find(id);
  TENURE_CHECK(it != hosts_.end() && it->second.watchers > 0, "host {} is not watched", id);
  if (--it->second.watchers == 0) hosts_.erase(it);
}

HostHealth HostMonitor::HealthOf(uint64_t id) const {
  const auto it = hosts_.find(id);
  return it == hosts_.end() ? HostHealth::kUnknown : it->second.health;
}

void HostMonitor::Schedule() {
  scheduled_ = true;
  timer_ = executor_.After(options_.interval, [this] { OnTimer(); });
}

void HostMonitor::OnTimer() {
  scheduled_ = false;
  if (hosts_.empty()) return;
  const Instant now = executor_.Now();
  const Duration late = now - last_beat_ - options_.interval;
  last_beat_ = now;
  std::vector<uint64_t> silent;
  for (auto& [id, host] : hosts_) {
    // Answers that came while we stood still are still queued behind this (M1).
    if (late > options_.interval) host.confirmed_at = std::min(now, host.confirmed_at + late);
    if (now - host.confirmed_at >= options_.silent_after) {
      host.health = HostHealth::kSilent;
      if (!std::exchange(host.told_silent, true)) silent.push_back(id);
    }
    Beat(id, host);
  }
  Schedule();
  for (const uint64_t id : silent) listener_.OnHostSilent(id);
}

void HostMonitor::Beat(uint64_t id, Host& host) {
  const Instant now = executor_.Now();
  while (!host.sent.empty() && now - host.sent.front().second >= options_.silent_after) host.sent.pop_front();
  host.sent.emplace_back(++last_number_, now);
  transport_.SendHeartbeat(id, {.from = transport_.self(),
                                .incarnation = incarnation_,
                                .sequence = last_number_,
                                .echo = host.heard,
                                .echo_incarnation = host.incarnation});
}

void HostMonitor::OnHeartbeat(const HostHeartbeat& heartbeat) {
  const auto it = hosts_.find(heartbeat.from);
  if (it == hosts_.end()) return Answer(heartbeat);
  Host& host = it->second;
  const bool restarted = host.incarnation != 0 && host.incarnation != heartbeat.incarnation;
  if (host.incarnation != heartbeat.incarnation) host.heard = 0;
  host.incarnation = heartbeat.incarnation;
  host.heard = std::max(host.heard, heartbeat.sequence);
  if (restarted) {
    // Whatever it echoes comes from its new life; what it had promised in the old one, it has forgotten.
    host.restarted = true;
    if (host.health == HostHealth::kAlive) host.health = HostHealth::kSilent;
  }
  if (heartbeat.echo_incarnation == incarnation_) OnEcho(heartbeat.from, host, heartbeat.echo);
}

void HostMonitor::Answer(const HostHeartbeat& heartbeat) {
#ifdef TENURE_MUTANT_unwatched_unanswered
  return;
#endif
  // An answer is not answered: two that do not watch each other would go on for ever.
  if (heartbeat.sequence == 0) return;
  transport_.SendHeartbeat(heartbeat.from, {.from = transport_.self(),
                                            .incarnation = incarnation_,
                                            .sequence = 0,
                                            .echo = heartbeat.sequence,
                                            .echo_incarnation = heartbeat.incarnation});
}

void HostMonitor::OnEcho(uint64_t id, Host& host, uint64_t echo) {
  const Instant now = executor_.Now();
  while (!host.sent.empty() && host.sent.front().first <= echo) {
    host.confirmed_at = std::max(host.confirmed_at, host.sent.front().second);
    host.sent.pop_front();
  }
  if (host.health == HostHealth::kAlive || now - host.confirmed_at >= options_.silent_after) return;
  const bool returned = host.health == HostHealth::kSilent;
  host.health = HostHealth::kAlive;
  host.told_silent = false;
  const bool restarted = std::exchange(host.restarted, false);
  if (returned) listener_.OnHostReturned(id, restarted);
}

}  // namespace tenure::group
