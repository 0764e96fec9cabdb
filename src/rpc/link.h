// Private to rpc/: a stream on a TCP connection of its own, the transport of a StreamEnd where microseconds
// count (runtime::StreamOptions::direct: Raft's, and the catalog's of client/). A message is one system call on
// each side; bench/rpc_echo has it beside gRPC.
//
//   client: "TENURE-LINK/1\n" record("/package.Service/Method") *record(batch) end
//   server: "TENURE-LINK/1\n" *record(batch) end
//   record(x) = size of x (4 bytes, little-endian) x
//   batch: see framing.h. One with a close frame is the last of its side.
//
// Who closes shuts his direction down and waits, not for ever, for the other's end. An end without a close
// frame is a failure: UNAVAILABLE for the client, CANCELLED for the server. A server that greets with anything
// else knows no links: UNIMPLEMENTED, and the next stream to it is gRPC's (Links::TakeForeign).
//
//   kConnecting --connected, greeting sent--> kOpen --StartEnd--> kEnding --peer's end, time--> kClosed
//   kGreeted (server) --the service takes it--> kOpen
//      \--it does not--> kEnding                        every state --error, Cancel, shutdown--> kClosed
//
// Threading: state and reading on the thread of Links (io); StartWrite sends from the thread that calls it,
//            under mutex_.
// Lifetime:  Links holds it until it is closed; its StreamEnd holds it as its transport.
// Source:    the shape is that of etcd's rafthttp: long-lived streams beside the RPC system of the API.
#pragma once

#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "rpc/name_lookups.h"
#include "rpc/stream_end.h"
#include "runtime/network.h"

struct iovec;

namespace tenure::rpc {

class Links;

inline constexpr std::string_view kLinkMagic = "TENURE-LINK/1\n";

class Link final : public std::enable_shared_from_this<Link>, public StreamTransport {
 public:
  explicit Link(Links& links);
  ~Link() override;

  // (executor) Connects in the background and starts `end`, or reports to it why not.
  void Connect(const runtime::Endpoint& to, std::string path, std::shared_ptr<StreamEnd> end);
  // (io) A connection that began with kLinkMagic and was read no further.
  void Serve(::asio::ip::tcp::socket socket);
  // (io) The first status counts.
  void Break(Status status);

  // StreamTransport
  bool StartRead(grpc::ByteBuffer* buffer, Tag* tag) override;
  bool StartWrite(const grpc::ByteBuffer& buffer, Tag* tag) override;
  bool StartEnd(const Status& status, Tag* tag) override;
  void OnReadEnded() override {}  // Break has said why
  bool sends_at_once() const override { return true; }
  void Cancel() override;

 private:
  class Refusal;
  enum class State { kConnecting, kGreeted, kOpen, kEnding, kClosed };

  // (io)
  void OnFound(const StatusOr<NameLookups::Addresses>& found);
  void ConnectNext();
  void OnConnected(const std::error_code& error);
  void OpenStream(std::string path);
  void Refuse(const Status& status);
  void Receive();
  void OnReceived(const std::error_code& error, size_t size);
  // Hands on what is received as far as it is asked for, then receives more.
  void Advance();
  // Whether the server's greeting is here; breaks off if it is none.
  bool CheckGreeting();
  std::optional<std::string_view> NextRecord();
  void WaitWritable();
  void OnWritable();
  // Of two limits that are set, the later one counts.
  void After(Duration limit, Closure closure);
  void CloseAfter(Duration limit, Status status);
  void StayOpen();
  void OnWriteFailed(int error);
  Status PeerGone(const std::error_code& error) const;

  // Sends `parts` as far as the socket takes them; the rest waits for OnWritable. `tag` may be null; it is
  // completed when all is on its way. False if the link is closed.
  bool Write(iovec* parts, size_t count, bool last, Tag* tag);

  Links& links_;
  // (io)
  State state_ = State::kConnecting;
  bool is_client_ = false;
  bool greeted_ = false;  // of a client: by the server
  runtime::Endpoint to_;  // of a client
  std::string path_;
  std::shared_ptr<StreamEnd> end_;             // until the link is closed
  NameLookups::Addresses addresses_;           // of a client: not tried yet, the last one next
  std::optional<::asio::steady_timer> timer_;  // until the link is closed
  uint64_t limits_ = 0;                        // that timer_ was set to
  std::unique_ptr<char[]> chunk_;              // what one read fills
  std::string pending_;                        // the beginning of a record that did not come at once
  std::string_view input_;                     // not parsed yet: of chunk_ or of pending_
  bool receiving_ = false;
  bool advancing_ = false;

  std::mutex mutex_;
  // Read from on io without the mutex; sent to, and closed, under it. Until the link is closed, so that nothing
  // of Asio's is left in a Link that outlives Links.
  std::optional<::asio::ip::tcp::socket> socket_;
  bool closed_ = false;
  bool cancelled_ = false;     // nothing is sent any more
  bool last_written_ = false;  // nothing follows rest_
  std::string rest_;           // what the socket did not take
  size_t rest_sent_ = 0;
  Tag* write_tag_ = nullptr;                 // of the write whose rest waits
  grpc::ByteBuffer* read_buffer_ = nullptr;  // for read_tag_
  Tag* read_tag_ = nullptr;                  // of the read that is asked for
};

}  // namespace tenure::rpc
