// Group 0 as the services see it: the part of GroupHost they use, so that a test can stand in for consensus.
//
// Threading: the controller's executor.
#pragma once

#include <optional>
#include <string>

#include "base/function.h"
#include "base/ids.h"
#include "base/status.h"
#include "group/group_host.h"

namespace tenure::controller {

class CatalogGroup {
 public:
  virtual ~CatalogGroup() = default;
  // As in GroupHost, for kCatalogGroup.
  virtual void Propose(std::string command, Callback<group::ProposeOutcome> done) = 0;
  virtual void Read(Callback<Status> done) = 0;
  virtual raft::ProposeResult TransferLeadership(ReplicaId to) = 0;
  virtual void ProposeConfiguration(const raft::Configuration& target,
                                    Callback<group::ProposeOutcome> done) = 0;
  virtual std::optional<group::GroupStatus> StatusOf() const = 0;
  virtual std::optional<Duration> Staleness() const = 0;
  virtual bool HasWholeState() const = 0;
  // Leads, and no other can lead at this moment: the leader lease is held, and not given up for a transfer.
  virtual bool HoldsLease() = 0;
};

class HostedCatalogGroup : public CatalogGroup {
 public:
  // `host` must outlive this.
  explicit HostedCatalogGroup(group::GroupHost& host) : host_(host) {}
  void Propose(std::string command, Callback<group::ProposeOutcome> done) override {
    host_.Propose(kCatalogGroup, std::move(command), std::move(done));
  }
  void Read(Callback<Status> done) override { host_.Read(kCatalogGroup, std::move(done)); }
  raft::ProposeResult TransferLeadership(ReplicaId to) override {
    return host_.TransferLeadership(kCatalogGroup, to);
  }
  void ProposeConfiguration(const raft::Configuration& target,
                            Callback<group::ProposeOutcome> done) override {
    host_.ProposeConfiguration(kCatalogGroup, target, std::move(done));
  }
  std::optional<group::GroupStatus> StatusOf() const override { return host_.StatusOf(kCatalogGroup); }
  std::optional<Duration> Staleness() const override { return host_.Staleness(kCatalogGroup); }
  bool HasWholeState() const override { return host_.HasWholeState(kCatalogGroup); }
  bool HoldsLease() override { return host_.Serving(kCatalogGroup); }

 private:
  group::GroupHost& host_;
};

}  // namespace tenure::controller
