#include "rpc/framing.h"

#include <cstdint>
#include <utility>
#include <vector>

namespace tenure::rpc {
namespace {

void AppendVarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

bool TakeVarint(std::string_view& in, uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

void AppendSized(std::string& out, std::string_view bytes) {
  AppendVarint(out, bytes.size());
  out.append(bytes);
}

bool TakeSized(std::string_view& in, std::string_view& bytes) {
  uint64_t size = 0;
  if (!TakeVarint(in, size) || size > in.size()) return false;
  bytes = in.substr(0, size);
  in.remove_prefix(size);
  return true;
}

absl::string_view ToAbsl(std::string_view text) {
  return {text.data(), text.size()};
}

Status Damaged() {
  return Error(StatusCode::kInternal, "damaged frame in a stream");
}

}  // namespace

void AppendMessageFrame(std::string& batch, std::string_view message) {
  AppendVarint(batch, message.size() + 1);
  batch.append(message);
}

void AppendCloseFrame(std::string& batch, const Status& status) {
  AppendVarint(batch, 0);
  batch.append(EncodeStatus(status));
}

std::optional<std::string_view> FrameReader::Next() {
  if (rest_.empty() || closed_) return std::nullopt;
  uint64_t header = 0;
  if (!TakeVarint(rest_, header) || header > rest_.size() + 1) {
    closed_ = Damaged();
    return std::nullopt;
  }
  if (header == 0) {
    closed_ = DecodeStatus(rest_);
    return std::nullopt;
  }
  const std::string_view message = rest_.substr(0, header - 1);
  rest_.remove_prefix(header - 1);
  return message;
}

std::string EncodeStatus(const Status& status) {
  std::string out;
  AppendVarint(out, static_cast<uint64_t>(status.code()));
  AppendSized(out, MessageOf(status));
  // Sorted: the order in which a Status walks its payloads is not defined.
  std::vector<std::pair<std::string, std::string>> payloads;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    payloads.emplace_back(std::string(url.data(), url.size()), std::string(payload));
  });
  std::sort(payloads.begin(), payloads.end());
  for (const auto& [url, payload] : payloads) {
    AppendSized(out, url);
    AppendSized(out, payload);
  }
  return out;
}

Status DecodeStatus(std::string_view bytes) {
  uint64_t code = 0;
  std::string_view message;
  if (!TakeVarint(bytes, code) || !TakeSized(bytes, message)) return Damaged();
  Status status(static_cast<StatusCode>(code), ToAbsl(message));
  while (!bytes.empty()) {
    std::string_view url;
    std::string_view payload;
    if (!TakeSized(bytes, url) || !TakeSized(bytes, payload)) return Damaged();
    status.SetPayload(ToAbsl(url), absl::Cord(ToAbsl(payload)));
  }
  return status;
}

}  // namespace tenure::rpc
