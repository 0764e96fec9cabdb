#include "raft/types.h"

#include <algorithm>

#include "base/codec.h"
#include "base/format.h"

namespace tenure::raft {
namespace {

// Layout: format (1 byte, 1), varint count, then per member varint id, varint host, role (1 byte).
constexpr char kConfigurationFormat = 1;

std::string_view NameOf(MemberRole role) {
  switch (role) {
    case MemberRole::kVoter:
      return "voter";
    case MemberRole::kLearner:
      return "learner";
    case MemberRole::kIncoming:
      return "incoming";
    case MemberRole::kOutgoing:
      return "outgoing";
    case MemberRole::kDemoting:
      return "demoting";
  }
  return "unknown";
}

bool IsKnown(uint8_t role) {
  return role >= static_cast<uint8_t>(MemberRole::kVoter) &&
         role <= static_cast<uint8_t>(MemberRole::kDemoting);
}

}  // namespace

bool Configuration::IsJoint() const {
  return std::any_of(members.begin(), members.end(), [](const Member& member) {
    return member.role != MemberRole::kVoter && member.role != MemberRole::kLearner;
  });
}

bool Configuration::IsVoter(ReplicaId id) const {
  const Member* member = Find(id);
  return member != nullptr && member->role != MemberRole::kLearner;
}

const Member* Configuration::Find(ReplicaId id) const {
  for (const Member& member : members) {
    if (member.id == id) return &member;
  }
  return nullptr;
}

Configuration Configuration::Left() const {
  Configuration left;
  left.members.reserve(members.size());
  for (const Member& member : members) {
    switch (member.role) {
      case MemberRole::kVoter:
      case MemberRole::kIncoming:
        left.members.push_back({member.id, member.host, MemberRole::kVoter});
        break;
      case MemberRole::kLearner:
      case MemberRole::kDemoting:
        left.members.push_back({member.id, member.host, MemberRole::kLearner});
        break;
      case MemberRole::kOutgoing:
        break;
    }
  }
  return left;
}

std::string EncodeConfiguration(const Configuration& configuration) {
  std::string out(1, kConfigurationFormat);
  PutVarint(out, configuration.members.size());
  for (const Member& member : configuration.members) {
    PutVarint(out, member.id.value());
    PutVarint(out, member.host);
    out.push_back(static_cast<char>(member.role));
  }
  return out;
}

StatusOr<Configuration> DecodeConfiguration(std::string_view bytes) {
  ByteReader reader(bytes);
  const uint8_t format = reader.Byte();
  if (reader.ok() && format != kConfigurationFormat) {
    return Error(StatusCode::kUnimplemented, "configuration: format {} is unknown, this binary reads {}",
                 format, int{kConfigurationFormat});
  }
  Configuration configuration;
  const uint64_t count = reader.Varint();
  for (uint64_t i = 0; i < count && reader.ok(); i++) {
    Member member;
    member.id = ReplicaId(reader.Varint());
    member.host = reader.Varint();
    const uint8_t role = reader.Byte();
    if (!reader.ok()) break;
    if (!IsKnown(role)) {
      return Error(StatusCode::kDataLoss, "configuration: member {} has the unknown role {}", member.id,
                   role);
    }
    member.role = static_cast<MemberRole>(role);
    if (!configuration.members.empty() && !(configuration.members.back().id < member.id)) {
      return Error(StatusCode::kDataLoss, "configuration: member {} is out of order", member.id);
    }
    configuration.members.push_back(member);
  }
  if (!reader.AtEnd()) {
    return Error(StatusCode::kDataLoss, "configuration: {} bytes do not hold {} members", bytes.size(),
                 count);
  }
  return configuration;
}

std::string ToString(const Configuration& configuration) {
  std::string out;
  for (const Member& member : configuration.members) {
    if (!out.empty()) out += ' ';
    fmt::format_to(std::back_inserter(out), "{}:{}@{}", member.id, NameOf(member.role), member.host);
  }
  return out.empty() ? "empty" : out;
}

}  // namespace tenure::raft
