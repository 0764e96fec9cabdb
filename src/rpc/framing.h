// How a stream between two Tenure processes packs several messages into one gRPC message.
//
//   batch   = *frame
//   frame   = message | close
//   message = varint(size + 1) size*byte
//   close   = varint(0) encoded-status            ; last of a client's stream, of a link's both sides
//
// A client asks for it with the request metadata "tenure-framing: 1"; without it every gRPC message is one
// message. encoded-status is
//   varint(code) varint(size) message *( varint(size) type-url varint(size) payload )
//
// Threading: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tenure::rpc {

inline constexpr size_t kMaxFrameHeader = 10;

void AppendMessageFrame(std::string& batch, std::string_view message);
void AppendCloseFrame(std::string& batch, const Status& status);

// Walks a batch. Next returns the messages in turn and nullopt at the end, at a close frame or at damage.
class FrameReader {
 public:
  explicit FrameReader(std::string_view batch) : rest_(batch) {}
  std::optional<std::string_view> Next();
  // After Next returned nullopt: what the close frame said, or INTERNAL for a damaged batch; else nullopt.
  const std::optional<Status>& closed() const { return closed_; }

 private:
  std::string_view rest_;
  std::optional<Status> closed_;
};

std::string EncodeStatus(const Status& status);
// INTERNAL if `bytes` cannot be read.
Status DecodeStatus(std::string_view bytes);

}  // namespace tenure::rpc
