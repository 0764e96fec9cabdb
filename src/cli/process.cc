#include "cli/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

extern char** environ;

namespace tenure::cli {
namespace {

namespace fs = std::filesystem;

constexpr auto kLookInterval = std::chrono::milliseconds(10);

sigset_t EndSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  return set;
}

// posix_spawn's two option objects, freed together.
class SpawnSettings {
 public:
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  void OutputTo(const std::string& log_path) {
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, log_path.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&actions_, STDOUT_FILENO, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1);
  }
  void FreshSession() {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

// A zombie whose parent does not look is no running process.
bool IsAlive(pid_t pid) {
  if (kill(pid, 0) != 0 && errno == ESRCH) return false;
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return false;
  const size_t name_end = line.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= line.size() || line[name_end + 2] != 'Z';
}

std::vector<std::string> CommandLine(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/cmdline", pid), std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

bool Names(const std::string& argument, const fs::path& directory, const std::vector<std::string>& paths) {
  const size_t equals = argument.starts_with("--") ? argument.find('=') : std::string::npos;
  const std::string value = equals == std::string::npos ? argument : argument.substr(equals + 1);
  if (value.empty()) return false;
  std::error_code error;
  const fs::path path = fs::weakly_canonical(directory / value, error);
  if (error) return false;
  return std::find(paths.begin(), paths.end(), path.string()) != paths.end();
}

}  // namespace

StatusOr<Process> Process::Start(const std::string& program, const std::vector<std::string>& arguments,
                                 const std::string& log_path) {
  SpawnSettings settings;
  settings.OutputTo(log_path);
  settings.FreshSession();
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, program.c_str(), settings.actions(), settings.attributes(), argv.data(), environ);
  if (error != 0) {
    return Error(error == ENOENT ? StatusCode::kNotFound : StatusCode::kPermissionDenied,
                 "cannot start {} with its log in {}: {}", program, log_path, std::strerror(error));
  }
  return Process(pid, /*is_child=*/true);
}

bool Process::Running() {
  if (ended_) return false;
  if (!is_child_) {
    ended_ = !IsAlive(pid_);
    return !ended_;
  }
  int wait_status = 0;
  const pid_t result = waitpid(pid_, &wait_status, WNOHANG);
  if (result == 0) return true;
  ended_ = true;
  if (result == pid_) RecordEnd(wait_status);
  return false;
}

void Process::RecordEnd(int wait_status) {
  if (WIFEXITED(wait_status)) {
    ended_cleanly_ = WEXITSTATUS(wait_status) == 0;
    how_it_ended_ = fmt::format("exited with {}", WEXITSTATUS(wait_status));
  } else if (WIFSIGNALED(wait_status)) {
    how_it_ended_ =
        fmt::format("was killed by signal {} ({})", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
  }
}

void Process::Signal(int signal) const {
  if (!ended_) kill(pid_, signal);
}

bool Process::WaitUntilGone(Duration limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (Running()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(kLookInterval);
  }
  return true;
}

std::optional<pid_t> FindProcess(const std::string& program, const std::vector<std::string>& paths) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
    const std::vector<std::string> arguments = CommandLine(pid);
    if (arguments.empty() || fs::path(arguments[0]).filename() != program) continue;
    const fs::path directory = fs::read_symlink(entry.path() / "cwd", error);
    if (error) continue;
    const bool found = std::any_of(arguments.begin() + 1, arguments.end(), [&](const std::string& argument) {
      return Names(argument, directory, paths);
    });
    if (found && IsAlive(pid)) return pid;
  }
  return std::nullopt;
}

void BlockEndSignals() {
  const sigset_t set = EndSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int WaitForEndSignal(Duration limit) {
  const sigset_t set = EndSignals();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limit);
  timespec time;
  time.tv_sec = seconds.count();
  time.tv_nsec = (limit - seconds).count();
  const int signal = sigtimedwait(&set, nullptr, &time);
  return signal > 0 ? signal : 0;
}

std::string ProgramDirectory() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

StatusOr<std::string> FindProgram(const std::string& name) {
  const std::string beside = ProgramDirectory() + "/" + name;
  if (access(beside.c_str(), X_OK) == 0) return beside;
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return Error(StatusCode::kNotFound, "the program {} is neither beside this one ({}) nor in PATH", name,
               beside);
}

}  // namespace tenure::cli
