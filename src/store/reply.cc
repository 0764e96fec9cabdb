#include "store/reply.h"

#include <fmt/format.h>

#include "base/codec.h"

namespace tenure::store {
namespace {

using Kind = Reply::Kind;

constexpr int kMaxDepth = 16;  // EXEC of HSCAN has four levels

uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}
int64_t UnZigZag(uint64_t value) {
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

bool DecodeInto(ByteReader& reader, Reply& reply, int depth);

bool DecodeElements(ByteReader& reader, Reply& reply, int depth) {
  const uint64_t count = reader.Varint();
  if (!reader.ok() || count > reader.rest().size() || depth == 0) return false;
  for (uint64_t i = 0; i < count; ++i) {
    if (!DecodeInto(reader, reply.elements.emplace_back(), depth - 1)) return false;
  }
  return true;
}

bool DecodeInto(ByteReader& reader, Reply& reply, int depth) {
  reply.kind = static_cast<Kind>(reader.Byte());
  switch (reply.kind) {
    case Kind::kSimple:
    case Kind::kError:
    case Kind::kBulk:
    case Kind::kDouble:
      reply.text = reader.Prefixed();
      return reader.ok();
    case Kind::kInteger:
    case Kind::kBoolean:
      reply.integer = UnZigZag(reader.Varint());
      return reader.ok();
    case Kind::kNull:
      return reader.ok();
    case Kind::kArray:
    case Kind::kMap:
    case Kind::kSet:
      return DecodeElements(reader, reply, depth);
  }
  return false;
}

}  // namespace

size_t ReplyBytes(const Reply& reply) {
  size_t bytes = 16 + reply.text.size();
  for (const Reply& element : reply.elements) bytes += ReplyBytes(element);
  return bytes;
}

bool BoundedReplies::Add(Reply reply) {
  bytes_ += ReplyBytes(reply);
  if (bytes_ > kMaxReplyBytes) {
    replies_ = {};
    return false;
  }
  replies_.push_back(std::move(reply));
  return true;
}

Reply BoundedReplies::Take(Reply::Kind kind) {
  if (bytes_ <= kMaxReplyBytes) return {kind, 0, {}, std::move(replies_)};
  return Reply::Error(fmt::format("ERR the reply would take more than {} bytes, the limit", kMaxReplyBytes));
}

void EncodeReply(const Reply& reply, std::string& out) {
  out.push_back(static_cast<char>(reply.kind));
  switch (reply.kind) {
    case Kind::kSimple:
    case Kind::kError:
    case Kind::kBulk:
    case Kind::kDouble:
      PutPrefixed(out, reply.text);
      return;
    case Kind::kInteger:
    case Kind::kBoolean:
      PutVarint(out, ZigZag(reply.integer));
      return;
    case Kind::kNull:
      return;
    case Kind::kArray:
    case Kind::kMap:
    case Kind::kSet:
      PutVarint(out, reply.elements.size());
      for (const Reply& element : reply.elements) EncodeReply(element, out);
      return;
  }
}

StatusOr<Reply> DecodeReply(std::string_view bytes) {
  ByteReader reader(bytes);
  Reply reply;
  if (!DecodeInto(reader, reply, kMaxDepth) || !reader.AtEnd()) {
    return Error(StatusCode::kDataLoss, "an encoded reply of {} bytes is malformed", bytes.size());
  }
  return reply;
}

}  // namespace tenure::store
