#include "tests/raft/script_world.h"

#include <algorithm>
#include <sstream>

#include "base/check.h"
#include "base/format.h"

namespace tenure::raft {
namespace {

std::vector<uint64_t> ParseIds(const std::string& list) {
  std::vector<uint64_t> ids;
  std::stringstream in(list);
  for (std::string word; std::getline(in, word, ',');) ids.push_back(std::stoull(word));
  return ids;
}

const char* NameOf(Role role) {
  switch (role) {
    case Role::kFollower:
      return "follower";
    case Role::kPreCandidate:
      return "pre-candidate";
    case Role::kCandidate:
      return "candidate";
    case Role::kLeader:
      return "leader";
  }
  return "?";
}

const char* NameOf(ProposeResult result) {
  switch (result) {
    case ProposeResult::kAccepted:
      return "accepted";
    case ProposeResult::kNotLeader:
      return "not leader";
    case ProposeResult::kTransferring:
      return "transferring";
    case ProposeResult::kOverloaded:
      return "overloaded";
    case ProposeResult::kChangePending:
      return "change pending";
    case ProposeResult::kInvalid:
      return "invalid";
  }
  return "?";
}

std::string NameOf(const Entry& entry) {
  switch (entry.type) {
    case EntryType::kCommand:
      return fmt::format("{}/{}:{}", entry.index, entry.term, entry.payload.view());
    case EntryType::kNoOp:
      return fmt::format("{}/{}:(no-op)", entry.index, entry.term);
    case EntryType::kConfiguration:
      return fmt::format("{}/{}:(configuration)", entry.index, entry.term);
  }
  return "?";
}

std::string NamesOf(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& entry : entries) out += (out.empty() ? "" : " ") + NameOf(entry);
  return out;
}

}  // namespace

bool ParseLink(const std::string& word, std::pair<uint64_t, uint64_t>* link) {
  const size_t arrow = word.find("->");
  if (arrow == std::string::npos) return false;
  *link = {std::stoull(word.substr(0, arrow)), std::stoull(word.substr(arrow + 2))};
  return true;
}

Duration ParseDuration(const std::string& word) {
  size_t end = 0;
  const auto number = std::stoll(word, &end);
  const std::string unit = word.substr(end);
  if (unit == "s") return std::chrono::seconds(number);
  TENURE_CHECK(unit == "ms", "a duration is 1s or 1ms, not {}", word);
  return std::chrono::milliseconds(number);
}

uint64_t ScriptWorld::Arguments::Number(size_t i, uint64_t otherwise) const {
  return i < words.size() ? std::stoull(words[i]) : otherwise;
}

ScriptWorld::Arguments ScriptWorld::Parse(const std::string& line) {
  Arguments a;
  std::stringstream in(line);
  for (std::string word; in >> word;) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) {
      a.words.push_back(word);
    } else {
      a.named[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  return a;
}

std::string ScriptWorld::Execute(const std::string& line) {
  out_.clear();
  Arguments a = Parse(line);
  const bool quiet = a.words.front() == "quiet";
  if (quiet) a.words.erase(a.words.begin());
  Run(a);
  if (quiet) out_.clear();
  return out_;
}

void ScriptWorld::Run(const Arguments& a) {
  const std::string& verb = a.words.front();
  const uint64_t id = a.words.size() > 1 && isdigit(a.words[1][0]) ? std::stoull(a.words[1]) : 0;
  if (verb == "option") return SetOptions(a);
  if (verb == "cluster") return MakeCluster(a);
  if (verb == "deliver") return Deliver(a);
  if (verb == "drop") return Drop(a);
  if (verb == "status") return Status();
  if (verb == "heal") return cut_.clear();
  if (verb == "time") return void(now_ += ParseDuration(a.words.at(1)));
  if (verb == "persist") return Persist(id, a.Number(2, 1000));
  if (verb == "snapshot") return Snapshot(a);
  if (verb == "propose") return Propose(a);
  if (verb == "read") return Read(id);
  if (verb == "change") return Change(a);
  if (verb == "duplicate" || verb == "cut") {
    Link link;
    if (!ParseLink(a.words.at(1), &link)) {
      for (const auto& [other, unused] : replicas_) cut_.insert({id, other}), cut_.insert({other, id});
    } else if (verb == "cut") {
      cut_.insert(link);
    } else {
      const auto found =
          std::find_if(flights_.begin(), flights_.end(), [&](auto& f) { return f.link == link; });
      if (found != flights_.end()) flights_.push_back(Flight(*found));
    }
    return;
  }
  if (verb == "disk") return void(slow_[id] = a.words.at(2) == "slow");
  if (verb == "crash") return At(id).Crash(a.Number(2, 0));
  if (verb == "restart") {
    At(id).Start(now_, Prng(++starts_));
    return After(id);
  }
  RaftCore& core = At(id).core();
  if (verb == "lease") return Say("{}", core.HasLease(now_) ? "holds the lease" : "no lease");
  if (verb == "compact") {
    At(id).Flush();
    return At(id).CompactTo(LogIndex(a.Number(2, 0)));
  }
  if (verb == "evict") return core.EvictCache(LogIndex(a.Number(2, 0)));
  if (verb == "tick") {
    if (a.words.size() > 2) now_ += ParseDuration(a.words[2]);
    core.Tick(now_);
  } else if (verb == "campaign") {
    core.Campaign(now_);
  } else if (verb == "wake") {
    core.Wake(now_, a.words.size() > 2 ? std::optional(ParseDuration(a.words[2])) : std::nullopt);
  } else if (verb == "unreachable") {
    core.OnLeaderUnreachable(now_, Duration::zero());
  } else if (verb == "silent") {
    std::vector<ReplicaId> silent;
    for (size_t i = 2; i < a.words.size(); ++i) silent.push_back(ReplicaId(a.Number(i, 0)));
    core.SetSilentPeers(std::move(silent));
  } else if (verb == "unwatched") {
    core.SetSilentPeers(std::nullopt);
  } else if (verb == "stall") {
    core.SetDiskStalled(now_, a.words.at(2) == "on");
  } else if (verb == "transfer") {
    Say("{}", NameOf(core.TransferLeadership(now_, ReplicaId(a.Number(2, 0)))));
  } else {
    Say("unknown command {}", verb);
  }
  After(id);
}

FakeReplica& ScriptWorld::At(uint64_t id) {
  return replicas_.at(id);
}

void ScriptWorld::SetOptions(const Arguments& a) {
  for (const auto& [name, value] : a.named) {
    if (name == "drift") config_.drift_permille = static_cast<uint32_t>(std::stoul(value));
    if (name == "append") config_.max_append_bytes = std::stoul(value);
    if (name == "window") config_.max_inflight_appends = std::stoul(value);
    if (name == "uncommitted") config_.max_uncommitted_bytes = std::stoul(value);
    if (name == "quiesce") config_.quiesce_after = ParseDuration(value);
  }
}

void ScriptWorld::MakeCluster(const Arguments& a) {
  std::vector<uint64_t> voters, learners, blank;
  for (uint64_t id = 1; id <= a.Number(1, 3); id++) voters.push_back(id);
  if (a.named.contains("learners")) learners = ParseIds(a.named.at("learners"));
  if (a.named.contains("blank")) blank = ParseIds(a.named.at("blank"));
  const Configuration configuration = MakeConfiguration(voters, learners);
  const auto add = [&](uint64_t id, const Configuration& initial) {
    RaftConfig config = config_;
    config.self = ReplicaId(id);
    replicas_.emplace(id, FakeReplica(config, initial)).first->second.Start(now_, Prng(++starts_));
  };
  for (const Member& member : configuration.members) add(member.id.value(), configuration);
  for (const uint64_t id : blank) add(id, Configuration());
}

void ScriptWorld::Propose(const Arguments& a) {
  const uint64_t id = a.Number(1, 1);
  std::vector<Bytes> payloads;
  for (size_t i = 2; i < a.words.size(); i++) payloads.push_back(Bytes(a.words[i]));
  LogIndex first;
  Term term;
  const auto result = At(id).core().Propose(now_, std::move(payloads), &first, &term);
  if (result != ProposeResult::kAccepted) Say("{}", NameOf(result));
  After(id);
}

void ScriptWorld::Change(const Arguments& a) {
  const uint64_t id = a.Number(1, 1);
  const auto ids = [&](const char* name) {
    return a.named.contains(name) ? ParseIds(a.named.at(name)) : std::vector<uint64_t>();
  };
  LogIndex index;
  Term term;
  const auto result = At(id).core().ProposeConfiguration(
      now_, MakeConfiguration(ids("voters"), ids("learners")), &index, &term);
  if (result != ProposeResult::kAccepted) Say("{}", NameOf(result));
  After(id);
}

void ScriptWorld::Read(uint64_t id) {
  const uint64_t context = next_context_++;
  Say("read {} {}", context, At(id).core().ReadIndex(now_, context) ? "asked" : "refused: not leader");
  After(id);
}

void ScriptWorld::Deliver(const Arguments& a) {
  Link only;
  if (a.words.size() > 1 && ParseLink(a.words[1], &only)) {
    uint64_t count = a.Number(2, 1000);
    for (size_t i = 0, last = flights_.size(); i < last && count > 0;) {
      if (flights_[i].link != only) {
        i++;
        continue;
      }
      DeliverOne(i);
      last--;
      count--;
    }
    return;
  }
  for (int limit = 1000; !flights_.empty() && limit > 0; limit--) DeliverOne(0);
}

void ScriptWorld::DeliverOne(size_t position) {
  Flight flight = std::move(flights_[position]);
  flights_.erase(flights_.begin() + static_cast<std::ptrdiff_t>(position));
  const auto [from, to] = flight.link;
  Say("{}->{} {}", from, to, ToString(flight.message));
  if (!At(to).up()) return Say("  {} is down", to);
  if (const auto* install = std::get_if<InstallSnapshot>(&flight.message);
      install && !At(to).HasReceived(install->mark)) {
    return Say("  {} does not have the content", to);
  }
  At(to).core().Step(now_, ReplicaId(from), std::move(flight.message));
  After(to);
}

void ScriptWorld::Drop(const Arguments& a) {
  Link only;
  const bool one_link = a.words.size() > 1 && ParseLink(a.words[1], &only);
  uint64_t count = one_link ? a.Number(2, 1000) : 1000;
  for (size_t i = 0; i < flights_.size() && count > 0;) {
    if (one_link && flights_[i].link != only) {
      i++;
      continue;
    }
    Say("{}->{} {}: lost", flights_[i].link.first, flights_[i].link.second, ToString(flights_[i].message));
    flights_.erase(flights_.begin() + static_cast<std::ptrdiff_t>(i));
    count--;
  }
}

void ScriptWorld::Snapshot(const Arguments& a) {
  const uint64_t from = a.Number(1, 0);
  const uint64_t to = a.Number(2, 0);
  const bool ok = a.words.size() < 4;
  const FakeSnapshot snapshot = At(from).TakeSnapshot();
  if (ok) At(to).Receive(snapshot);
  At(from).core().OnSnapshotSent(now_, ReplicaId(to), snapshot.mark.index, ok);
  After(from);
}

void ScriptWorld::Persist(uint64_t id, uint64_t count) {
  while (count-- > 0 && At(id).queued_writes() > 0) {
    Say("  {} has written", id);
    Launch(id, At(id).PersistOne(now_));
    Print(id, At(id).Collect());
  }
}

void ScriptWorld::Status() {
  for (const auto& [id, replica] : replicas_) {
    if (!replica.up()) {
      Say("{} down", id);
      continue;
    }
    const RaftCore& core = replica.core();
    Say("{} {} term={} vote={} leader={} log=({}..{}] durable={} commit={} applied={} [{}]", id,
        NameOf(core.role()), core.term(), core.voted_for(), core.leader(), core.mark_index(),
        core.last_index(), core.persisted_index(), core.commit_index(), replica.state().applied,
        ToString(core.configuration()));
  }
}

// Takes what the input caused; on a fast disk that is durable at once.
void ScriptWorld::After(uint64_t id) {
  FakeReplica& replica = At(id);
  while (replica.core().HasEffects()) {
    Print(id, replica.Collect());
    if (slow_[id]) continue;
    while (replica.queued_writes() > 0) Launch(id, replica.PersistOne(now_));
  }
}

void ScriptWorld::Print(uint64_t id, const Effects& e) {
  if (e.role_change) {
    Say("  {} is {} in term {}, leader {}", id, NameOf(e.role_change->role), e.role_change->term,
        e.role_change->leader);
  }
  if (e.configuration) Say("  {} configuration [{}]", id, ToString(*e.configuration));
  if (e.hard_state) Say("  {} writes term={} vote={}", id, e.hard_state->term, e.hard_state->vote);
  if (e.truncate_from) Say("  {} cuts its log from {}", id, *e.truncate_from);
  if (!e.entries.empty()) Say("  {} writes {}", id, NamesOf(e.entries));
  for (const Outgoing& o : e.messages) Say("  {} sends to {}: {}", id, o.to, ToString(o.message));
  for (const Outgoing& o : e.messages_after_persist)
    Say("  {} sends to {} when durable: {}", id, o.to, ToString(o.message));
  if (e.commit) Say("  {} commits {}", id, *e.commit);
  for (const ReadReady& read : e.reads) Say("  {} read {} is safe at {}", id, read.context, read.index);
  for (const uint64_t context : e.failed_reads) Say("  {} read {} failed", id, context);
  for (const ReplicaId peer : e.snapshots_needed) Say("  {} must send a snapshot to {}", id, peer);
  if (e.install_snapshot) Say("  {} installs the snapshot at {}", id, e.install_snapshot->index);
  Launch(id, e.messages);
  for (const FetchRequest& fetch : e.fetches) {
    Say("  {} reads its log from {} for {}", id, fetch.from, fetch.peer);
    At(id).core().OnFetched(now_, fetch.peer, fetch.from, At(id).Read(fetch.from, fetch.max_bytes));
  }
}

void ScriptWorld::Launch(uint64_t from, const std::vector<Outgoing>& messages) {
  for (const Outgoing& o : messages) {
    const Link link{from, o.to.value()};
    if (!cut_.contains(link) && replicas_.contains(o.to.value())) flights_.push_back({link, o.message});
  }
}

}  // namespace tenure::raft
