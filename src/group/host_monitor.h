// Store-level liveness: heartbeats between processes that share groups, one pair of messages per pair of
// processes and interval, however many groups they share. Groups that are idle can be quiescent because of
// it: who hosts one learns here that the process of its leader, or of a member, went silent or came back.
//
//             echo                          no echo for `silent_after`
//   unknown --------> alive(incarnation) ----------------------------> silent
//                        ^   | another incarnation: OnHostReturned        |
//                        +---+                                            |
//                        +------------ echo: OnHostReturned --------------+
//
// A heartbeat carries the sender's number and the last number it heard from the receiver. Only such an echo
// counts: so both sides see a link that is broken one way only. It is dated by when the echoed heartbeat
// left. Who does not watch the sender answers at once, with number 0: a replica that was made and has heard
// nothing of its group knows no members, and its leader must not take it for one of a silent process.
//
// A process that is silent is reported once, whether it was alive before, had only begun a new life, or was never
// heard: whatever relied on it has to look after itself.
//
// Driven by GroupHost. It decides nothing about groups.
// Threading:  one executor.
// Lifetime:   `transport` and `listener` outlive it.
// Invariants: M1 a process that stood still itself does not take that time for the others' silence.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <utility>

#include "base/time.h"
#include "group/transport.h"
#include "runtime/executor.h"

namespace tenure::group {

enum class HostHealth : uint8_t {
  kUnknown,  // not watched, or not heard yet
  kAlive,
  kSilent,
};

class HostListener {
 public:
  virtual ~HostListener() = default;
  virtual void OnHostSilent(uint64_t host) = 0;
  // It answers again, or it is another incarnation: the process was restarted, silent or not.
  virtual void OnHostReturned(uint64_t host, bool restarted) = 0;
};

class HostMonitor {
 public:
  struct Options {
    Duration interval;
    Duration silent_after;
  };
  // `incarnation`: of this process, not 0; another one after each start.
  HostMonitor(runtime::Executor& executor, Transport& transport, HostListener& listener, uint64_t incarnation,
              Options options);

  // Counts: a host is watched as long as anybody wants it.
  void Watch(uint64_t host);
  void Unwatch(uint64_t host);
  HostHealth HealthOf(uint64_t host) const;
  void OnHeartbeat(const HostHeartbeat& heartbeat);

 private:
  struct Host {
    uint64_t watchers = 0;
    HostHealth health = HostHealth::kUnknown;
    Instant confirmed_at;      // when the last heartbeat that was echoed had left; at first: watched since
    uint64_t incarnation = 0;  // of the other side, 0 if not heard
    bool restarted = false;    // since it was alive
    bool told_silent = false;  // the listener was, since it was alive
    uint64_t heard = 0;        // its last number
    std::deque<std::pair<uint64_t, Instant>> sent;  // not echoed yet
  };

  void Schedule();
  void OnTimer();
  void Beat(uint64_t id, Host& host);
  void Answer(const HostHeartbeat& heartbeat);
  void OnEcho(uint64_t id, Host& host, uint64_t echo);

  runtime::Executor& executor_;
  Transport& transport_;
  HostListener& listener_;
  const uint64_t incarnation_;
  const Options options_;
  std::map<uint64_t, Host> hosts_;
  // Of heartbeats, to whomever: what a host has of the time before it was watched anew must not confirm new ones.
  uint64_t last_number_ = 0;
  Instant last_beat_;
  bool scheduled_ = false;
  runtime::Timer timer_;
};

}  // namespace tenure::group
