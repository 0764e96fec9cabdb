#include "sim/schema_checker.h"

#include <fmt/format.h>

#include "catalog/state_moves.h"
#include "sim/server.h"
#include "sim/world.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

pb::TableState StateOf(const pb::Record& record) {
  return record.has_table() ? record.table().state() : record.view().state();
}
uint64_t VersionOf(const pb::Record& record) {
  return record.has_table() ? record.table().shape().version() : record.view().shape().version();
}
uint64_t DatabaseOf(const pb::Record& record) {
  return record.has_table() ? record.table().database() : record.view().database();
}
uint64_t IdOf(const pb::Record& record) {
  return record.has_table() ? record.table().id() : record.view().id();
}
std::string Describe(const pb::Record& record) {
  return fmt::format("{} {} ({}, version {}, revision {})", record.has_table() ? "table" : "view",
                     IdOf(record), catalog::NameOf(StateOf(record)), VersionOf(record),
                     record.modify_revision());
}

}  // namespace

void SchemaChecker::ForgetBeyond(LogIndex last) {
  seen_ = last;
  records_.clear();
  created_.clear();
}

// By the controller that applies an entry first: what is done and undone between two entries is nothing.
void SchemaChecker::OnApply(GroupId group, ReplicaId self, const raft::Entry& entry) {
  if (group != kCatalogGroup || entry.index <= seen_) return;
  for (const auto& machine : world_.machines()) {
    if (machine->controller_id != self.value() || machine->lost || !machine->server) continue;
    const controller::Controller* const controller = machine->server->controller();
    if (controller == nullptr) continue;
    seen_ = entry.index;
    Look(controller->catalog());
  }
}

void SchemaChecker::Look(const catalog::Catalog& catalog) {
  for (auto it = records_.begin(); it != records_.end();) {
    if (catalog.FindTableOrView(it->first) != nullptr) {
      ++it;
      continue;
    }
    if (catalog.databases().contains(DatabaseOf(it->second))) Compare(it->second, nullptr);
    it = records_.erase(it);
  }
  for (const auto* records : {&catalog.tables(), &catalog.views()}) {
    for (const auto& [id, record] : *records) {
      const auto before = records_.find(id);
      if (before != records_.end() && before->second.modify_revision() == record.modify_revision()) continue;
      const auto [known, fresh] = created_.try_emplace(id, record.create_revision());
      if (!fresh && known->second != record.create_revision()) {
        world_.Fail("S3 ids of tables and views are never given again",
                    fmt::format("{}, created at revision {}, has the id of one created at {}",
                                Describe(record), record.create_revision(), known->second));
      }
      if (before != records_.end()) Compare(before->second, &record);
      records_[id] = record;
    }
  }
}

void SchemaChecker::Compare(const pb::Record& before, const pb::Record* now) {
  const bool creating = StateOf(before) == pb::TABLE_CREATING;
  const bool deleting = before.has_table() && before.table().data_deletion();
  if (StateOf(before) == pb::TABLE_PUBLIC || deleting) return;
  const bool rolled_back =
      now == nullptr ? creating
                     : !creating && StateOf(*now) == pb::TABLE_PUBLIC && VersionOf(*now) == VersionOf(before);
  if (rolled_back || proceeded_() >= Revision(before.modify_revision())) return;
  world_.Fail(
      "S2 a schema change goes on after its barrier",
      fmt::format("{} became {}; the newest barrier that proceeded is for revision {}", Describe(before),
                  now == nullptr ? "nothing" : Describe(*now), proceeded_().value()));
}

std::string SchemaChecker::Unsettled() const {
  const controller::Controller* const serving = world_.ServingController();
  if (serving == nullptr) return "a serving controller";
  for (const auto* records : {&serving->catalog().tables(), &serving->catalog().views()}) {
    for (const auto& [id, record] : *records) {
      if (StateOf(record) != pb::TABLE_PUBLIC) return fmt::format("{} to be PUBLIC", Describe(record));
    }
  }
  return {};
}

}  // namespace tenure::sim
