#include "raft/messages.h"

#include <fmt/format.h>

#include <type_traits>

#include "base/format.h"

namespace tenure::raft {
namespace {

std::string_view Suffix(EntryType type) {
  switch (type) {
    case EntryType::kCommand:
      return "";
    case EntryType::kNoOp:
      return "n";
    case EntryType::kConfiguration:
      return "c";
  }
  return "?";
}

std::string Line(const VoteRequest& m) {
  return fmt::format("{} term={} last={}/{}{}", m.pre ? "PreVote" : "Vote", m.term, m.last_index, m.last_term,
                     m.transfer ? " transfer" : "");
}
std::string Line(const VoteResponse& m) {
  return fmt::format("{}Answer term={} {}", m.pre ? "PreVote" : "Vote", m.term,
                     m.granted ? "granted" : "refused");
}
std::string Line(const AppendRequest& m) {
  std::string out = fmt::format("Append term={} prev={}/{} commit={} entries=[", m.term, m.prev_index,
                                m.prev_term, m.commit);
  for (size_t i = 0; i < m.entries.size(); i++) {
    const Entry& entry = m.entries[i];
    fmt::format_to(std::back_inserter(out), "{}{}/{}{}", i == 0 ? "" : " ", entry.index, entry.term,
                   Suffix(entry.type));
  }
  return out + "]";
}
std::string Line(const AppendResponse& m) {
  if (m.accepted) return fmt::format("AppendAnswer term={} accepted index={}", m.term, m.index);
  return fmt::format("AppendAnswer term={} rejected index={} hint={}/{}", m.term, m.index, m.hint_index,
                     m.hint_term);
}
std::string Line(const HeartbeatRequest& m) {
  return fmt::format("Heartbeat term={} round={} commit={}{}", m.term, m.round, m.commit,
                     m.quiesce ? " quiesce" : "");
}
std::string Line(const HeartbeatResponse& m) {
  return fmt::format("HeartbeatAnswer term={} round={}", m.term, m.round);
}
std::string Line(const TimeoutNow& m) {
  return fmt::format("TimeoutNow term={}", m.term);
}
std::string Line(const InstallSnapshot& m) {
  return fmt::format("InstallSnapshot term={} mark={}/{} configuration=[{}]", m.term, m.mark.index,
                     m.mark.term, ToString(m.mark.configuration));
}

}  // namespace

std::string ToString(const Message& message) {
  return std::visit([](const auto& m) { return Line(m); }, message);
}

}  // namespace tenure::raft
