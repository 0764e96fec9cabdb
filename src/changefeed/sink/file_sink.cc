#include "changefeed/sink/file_sink.h"

#include <algorithm>
#include <charconv>

#include "changefeed/format/json_writer.h"

namespace tenure::changefeed {

namespace {

constexpr std::string_view kPart = ".part";

struct Lines {
  size_t bytes = 0;  // up to and with the end of the last whole line
  uint64_t count = 0;
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
  return lines;
}

// Of "<epoch:20>-<number:8>...".
uint64_t NumberIn(std::string_view name) {
  uint64_t number = 0;
  if (name.size() > 21) std::from_chars(name.data() + 21, name.data() + name.size(), number);
  return number;
}

}  // namespace

FileSink::FileSink(runtime::Executor& executor, runtime::Disk& disk, SinkObserver& observer,
                   SinkIdentity identity, FileSinkOptions options, SinkLimits limits, WritePermit permit)
    : executor_(executor),
      disk_(disk),
      observer_(observer),
      identity_(std::move(identity)),
      options_(std::move(options)),
      limits_(limits),
      permit_(std::move(permit)),
      self_(std::make_shared<FileSink*>(this)) {}

FileSink::~FileSink() {
  *self_ = nullptr;
}

std::string FileSink::Prefix() const {
  return fmt::format("{}-{}-", identity_.changefeed, identity_.dispatcher);
}

// ---- the directory ----

Status FileSink::Open() {
  TENURE_RETURN_IF_ERROR(disk_.MakeDirectories(options_.directory));
  return CloseLeftovers();
}

Status FileSink::CloseLeftovers() {
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
    const size_t end = WholeLines(content, options_.protocol == Protocol::kCsv).bytes;
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

Status FileSink::AddMissingToIndex(const std::vector<std::string>& names) {
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
    const Lines lines = WholeLines(content, options_.protocol == Protocol::kCsv);
    TENURE_RETURN_IF_ERROR(AppendToIndex(name, lines.count, lines.bytes, CommitTs(), CommitTs()));
  }
  return OkStatus();
}

Status FileSink::OpenPart() {
  part_ = Part{.name = fmt::format("{}{:020}-{:08}.{}", Prefix(), identity_.epoch.value(), next_number_++,
                                   NameOf(options_.protocol))};
  const std::string path = PathOf(part_.name + std::string(kPart));
  TENURE_ASSIGN_OR_RETURN(part_.file, disk_.Open(path, runtime::OpenMode::kCreateNew));
  TENURE_RETURN_IF_ERROR(disk_.SyncDirectory(options_.directory));
  if (!header_.empty()) {
    const std::string line = header_ + "\n";
    TENURE_RETURN_IF_ERROR(part_.file->Write(0, line));
    part_.size = line.size();
  }
  return OkStatus();
}

Status FileSink::ClosePart() {
  TENURE_RETURN_IF_ERROR(part_.file->SyncNow());
  part_.file.reset();
  TENURE_RETURN_IF_ERROR(disk_.Rename(PathOf(part_.name + std::string(kPart)), PathOf(part_.name)));
  TENURE_RETURN_IF_ERROR(disk_.SyncDirectory(options_.directory));
  return AppendToIndex(part_.name, part_.rows, part_.size, part_.first, part_.last);
}

Status FileSink::AppendToIndex(const std::string& name, uint64_t rows, uint64_t bytes, CommitTs first,
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

void FileSink::SetHeader(std::string header) {
  lines_.push_back({.text = std::move(header), .new_file = true});
}

bool FileSink::Write(uint64_t position, Message& message) {
  if (failed_) return false;
  if (buffered_bytes_ > 0 && buffered_bytes_ + message.bytes() > limits_.max_buffered_bytes) {
    refused_ = true;
    Flush();
    return false;
  }
  const size_t bytes = message.bytes();
  buffered_bytes_ += bytes;
  message.value += '\n';
  lines_.push_back({.position = position,
                    .commit_ts = message.commit_ts,
                    .text = std::move(message.value),
                    .bytes = bytes});
  // Counted from the first one that waits: a steady stream must not put it off. While a sync is under way the
  // next round follows that.
  if (!syncing_ && !std::exchange(drain_due_, true)) {
    timer_ = executor_.After(options_.flush, [self = self_] {
      if (*self != nullptr) (*self)->Drain();
    });
  }
  if (buffered_bytes_ >= limits_.max_buffered_bytes / 4) Flush();
  return true;
}

void FileSink::Flush() {
  if (failed_ || syncing_) return;
  executor_.Post([self = self_] {
    if (*self != nullptr) (*self)->Drain();
  });
}

// Writes what is buffered, up to the end of the open file, and syncs it; the next round follows the sync.
void FileSink::Drain() {
  drain_due_ = false;
  if (failed_ || syncing_ || lines_.empty()) return;
  if (!permit_()) {
    failed_ = true;
    return observer_.OnFailed(NotPermitted());
  }
  if (const Status status = WriteLines(); !status.ok()) return Fail(status);
  if (part_.file == nullptr) return;
  syncing_ = true;
  time_limit_ = executor_.After(limits_.timeout, [self = self_, timeout = limits_.timeout] {
    if (*self == nullptr) return;
    (*self)->Fail(
        Error(StatusCode::kDeadlineExceeded, "fsync has not answered for {} ms", ToMillis(timeout)));
  });
  part_.file->Sync([self = self_](Status status) {
    if (*self != nullptr) (*self)->OnSynced(status);
  });
}

Status FileSink::WriteLines() {
  synced_bytes_ = 0;
  std::string text;
  const auto write = [&]() -> Status {
    if (text.empty()) return OkStatus();
    TENURE_RETURN_IF_ERROR(part_.file->Write(part_.size, text));
    part_.size += text.size();
    text.clear();
    return OkStatus();
  };
  while (!lines_.empty()) {
    Line& line = lines_.front();
    if (line.new_file) {
      if (synced_bytes_ > 0) break;  // what is before it is made durable first
      if (part_.file != nullptr && line.text != header_) TENURE_RETURN_IF_ERROR(ClosePart());
      header_ = std::move(line.text);
      lines_.pop_front();
      continue;
    }
    if (part_.file != nullptr && part_.size + text.size() >= options_.rotate_bytes) {
      if (synced_bytes_ > 0) break;
      TENURE_RETURN_IF_ERROR(ClosePart());
    }
    if (part_.file == nullptr) TENURE_RETURN_IF_ERROR(OpenPart());
    if (part_.first.IsNone()) part_.first = line.commit_ts;
    part_.last = std::max(part_.last, line.commit_ts);
    ++part_.rows;
    text += line.text;
    synced_position_ = line.position;
    synced_bytes_ += line.bytes;
    lines_.pop_front();
  }
  return write();
}

void FileSink::OnSynced(const Status& status) {
  time_limit_.Cancel();
  if (failed_) return;
  if (!status.ok()) return Fail(status);
  syncing_ = false;
  buffered_bytes_ -= synced_bytes_;
  const bool reported = synced_bytes_ > 0;
  synced_bytes_ = 0;
  const auto self = self_;
  if (reported) observer_.OnFlushed(synced_position_);
  if (*self != nullptr && refused_) {
    refused_ = false;
    observer_.OnWritable();
  }
  if (*self != nullptr) Flush();
}

void FileSink::Fail(const Status& status) {
  if (failed_) return;
  failed_ = true;
  FeedError error{.code = FeedErrorCode::kSinkUnavailable,
                  .message = fmt::format("file://{}: {}", options_.directory, MessageOf(status))};
  if (status.code() == StatusCode::kResourceExhausted) error.code = FeedErrorCode::kSinkRejected;
  if (status.code() == StatusCode::kPermissionDenied) error.code = FeedErrorCode::kNotAuthorized;
  if (status.code() == StatusCode::kAlreadyExists) error.code = FeedErrorCode::kFencedBySink;
  observer_.OnFailed(std::move(error));
}

}  // namespace tenure::changefeed
