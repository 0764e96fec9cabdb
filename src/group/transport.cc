#include "group/transport.h"

#include <algorithm>
#include <utility>

#include "group/message_codec.h"
#include "tenure/internal/v1/raft.pb.h"

namespace tenure::group {
namespace {

namespace ipb = ::tenure::internal::v1;

// Beyond this a peer's stream gets nothing more until it has taken some: Raft repeats.
constexpr size_t kMaxBufferedBytes = size_t{32} << 20;
constexpr Duration kReconnectDelay = std::chrono::milliseconds(100);
constexpr Duration kSnapshotCallTimeout = std::chrono::seconds(20);
// One gathered batch is sent before it grows beyond this.
constexpr size_t kMaxBatchBytes = size_t{4} << 20;

class NetworkTransport final : public Transport, public runtime::Service {
 public:
  NetworkTransport(runtime::Executor& executor, runtime::Network& network, std::string service_name,
                   std::string cluster_id, Logger logger)
      : executor_(executor),
        network_(network),
        service_name_(std::move(service_name)),
        cluster_id_(std::move(cluster_id)),
        logger_(std::move(logger)) {}
  ~NetworkTransport() override { *alive_ = false; }

  void SetReceiver(MessageReceiver* receiver) override {
    receiver_ = receiver;
    network_.Serve(service_name_, *this);
  }

  void SetSelf(uint64_t host) override { self_host_ = host; }
  uint64_t self() const override { return self_host_; }
  TransportCounters counters() const override { return counters_; }
  void SetClusterId(std::string cluster_id) override { cluster_id_ = std::move(cluster_id); }
  void SetIncarnation(uint64_t incarnation) override { incarnation_ = incarnation; }
  void SetOnSuperseded(std::function<void(uint64_t)> on_superseded) override {
    on_superseded_ = std::move(on_superseded);
  }
  AddressBook& addresses() override { return addresses_; }

  void Send(uint64_t to_host, GroupId group, ReplicaId from, ReplicaId to,
            const raft::Message& message) override {
    const auto endpoint = addresses_.Find(to_host);
    if (!endpoint) return;
    Peer& peer = PeerAt(*endpoint);
    if (peer.gathered.empty()) dirty_.push_back(&peer);
    ++counters_.messages;
    AppendEnvelope(group, from, to, self_host_, message, peer.gathered);
    if (peer.gathered.size() >= kMaxBatchBytes) SendGathered(peer);
  }

  void SendHeartbeat(uint64_t to_host, const HostHeartbeat& heartbeat) override {
    const auto endpoint = addresses_.Find(to_host);
    if (!endpoint || heartbeat.from == 0) return;
    ++counters_.heartbeats;
    ipb::RaftBatch batch;
    ipb::HostHeartbeat& out = *batch.mutable_heartbeat();
    out.set_from(heartbeat.from);
    out.set_incarnation(heartbeat.incarnation);
    out.set_sequence(heartbeat.sequence);
    out.set_echo(heartbeat.echo);
    out.set_echo_incarnation(heartbeat.echo_incarnation);
    SendBatch(PeerAt(*endpoint), std::move(batch));
  }

  void Flush() override {
    for (Peer* peer : dirty_) SendGathered(*peer);
    dirty_.clear();
  }

  void Offer(uint64_t to_host, const SnapshotOffer& offer, Callback<StatusOr<uint64_t>> done) override {
    ipb::SnapshotOffer request;
    request.set_cluster_id(cluster_id_);
    request.set_group(offer.group.value());
    request.set_from(offer.from.value());
    request.set_to(offer.to.value());
    request.set_index(offer.mark.index.value());
    request.set_term(offer.mark.term.value());
    request.set_configuration(raft::EncodeConfiguration(offer.mark.configuration));
    request.set_total_bytes(offer.total_bytes);
    request.set_checksum(offer.checksum);
    request.set_incarnation(incarnation_);
    Call<ipb::SnapshotOfferResponse>(to_host, "/OfferSnapshot", request.SerializeAsString(), std::move(done));
  }

  void PutChunk(uint64_t to_host, SnapshotChunk chunk, Callback<StatusOr<uint64_t>> done) override {
    ipb::SnapshotChunk request;
    request.set_group(chunk.group.value());
    request.set_to(chunk.to.value());
    request.set_index(chunk.mark.index.value());
    request.set_term(chunk.mark.term.value());
    request.set_offset(chunk.offset);
    request.set_content(std::move(chunk.content));
    request.set_checksum(chunk.checksum);
    request.set_last(chunk.last);
    request.set_cluster_id(cluster_id_);
    request.set_incarnation(incarnation_);
    Call<ipb::SnapshotChunkResponse>(to_host, "/PutSnapshotChunk", request.SerializeAsString(),
                                     std::move(done));
  }

  // --- runtime::Service ---
  bool IsStream(std::string_view method) const override { return method == "Messages"; }

  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override {
    if (info.method == "OfferSnapshot") {
      OnOffer(request, std::move(reply));
    } else if (info.method == "PutSnapshotChunk") {
      OnChunk(request, std::move(reply));
    } else {
      reply(Error(StatusCode::kUnimplemented, "{} has no method {}", service_name_, info.method));
    }
  }

  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo& info,
                                                   std::unique_ptr<runtime::Stream> stream) override {
    if (info.method != "Messages") return nullptr;
    return std::make_unique<Incoming>(*this, std::move(stream), info.peer);
  }

 private:
  // One destination process: its stream, opened when there is something to say.
  struct Peer final : runtime::StreamHandler {
    explicit Peer(NetworkTransport& owner_in, runtime::Endpoint endpoint_in)
        : owner(owner_in), endpoint(std::move(endpoint_in)) {}
    void OnMessage(std::string message) override { owner.OnAnswer(message); }
    void OnClosed(Status status) override {
      owner.logger_.Debug("raft stream to {} closed: {}", endpoint, MessageOf(status));
      retry_at = owner.executor_.Now() + kReconnectDelay;
      // The stream is in the middle of this callback: it is destroyed in a turn of its own.
      owner.executor_.Post([dead = std::move(stream)]() mutable { dead.reset(); });
      for (const uint64_t host : owner.addresses_.HostsAt(endpoint)) owner.receiver_->OnHostUnreachable(host);
    }
    NetworkTransport& owner;
    runtime::Endpoint endpoint;
    std::unique_ptr<runtime::Stream> stream;
    Instant retry_at;
    std::string gathered;
  };

  class Incoming final : public runtime::StreamHandler {
   public:
    Incoming(NetworkTransport& owner, std::unique_ptr<runtime::Stream> stream, std::string peer)
        : owner_(owner), stream_(std::move(stream)), peer_(std::move(peer)) {}
    void OnMessage(std::string message) override {
      const Status status = owner_.OnBatch(message);
      if (status.ok()) return;
      owner_.logger_.Warn("raft stream from {} refused: {}", peer_, MessageOf(status));
      ipb::RaftBatch introduction;
      owner_.Introduce(introduction);
      stream_->Send(introduction.SerializeAsString());
      stream_->Close(status);
    }
    void OnClosed(Status) override {}

   private:
    NetworkTransport& owner_;
    std::unique_ptr<runtime::Stream> stream_;
    std::string peer_;
  };

  Peer& PeerAt(const runtime::Endpoint& endpoint) {
    auto& slot = peers_[endpoint];
    if (!slot) slot = std::make_unique<Peer>(*this, endpoint);
    return *slot;
  }

  void SendGathered(Peer& peer) {
    if (peer.gathered.empty()) return;
    ++counters_.batches;
    ipb::RaftBatch batch;
    batch.set_messages(std::exchange(peer.gathered, {}));
    SendBatch(peer, std::move(batch));
  }

  void SendBatch(Peer& peer, ipb::RaftBatch batch) {
    if (!peer.stream) {
      if (executor_.Now() < peer.retry_at) return;
      peer.stream = network_.OpenStream(peer.endpoint, service_name_ + "/Messages", peer,
                                        {.lossy = true, .direct = true});
      if (!peer.stream) return;
    }
    if (peer.stream->buffered_bytes() > kMaxBufferedBytes) return;
    Introduce(batch);
    peer.stream->Send(batch.SerializeAsString());
  }

  // Who speaks.
  void Introduce(ipb::RaftBatch& batch) const {
    batch.set_cluster_id(cluster_id_);
    batch.set_incarnation(incarnation_);
    batch.set_codec_version(kMessageCodecVersion);
  }

  // What a refused peer says before it closes the stream.
  void OnAnswer(const std::string& bytes) {
    ipb::RaftBatch batch;
    if (batch.ParseFromString(bytes)) (void)CheckSender(batch.cluster_id(), batch.incarnation());
  }

  // Whether what comes from a process of that cluster and incarnation is for this one.
  Status CheckSender(const std::string& cluster_id, uint64_t incarnation) {
    if (cluster_id_.empty()) return OkStatus();  // while a cluster forms nobody knows its id
    if (cluster_id.empty() && incarnation_ == 1) return OkStatus();
    if (!cluster_id.empty() && cluster_id != cluster_id_) {
      return Error(StatusCode::kFailedPrecondition, "cluster id {}: this process belongs to cluster {}",
                   cluster_id, cluster_id_);
    }
    const uint64_t theirs = std::max<uint64_t>(incarnation, 1);  // 0: from before there were any
#ifdef TENURE_MUTANT_incarnation_unchecked
    return OkStatus();
#endif
    if (theirs == incarnation_ && !cluster_id.empty()) return OkStatus();
    if (theirs > incarnation_) {
      executor_.Post([alive = alive_, this, theirs] {
        if (*alive && on_superseded_) on_superseded_(theirs);
      });
    }
    return Error(
        StatusCode::kFailedPrecondition,
        "incarnation {}: this process is of incarnation {} of cluster {}; the lower one was left behind "
        "by a recovery",
        theirs, incarnation_, cluster_id_);
  }

  Status OnBatch(const std::string& bytes) {
    ipb::RaftBatch batch;
    if (!batch.ParseFromString(bytes)) return Error(StatusCode::kInvalidArgument, "RaftBatch: malformed");
    TENURE_RETURN_IF_ERROR(CheckSender(batch.cluster_id(), batch.incarnation()));
    if (batch.codec_version() != kMessageCodecVersion) {
      return Error(StatusCode::kFailedPrecondition, "codec_version {}: this process speaks {}",
                   batch.codec_version(), kMessageCodecVersion);
    }
    if (batch.has_heartbeat()) {
      const ipb::HostHeartbeat& heartbeat = batch.heartbeat();
      receiver_->OnHostHeartbeat({.from = heartbeat.from(),
                                  .incarnation = heartbeat.incarnation(),
                                  .sequence = heartbeat.sequence(),
                                  .echo = heartbeat.echo(),
                                  .echo_incarnation = heartbeat.echo_incarnation()});
    }
    TENURE_ASSIGN_OR_RETURN(std::vector<Envelope> envelopes, DecodeEnvelopes(batch.messages()));
    for (Envelope& envelope : envelopes) {
      receiver_->OnRaftMessage(envelope.group, envelope.from, envelope.to, envelope.from_host,
                               std::move(envelope.message));
    }
    return OkStatus();
  }

  void OnOffer(const std::string& bytes, runtime::Reply reply) {
    ipb::SnapshotOffer request;
    if (!request.ParseFromString(bytes)) {
      return reply(Error(StatusCode::kInvalidArgument, "SnapshotOffer: malformed"));
    }
    if (const Status sender = CheckSender(request.cluster_id(), request.incarnation()); !sender.ok()) {
      return reply(sender);
    }
    auto configuration = raft::DecodeConfiguration(request.configuration());
    if (!configuration.ok()) return reply(configuration.status());
    SnapshotOffer offer;
    offer.group = GroupId(request.group());
    offer.from = ReplicaId(request.from());
    offer.to = ReplicaId(request.to());
    offer.mark = {LogIndex(request.index()), Term(request.term()), *std::move(configuration)};
    offer.total_bytes = request.total_bytes();
    offer.checksum = request.checksum();
    receiver_->OnSnapshotOffer(std::move(offer), ReplyWith<ipb::SnapshotOfferResponse>(std::move(reply)));
  }

  void OnChunk(const std::string& bytes, runtime::Reply reply) {
    ipb::SnapshotChunk request;
    if (!request.ParseFromString(bytes)) {
      return reply(Error(StatusCode::kInvalidArgument, "SnapshotChunk: malformed"));
    }
    if (const Status sender = CheckSender(request.cluster_id(), request.incarnation()); !sender.ok()) {
      return reply(sender);
    }
    SnapshotChunk chunk;
    chunk.group = GroupId(request.group());
    chunk.to = ReplicaId(request.to());
    chunk.mark.index = LogIndex(request.index());
    chunk.mark.term = Term(request.term());
    chunk.offset = request.offset();
    chunk.content = std::move(*request.mutable_content());
    chunk.checksum = request.checksum();
    chunk.last = request.last();
    receiver_->OnSnapshotChunk(std::move(chunk), ReplyWith<ipb::SnapshotChunkResponse>(std::move(reply)));
  }

  template <class Response>
  static Callback<StatusOr<uint64_t>> ReplyWith(runtime::Reply reply) {
    return [reply = std::move(reply)](StatusOr<uint64_t> next) mutable {
      if (!next.ok()) return reply(next.status());
      Response response;
      response.set_next_offset(*next);
      reply(response.SerializeAsString());
    };
  }

  template <class Response>
  void Call(uint64_t to_host, std::string_view method, std::string request,
            Callback<StatusOr<uint64_t>> done) {
    const auto endpoint = addresses_.Find(to_host);
    if (!endpoint) {
      executor_.Post([done = std::move(done), to_host]() mutable {
        done(Error(StatusCode::kUnavailable, "no address is known for host {}", to_host));
      });
      return;
    }
    network_.Call(*endpoint, service_name_ + std::string(method), std::move(request), kSnapshotCallTimeout,
                  [done = std::move(done)](StatusOr<std::string> answer) mutable {
                    if (!answer.ok()) return done(answer.status());
                    Response response;
                    if (!response.ParseFromString(*answer)) {
                      return done(Error(StatusCode::kInternal, "snapshot answer: malformed"));
                    }
                    done(response.next_offset());
                  });
  }

  runtime::Executor& executor_;
  runtime::Network& network_;
  const std::string service_name_;
  std::string cluster_id_;
  uint64_t incarnation_ = 1;
  std::function<void(uint64_t)> on_superseded_;
  Logger logger_;
  uint64_t self_host_ = 0;
  TransportCounters counters_;
  MessageReceiver* receiver_ = nullptr;
  AddressBook addresses_;
  std::map<runtime::Endpoint, std::unique_ptr<Peer>> peers_;
  std::vector<Peer*> dirty_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<Transport> MakeNetworkTransport(runtime::Executor& executor, runtime::Network& network,
                                                std::string service_name, std::string cluster_id,
                                                Logger logger) {
  return std::make_unique<NetworkTransport>(executor, network, std::move(service_name), std::move(cluster_id),
                                            std::move(logger));
}

}  // namespace tenure::group
