#include "cli/output.h"

#include <absl/strings/escaping.h>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstdio>

#include "base/utf8.h"
#include "catalog/refusal.h"

namespace tenure::cli {
namespace {

// Code points, not bytes: good enough for what stands in a terminal's column.
size_t Width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(),
                                           [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

bool LooksNumeric(std::string_view text) {
  return text.empty() || text == "-" || text.find_first_not_of("0123456789") == std::string_view::npos;
}

void AppendCell(std::string& line, std::string_view text, size_t width, bool right) {
  const std::string padding(width - Width(text), ' ');
  if (right) line += padding;
  line += text;
  if (!right) line += padding;
}

void Describe(const tenure::v1::Refusal& refusal, Failure& failure) {
  failure.reason = catalog::NameOf(refusal.reason());
  if (!refusal.message().empty()) failure.message = refusal.message();
  failure.retryable = refusal.retryable();
  failure.retry_after_ms = refusal.retry_after_ms();
  if (refusal.has_not_leader()) {
    failure.details["leader_id"] = IdText(refusal.not_leader().leader_id());
    failure.details["leader_address"] = refusal.not_leader().leader_address();
  }
  if (refusal.has_warming_up()) {
    const auto& warming_up = refusal.warming_up();
    failure.details["epoch"] = warming_up.epoch();
    failure.details["reason"] = warming_up.reason();
    failure.details["missing"] =
        std::vector<std::string>(warming_up.missing().begin(), warming_up.missing().end());
    failure.details["remaining_ms"] = warming_up.remaining_ms();
  }
  if (refusal.revision() != 0) failure.details["revision"] = refusal.revision();
}

std::string OneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace

std::string Table::ToString() const {
  std::vector<size_t> widths;
  std::vector<bool> numeric(headings_.size(), !rows_.empty());
  for (const std::string& heading : headings_) widths.push_back(Width(heading));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], Width(row[i]));
      numeric[i] = numeric[i] && LooksNumeric(row[i]);
    }
  }
  std::string out;
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < widths.size(); ++i) {
      if (i > 0) line += "  ";
      AppendCell(line, i < row.size() ? std::string_view(row[i]) : "", widths[i], numeric[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  };
  add(headings_);
  for (const auto& row : rows_) add(row);
  return out;
}

void Print(std::string_view text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written && errno == EPIPE) std::clearerr(stdout);
}

Status Printed() {
  if (std::ferror(stdout) == 0) return OkStatus();
  return Error(StatusCode::kDataLoss, "the answer could not be written to standard output");
}

std::string Quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=@%+,-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

void PrintJson(const Json& document) {
  Print(document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Failure DescribeFailure(const Status& status) {
  Failure failure;
  failure.reason = absl::StatusCodeToString(status.code());
  failure.message = std::string(MessageOf(status));
  failure.retryable = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
  if (const auto refusal = catalog::RefusalOf(status)) Describe(*refusal, failure);
  return failure;
}

void PrintFailure(const Failure& failure, OutputFormat format) {
  std::string text;
  if (format == OutputFormat::kJson) {
    Json object;
    object["reason"] = failure.reason;
    object["message"] = failure.message;
    object["retryable"] = failure.retryable;
    object["retry_after_ms"] = failure.retry_after_ms;
    object["details"] = failure.details;
    text = object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  } else {
    text = fmt::format("error: {}: {}\n", failure.reason, OneLine(failure.message));
  }
  std::fwrite(text.data(), 1, text.size(), stderr);
}

std::string FormatMillis(double ms) {
  if (ms < 0) return "-";
  if (ms < 1) return fmt::format("{:.0f}us", ms * 1000);
  if (ms < 1000) return fmt::format("{:.0f}ms", ms);
  const auto seconds = static_cast<int64_t>(ms / 1000);
  if (seconds < 60) return fmt::format("{:.1f}s", std::floor(ms / 100) / 10);
  if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{}h{:02}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}d{:02}h", seconds / 86400, seconds / 3600 % 24);
}

std::string FormatTime(int64_t unix_ms) {
  if (unix_ms <= 0) return "-";
  const std::time_t seconds = static_cast<std::time_t>(unix_ms / 1000);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(seconds), unix_ms % 1000);
}

std::string FormatBytes(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  const char* unit = "B";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return fmt::format("{:.1f} {}", value, unit);
}

std::string Printable(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const size_t length = FrontCodePoint(bytes).length;
    const auto first = static_cast<uint8_t>(bytes[0]);
    if (length == 0 || first < 0x20 || first == 0x7f || first == '\\') {
      out += first == '\\' ? std::string("\\\\") : fmt::format("\\x{:02x}", first);
      bytes.remove_prefix(1);
    } else {
      out += bytes.substr(0, length);
      bytes.remove_prefix(length);
    }
  }
  return out;
}

void SetBytes(Json& object, const std::string& name, std::string_view bytes) {
  if (IsValidUtf8(bytes)) {
    object[name] = std::string(bytes);
  } else {
    object[name + "_base64"] = absl::Base64Escape(absl::string_view(bytes.data(), bytes.size()));
  }
}

std::string IdText(uint64_t id) {
  return fmt::format("{}", id);
}

}  // namespace tenure::cli
