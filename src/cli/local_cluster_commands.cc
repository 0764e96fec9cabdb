// tenure up | down: a cluster of real processes on this machine.

#include <csignal>
#include <filesystem>

#include "cli/cluster_layout.h"
#include "cli/invocation.h"
#include "cli/local_cluster.h"
#include "cli/process.h"
#include "cli/progress.h"
#include "cli/readiness.h"
#include "cli/session.h"
#include "cli/start_lock.h"

namespace tenure::cli {
namespace {

constexpr const char* kDefaultDirectory = "tenure-data";
constexpr Duration kReadyTimeout = std::chrono::seconds(120);
constexpr Duration kStopTimeout = std::chrono::seconds(30);
constexpr Duration kLookInterval = std::chrono::milliseconds(100);

struct UpOptions {
  std::string directory = kDefaultDirectory;
  LayoutChoice choice;
  CLI::Option* nodes = nullptr;
  CLI::Option* base_port = nullptr;
  CLI::Option* separate = nullptr;
  CLI::Option* token_file = nullptr;
  bool detach = false;
};

struct DownOptions {
  std::string directory = kDefaultDirectory;
  bool kill = false;
};

// What the directory says; what was typed besides must agree with it.
StatusOr<ClusterLayout> ChooseLayout(const UpOptions& options) {
  StatusOr<ClusterLayout> stored = ClusterLayout::Load(options.directory);
  if (absl::IsNotFound(stored.status())) return ClusterLayout::Make(options.directory, options.choice);
  if (!stored.ok()) return stored.status();
  LayoutChoice wanted = stored->choice();
  if (options.nodes->count() > 0) wanted.nodes = options.choice.nodes;
  if (options.base_port->count() > 0) wanted.base_port = options.choice.base_port;
  if (options.separate->count() > 0) wanted.separate = options.choice.separate;
  if (options.token_file->count() > 0) {
    TENURE_ASSIGN_OR_RETURN(const ClusterLayout typed,
                            ClusterLayout::Make(options.directory, options.choice));
    wanted.token_file = typed.choice().token_file;
  }
  if (wanted == stored->choice()) return stored;
  const LayoutChoice& has = stored->choice();
  return Error(StatusCode::kFailedPrecondition,
               "{} holds a cluster with --nodes {} --base-port {}{}{}; leave these flags out, or choose "
               "another --data",
               stored->directory(), has.nodes, has.base_port, has.separate ? " --separate" : "",
               has.token_file.empty() ? "" : " --token-file " + has.token_file);
}

std::string StopCommand(const ClusterLayout& layout) {
  return fmt::format("tenure down --data {}", Quoted(layout.directory()));
}

// Waits until everything serves. CANCELLED if Ctrl-C came first; an error if a process ended or the time is
// up.
Status WaitUntilReady(LocalCluster& cluster, Duration limit) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(cluster.layout().controllers()));
  Readiness readiness(*session, cluster.layout());
  Progress progress;
  const auto end = std::chrono::steady_clock::now() + limit;
  while (true) {
    if (const auto ended = cluster.TakeEnded())
      return Error(StatusCode::kFailedPrecondition, "{}", ended->message);
    TENURE_ASSIGN_OR_RETURN(const std::string missing, readiness.Look());
    if (missing.empty()) return OkStatus();
    progress.Show(missing);
    if (std::chrono::steady_clock::now() >= end) {
      return Error(StatusCode::kDeadlineExceeded, "not ready after {}: {}; logs: {}/*/tenured.log",
                   FormatMillis(static_cast<double>(ToMillis(limit))), missing, cluster.layout().directory());
    }
    if (WaitForEndSignal(kLookInterval) != 0)
      return absl::CancelledError("stopped while waiting for the cluster");
  }
}

Json DescribeProcesses(const LocalCluster& cluster, const std::vector<std::string>& was_running) {
  Json list = Json::array();
  for (const ProcessPlace& place : cluster.layout().processes()) {
    Json process;
    process["name"] = place.name;
    process["address"] = place.rpc_address();
    process["resp_address"] = place.node ? Json(place.resp_address()) : Json(nullptr);
    process["http_address"] = fmt::format("127.0.0.1:{}", place.http_port);
    process["data"] = place.directory;
    process["was_running"] =
        std::find(was_running.begin(), was_running.end(), place.name) != was_running.end();
    list.push_back(process);
  }
  return list;
}

void Announce(const Invocation& invocation, const LocalCluster& cluster,
              const std::vector<std::string>& was_running) {
  const ClusterLayout& layout = cluster.layout();
  if (invocation.format == OutputFormat::kJson) {
    Json document;
    document["data"] = layout.directory();
    document["controllers"] = layout.controllers();
    document["processes"] = DescribeProcesses(cluster, was_running);
    PrintJson(document);
    return;
  }
  Table table({"PROCESS", "gRPC", "REDIS PROTOCOL", "HTTP", "DATA"});
  int resp_port = 0;
  for (const ProcessPlace& place : layout.processes()) {
    if (resp_port == 0) resp_port = place.resp_port;
    table.AddRow({place.name, place.rpc_address(), place.node ? place.resp_address() : "-",
                  fmt::format("127.0.0.1:{}", place.http_port), place.directory});
  }
  Print(table.ToString());
  if (!was_running.empty() && cluster.started().empty()) {
    Print("\nThe cluster was running already; nothing was started.\n");
  } else if (!was_running.empty()) {
    Print(fmt::format("\nStarted {}; already running: {}.\n", Join(cluster.started()), Join(was_running)));
  }
  const bool default_ports = layout.controllers() == kDefaultControllers;
  Print(fmt::format("\nReady. Connect with:\n  redis-cli -c -p {}\n  tenure status{}\n", resp_port,
                    default_ports ? "" : " --controllers " + layout.controllers()));
}

// None of `names` runs afterwards; an error says which did not end by themselves.
Status StopOrKill(LocalCluster& cluster, const std::vector<std::string>& names) {
  if (names.empty()) return OkStatus();  // to Stop that would be all
  const std::vector<std::string> left = cluster.Stop(SIGTERM, names, kStopTimeout);
  if (left.empty()) return OkStatus();
  cluster.Stop(SIGKILL, left, kStopTimeout);
  return Error(StatusCode::kDeadlineExceeded, "process {} did not stop within {} and was killed", Join(left),
               FormatMillis(static_cast<double>(ToMillis(kStopTimeout))));
}

// Until Ctrl-C, or until everything that was started here has ended.
Status StayInForeground(LocalCluster& cluster) {
  Print(cluster.started().size() == cluster.layout().processes().size()
            ? "Ctrl-C stops the cluster.\n"
            : fmt::format("Ctrl-C stops {}; {} stops everything.\n", Join(cluster.started()),
                          StopCommand(cluster.layout())));
  std::vector<std::string> mine = cluster.started();
  while (WaitForEndSignal(kLookInterval) == 0) {
    const auto ended = cluster.TakeEnded();
    if (!ended.has_value()) continue;
    Print(ended->message + "\n");
    if (std::erase(mine, ended->name) > 0 && mine.empty()) return OkStatus();
    if (!ended->cleanly)
      Print(fmt::format("`tenure up --data {}` starts it again.\n", Quoted(cluster.layout().directory())));
  }
  Print("\nStopping ...\n");
  return StopOrKill(cluster, mine);
}

Status Up(const Invocation& invocation, const UpOptions& options) {
  BlockEndSignals();
  const Duration limit = invocation.timeout_given ? invocation.timeout() : kReadyTimeout;
  TENURE_ASSIGN_OR_RETURN(ClusterLayout layout, ChooseLayout(options));
  TENURE_ASSIGN_OR_RETURN(const std::string tenured, FindProgram("tenured"));
  TENURE_ASSIGN_OR_RETURN(std::optional<StartLock> lock, StartLock::Take(layout.directory(), limit));
  // Another `up` may have been first.
  TENURE_ASSIGN_OR_RETURN(layout, ChooseLayout(options));
  LocalCluster cluster(std::move(layout));
  cluster.FindRunning();
  const std::vector<std::string> was_running = cluster.RunningNames();
  TENURE_RETURN_IF_ERROR(cluster.layout().Save());
  Status status = cluster.Start(tenured);
  lock.reset();
  if (status.ok()) status = WaitUntilReady(cluster, limit);
  if (!status.ok()) {
    // Nothing is left half started.
    const Status stopped = StopOrKill(cluster, cluster.started());
    if (stopped.ok()) return status;
    return Error(status.code(), "{}; {}", MessageOf(status), MessageOf(stopped));
  }
  Announce(invocation, cluster, was_running);
  if (options.detach || cluster.started().empty()) return OkStatus();
  return StayInForeground(cluster);
}

Status Down(const Invocation& invocation, const DownOptions& options) {
  TENURE_ASSIGN_OR_RETURN(ClusterLayout layout, ClusterLayout::Load(options.directory));
  LocalCluster cluster(std::move(layout));
  cluster.FindRunning();
  const std::vector<std::string> running = cluster.RunningNames();
  if (!running.empty()) {
    Progress progress;
    progress.Show(fmt::format("stopping {}", Join(running)));
    const Duration limit = invocation.timeout_given ? invocation.timeout() : kStopTimeout;
    const std::vector<std::string> left = cluster.Stop(options.kill ? SIGKILL : SIGTERM, {}, limit);
    if (!left.empty()) {
      return Error(StatusCode::kDeadlineExceeded, "process {} still runs after {}; `{} --kill` ends it",
                   Join(left), FormatMillis(static_cast<double>(ToMillis(limit))),
                   StopCommand(cluster.layout()));
    }
  }
  if (invocation.format == OutputFormat::kJson) {
    PrintJson({{"data", cluster.layout().directory()}, {"stopped", running}, {"killed", options.kill}});
  } else {
    Print(running.empty() ? "nothing was running\n"
                          : fmt::format("{} {}\n", options.kill ? "killed" : "stopped", Join(running)));
  }
  return OkStatus();
}

}  // namespace

void AddLocalClusterCommands(CLI::App& app, Invocation& invocation) {
  const auto up = std::make_shared<UpOptions>();
  CLI::App* command = app.add_subcommand("up", "Run a cluster on this machine; again: start what is down");
  command->add_option("--data", up->directory, "Directory of the cluster")->capture_default_str();
  up->nodes = command->add_option("--nodes", up->choice.nodes, "Number of nodes")
                  ->check(CLI::Range(1, 50))
                  ->capture_default_str();
  up->base_port = command
                      ->add_option("--base-port", up->choice.base_port,
                                   "Process i has base+10*i (gRPC), +1 (Redis protocol), +2 (HTTP)")
                      ->check(CLI::Range(1, 65000))
                      ->capture_default_str();
  up->separate = command->add_flag("--separate", up->choice.separate,
                                   "Three controllers and the nodes as processes of their own");
  up->token_file =
      command->add_option("--token-file", up->choice.token_file,
                          "File with the secret that lets processes into the cluster (tenured --help)");
  command->add_flag("--detach", up->detach, "Return when the cluster is ready and leave it running");
  OnCommand(command, invocation, up, Up);

  const auto down = std::make_shared<DownOptions>();
  command = app.add_subcommand("down", "Stop the cluster that `up` started");
  command->add_option("--data", down->directory, "Directory of the cluster")->capture_default_str();
  command->add_flag("--kill", down->kill, "With SIGKILL");
  OnCommand(command, invocation, down, Down);
}

}  // namespace tenure::cli
