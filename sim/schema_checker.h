// What must hold of every change of a schema, whoever makes it:
//   S2 a table or view takes its next mark - public, deleting its data, gone - only after the barrier for its
//   intent
//      has proceeded; or it is rolled back, to what it was.
//   S3 ids of tables and views are never given again.
//   S4 at rest no change is half made: every table and view is PUBLIC.
//
// Threading: the simulation's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/ids.h"
#include "catalog/catalog.h"
#include "group/group_host.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::sim {

class World;

class SchemaChecker final : public group::GroupTrace {
 public:
  // `proceeded`: the newest revision whose barrier has proceeded.
  SchemaChecker(World& world, std::function<Revision()> proceeded)
      : world_(world), proceeded_(std::move(proceeded)) {}

  // --- group::GroupTrace: S2 and S3, at every entry of the catalog's log ---
  void OnApply(GroupId group, ReplicaId self, const raft::Entry& entry) override;
  void OnLead(GroupId, ReplicaId, Term) override {}
  void OnStateHash(GroupId, ReplicaId, LogIndex, uint64_t) override {}
  void OnConfiguration(GroupId, ReplicaId, bool, const raft::Configuration&) override {}
  // S4, for whoever waits; empty: nothing.
  std::string Unsettled() const;
  // A recovery goes on from a log of the catalog that ends at `last`. What is applied again up to there was
  // judged before.
  void ForgetBeyond(LogIndex last);

 private:
  void Look(const catalog::Catalog& catalog);
  void Compare(const ::tenure::v1::Record& before, const ::tenure::v1::Record* now);

  World& world_;
  const std::function<Revision()> proceeded_;
  LogIndex seen_;
  std::map<uint64_t, ::tenure::v1::Record> records_;  // as last seen
  std::map<uint64_t, uint64_t> created_;              // id -> create revision, of all that ever were
};

}  // namespace tenure::sim
