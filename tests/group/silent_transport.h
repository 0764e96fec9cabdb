// A transport on which nobody else is.
#pragma once

#include <functional>
#include <string>

#include "group/transport.h"

namespace tenure::group {

class SilentTransport : public Transport {
 public:
  void SetReceiver(MessageReceiver*) override {}
  void SetSelf(uint64_t) override {}
  uint64_t self() const override { return 1; }
  void SetClusterId(std::string) override {}
  void SetIncarnation(uint64_t) override {}
  void SetOnSuperseded(std::function<void(uint64_t)>) override {}
  void Send(uint64_t, GroupId, ReplicaId, ReplicaId, const raft::Message&) override {}
  void SendHeartbeat(uint64_t, const HostHeartbeat&) override {}
  TransportCounters counters() const override { return {}; }
  void Flush() override {}
  void Offer(uint64_t, const SnapshotOffer&, Callback<StatusOr<uint64_t>>) override {}
  void PutChunk(uint64_t, SnapshotChunk, Callback<StatusOr<uint64_t>>) override {}
  AddressBook& addresses() override { return addresses_; }

 private:
  AddressBook addresses_;
};

}  // namespace tenure::group
