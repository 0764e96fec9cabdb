// A cluster that does what a script says and nothing by itself, and prints everything that happens: the
// interpreter behind tests/raft/testdata/*.txt (in the spirit of etcd's datadriven tests).
//
//   cluster 3 [learners=4,5] [blank=6]   replicas 1..3 vote; blank ones know of no group
//   option drift=100 append=64 window=2 quiesce=1s   for all replicas, before `cluster`
//   tick 1 [1500ms]    moves the clock on, then ticks 1
//   time 500ms         only moves it on
//   campaign 1, propose 1 a b, read 1, lease 1, transfer 1 2
//   change 1 voters=1,2,4 learners=3
//   wake 1 [300ms], unreachable 1   what 1's driver says of its leader's process
//   silent 1 3 ..., unwatched 1     what it says of the members' processes
//   stall 1 on|off                  what it says of its disk
//   deliver [1->2] [n]   what is in flight, and what follows from it; or only n of one link
//   drop [1->2] [n]      forgets what is in flight
//   duplicate 1->2       sends its first message twice
//   cut 3 | cut 1->2     loses what is sent from now on, until heal
//   disk 1 slow|fast     slow: writes wait for `persist 1 [n]`
//   crash 1 [kept writes], restart 1, compact 1 7, evict 1 7, snapshot 1 2 [fail], status
//   quiet <command>      prints nothing
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/raft/fake_replica.h"

namespace tenure::raft {

class ScriptWorld {
 public:
  // Returns what happened, a line each.
  std::string Execute(const std::string& line);

 private:
  using Link = std::pair<uint64_t, uint64_t>;
  struct Flight {
    Link link;
    Message message;
  };
  struct Arguments {
    std::vector<std::string> words;
    std::map<std::string, std::string> named;
    uint64_t Number(size_t i, uint64_t otherwise) const;
  };

  static Arguments Parse(const std::string& line);
  void Run(const Arguments& a);
  void MakeCluster(const Arguments& a);
  void SetOptions(const Arguments& a);
  void Change(const Arguments& a);
  void Read(uint64_t id);
  void Propose(const Arguments& a);
  void Deliver(const Arguments& a);
  void DeliverOne(size_t position);
  void Drop(const Arguments& a);
  void Snapshot(const Arguments& a);
  void Persist(uint64_t id, uint64_t count);
  void Status();
  void After(uint64_t id);
  void Print(uint64_t id, const Effects& effects);
  void Launch(uint64_t from, const std::vector<Outgoing>& messages);
  FakeReplica& At(uint64_t id);
  template <class... Args>
  void Say(fmt::format_string<Args...> format, Args&&... args) {
    out_ += fmt::format(format, std::forward<Args>(args)...) + '\n';
  }

  RaftConfig config_;
  Instant now_{};
  std::map<uint64_t, FakeReplica> replicas_;
  std::map<uint64_t, bool> slow_;
  std::deque<Flight> flights_;
  std::set<Link> cut_;
  uint64_t next_context_ = 1;
  uint64_t starts_ = 0;
  std::string out_;
};

// "1->2"
bool ParseLink(const std::string& word, std::pair<uint64_t, uint64_t>* link);
Duration ParseDuration(const std::string& word);

}  // namespace tenure::raft
