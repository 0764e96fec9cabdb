// What must hold of the records of changefeeds, at every entry of the catalog's log:
//   F9  an owner epoch rises with every change of the owner, and never falls.
//   F10 what relies on an owner epoch has no effect in another one.
//   F11 whoever takes over by a move begins where its origin has ended, if that was told to the leader.
// It tells FeedSinks (F1, F3) how far the recorded checkpoints are, and which changefeeds are gone.
//
// Threading: the simulation's thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/ids.h"
#include "catalog/catalog.h"
#include "group/group_host.h"
#include "tenure/internal/v1/node.pb.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::sim {

class World;

class FeedChecker final : public group::GroupTrace {
 public:
  explicit FeedChecker(World& world) : world_(world) {}

  // From now on F11 is judged: with faults a leader may go on without the answer of an origin that was
  // fenced.
  void JudgeMoves() { judges_moves_ = true; }
  // The leader of `request` has the answer of the node at this address.
  void OnRemoved(const std::string& node, const ::tenure::internal::v1::RemoveMaintainer& request,
                 const ::tenure::internal::v1::RemovedMaintainer& answer);

  // --- group::GroupTrace ---
  void OnApply(GroupId group, ReplicaId self, const raft::Entry& entry) override;
  void OnLead(GroupId, ReplicaId, Term) override {}
  void OnStateHash(GroupId, ReplicaId, LogIndex, uint64_t) override {}
  void OnConfiguration(GroupId, ReplicaId, bool, const raft::Configuration&) override {}

  // A recovery goes on from a log of the catalog that ends at `last`.
  void ForgetBeyond(LogIndex last);
  // Takeovers that F11 has judged.
  uint64_t judged_moves() const { return judged_moves_; }

 private:
  struct Feed {
    uint64_t revision = 0;
    ::tenure::v1::ChangefeedRecord record;
    std::string owner_address;
  };
  // How far an origin was when it ended.
  struct Final {
    uint64_t leadership = 0;  // that was told
    uint64_t epoch = 0;
    uint64_t checkpoint = 0;
  };

  void Compare(const catalog::Catalog& catalog, Term term,
               const ::tenure::internal::v1::CatalogCommand& command);
  void CheckCondition(const Feed& before, uint64_t revision,
                      const ::tenure::internal::v1::CatalogCommand& command);
  void CheckOwner(const Feed& before, const ::tenure::v1::ChangefeedRecord& now, Term term);

  World& world_;
  LogIndex seen_;
  std::map<uint64_t, Feed> feeds_;    // as last seen
  std::map<uint64_t, Final> finals_;  // of the owners of now
  bool judges_moves_ = false;
  uint64_t judged_moves_ = 0;
};

}  // namespace tenure::sim
