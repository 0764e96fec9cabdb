#include "daemon/config.h"

#include <toml++/toml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "catalog/names.h"
#include "daemon/version.h"

namespace tenure::daemon {
namespace {

using Values = std::map<std::string, std::vector<std::string>, std::less<>>;  // by flag name without dashes

constexpr size_t kMaxTokenFileBytes = 1024;
constexpr size_t kMaxNameBytes = 128;

struct Flag {
  const char* name;
  const char* value;  // for --help
  bool many;          // may be repeated; an array in the file
  const char* help;
};

constexpr Flag kFlags[] = {
    {"data", "DIR", false, "data directory (required)"},
    {"roles", "LIST", false, "controller, node or both: controller,node (default)"},
    {"listen", "HOST:PORT", false, "gRPC port: API, internal services, Raft (required)"},
    {"advertise", "HOST:PORT", false, "how others reach --listen (default: the same)"},
    {"resp", "HOST:PORT", false, "Redis protocol port (required for nodes)"},
    {"http", "HOST:PORT", false, "/metrics, /healthz and /readyz"},
    {"initial-controllers", "1=HOST:PORT,...", false,
     "the controllers a new cluster begins with; read when the data directory is empty"},
    {"id", "N", false,
     "this controller's id (default: the one that --initial-controllers gives to --advertise)"},
    {"controllers", "HOST:PORT,...", false,
     "where to find the controllers: for a node, a controller that joins, or one that finds nobody where it "
     "was"},
    {"name", "NAME", false, "name for people (default: --advertise)"},
    {"zone", "ZONE", false, "failure domain"},
    {"label", "KEY=VALUE", true, "label of the node; may be repeated"},
    {"token-file", "FILE", false,
     "the secret that lets processes into the cluster, the same for all of them: 16 to 256 characters; a "
     "second "
     "line is accepted from others"},
    {"log-level", "LEVEL", false, "debug, info (default), warn or error"},
    {"max-staleness", "DURATION", false,
     "READONLY clients are not served by replicas further behind (default 5s)"},
    {"write-timeout", "DURATION", false, "a command that is not committed by then is answered (default 5s)"},
    {"heartbeat-interval", "DURATION", false, "of Raft leaders (default 100ms)"},
    {"election-timeout", "DURATION", false, "shortest silence of a leader before an election (default 1s)"},
    {"replace-after", "DURATION", false,
     "a controller that is silent for this long is replaced as a voter if another one is there (default "
     "30s)"},
    {"repair-after", "DURATION", false,
     "a node that is DOWN and silent for this long has its replicas made anew on others (controllers; "
     "default 5m)"},
    {"max-repairs", "N", false, "replicas that are made anew at once (controllers; default 16)"},
    {"max-moves", "N", false,
     "replicas that move at once for balance, and for each node that is drained (controllers; default 4)"},
    {"balance", "on|off", false,
     "whether replicas and leaderships are evened out by themselves (controllers; default on)"},
    {"max-clients", "N", false, "Redis protocol connections (default 10000)"},
};

const Flag* FindFlag(std::string_view name) {
  for (const Flag& flag : kFlags) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

template <class... Args>
Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return Error(StatusCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

template <class Number>
bool ParseNumber(std::string_view text, Number* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

// ---- the file ----

StatusOr<std::vector<std::string>> ValuesOf(const std::string& where, const Flag& flag,
                                            const toml::node& node) {
  auto one = [](const toml::node& value) -> std::optional<std::string> {
    if (const auto* text = value.as_string()) return text->get();
    if (const auto* number = value.as_integer()) return fmt::format("{}", number->get());
    return std::nullopt;
  };
  std::vector<std::string> values;
  if (const toml::array* array = node.as_array()) {
    for (const toml::node& element : *array) {
      std::optional<std::string> value = one(element);
      if (!value)
        return Invalid("{}: {} holds something that is neither a string nor a number", where, flag.name);
      values.push_back(std::move(*value));
    }
    if (flag.many) return values;
    // A list is written like on the command line.
    return std::vector<std::string>{fmt::format("{}", fmt::join(values, ","))};
  }
  std::optional<std::string> value = one(node);
  if (!value) return Invalid("{}: {} must be a string, a whole number or a list of them", where, flag.name);
  return std::vector<std::string>{std::move(*value)};
}

Status ReadFile(const std::string& path, Values& values) {
  toml::table table;
  try {
    table = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    return Invalid("--config {}, line {}: {}", path, error.source().begin.line,
                   std::string(error.description()));
  }
  for (const auto& [key, node] : table) {
    const std::string where = fmt::format("--config {}, line {}", path, node.source().begin.line);
    const Flag* flag = FindFlag(key.str());
    if (flag == nullptr) return Invalid("{}: unknown key '{}'", where, std::string(key.str()));
    TENURE_ASSIGN_OR_RETURN(values[flag->name], ValuesOf(where, *flag, node));
  }
  return OkStatus();
}

// ---- checking ----

class Checker {
 public:
  explicit Checker(const Values& values) : values_(values) {}

  std::string Text(std::string_view name) const {
    const auto it = values_.find(name);
    return it == values_.end() || it->second.empty() ? std::string() : it->second.back();
  }
  std::vector<std::string> All(std::string_view name) const {
    const auto it = values_.find(name);
    return it == values_.end() ? std::vector<std::string>() : it->second;
  }
  StatusOr<std::optional<HostPort>> Address(std::string_view name) const {
    const std::string text = Text(name);
    if (text.empty()) return std::optional<HostPort>();
    StatusOr<HostPort> address = ParseHostPort(text);
    if (!address.ok()) return Invalid("--{}: {}", name, MessageOf(address.status()));
    return std::optional<HostPort>(std::move(*address));
  }
  // `value` keeps its default if the flag is absent.
  Status Time(std::string_view name, Duration low, Duration high, Duration* value) const {
    const std::string text = Text(name);
    if (text.empty()) return OkStatus();
    const StatusOr<Duration> duration = ParseDuration(text);
    if (!duration.ok()) return Invalid("--{}: {}", name, MessageOf(duration.status()));
    if (*duration < low || *duration > high) {
      return Invalid("--{} is {}, allowed are {}ms to {}ms", name, text, ToMillis(low), ToMillis(high));
    }
    *value = *duration;
    return OkStatus();
  }
  template <class Number>
  Status Count(std::string_view name, Number low, Number high, Number* value) const {
    const std::string text = Text(name);
    if (text.empty()) return OkStatus();
    Number number = 0;
    if (!ParseNumber(text, &number) || number < low || number > high) {
      return Invalid("--{} is '{}', allowed is a number from {} to {}", name, text, low, high);
    }
    *value = number;
    return OkStatus();
  }

 private:
  const Values& values_;
};

Status CheckRoles(const Checker& flags, Config& config) {
  const std::string roles = flags.Text("roles");
  for (const std::string& role : Split(roles.empty() ? "controller,node" : roles, ',')) {
    if (role == "controller") {
      config.controller = true;
    } else if (role == "node") {
      config.node = true;
    } else {
      return Invalid("--roles: '{}' is no role, there are controller and node", role);
    }
  }
  if (!config.controller && !config.node) return Invalid("--roles is empty, there are controller and node");
  return OkStatus();
}

Status CheckAddresses(const Checker& flags, Config& config) {
  TENURE_ASSIGN_OR_RETURN(const auto listen, flags.Address("listen"));
  if (!listen) return Invalid("--listen HOST:PORT is missing");
  config.listen = *listen;
  TENURE_ASSIGN_OR_RETURN(const auto advertise, flags.Address("advertise"));
  config.advertise = advertise.value_or(config.listen);
  if (config.advertise.IsWildcard()) {
    return Invalid("--advertise HOST:PORT is missing: others cannot reach {}", config.advertise.ToString());
  }
  TENURE_ASSIGN_OR_RETURN(config.resp, flags.Address("resp"));
  if (config.node && !config.resp) return Invalid("--resp HOST:PORT is missing, the role node needs it");
  if (!config.node && config.resp) return Invalid("--resp is for the role node, --roles is controller");
  if (config.resp) {
    config.resp_advertise = *config.resp;
    if (config.resp->IsWildcard()) config.resp_advertise.host = config.advertise.host;
  }
  TENURE_ASSIGN_OR_RETURN(config.http, flags.Address("http"));
  const std::pair<const char*, std::optional<HostPort>> ports[] = {
      {"listen", config.listen}, {"resp", config.resp}, {"http", config.http}};
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = i + 1; j < 3; ++j) {
      if (!ports[i].second || ports[i].second != ports[j].second) continue;
      return Invalid("--{} and --{} are both {}", ports[i].first, ports[j].first,
                     ports[i].second->ToString());
    }
  }
  return OkStatus();
}

Status CheckInitialControllers(const Checker& flags, Config& config) {
  for (const std::string& entry : Split(flags.Text("initial-controllers"), ',')) {
    const size_t equals = entry.find('=');
    uint64_t id = 0;
    if (equals == std::string::npos || !ParseNumber(std::string_view(entry).substr(0, equals), &id) ||
        id == 0 || id > UINT32_MAX) {
      return Invalid("--initial-controllers: '{}' is not ID=HOST:PORT with an id from 1 to {}", entry,
                     UINT32_MAX);
    }
    StatusOr<HostPort> address = ParseHostPort(std::string_view(entry).substr(equals + 1));
    if (!address.ok()) return Invalid("--initial-controllers: {}", MessageOf(address.status()));
    for (const auto& [other, taken] : config.initial_controllers) {
      if (taken == *address)
        return Invalid("--initial-controllers: {} and {} are both {}", other, id, taken.ToString());
    }
    if (!config.initial_controllers.emplace(id, std::move(*address)).second) {
      return Invalid("--initial-controllers names {} twice", id);
    }
  }
  if (config.initial_controllers.size() > 7) {
    return Invalid("--initial-controllers names {} controllers, at most 7 are allowed",
                   config.initial_controllers.size());
  }
  return OkStatus();
}

bool IsInitialised(const std::string& data) {
  std::error_code ignored;
  return std::filesystem::exists(data + "/identity", ignored);
}

Status CheckController(const Checker& flags, Config& config) {
  TENURE_RETURN_IF_ERROR(CheckInitialControllers(flags, config));
  TENURE_RETURN_IF_ERROR(flags.Count<uint64_t>("id", 1, UINT32_MAX, &config.id));
  if (!config.controller) {
    if (config.id != 0) return Invalid("--id is for the role controller, --roles is node");
    return OkStatus();
  }
  // Once the directory belongs to a controller, it says which one, and its address may change.
  if (config.initial_controllers.empty() || IsInitialised(config.data)) return OkStatus();
  for (const auto& [id, address] : config.initial_controllers) {
    if (config.id == 0 && address == config.advertise) config.id = id;
  }
  const auto self = config.initial_controllers.find(config.id);
  if (config.id == 0) {
    return Invalid("--id is missing, and --initial-controllers does not name --advertise {}",
                   config.advertise.ToString());
  }
  if (self == config.initial_controllers.end())
    return Invalid("--initial-controllers does not name --id {}", config.id);
  if (!(self->second == config.advertise)) {
    return Invalid("--initial-controllers has {}={}, --advertise is {}", config.id, self->second.ToString(),
                   config.advertise.ToString());
  }
  return OkStatus();
}

// A secret that others can read is none.
Status CheckTokenFile(const Checker& flags, Config& config) {
  const std::string path = flags.Text("token-file");
  if (path.empty()) return OkStatus();
  std::error_code error;
  const std::filesystem::file_status file = std::filesystem::status(path, error);
  if (!std::filesystem::exists(file)) return Invalid("--token-file {}: there is no such file", path);
  if (!std::filesystem::is_regular_file(file)) return Invalid("--token-file {} is no regular file", path);
  using Permissions = std::filesystem::perms;
  if ((file.permissions() & Permissions::others_all) != Permissions::none) {
    return Invalid(
        "--token-file {} has mode {:04o}: users other than its owner and group must have no access to it "
        "(chmod o= {})",
        path, static_cast<unsigned>(file.permissions() & Permissions::mask), path);
  }
  std::ifstream in(path, std::ios::binary);
  std::string text(kMaxTokenFileBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || !in.is_open()) return Invalid("--token-file {} cannot be read", path);
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMaxTokenFileBytes)
    return Invalid("--token-file {} has more than {} bytes", path, kMaxTokenFileBytes);
  auto tokens = catalog::JoinTokens::Parse(text);
  if (!tokens.ok()) return Invalid("--token-file {}: {}", path, MessageOf(tokens.status()));
  config.join_tokens = std::move(*tokens);
  return OkStatus();
}

// As the catalog will.
Status CheckText(const std::string& flag, const std::string& text) {
  const Status name = catalog::CheckName(flag, text, kMaxNameBytes);
  return name.ok() ? name : Invalid("{}", MessageOf(name));
}

Status CheckNames(const Checker& flags, Config& config) {
  for (const std::string& entry : Split(flags.Text("controllers"), ',')) {
    StatusOr<HostPort> address = ParseHostPort(entry);
    if (!address.ok()) return Invalid("--controllers: {}", MessageOf(address.status()));
    config.controllers.push_back(std::move(*address));
  }
  if (!config.controller && config.controllers.empty()) {
    return Invalid("--controllers HOST:PORT,... is missing, a node needs it to find its cluster");
  }
  config.name = flags.Text("name");
  if (config.name.empty()) config.name = config.advertise.ToString();
  config.zone = flags.Text("zone");
  for (const auto& [flag, text] : {std::pair("name", config.name), std::pair("zone", config.zone)}) {
    if (!text.empty()) TENURE_RETURN_IF_ERROR(CheckText(std::string("--") + flag, text));
  }
  for (const std::string& label : flags.All("label")) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0) return Invalid("--label: '{}' is not KEY=VALUE", label);
    auto [key, value] = std::pair(label.substr(0, equals), label.substr(equals + 1));
    TENURE_RETURN_IF_ERROR(CheckText("--label, key", key));
    if (!value.empty()) TENURE_RETURN_IF_ERROR(CheckText(fmt::format("--label {}", key), value));
    for (const auto& [other, taken] : config.labels) {
      if (other == key) return Invalid("--label {} is given twice: '{}' and '{}'", key, taken, value);
    }
    config.labels.emplace_back(std::move(key), std::move(value));
  }
  if (config.labels.size() > 64)
    return Invalid("--label is given {} times, allowed are 64", config.labels.size());
  return OkStatus();
}

Status CheckRegionSettings(const Checker& flags, Config& config) {
  using std::chrono::hours;
  using std::chrono::seconds;
  TENURE_RETURN_IF_ERROR(flags.Time("repair-after", seconds(1), hours(24 * 7), &config.repair_after));
  TENURE_RETURN_IF_ERROR(flags.Count<size_t>("max-repairs", 1, 1000, &config.max_repairs));
  TENURE_RETURN_IF_ERROR(flags.Count<size_t>("max-moves", 1, 1000, &config.max_moves));
  const std::string balance = flags.Text("balance");
  if (!balance.empty() && balance != "on" && balance != "off")
    return Invalid("--balance is '{}', allowed are on and off", balance);
  config.balance = balance != "off";
  return OkStatus();
}

Status CheckSettings(const Checker& flags, Config& config) {
  using std::chrono::milliseconds;
  using std::chrono::minutes;
  const std::string level = flags.Text("log-level");
  const std::pair<std::string_view, LogLevel> levels[] = {{"", LogLevel::kInfo},
                                                          {"debug", LogLevel::kDebug},
                                                          {"info", LogLevel::kInfo},
                                                          {"warn", LogLevel::kWarn},
                                                          {"error", LogLevel::kError}};
  const auto* const found = std::find_if(std::begin(levels), std::end(levels),
                                         [&](const auto& entry) { return entry.first == level; });
  if (found == std::end(levels))
    return Invalid("--log-level is '{}', allowed are debug, info, warn and error", level);
  config.log_level = found->second;
  TENURE_RETURN_IF_ERROR(flags.Time("max-staleness", milliseconds(100), minutes(60), &config.max_staleness));
  TENURE_RETURN_IF_ERROR(flags.Time("write-timeout", milliseconds(100), minutes(10), &config.write_timeout));
  TENURE_RETURN_IF_ERROR(
      flags.Time("heartbeat-interval", milliseconds(5), minutes(1), &config.heartbeat_interval));
  TENURE_RETURN_IF_ERROR(
      flags.Time("election-timeout", milliseconds(50), minutes(5), &config.election_timeout));
  if (config.election_timeout < 3 * config.heartbeat_interval) {
    return Invalid("--election-timeout is {}ms, it must be at least three times --heartbeat-interval ({}ms)",
                   ToMillis(config.election_timeout), ToMillis(config.heartbeat_interval));
  }
  TENURE_RETURN_IF_ERROR(
      flags.Time("replace-after", milliseconds(1000), minutes(1440), &config.replace_after));
  return flags.Count<size_t>("max-clients", 1, 1000000, &config.max_clients);
}

StatusOr<Config> Check(const Values& values) {
  const Checker flags(values);
  Config config;
  config.data = flags.Text("data");
  if (config.data.empty()) return Invalid("--data DIR is missing");
  TENURE_RETURN_IF_ERROR(CheckRoles(flags, config));
  TENURE_RETURN_IF_ERROR(CheckAddresses(flags, config));
  TENURE_RETURN_IF_ERROR(CheckController(flags, config));
  TENURE_RETURN_IF_ERROR(CheckNames(flags, config));
  TENURE_RETURN_IF_ERROR(CheckTokenFile(flags, config));
  TENURE_RETURN_IF_ERROR(CheckSettings(flags, config));
  TENURE_RETURN_IF_ERROR(CheckRegionSettings(flags, config));
  return config;
}

}  // namespace

StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app{"Tenure: a control plane for clustered data systems, with a consistent Redis-protocol store",
               "tenured"};
  app.set_version_flag("--version", std::string("tenured ") + kVersion);
  std::string path;
  app.add_option("--config", path, "TOML file with the same keys as the flags, which overrule it")
      ->option_text("FILE");
  std::map<std::string, std::vector<std::string>> given;
  for (const Flag& flag : kFlags) {
    auto* option = app.add_option(std::string("--") + flag.name, given[flag.name], flag.help);
    option->option_text(flag.value)->allow_extra_args(false);
    option->multi_option_policy(flag.many ? CLI::MultiOptionPolicy::TakeAll
                                          : CLI::MultiOptionPolicy::TakeLast);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    std::ostringstream out;
    app.exit(success, out, out);
    return CommandLine{.config = std::nullopt, .output = out.str()};
  } catch (const CLI::ParseError& error) {
    return Invalid("{}", error.what());
  }
  Values values;
  if (!path.empty()) TENURE_RETURN_IF_ERROR(ReadFile(path, values));
  for (auto& [name, texts] : given) {
    if (!texts.empty()) values[name] = std::move(texts);
  }
  TENURE_ASSIGN_OR_RETURN(Config config, Check(values));
  return CommandLine{.config = std::move(config), .output = {}};
}

}  // namespace tenure::daemon
