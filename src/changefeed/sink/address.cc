#include "changefeed/sink/address.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "base/duration.h"
#include "base/host_port.h"

namespace tenure::changefeed {

namespace {

using Kind = SinkAddress::Kind;

template <class... Args>
Status Bad(fmt::format_string<Args...> format, Args&&... args) {
  return Error(StatusCode::kInvalidArgument, "sink: {}", fmt::format(format, std::forward<Args>(args)...));
}

StatusOr<std::string> PercentDecode(std::string_view text, std::string_view field) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned byte = 0;
    const auto digits = text.substr(i + 1, 2);
    const auto end = digits.data() + digits.size();
    if (digits.size() != 2 || std::from_chars(digits.data(), end, byte, 16).ptr != end) {
      return Bad("{}: '%' is to be followed by two hexadecimal digits", field);
    }
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

StatusOr<std::string> ParseHost(std::string_view text, std::string_view default_port) {
  const size_t colon = text.rfind(':');
  const bool with_port = colon != std::string_view::npos && !text.ends_with(']');
  const std::string_view host = with_port ? text.substr(0, colon) : text;
  std::string_view port = with_port ? text.substr(colon + 1) : default_port;
  if (host.empty()) return Bad("host: \"{}\" has none; write HOST:PORT", text);
  if (port.empty()) return Bad("port: \"{}\" has none; write HOST:PORT", text);
  unsigned number = 0;
  const auto read = std::from_chars(port.data(), port.data() + port.size(), number);
  if (read.ptr != port.data() + port.size() || read.ec != std::errc() || number == 0 || number > 65535) {
    return Bad("port: \"{}\" is no number from 1 to 65535", port);
  }
  const bool bracketed = host.front() == '[' && host.back() == ']';
  const std::string_view bare = bracketed ? host.substr(1, host.size() - 2) : host;
  if (bare.empty()) return Bad("host: \"{}\" has none; write HOST:PORT", text);
  return HostPort{std::string(bare), static_cast<uint16_t>(number)}.ToString();
}

StatusOr<uint64_t> ParseBytes(std::string_view field, std::string_view text, uint64_t least, uint64_t most) {
  constexpr std::array<std::pair<std::string_view, uint64_t>, 4> kUnits{
      {{"KiB", 1024}, {"MiB", uint64_t{1} << 20}, {"GiB", uint64_t{1} << 30}, {"", 1}}};
  uint64_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<size_t>(read.ptr - text.data()));
  const auto factor =
      std::find_if(kUnits.begin(), kUnits.end(), [unit](const auto& u) { return u.first == unit; });
  if (read.ec != std::errc() || factor == kUnits.end()) {
    return Bad("{}: \"{}\" is no size; write a number of bytes, or with KiB, MiB or GiB", field, text);
  }
  if (number > most / factor->second || number * factor->second < least) {
    return Bad("{}: \"{}\" is not between {} and {} bytes", field, text, least, most);
  }
  return number * factor->second;
}

StatusOr<bool> ParseBool(std::string_view field, std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return Bad("{}: \"{}\" is neither true nor false", field, text);
}

StatusOr<Duration> ParseLimit(std::string_view field, std::string_view text, Duration least, Duration most) {
  const auto parsed = ParseDuration(text);
  if (!parsed.ok() || *parsed < least || *parsed > most) {
    return Bad("{}: \"{}\" is no duration between {} ms and {} ms (write 250ms, 10s)", field, text,
               ToMillis(least), ToMillis(most));
  }
  return *parsed;
}

StatusOr<Protocol> ParseProtocol(std::string_view field, std::string_view text, std::string_view allowed) {
  const auto protocol = ProtocolNamed(text);
  if (!protocol.ok() || fmt::format(",{},", allowed).find(fmt::format(",{},", text)) == std::string::npos) {
    return Bad("{}: \"{}\" is none of {} for this sink", field, text, allowed);
  }
  return *protocol;
}

struct SchemeRules {
  std::string_view scheme;
  Kind kind;
  std::string_view default_port;  // empty: a port is needed
  std::string_view target;        // what the path is called
  std::string_view protocols;
  std::string_view parameters;
};

constexpr std::array<SchemeRules, 5> kSchemes{{
    {"kafka", Kind::kKafka, "", "topic", "debezium,json",
     "protocol,partition,auto-create,exactly-once,compression,max-message-bytes,timeout"},
    {"file", Kind::kFile, "", "directory", "json,csv", "rotate,format,flush,timeout"},
    {"redis", Kind::kRedis, "6379", "stream", "json,debezium", "protocol,maxlen,timeout"},
    {"nats", Kind::kNats, "4222", "subject", "json,debezium", "protocol,timeout"},
    {"stdout", Kind::kStdout, "", "", "json,debezium,csv", "protocol"},
}};

Status SetParameter(const SchemeRules& rules, std::string_view name, std::string_view value,
                    SinkAddress& address) {
  if (name == "protocol" || name == "format") {
    TENURE_ASSIGN_OR_RETURN(address.protocol, ParseProtocol(name, value, rules.protocols));
  } else if (name == "partition") {
    if (value != "key" && value != "table" && value != "ts")
      return Bad("partition: \"{}\" is none of key, table, ts", value);
    address.partition = value == "key"     ? SinkAddress::Partition::kKey
                        : value == "table" ? SinkAddress::Partition::kTable
                                           : SinkAddress::Partition::kTs;
  } else if (name == "auto-create") {
    TENURE_ASSIGN_OR_RETURN(address.auto_create, ParseBool(name, value));
  } else if (name == "exactly-once") {
    TENURE_ASSIGN_OR_RETURN(address.exactly_once, ParseBool(name, value));
  } else if (name == "compression") {
    constexpr std::array<std::string_view, 5> kCodecs{"none", "gzip", "snappy", "lz4", "zstd"};
    if (std::find(kCodecs.begin(), kCodecs.end(), value) == kCodecs.end()) {
      return Bad("compression: \"{}\" is none of none, gzip, snappy, lz4, zstd", value);
    }
    address.compression = std::string(value);
  } else if (name == "max-message-bytes") {
    TENURE_ASSIGN_OR_RETURN(address.max_message_bytes, ParseBytes(name, value, 1000, 1'000'000'000));
  } else if (name == "timeout") {
    TENURE_ASSIGN_OR_RETURN(address.timeout,
                            ParseLimit(name, value, std::chrono::milliseconds(100), std::chrono::minutes(5)));
  } else if (name == "rotate") {
    TENURE_ASSIGN_OR_RETURN(address.rotate_bytes, ParseBytes(name, value, 1024, uint64_t{64} << 30));
  } else if (name == "flush") {
    TENURE_ASSIGN_OR_RETURN(address.flush,
                            ParseLimit(name, value, std::chrono::milliseconds(1), std::chrono::minutes(1)));
  } else if (name == "maxlen") {
    TENURE_ASSIGN_OR_RETURN(address.max_length, ParseBytes(name, value, 1, uint64_t{1} << 62));
  }
  return OkStatus();
}

Status ParseParameters(const SchemeRules& rules, std::string_view query, SinkAddress& address) {
  std::map<std::string, bool> seen;
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return Bad("parameter \"{}\" has no value; write NAME=VALUE", pair);
    const std::string name(pair.substr(0, equals));
    const bool known =
        !name.empty() && name.find(',') == std::string::npos &&
        fmt::format(",{},", rules.parameters).find(fmt::format(",{},", name)) != std::string::npos;
    if (!known)
      return Bad("{}:// has no parameter \"{}\"; there are {}", rules.scheme, name, rules.parameters);
    if (!seen.emplace(name, true).second) return Bad("parameter \"{}\" is given twice", name);
    TENURE_ASSIGN_OR_RETURN(const std::string value, PercentDecode(pair.substr(equals + 1), name));
    TENURE_RETURN_IF_ERROR(SetParameter(rules, name, value, address));
  }
  return OkStatus();
}

constexpr std::string_view kTargetCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
constexpr size_t kMaxTopicBytes = 249;

// Braces hold {database} or {table} and nothing else; the rest is what topics, streams and subjects may have.
Status CheckTarget(const SchemeRules& rules, std::string_view target) {
  if (target.empty())
    return Bad("{}: is missing; write {}://HOST:PORT/{}", rules.target, rules.scheme, rules.target);
  if (target.size() > 200) return Bad("{}: has {} characters, the limit is 200", rules.target, target.size());
  std::string rest(target);
  for (const std::string_view name : {"{database}", "{table}"}) {
    for (size_t at = rest.find(name); at != std::string::npos; at = rest.find(name))
      rest.replace(at, name.size(), "x");
  }
  const std::string allowed = std::string(kTargetCharacters) + (rules.kind == Kind::kRedis ? ":" : "");
  const size_t bad = rest.find_first_not_of(allowed);
  if (bad != std::string::npos) {
    return Bad("{}: \"{}\" has '{}'; it may have letters, digits, {}{{database}} and {{table}}", rules.target,
               target, rest[bad], rules.kind == Kind::kRedis ? "._-: " : "._- ");
  }
  return OkStatus();
}

Status ParseAuthority(const SchemeRules& rules, std::string_view authority, SinkAddress& address) {
  if (const size_t at = authority.rfind('@'); at != std::string_view::npos) {
    if (rules.kind == Kind::kKafka) return Bad("user: kafka:// takes none");
    const std::string_view credentials = authority.substr(0, at);
    const size_t colon = credentials.find(':');
    if (colon == std::string_view::npos) return Bad("user: has no password; write USER:PASSWORD@HOST");
    TENURE_ASSIGN_OR_RETURN(address.user, PercentDecode(credentials.substr(0, colon), "user"));
    TENURE_ASSIGN_OR_RETURN(address.password, PercentDecode(credentials.substr(colon + 1), "password"));
    authority.remove_prefix(at + 1);
  }
  for (size_t begin = 0; begin <= authority.size();) {
    const size_t end = std::min(authority.find(',', begin), authority.size());
    TENURE_ASSIGN_OR_RETURN(std::string host,
                            ParseHost(authority.substr(begin, end - begin), rules.default_port));
    address.hosts.push_back(std::move(host));
    begin = end + 1;
  }
  if (address.hosts.size() > 1 && rules.kind != Kind::kKafka) {
    return Bad("host: {}:// takes one, {} are given", rules.scheme, address.hosts.size());
  }
  return OkStatus();
}

}  // namespace

StatusOr<SinkAddress> ParseSinkAddress(std::string_view text) {
  const size_t colon = text.find(':');
  const std::string_view scheme = text.substr(0, std::min(colon, text.size()));
  const auto rules =
      std::find_if(kSchemes.begin(), kSchemes.end(), [scheme](const auto& r) { return r.scheme == scheme; });
  if (colon == std::string_view::npos || rules == kSchemes.end()) {
    return Bad("\"{}\" begins with none of kafka://, file://, redis://, nats://, stdout:", scheme);
  }
  SinkAddress address{.kind = rules->kind};
  if (rules->kind == Kind::kKafka) address.protocol = Protocol::kDebezium;
  std::string_view rest = text.substr(colon + 1);
  std::string_view query;
  if (const size_t mark = rest.find('?'); mark != std::string_view::npos) {
    query = rest.substr(mark + 1);
    rest = rest.substr(0, mark);
  }
  if (rules->kind == Kind::kStdout) {
    if (!rest.empty()) return Bad("stdout: takes no host or path, \"{}\" is given", rest);
  } else {
    if (!rest.starts_with("//")) return Bad("\"//\" is missing after {}:", scheme);
    rest.remove_prefix(2);
    const size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view authority = rest.substr(0, slash);
    if (rules->kind == Kind::kFile) {
      if (!authority.empty()) {
        return Bad("directory: \"{}\" is no absolute path; write file:///DIRECTORY", authority);
      }
      TENURE_ASSIGN_OR_RETURN(address.target, PercentDecode(rest.substr(slash), "directory"));
      if (address.target.size() < 2) return Bad("directory: is missing; write file:///DIRECTORY");
    } else {
      TENURE_RETURN_IF_ERROR(ParseAuthority(*rules, authority, address));
      address.target = std::string(rest.substr(std::min(slash + 1, rest.size())));
      TENURE_RETURN_IF_ERROR(CheckTarget(*rules, address.target));
    }
  }
  TENURE_RETURN_IF_ERROR(ParseParameters(*rules, query, address));
  return address;
}

std::string WithoutSecrets(const SinkAddress& address) {
  const auto rules =
      std::find_if(kSchemes.begin(), kSchemes.end(), [&](const auto& r) { return r.kind == address.kind; });
  if (address.kind == Kind::kStdout) return "stdout:";
  if (address.kind == Kind::kFile) return fmt::format("file://{}", address.target);
  return fmt::format("{}://{}{}/{}", rules->scheme,
                     address.user.empty() && address.password.empty() ? "" : "***@",
                     fmt::join(address.hosts, ","), address.target);
}

std::string FillTemplate(std::string_view pattern, std::string_view database, std::string_view table) {
  std::string out;
  while (!pattern.empty()) {
    if (pattern.starts_with("{database}")) {
      out += database;
      pattern.remove_prefix(10);
    } else if (pattern.starts_with("{table}")) {
      out += table.empty() ? "keys" : table;
      pattern.remove_prefix(7);
    } else {
      out += pattern.front();
      pattern.remove_prefix(1);
    }
  }
  return out;
}

std::optional<FeedError> CheckFilled(const SinkAddress& address, const std::string& filled) {
  const auto bad = [&](std::string_view what) {
    return FeedError{
        .code = FeedErrorCode::kBadSinkAddress,
        .message = fmt::format("{}: \"{}\", which it comes to by the name of a database or table, {}",
                               WithoutSecrets(address), filled, what)};
  };
  if (address.kind == Kind::kKafka) {
    if (filled.find_first_not_of(kTargetCharacters) != std::string::npos)
      return bad("is no topic of Kafka: those have letters, digits, '.', '_' and '-'");
    if (filled.size() > kMaxTopicBytes)
      return bad(
          fmt::format("has {} bytes, the limit of Kafka's topics is {}", filled.size(), kMaxTopicBytes));
  }
  if (address.kind == Kind::kNats) {
    if (filled.find_first_of(" *>") != std::string::npos)
      return bad("is no subject of NATS: those have no spaces, '*' and '>'");
    if (filled.starts_with('.') || filled.ends_with('.') || filled.find("..") != std::string::npos)
      return bad("is no subject of NATS: there is nothing before, after or between dots");
  }
  return std::nullopt;
}

std::vector<std::string> FilledTargets::Of(const Message& message) {
  const bool to_all = message.kind == Message::Kind::kResolved && pattern_.find('{') != std::string::npos;
  if (to_all) return {seen_.begin(), seen_.end()};
  std::string target = FillTemplate(pattern_, message.database, message.table);
  seen_.insert(target);
  return {std::move(target)};
}

}  // namespace tenure::changefeed
