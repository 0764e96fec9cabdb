#include "cli/local_cluster.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "cli/resp_probe.h"

namespace tenure::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kProgram = "tenured";

// The pid file saves the search when it is right; the arguments of the process tell whether it is.
std::optional<pid_t> FindProcessOf(const ProcessPlace& place) {
  return FindProcess(std::string(kProgram), {place.config_path(), place.directory});
}

void WritePidFile(const ProcessPlace& place, pid_t pid) {
  std::ofstream file(place.pid_path(), std::ios::trunc);
  file << pid << "\n";
}

// Somebody else may have started the process again since: then the file is theirs.
void RemovePidFile(const ProcessPlace& place, pid_t pid) {
  std::ifstream file(place.pid_path());
  pid_t written = 0;
  std::error_code error;
  if (file >> written && written == pid) fs::remove(place.pid_path(), error);
}

// The higher, the more likely the line is why a process ended.
int WeightOf(const std::string& line) {
  if (line.starts_with("error: ")) return 3;
  for (const char* sign : {"CHECK failed", "terminate called", "Sanitizer"}) {
    if (line.find(sign) != std::string::npos) return 2;
  }
  return line.find(" error ") != std::string::npos ? 1 : 0;
}

}  // namespace

std::string Join(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " and " : ", ";
    text += names[i];
  }
  return text;
}

void LocalCluster::FindRunning() {
  running_.clear();
  for (const ProcessPlace& place : layout_.processes()) {
    const std::optional<pid_t> pid = FindProcessOf(place);
    std::error_code error;
    if (pid.has_value()) {
      running_.emplace(place.name, Process::Adopt(*pid));
      WritePidFile(place, *pid);
    } else {
      fs::remove(place.pid_path(), error);
    }
  }
}

bool LocalCluster::AnyRunning() {
  return !RunningNames().empty();
}

std::vector<std::string> LocalCluster::RunningNames() {
  std::vector<std::string> names;
  for (const ProcessPlace& place : layout_.processes()) {
    const auto it = running_.find(place.name);
    if (it != running_.end() && it->second.Running()) names.push_back(place.name);
  }
  return names;
}

Status LocalCluster::CheckPorts() const {
  for (const ProcessPlace& place : layout_.processes()) {
    if (running_.contains(place.name)) continue;
    const std::pair<int, const char*> ports[] = {
        {place.rpc_port, "gRPC"}, {place.resp_port, "Redis protocol"}, {place.http_port, "HTTP"}};
    for (const auto& [port, purpose] : ports) {
      const Status free = port == 0 ? OkStatus() : CheckPortFree(port);
      if (free.ok()) continue;
      if (free.code() != StatusCode::kFailedPrecondition) {
        return Error(
            free.code(),
            "{} ({} of process {}); nothing was started. Choose another --base-port with another --data",
            MessageOf(free), purpose, place.name);
      }
      return Error(StatusCode::kFailedPrecondition,
                   "port {} ({} of process {}) is occupied by another program; nothing was started. Stop "
                   "that program or "
                   "choose another --base-port with another --data",
                   port, purpose, place.name);
    }
  }
  return OkStatus();
}

Status LocalCluster::Start(const std::string& tenured) {
  TENURE_RETURN_IF_ERROR(CheckPorts());
  for (const ProcessPlace& place : layout_.processes()) {
    if (running_.contains(place.name)) continue;
    std::error_code error;
    const uintmax_t log_size = fs::file_size(place.log_path(), error);
    log_begins_[place.name] = error ? 0 : log_size;
    const std::vector<std::string> arguments = {"--config", place.config_path(), "--data", place.directory};
    TENURE_ASSIGN_OR_RETURN(Process process, Process::Start(tenured, arguments, place.log_path()));
    WritePidFile(place, process.pid());
    running_.emplace(place.name, std::move(process));
    started_.push_back(place.name);
  }
  return OkStatus();
}

std::optional<LocalCluster::Ended> LocalCluster::TakeEnded() {
  for (const ProcessPlace& place : layout_.processes()) {
    const auto it = running_.find(place.name);
    if (it == running_.end() || it->second.Running()) continue;
    Ended ended{.name = place.name, .cleanly = it->second.ended_cleanly()};
    ended.message = fmt::format("process {} {}", place.name, it->second.how_it_ended());
    if (!ended.cleanly) ended.message += fmt::format(": {} (log: {})", ReasonInLog(place), place.log_path());
    RemovePidFile(place, it->second.pid());
    running_.erase(it);
    return ended;
  }
  return std::nullopt;
}

// The last of the weightiest lines that the process wrote in this run.
std::string LocalCluster::ReasonInLog(const ProcessPlace& place) const {
  std::ifstream file(place.log_path());
  const auto begin = log_begins_.find(place.name);
  if (begin != log_begins_.end()) file.seekg(static_cast<std::streamoff>(begin->second));
  std::string reason = "its log says nothing";
  int weight = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || WeightOf(line) < weight) continue;
    reason = line;
    weight = WeightOf(line);
  }
  constexpr std::string_view kError = "error: ";
  return reason.starts_with(kError) ? reason.substr(kError.size()) : reason;
}

std::vector<std::string> LocalCluster::Stop(int signal, const std::vector<std::string>& names,
                                            Duration limit) {
  const auto wanted = [&names](const std::string& name) {
    return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
  };
  for (auto& [name, process] : running_) {
    if (wanted(name)) process.Signal(signal);
  }
  const auto end = std::chrono::steady_clock::now() + limit;
  std::vector<std::string> left;
  for (const ProcessPlace& place : layout_.processes()) {
    const auto it = running_.find(place.name);
    if (it == running_.end() || !wanted(place.name)) continue;
    const Duration remaining = std::max<Duration>(Duration::zero(), end - std::chrono::steady_clock::now());
    if (!it->second.WaitUntilGone(remaining)) {
      left.push_back(place.name);
      continue;
    }
    RemovePidFile(place, it->second.pid());
    running_.erase(it);
  }
  return left;
}

}  // namespace tenure::cli
