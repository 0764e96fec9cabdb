#include "daemon/run.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <random>
#include <thread>
#include <utility>

#include "catalog/refusal.h"
#include "daemon/config.h"
#include "daemon/descriptors.h"
#include "daemon/log_sink.h"
#include "daemon/process.h"
#include "daemon/signals.h"

namespace tenure::daemon {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr Duration kMeasureInterval = std::chrono::seconds(2);
constexpr Duration kStopLimit =
    std::chrono::seconds(20);  // the parts of a stop have limits that add up to less
constexpr Duration kEndLimit = std::chrono::seconds(5);

// Whether the text can be written makes no difference: fmt::print would throw where it cannot.
void WriteTo(std::FILE* file, std::string_view text) {
  (void)std::fwrite(text.data(), 1, text.size(), file);
  (void)std::fflush(file);
}

// One line, whatever the message holds.
int Complain(const Status& status, int code) {
  const auto reason = catalog::ToRefusal(status).reason();
  std::string name(catalog::NameOf(reason));
  if (reason == ::tenure::v1::REASON_UNSPECIFIED) name = absl::StatusCodeToString(status.code());
  std::string message(MessageOf(status));
  for (char& c : message) {
    if (c == '\n') c = ' ';
  }
  WriteTo(stderr, fmt::format("error: {}: {}\n", name, message));
  return code;
}

uint64_t RandomSeed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

// A thread that waits for a disk or a pipe that hangs may never end.
void EndInAnyCase(Duration limit, int code) {
  std::thread([limit, code] {
    std::this_thread::sleep_for(limit);
    _exit(code);
  }).detach();
}

Signals::Reason WaitForEnd(Signals& signals, Process& process) {
  while (true) {
    process.Measure();
    if (auto reason = signals.Wait(kMeasureInterval)) return std::move(*reason);
  }
}

Status LimitClients(Config& config, const Logger& logger) {
  const uint64_t limit = RaiseDescriptorLimit();
  TENURE_ASSIGN_OR_RETURN(const size_t clients, ClientsWithin(limit, config.max_clients));
  if (config.node && clients < config.max_clients) {
    logger.Warn(
        "--max-clients is {} instead of {}: the limit of open files (ulimit -n) is {}, of which {} are "
        "reserved",
        clients, config.max_clients, limit, kReservedDescriptors);
  }
  config.max_clients = clients;
  return OkStatus();
}

int Serve(Config config) {
  StderrLog log(config.log_level);
  const Logger logger(&log, "process");
  if (const Status enough = LimitClients(config, logger); !enough.ok()) return Complain(enough, kFailed);
  Signals signals;
  Process::OnEnd on_end;
  on_end.refused = [&signals](Status status) { signals.Fail(std::move(status)); };
  on_end.storage_failed = [](Status status) {
    // Nothing that is under way may be acknowledged: no destructor, no hand-over, just the reason.
    Complain(status, kFailed);
    _exit(kFailed);
  };
  Process process(std::move(config), RandomSeed(), log, std::move(on_end));
  if (const Status started = process.Start(); !started.ok()) return Complain(started, kFailed);
  const Signals::Reason reason = WaitForEnd(signals, process);
  signals.EndAtOnceOnSignal();
  if (!reason.failure) logger.Info("stopping ({})", strsignal(reason.signal));
  EndInAnyCase(kStopLimit, kFailed);
  process.Stop();
  EndInAnyCase(kEndLimit, reason.failure ? kFailed : 0);
  if (reason.failure) return Complain(*reason.failure, kFailed);
  logger.Info("stopped");
  return 0;
}

}  // namespace

int Run(int argc, const char* const* argv) {
  StatusOr<CommandLine> line = ParseCommandLine(argc, argv);
  if (!line.ok()) {
    Complain(line.status(), kUsage);
    WriteTo(stderr, "tenured --help lists the flags\n");
    return kUsage;
  }
  if (!line->config) {
    WriteTo(stdout, line->output);
    return 0;
  }
  return Serve(std::move(*line->config));
}

}  // namespace tenure::daemon
