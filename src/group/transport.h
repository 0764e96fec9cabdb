// Moves Raft messages and snapshots between processes: one stream per destination, messages of one turn in
// one batch, dropped (never queued without bound) when the peer does not take them. Raft repeats what is
// lost.
//
// Threading: one executor.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"
#include "raft/messages.h"
#include "raft/types.h"
#include "runtime/executor.h"
#include "runtime/network.h"

namespace tenure::group {

struct SnapshotOffer {
  GroupId group;
  ReplicaId from;
  ReplicaId to;
  raft::SnapshotMark mark;
  uint64_t total_bytes = 0;
  uint64_t checksum = 0;
};
struct SnapshotChunk {
  GroupId group;
  ReplicaId to;
  raft::SnapshotMark mark;  // index and term only
  uint64_t offset = 0;
  std::string content;
  uint64_t checksum = 0;  // of the content
  bool last = false;
};

// See host_monitor.h. Fields as in the message of that name.
struct HostHeartbeat {
  uint64_t from = 0;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;
  uint64_t echo = 0;
  uint64_t echo_incarnation = 0;
};

// Since the start.
struct TransportCounters {
  uint64_t messages = 0;    // of groups, sent
  uint64_t batches = 0;     // in which they were sent
  uint64_t heartbeats = 0;  // between processes, sent
};

// What a host does with what arrives.
class MessageReceiver {
 public:
  virtual ~MessageReceiver() = default;
  // `from_host`: where the sender lives, so that an answer finds it although it may be in no configuration
  // that is known here.
  virtual void OnRaftMessage(GroupId group, ReplicaId from, ReplicaId to, uint64_t from_host,
                             raft::Message message) = 0;
  virtual void OnHostHeartbeat(const HostHeartbeat& heartbeat) = 0;
  // The stream to that process closed or could not be opened: perhaps it ended. Again at every attempt.
  virtual void OnHostUnreachable(uint64_t host) = 0;
  // The offset at which the sender goes on: at total_bytes only the last, empty chunk is missing, beyond it nothing.
  virtual void OnSnapshotOffer(SnapshotOffer offer, Callback<StatusOr<uint64_t>> done) = 0;
  virtual void OnSnapshotChunk(SnapshotChunk chunk, Callback<StatusOr<uint64_t>> done) = 0;
};

// Where hosts are. `host` is Member::host: a controller id for group 0, a node id for regions.
class AddressBook {
 public:
  void Set(uint64_t host, runtime::Endpoint endpoint) { endpoints_[host] = std::move(endpoint); }
  void Erase(uint64_t host) { endpoints_.erase(host); }
  std::optional<runtime::Endpoint> Find(uint64_t host) const {
    const auto it = endpoints_.find(host);
    if (it == endpoints_.end()) return std::nullopt;
    return it->second;
  }
  std::vector<uint64_t> HostsAt(const runtime::Endpoint& endpoint) const {
    std::vector<uint64_t> hosts;
    for (const auto& [host, at] : endpoints_) {
      if (at == endpoint) hosts.push_back(host);
    }
    return hosts;
  }

 private:
  std::map<uint64_t, runtime::Endpoint> endpoints_;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Once, before anything arrives.
  virtual void SetReceiver(MessageReceiver* receiver) = 0;
  // This process as Member::host names it; before the first Send.
  virtual void SetSelf(uint64_t host) = 0;
  virtual uint64_t self() const = 0;  // 0: not known yet
  // As soon as it is known: from then on batches of another cluster are refused. Empty: not known yet.
  virtual void SetClusterId(std::string cluster_id) = 0;
  // Of the cluster, as this process's data directory says; 1 until then. What comes from a lower one is
  // refused, and the sender told; what comes from a higher one is refused as well: it is this process that
  // was left behind.
  virtual void SetIncarnation(uint64_t incarnation) = 0;
  // Called, in a turn of its own, when a process of this cluster speaks for a higher incarnation.
  virtual void SetOnSuperseded(std::function<void(uint64_t incarnation)> on_superseded) = 0;
  virtual void Send(uint64_t to_host, GroupId group, ReplicaId from, ReplicaId to,
                    const raft::Message& message) = 0;
  // Leaves at once, on its own.
  virtual void SendHeartbeat(uint64_t to_host, const HostHeartbeat& heartbeat) = 0;
  virtual TransportCounters counters() const = 0;
  // End of a turn: what was gathered leaves.
  virtual void Flush() = 0;
  virtual void Offer(uint64_t to_host, const SnapshotOffer& offer, Callback<StatusOr<uint64_t>> done) = 0;
  virtual void PutChunk(uint64_t to_host, SnapshotChunk chunk, Callback<StatusOr<uint64_t>> done) = 0;
  virtual AddressBook& addresses() = 0;
};

// Over runtime::Network. `service_name` keeps hosts of different executors of a process apart:
// "tenure.internal.v1.Raft" for regions, "tenure.internal.v1.CatalogRaft" for group 0.
std::unique_ptr<Transport> MakeNetworkTransport(runtime::Executor& executor, runtime::Network& network,
                                                std::string service_name, std::string cluster_id,
                                                Logger logger);

}  // namespace tenure::group
