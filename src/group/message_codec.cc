#include "group/message_codec.h"

#include <utility>

#include "base/codec.h"

namespace tenure::group {
namespace {

enum class Kind : uint8_t {
  kVoteRequest = 1,
  kVoteResponse = 2,
  kAppendRequest = 3,
  kAppendResponse = 4,
  kHeartbeatRequest = 5,
  kHeartbeatResponse = 6,
  kTimeoutNow = 7,
  kInstallSnapshot = 8,
  kHeartbeatResponseWithDigests = 9,
};

class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}

  void operator()(const raft::VoteRequest& m) {
    Begin(Kind::kVoteRequest, m.term);
    Put(m.last_index);
    Put(m.last_term);
    Put(m.pre);
    Put(m.transfer);
  }
  void operator()(const raft::VoteResponse& m) {
    Begin(Kind::kVoteResponse, m.term);
    Put(m.pre);
    Put(m.granted);
  }
  void operator()(const raft::AppendRequest& m) {
    Begin(Kind::kAppendRequest, m.term);
    Put(m.prev_index);
    Put(m.prev_term);
    Put(m.commit);
    PutVarint(out_, m.entries.size());
    for (const raft::Entry& entry : m.entries) {
      out_.push_back(static_cast<char>(entry.type));
      Put(entry.term);
      PutPrefixed(out_, entry.payload.view());
    }
  }
  void operator()(const raft::AppendResponse& m) {
    Begin(Kind::kAppendResponse, m.term);
    Put(m.accepted);
    Put(m.index);
    Put(m.hint_index);
    Put(m.hint_term);
  }
  void operator()(const raft::HeartbeatRequest& m) {
    Begin(Kind::kHeartbeatRequest, m.term);
    PutVarint(out_, m.round);
    Put(m.commit);
    Put(m.quiesce);
  }
  void operator()(const raft::HeartbeatResponse& m) {
    Begin(m.digests.empty() ? Kind::kHeartbeatResponse : Kind::kHeartbeatResponseWithDigests, m.term);
    PutVarint(out_, m.round);
    if (m.digests.empty()) return;
    PutVarint(out_, m.digests.size());
    for (const raft::StateDigest& digest : m.digests) {
      Put(digest.index);
      PutFixed64(out_, digest.hash);
    }
  }
  void operator()(const raft::TimeoutNow& m) { Begin(Kind::kTimeoutNow, m.term); }
  void operator()(const raft::InstallSnapshot& m) {
    Begin(Kind::kInstallSnapshot, m.term);
    Put(m.mark.index);
    Put(m.mark.term);
    PutPrefixed(out_, raft::EncodeConfiguration(m.mark.configuration));
  }

 private:
  void Begin(Kind kind, Term term) {
    out_.push_back(static_cast<char>(kind));
    Put(term);
  }
  template <class Tag>
  void Put(StrongId<Tag> id) {
    PutVarint(out_, id.value());
  }
  void Put(bool flag) { out_.push_back(flag ? 1 : 0); }

  std::string& out_;
};

template <class Id>
Id Read(ByteReader& in) {
  return Id(in.Varint());
}

raft::AppendRequest ReadAppendRequest(ByteReader& in, Term term) {
  raft::AppendRequest m;
  m.term = term;
  m.prev_index = Read<LogIndex>(in);
  m.prev_term = Read<Term>(in);
  m.commit = Read<LogIndex>(in);
  const uint64_t count = in.Varint();
  LogIndex index = m.prev_index;
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    raft::Entry entry;
    entry.type = static_cast<raft::EntryType>(in.Byte());
    entry.term = Read<Term>(in);
    entry.payload = Bytes(std::string(in.Prefixed()));
    entry.index = index = index.Next();
    m.entries.push_back(std::move(entry));
  }
  return m;
}

StatusOr<raft::Message> ReadInstallSnapshot(ByteReader& in, Term term) {
  raft::InstallSnapshot m;
  m.term = term;
  m.mark.index = Read<LogIndex>(in);
  m.mark.term = Read<Term>(in);
  TENURE_ASSIGN_OR_RETURN(m.mark.configuration, raft::DecodeConfiguration(in.Prefixed()));
  return raft::Message(std::move(m));
}

StatusOr<raft::Message> ReadMessage(ByteReader& in) {
  const uint8_t kind = in.Byte();
  const Term term = Read<Term>(in);
  switch (static_cast<Kind>(kind)) {
    case Kind::kVoteRequest: {
      raft::VoteRequest m{term, Read<LogIndex>(in), Read<Term>(in), false, false};
      m.pre = in.Byte() != 0;
      m.transfer = in.Byte() != 0;
      return raft::Message(m);
    }
    case Kind::kVoteResponse: {
      raft::VoteResponse m{term, false, false};
      m.pre = in.Byte() != 0;
      m.granted = in.Byte() != 0;
      return raft::Message(m);
    }
    case Kind::kAppendRequest:
      return raft::Message(ReadAppendRequest(in, term));
    case Kind::kAppendResponse: {
      raft::AppendResponse m;
      m.term = term;
      m.accepted = in.Byte() != 0;
      m.index = Read<LogIndex>(in);
      m.hint_index = Read<LogIndex>(in);
      m.hint_term = Read<Term>(in);
      return raft::Message(m);
    }
    case Kind::kHeartbeatRequest: {
      raft::HeartbeatRequest m;
      m.term = term;
      m.round = in.Varint();
      m.commit = Read<LogIndex>(in);
      m.quiesce = in.Byte() != 0;
      return raft::Message(m);
    }
    case Kind::kHeartbeatResponse:
    case Kind::kHeartbeatResponseWithDigests: {
      raft::HeartbeatResponse m;
      m.term = term;
      m.round = in.Varint();
      const bool with_digests = static_cast<Kind>(kind) == Kind::kHeartbeatResponseWithDigests;
      const uint64_t count = with_digests ? in.Varint() : 0;
      for (uint64_t i = 0; i < count && in.ok(); ++i) {
        const LogIndex index = Read<LogIndex>(in);
        m.digests.push_back({index, in.Fixed64()});
      }
      return raft::Message(m);
    }
    case Kind::kTimeoutNow:
      return raft::Message(raft::TimeoutNow{term});
    case Kind::kInstallSnapshot:
      return ReadInstallSnapshot(in, term);
  }
  return Error(StatusCode::kInvalidArgument, "raft message: unknown kind {}", kind);
}

}  // namespace

void AppendEnvelope(GroupId group, ReplicaId from, ReplicaId to, uint64_t from_host,
                    const raft::Message& message, std::string& out) {
  PutVarint(out, group.value());
  PutVarint(out, from.value());
  PutVarint(out, to.value());
  PutVarint(out, from_host);
  std::visit(Encoder(out), message);
}

StatusOr<std::vector<Envelope>> DecodeEnvelopes(std::string_view bytes) {
  std::vector<Envelope> envelopes;
  ByteReader in(bytes);
  while (in.ok() && !in.AtEnd()) {
    Envelope envelope;
    envelope.group = Read<GroupId>(in);
    envelope.from = Read<ReplicaId>(in);
    envelope.to = Read<ReplicaId>(in);
    envelope.from_host = in.Varint();
    TENURE_ASSIGN_OR_RETURN(envelope.message, ReadMessage(in));
    envelopes.push_back(std::move(envelope));
  }
  if (!in.ok())
    return Error(StatusCode::kInvalidArgument, "raft message: truncated at {} bytes", bytes.size());
  return envelopes;
}

}  // namespace tenure::group
