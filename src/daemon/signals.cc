#include "daemon/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"

namespace tenure::daemon {
namespace {

sigset_t EndSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

}  // namespace

Signals::Signals() {
  const sigset_t set = EndSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  failure_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  TENURE_CHECK(signal_fd_ >= 0 && failure_fd_ >= 0, "no descriptors for signals");
}

Signals::~Signals() {
  close(signal_fd_);
  close(failure_fd_);
}

void Signals::Fail(Status status) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    failure_ = std::move(status);
  }
  const uint64_t one = 1;
  // It can only fail by overflow, and then it is readable.
  (void)!write(failure_fd_, &one, sizeof(one));
}

std::optional<Signals::Reason> Signals::Wait(Duration limit) {
  pollfd waited[] = {{failure_fd_, POLLIN, 0}, {signal_fd_, POLLIN, 0}};
  if (poll(waited, 2, static_cast<int>(ToMillis(limit))) <= 0) return std::nullopt;
  Reason reason;
  const std::lock_guard lock(mutex_);
  if (failure_) {
    reason.failure = failure_;
    return reason;
  }
  signalfd_siginfo received;
  if (read(signal_fd_, &received, sizeof(received)) != sizeof(received)) return std::nullopt;
  reason.signal = static_cast<int>(received.ssi_signo);
  return reason;
}

void Signals::EndAtOnceOnSignal() {
  const sigset_t set = EndSignals();
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) signal(number, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace tenure::daemon
