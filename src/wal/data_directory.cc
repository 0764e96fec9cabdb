#include "wal/data_directory.h"

#include <algorithm>
#include <charconv>

#include "base/format.h"
#include "base/hash.h"
#include "wal/format.h"
#include "wal/repair.h"

namespace tenure::wal {
namespace {

constexpr std::string_view kTitle = "# Tenure data directory. Written by tenured; do not edit.\n";
constexpr std::string_view kChecksumKey = "checksum = ";

std::string IdentityPath(const std::string& path) {
  return path + "/identity";
}

std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '\n') {
      quoted += "\\n";
    } else if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::optional<std::string> Unquote(std::string_view text) {
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return std::nullopt;
  text = text.substr(1, text.size() - 2);
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      plain += text[i];
      continue;
    }
    if (++i == text.size()) return std::nullopt;
    plain += text[i] == 'n' ? '\n' : text[i];
  }
  return plain;
}

template <class Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

template <class Number>
Status Take(const std::map<std::string, std::string, std::less<>>& fields, std::string_view key,
            Number* number) {
  const auto it = fields.find(key);
  const auto parsed = it == fields.end() ? std::nullopt : ParseNumber<Number>(it->second);
  if (!parsed) return Error(StatusCode::kDataLoss, "identity: {} is missing or no number", key);
  *number = *parsed;
  return OkStatus();
}

Status Take(const std::map<std::string, std::string, std::less<>>& fields, std::string_view key,
            std::string* text) {
  const auto it = fields.find(key);
  auto plain = it == fields.end() ? std::nullopt : Unquote(it->second);
  if (!plain) return Error(StatusCode::kDataLoss, "identity: {} is missing or not quoted", key);
  *text = *std::move(plain);
  return OkStatus();
}

Status Mismatch(const std::string& path, std::string_view what, std::string_view have,
                std::string_view want) {
  return Error(
      StatusCode::kFailedPrecondition,
      "data directory {} has {} {}, expected was {}: it belongs to another process; start this one with its "
      "own directory",
      path, what, have, want);
}

}  // namespace

std::map<uint64_t, std::string> ControllersOf(const Identity& identity) {
  std::map<uint64_t, std::string> controllers;
  const std::string& text = identity.controllers;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const size_t equals = text.find('=', begin);
    if (equals < end) {
      const auto id = ParseNumber<uint64_t>(std::string_view(text).substr(begin, equals - begin));
      if (id) controllers[*id] = text.substr(equals + 1, end - equals - 1);
    }
    begin = end + 1;
  }
  return controllers;
}

std::string EncodeControllers(const std::map<uint64_t, std::string>& controllers) {
  std::string text;
  for (const auto& [id, address] : controllers)
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", id, address);
  return text;
}

std::string EncodeIdentity(const Identity& identity) {
  std::string text(kTitle);
  text += fmt::format("format = {}\n", identity.format);
  text += fmt::format("cluster_id = {}\n", Quote(identity.cluster_id));
  text += fmt::format("incarnation = {}\n", identity.incarnation);
  text += fmt::format("controller_id = {}\n", identity.controller_id);
  text += fmt::format("controller_uuid = {}\n", Quote(identity.controller_uuid));
  text += fmt::format("node_uuid = {}\n", Quote(identity.node_uuid));
  text += fmt::format("name = {}\n", Quote(identity.name));
  text += fmt::format("initial_members = {}\n", Quote(identity.initial_members));
  text += fmt::format("controllers = {}\n", Quote(identity.controllers));
  text += fmt::format("history = {}\n", Quote(identity.history));
  if (!identity.pending.empty()) text += fmt::format("pending = {}\n", Quote(identity.pending));
  text += fmt::format("{}\"{:016x}\"\n", kChecksumKey, HashBytes(text));
  return text;
}

StatusOr<Identity> DecodeIdentity(std::string_view text) {
  const size_t at = text.rfind(kChecksumKey);
  if (at == std::string_view::npos || (at > 0 && text[at - 1] != '\n')) {
    return Error(
        StatusCode::kDataLoss,
        "identity: no checksum before the end at offset {}: the file is cut off, damaged or no identity file",
        text.size());
  }
  const std::string_view body = text.substr(0, at);
  std::map<std::string, std::string, std::less<>> fields;
  for (std::string_view rest = body; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const size_t equals = line.find(" = ");
    if (!line.starts_with('#') && equals != std::string_view::npos) {
      fields[std::string(line.substr(0, equals))] = std::string(line.substr(equals + 3));
    }
  }
  if (text.substr(at) != fmt::format("{}\"{:016x}\"\n", kChecksumKey, HashBytes(body))) {
    return Error(StatusCode::kDataLoss,
                 "identity: the checksum at offset {} does not match: damaged or edited", at);
  }
  Identity identity;
  TENURE_RETURN_IF_ERROR(Take(fields, "format", &identity.format));
  // Said first: a newer format may have other fields.
  if (identity.format > kDataFormat) {
    return Error(StatusCode::kFailedPrecondition,
                 "it has data format {}, this program knows up to {}: use a newer one", identity.format,
                 kDataFormat);
  }
  uint64_t controller = 0;
  TENURE_RETURN_IF_ERROR(Take(fields, "cluster_id", &identity.cluster_id));
  TENURE_RETURN_IF_ERROR(Take(fields, "incarnation", &identity.incarnation));
  TENURE_RETURN_IF_ERROR(Take(fields, "controller_id", &controller));
  // Absent in directories from before they existed.
  if (fields.contains("controller_uuid")) {
    TENURE_RETURN_IF_ERROR(Take(fields, "controller_uuid", &identity.controller_uuid));
  }
  if (fields.contains("controllers")) {
    TENURE_RETURN_IF_ERROR(Take(fields, "controllers", &identity.controllers));
  }
  TENURE_RETURN_IF_ERROR(Take(fields, "node_uuid", &identity.node_uuid));
  TENURE_RETURN_IF_ERROR(Take(fields, "name", &identity.name));
  TENURE_RETURN_IF_ERROR(Take(fields, "initial_members", &identity.initial_members));
  TENURE_RETURN_IF_ERROR(Take(fields, "history", &identity.history));
  if (fields.contains("pending")) TENURE_RETURN_IF_ERROR(Take(fields, "pending", &identity.pending));
  identity.controller_id = ControllerId(controller);
  return identity;
}

StatusOr<std::unique_ptr<DataDirectory>> DataDirectory::LockedAt(runtime::Disk& disk,
                                                                 const std::string& path) {
  auto directory = std::unique_ptr<DataDirectory>(new DataDirectory(disk, path));
  auto lock = disk.Lock(path + "/lock");
  if (!lock.ok()) {
    return Annotate(lock.status(), fmt::format("data directory {} is in use or cannot be locked", path));
  }
  directory->lock_ = *std::move(lock);
  return directory;
}

StatusOr<std::unique_ptr<DataDirectory>> DataDirectory::Create(runtime::Disk& disk, const std::string& path,
                                                               const Identity& identity) {
  TENURE_RETURN_IF_ERROR(disk.MakeDirectories(path));
  const size_t slash = path.find_last_of('/');
  TENURE_RETURN_IF_ERROR(disk.SyncDirectory(slash == std::string::npos ? "."
                                            : slash == 0               ? "/"
                                                                       : path.substr(0, slash)));
  TENURE_ASSIGN_OR_RETURN(auto directory, LockedAt(disk, path));
  if (IsInitialised(disk, path)) {
    return Error(StatusCode::kFailedPrecondition, "data directory {} is initialised already", path);
  }
  // The identity is written before anything else: a log without one has lost it.
  TENURE_ASSIGN_OR_RETURN(const bool has_log, directory->HasLog());
  if (has_log) {
    return Error(StatusCode::kDataLoss,
                 "data directory {} has a log in {} but no identity: {} is missing. It is not known whose "
                 "log it is; put "
                 "the file back, or start with an empty directory",
                 path, directory->log_path(), IdentityPath(path));
  }
  TENURE_RETURN_IF_ERROR(directory->Update(identity));
  return directory;
}

StatusOr<Identity> DataDirectory::Peek(runtime::Disk& disk, const std::string& path) {
  if (!IsInitialised(disk, path)) {
    return Error(StatusCode::kNotFound, "data directory {} is not initialised: it has no `identity` file",
                 path);
  }
  TENURE_ASSIGN_OR_RETURN(const std::string text, runtime::ReadWholeFile(disk, IdentityPath(path)));
  auto identity = DecodeIdentity(text);
  if (!identity.ok()) return Annotate(identity.status(), IdentityPath(path));
  return identity;
}

bool DataDirectory::IsInitialised(runtime::Disk& disk, const std::string& path) {
  return disk.Exists(IdentityPath(path));
}

StatusOr<std::unique_ptr<DataDirectory>> DataDirectory::Open(runtime::Disk& disk, const std::string& path) {
  if (!IsInitialised(disk, path)) {
    return Error(StatusCode::kNotFound, "data directory {} is not initialised: it has no `identity` file",
                 path);
  }
  TENURE_ASSIGN_OR_RETURN(auto directory, LockedAt(disk, path));
  TENURE_ASSIGN_OR_RETURN(directory->identity_, Peek(disk, path));
  return directory;
}

StatusOr<bool> DataDirectory::HasLog() const {
  const auto names = disk_.List(log_path());
  if (!names.ok()) {
    if (names.status().code() == StatusCode::kNotFound) return false;
    return names.status();
  }
  return std::any_of(names->begin(), names->end(),
                     [](const auto& name) { return ParseSegmentName(name).has_value(); });
}

Status DataDirectory::CheckLog() const {
  if (SwapUnderWay(disk_, path_)) {
    return Error(
        StatusCode::kFailedPrecondition,
        "data directory {}: a repair has begun and not ended; `tenure repair {} --execute` finishes it",
        path_, path_);
  }
  if (identity_.cluster_id.empty()) return OkStatus();
  TENURE_ASSIGN_OR_RETURN(const bool has_log, HasLog());
  if (has_log) return OkStatus();
  return Error(
      StatusCode::kDataLoss,
      "data directory {} belongs to cluster {} but its log is missing: {} holds no segment. Terms, votes and "
      "entries of this process are lost; it must not go on as if it had never voted. Put the log back, or "
      "start with an empty data directory as a new process",
      path_, identity_.cluster_id, log_path());
}

Status DataDirectory::Expect(const Identity& expected) const {
  if (!expected.cluster_id.empty() && expected.cluster_id != identity_.cluster_id) {
    return Mismatch(path_, "cluster id", identity_.cluster_id, expected.cluster_id);
  }
  if (!expected.controller_id.IsNone() && expected.controller_id != identity_.controller_id) {
    return Mismatch(path_, "controller id", fmt::format("{}", identity_.controller_id),
                    fmt::format("{}", expected.controller_id));
  }
  if (!expected.node_uuid.empty() && expected.node_uuid != identity_.node_uuid) {
    return Mismatch(path_, "node uuid", identity_.node_uuid, expected.node_uuid);
  }
  if (expected.incarnation != 0 && expected.incarnation != identity_.incarnation) {
    return Error(StatusCode::kFailedPrecondition,
                 "data directory {} is of incarnation {} of its cluster, the cluster is at {}: it was left "
                 "behind by a "
                 "recovery and must join anew with an empty directory",
                 path_, identity_.incarnation, expected.incarnation);
  }
  return OkStatus();
}

Status DataDirectory::Update(const Identity& identity) {
  TENURE_RETURN_IF_ERROR(runtime::WriteWholeFile(disk_, IdentityPath(path_), EncodeIdentity(identity)));
  identity_ = identity;
  return OkStatus();
}

Status DataDirectory::EnterIncarnation(const Identity& identity) {
  if (disk_.Exists(view_path())) {
    TENURE_RETURN_IF_ERROR(disk_.Remove(view_path()));
    TENURE_RETURN_IF_ERROR(disk_.SyncDirectory(path_));
  }
  return Update(identity);
}

}  // namespace tenure::wal
