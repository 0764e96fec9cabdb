#include "changefeed/sink/file_delivery.h"

#include <algorithm>
#include <charconv>

#include "changefeed/format/json_writer.h"

namespace tenure::changefeed {

namespace {

constexpr std::string_view kPart = ".part";
constexpr std::string_view kCsvHeader = "type,";  // how it begins, and no line of a change

struct Lines {
  size_t bytes = 0;    // up to and with the end of the last whole line
  uint64_t count = 0;  // of messages: without a header
};

// The whole lines of what a crash left. What was written and not synced may read as zeroes, even before
// something that did arrive; no line has a zero byte. In CSV the end of a line between quotes is part of a
// field.
Lines WholeLines(std::string_view content, bool csv) {
  content = content.substr(0, content.find('\0'));
  Lines lines;
  bool quoted = false;
  for (size_t i = 0; i < content.size(); ++i) {
    if (csv && content[i] == '"') quoted = !quoted;
    if (content[i] != '\n' || quoted) continue;
    lines.bytes = i + 1;
    ++lines.count;
  }
  if (csv && lines.count > 0 && content.starts_with(kCsvHeader)) --lines.count;
  return lines;
}

// A file is read as what it was written as, whatever is written now: its name says so.
bool IsCsv(std::string_view name) {
  if (name.ends_with(kPart)) name.remove_suffix(kPart.size());
  return name.ends_with(fmt::format(".{}", NameOf(Protocol::kCsv)));
}

// Of "<epoch:20>-<number:8>...".
uint64_t NumberIn(std::string_view name) {
  uint64_t number = 0;
  if (name.size() > 21) std::from_chars(name.data() + 21, name.data() + name.size(), number);
  return number;
}

}  // namespace

FileDelivery::FileDelivery(runtime::Disk& disk, SinkIdentity identity, FileDeliveryOptions options)
    : disk_(disk), identity_(std::move(identity)), options_(std::move(options)) {}

std::string FileDelivery::Prefix() const {
  return fmt::format("{}-{}-", identity_.changefeed, identity_.dispatcher);
}

// ---- the directory ----

std::optional<FeedError> FileDelivery::Open() {
  Status status = disk_.MakeDirectories(options_.directory);
  if (status.ok()) status = CloseLeftovers();
  return ErrorOf(status);
}

Status FileDelivery::CloseLeftovers() {
  TENURE_ASSIGN_OR_RETURN(const std::vector<std::string> names, disk_.List(options_.directory));
  std::vector<std::string> closed;
  for (const std::string& name : names) {
    std::string_view rest = name;
    if (!rest.starts_with(Prefix())) continue;
    rest.remove_prefix(Prefix().size());
    uint64_t epoch = 0;
    const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), epoch);
    // Of a dispatcher whose name begins like this one's.
    if (read.ec != std::errc() || read.ptr != rest.data() + 20) continue;
    if (OwnerEpoch(epoch) > identity_.epoch) {
      return Error(StatusCode::kAborted, "{} exists: epoch {} has written, this writer's is {}", PathOf(name),
                   epoch, identity_.epoch);
    }
    if (OwnerEpoch(epoch) == identity_.epoch) next_number_ = std::max(next_number_, NumberIn(rest) + 1);
    if (!name.ends_with(kPart)) {
      closed.push_back(name);
      continue;
    }
    TENURE_ASSIGN_OR_RETURN(const std::string content, runtime::ReadWholeFile(disk_, PathOf(name)));
    const size_t end = WholeLines(content, IsCsv(name)).bytes;
    if (end == 0) {
      TENURE_RETURN_IF_ERROR(disk_.Remove(PathOf(name)));
      continue;
    }
    TENURE_ASSIGN_OR_RETURN(auto file, disk_.Open(PathOf(name), runtime::OpenMode::kReadWrite));
    if (end != content.size()) TENURE_RETURN_IF_ERROR(file->Truncate(end));
    TENURE_RETURN_IF_ERROR(file->SyncNow());
    const std::string final_name = name.substr(0, name.size() - kPart.size());
    TENURE_RETURN_IF_ERROR(disk_.Rename(PathOf(name), PathOf(final_name)));
    closed.push_back(final_name);
  }
  TENURE_RETURN_IF_ERROR(disk_.SyncDirectory(options_.directory));
  return AddMissingToIndex(closed);
}

Status FileDelivery::AddMissingToIndex(const std::vector<std::string>& names) {
  std::string index;
  const std::string path = PathOf(fmt::format("{}-{}.index", identity_.changefeed, identity_.dispatcher));
  if (disk_.Exists(path)) {
    TENURE_ASSIGN_OR_RETURN(index, runtime::ReadWholeFile(disk_, path));
    // A torn last line is cut; its file is added again.
    const size_t end = WholeLines(index, /*csv=*/false).bytes;
    if (end != index.size()) {
      TENURE_ASSIGN_OR_RETURN(auto file, disk_.Open(path, runtime::OpenMode::kReadWrite));
      TENURE_RETURN_IF_ERROR(file->Truncate(end));
      TENURE_RETURN_IF_ERROR(file->SyncNow());
      index.resize(end);
    }
  }
  for (const std::string& name : names) {
    if (index.find(fmt::format("\"{}\"", name)) != std::string::npos) continue;
    TENURE_ASSIGN_OR_RETURN(const std::string content, runtime::ReadWholeFile(disk_, PathOf(name)));
    const Lines lines = WholeLines(content, IsCsv(name));
    TENURE_RETURN_IF_ERROR(AppendToIndex(name, lines.count, lines.bytes, CommitTs(), CommitTs()));
  }
  return OkStatus();
}

Status FileDelivery::OpenPart() {
  part_ = Part{.name = fmt::format("{}{:020}-{:08}.{}", Prefix(), identity_.epoch.value(), next_number_++,
                                   NameOf(options_.protocol))};
  const std::string path = PathOf(part_.name + std::string(kPart));
  TENURE_ASSIGN_OR_RETURN(part_.file, disk_.Open(path, runtime::OpenMode::kCreateNew));
  TENURE_RETURN_IF_ERROR(disk_.SyncDirectory(options_.directory));
  if (!header_.empty()) part_.text = header_ + "\n";
  return OkStatus();
}

Status FileDelivery::SyncPart() {
  TENURE_RETURN_IF_ERROR(part_.file->Write(part_.size, part_.text));
  part_.size += part_.text.size();
  part_.text.clear();
  return part_.file->SyncNow();
}

Status FileDelivery::ClosePart() {
  TENURE_RETURN_IF_ERROR(SyncPart());
  part_.file.reset();
  TENURE_RETURN_IF_ERROR(disk_.Rename(PathOf(part_.name + std::string(kPart)), PathOf(part_.name)));
  TENURE_RETURN_IF_ERROR(disk_.SyncDirectory(options_.directory));
  return AppendToIndex(part_.name, part_.rows, part_.size, part_.first, part_.last);
}

Status FileDelivery::AppendToIndex(const std::string& name, uint64_t rows, uint64_t bytes, CommitTs first,
                                   CommitTs last) {
  std::string line;
  JsonWriter json(line);
  json.BeginObject();
  json.Name("file");
  json.String(name);
  json.Name("rows");
  json.Uint(rows);
  json.Name("bytes");
  json.Uint(bytes);
  // Not known of a file that an earlier writer left open.
  if (!last.IsNone()) {
    json.Name("first_ts");
    json.Uint(first.value());
    json.Name("last_ts");
    json.Uint(last.value());
  }
  json.EndObject();
  line += '\n';
  const std::string path = PathOf(fmt::format("{}-{}.index", identity_.changefeed, identity_.dispatcher));
  const bool is_new = !disk_.Exists(path);
  TENURE_ASSIGN_OR_RETURN(auto file, disk_.Open(path, runtime::OpenMode::kCreate));
  TENURE_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  TENURE_RETURN_IF_ERROR(file->Write(size, line));
  TENURE_RETURN_IF_ERROR(file->SyncNow());
  return is_new ? disk_.SyncDirectory(options_.directory) : OkStatus();
}

// ---- messages ----

std::optional<FeedError> FileDelivery::Deliver(std::vector<Item>& batch) {
  Status status;
  for (size_t i = 0; status.ok() && i < batch.size(); ++i) status = Take(batch[i]);
  if (status.ok() && part_.file != nullptr) status = SyncPart();
  return ErrorOf(status);
}

Status FileDelivery::Take(Item& item) {
  const bool full = part_.end() >= options_.rotate_bytes;
  if (part_.file != nullptr && (item.finish || (item.header ? *item.header != header_ : full)))
    TENURE_RETURN_IF_ERROR(ClosePart());
  if (item.finish) return OkStatus();
  if (item.header) {
    header_ = *std::move(item.header);
    return OkStatus();
  }
  if (part_.file == nullptr) TENURE_RETURN_IF_ERROR(OpenPart());
  const CommitTs at = item.message.commit_ts;
  if (part_.first.IsNone()) part_.first = at;
  part_.last = std::max(part_.last, at);
  ++part_.rows;
  part_.text.append(item.message.value).append(1, '\n');
  return OkStatus();
}

std::optional<FeedError> FileDelivery::ErrorOf(const Status& status) const {
  if (status.ok()) return std::nullopt;
  FeedError error{.code = FeedErrorCode::kSinkUnavailable,
                  .message = fmt::format("file://{}: {}", options_.directory, MessageOf(status))};
  if (status.code() == StatusCode::kResourceExhausted) error.code = FeedErrorCode::kSinkRejected;
  if (status.code() == StatusCode::kPermissionDenied) error.code = FeedErrorCode::kNotAuthorized;
  if (status.code() == StatusCode::kAlreadyExists || status.code() == StatusCode::kAborted)
    error.code = FeedErrorCode::kFencedBySink;
  return error;
}

}  // namespace tenure::changefeed
