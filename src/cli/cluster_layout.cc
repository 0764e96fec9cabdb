#include "cli/cluster_layout.h"

#include <fcntl.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tenure::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kPortStep = 10;
constexpr int kSeparateNodesOffset = 100;
constexpr int kControllers = 3;
constexpr int kMaxNodes = 50;

// Two controllers would be less than one: either one's failure would stop both.
int ControllersOf(const LayoutChoice& choice) {
  return choice.separate || choice.nodes >= kControllers ? kControllers : 1;
}

int HighestPort(const LayoutChoice& choice) {
  return choice.base_port + (choice.separate ? kSeparateNodesOffset : 0) + kPortStep * choice.nodes + 2;
}

Status CheckGiven(const std::string& directory) {
  if (!directory.empty()) return OkStatus();
  return Error(StatusCode::kInvalidArgument, "--data is empty, must be the directory of a cluster");
}

Status Check(const LayoutChoice& choice) {
  if (choice.nodes < 1 || choice.nodes > kMaxNodes) {
    return Error(StatusCode::kInvalidArgument, "--nodes is {}, must be 1 to {}", choice.nodes, kMaxNodes);
  }
  if (choice.base_port < 1 || HighestPort(choice) > 65535) {
    return Error(StatusCode::kInvalidArgument,
                 "--base-port is {}: the cluster's ports would reach {}, beyond 1 to 65535", choice.base_port,
                 HighestPort(choice));
  }
  return OkStatus();
}

void AppendProcess(std::vector<ProcessPlace>& processes, const std::string& directory,
                   const std::string& name, int first_port, int controller_id, bool node) {
  ProcessPlace place;
  place.name = name;
  place.directory = directory + "/" + name;
  place.controller_id = controller_id;
  place.node = node;
  place.rpc_port = first_port;
  place.resp_port = node ? first_port + 1 : 0;
  place.http_port = first_port + 2;
  processes.push_back(place);
}

std::vector<ProcessPlace> Places(const std::string& directory, const LayoutChoice& choice) {
  std::vector<ProcessPlace> processes;
  if (!choice.separate) {
    for (int i = 1; i <= choice.nodes; ++i) {
      const int controller_id = i <= ControllersOf(choice) ? i : 0;
      AppendProcess(processes, directory, std::to_string(i), choice.base_port + kPortStep * i, controller_id,
                    true);
    }
    return processes;
  }
  for (int i = 1; i <= kControllers; ++i) {
    AppendProcess(processes, directory, "c" + std::to_string(i), choice.base_port + kPortStep * i, i, false);
  }
  for (int i = 1; i <= choice.nodes; ++i) {
    const int port = choice.base_port + kSeparateNodesOffset + kPortStep * i;
    AppendProcess(processes, directory, "n" + std::to_string(i), port, 0, true);
  }
  return processes;
}

StatusCode CodeOfErrno(int error) {
  return error == ENOSPC || error == EDQUOT ? StatusCode::kResourceExhausted : StatusCode::kPermissionDenied;
}

// All of `content`, on the disk when it returns.
bool WriteWhole(int file, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(file, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    content.remove_prefix(static_cast<size_t>(written));
  }
  return ::fsync(file) == 0;
}

// The file is there as a whole or not at all: half a configuration would be read as one.
Status WriteFile(const std::string& path, const std::string& content) {
  const std::string fresh = path + ".new";
  const int file = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  bool done = file >= 0 && WriteWhole(file, content);
  int error = errno;
  if (file >= 0) ::close(file);
  if (done && ::rename(fresh.c_str(), path.c_str()) != 0) {
    done = false;
    error = errno;
  }
  if (done) return OkStatus();
  if (file >= 0) ::unlink(fresh.c_str());
  return Error(CodeOfErrno(error), "cannot write {}: {}", path, std::strerror(error));
}

bool Holds(const std::string& path, const std::string& content) {
  std::ifstream file(path);
  std::ostringstream found;
  found << file.rdbuf();
  return file.is_open() && found.str() == content;
}

std::string Text(const toml::table& table) {
  std::ostringstream out;
  out << table << "\n";
  return out.str();
}

}  // namespace

StatusOr<ClusterLayout> ClusterLayout::Make(const std::string& directory, const LayoutChoice& choice) {
  TENURE_RETURN_IF_ERROR(CheckGiven(directory));
  TENURE_RETURN_IF_ERROR(Check(choice));
  std::error_code error;
  fs::path absolute = fs::absolute(directory, error);
  if (!error) absolute = fs::weakly_canonical(absolute, error);
  if (error) return Error(StatusCode::kInvalidArgument, "--data is {}: {}", directory, error.message());
  ClusterLayout layout;
  layout.choice_ = choice;
  if (!choice.token_file.empty()) {
    layout.choice_.token_file = fs::absolute(choice.token_file, error).lexically_normal().string();
    if (error)
      return Error(StatusCode::kInvalidArgument, "--token-file is {}: {}", choice.token_file,
                   error.message());
  }
  layout.directory_ = absolute.string();
  while (layout.directory_.size() > 1 && layout.directory_.back() == '/') layout.directory_.pop_back();
  layout.processes_ = Places(layout.directory_, choice);
  return layout;
}

StatusOr<ClusterLayout> ClusterLayout::Load(const std::string& directory) {
  TENURE_RETURN_IF_ERROR(CheckGiven(directory));
  const std::string path = directory + "/up.toml";
  std::error_code error;
  const bool there = fs::exists(path, error);
  if (error) return Error(StatusCode::kInvalidArgument, "--data is {}: {}", directory, error.message());
  if (!there) {
    return Error(StatusCode::kNotFound, "{} holds no cluster of `tenure up` (there is no {})", directory,
                 path);
  }
  try {
    const toml::table table = toml::parse_file(path);
    LayoutChoice choice;
    choice.nodes = static_cast<int>(table["nodes"].value_or(int64_t{0}));
    choice.base_port = static_cast<int>(table["base-port"].value_or(int64_t{0}));
    choice.separate = table["separate"].value_or(false);
    choice.token_file = table["token-file"].value_or(std::string());
    return Make(directory, choice);
  } catch (const toml::parse_error& wrong) {
    return Error(StatusCode::kFailedPrecondition, "{}, line {}: {}", path, wrong.source().begin.line,
                 wrong.description());
  }
}

Status ClusterLayout::Save() const {
  for (const ProcessPlace& place : processes_) {
    std::error_code error;
    fs::create_directories(place.directory, error);
    if (error)
      return Error(CodeOfErrno(error.value()), "cannot make {}: {}", place.directory, error.message());
    // Programs of before wrote in place: a full disk left an empty file.
    const uintmax_t size = fs::file_size(place.config_path(), error);
    if (!error && size > 0) continue;
    TENURE_RETURN_IF_ERROR(WriteFile(place.config_path(), ConfigOf(place)));
  }
  toml::table table{
      {"nodes", choice_.nodes}, {"base-port", choice_.base_port}, {"separate", choice_.separate}};
  if (!choice_.token_file.empty()) table.insert("token-file", choice_.token_file);
  const std::string path = directory_ + "/up.toml";
  return Holds(path, Text(table)) ? OkStatus() : WriteFile(path, Text(table));
}

std::string ClusterLayout::controllers() const {
  std::string list;
  for (const ProcessPlace& place : processes_) {
    if (place.controller_id == 0) continue;
    if (!list.empty()) list += ',';
    list += place.rpc_address();
  }
  return list;
}

// The keys are the names of tenured's flags.
std::string ClusterLayout::ConfigOf(const ProcessPlace& place) const {
  std::string initial;
  for (const ProcessPlace& other : processes_) {
    if (other.controller_id == 0) continue;
    if (!initial.empty()) initial += ',';
    initial += fmt::format("{}={}", other.controller_id, other.rpc_address());
  }
  toml::table table;
  table.insert("data", place.directory);
  table.insert("name", place.name);
  table.insert("roles", place.controller_id == 0 ? "node" : place.node ? "controller,node" : "controller");
  table.insert("listen", place.rpc_address());
  table.insert("advertise", place.rpc_address());
  if (place.node) table.insert("resp", place.resp_address());
  table.insert("http", fmt::format("127.0.0.1:{}", place.http_port));
  table.insert("controllers", controllers());
  if (!choice_.token_file.empty()) table.insert("token-file", choice_.token_file);
  if (place.controller_id != 0) {
    table.insert("id", place.controller_id);
    table.insert("initial-controllers", initial);
  }
  return Text(table);
}

}  // namespace tenure::cli
