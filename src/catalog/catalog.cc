#include "catalog/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "catalog/apply.h"
#include "catalog/deduplication.h"
#include "catalog/keys.h"
#include "catalog/refusal.h"

namespace tenure::catalog {

namespace apply {

CatalogResult Done(const Change& change, bool changed, uint64_t object_id) {
  CatalogResult result;
  result.set_revision(change.revision.value());
  result.set_changed(changed);
  result.set_object_id(object_id);
  return result;
}

CatalogResult Refused(pb::Reason reason, std::string message, uint64_t revision) {
  CatalogResult result;
  result.set_reason(reason);
  result.set_message(std::move(message));
  result.set_revision(revision);
  return result;
}

}  // namespace apply

void Records::Load(const kv::Reader& state) {
  cluster.reset();
  ids.Clear();
  if (const auto stored = state.Get(kClusterKey)) {
    TENURE_CHECK(cluster.emplace().ParseFromString(*stored), "the cluster record cannot be read");
  }
  if (const auto stored = state.Get(kIdsKey)) {
    TENURE_CHECK(ids.ParseFromString(*stored), "the record of the next ids cannot be read");
  }
  controllers.Load(state);
  nodes.Load(state);
  databases.Load(state);
  regions.Load(state);
  procedures.Load(state);
  tables.Load(state);
  views.Load(state);
  changefeeds.Load(state);
  changefeed_by_name.clear();
  for (const auto& [id, record] : changefeeds.all())
    changefeed_by_name.emplace(record.changefeed().name(), id);
  apply::IndexSchemaNames(*this);
  node_by_uuid.clear();
  for (const auto& [id, record] : nodes.all()) node_by_uuid.emplace(record.node().uuid(), id);
  database_by_name.clear();
  for (const auto& [id, record] : databases.all()) {
    if (record.database().state() == pb::DATABASE_PRE_DELETE) continue;
    const bool fresh = database_by_name.emplace(record.database().name(), id).second;
    TENURE_CHECK(fresh, "two databases are named '{}'", record.database().name());
  }
}

class Catalog::Impl {
 public:
  explicit Impl(const CatalogLimits& limits)
      : deduplication_(limits.max_clients, limits.max_results_per_client, limits.client_session) {}

  void Reset(const kv::Reader& state, Revision applied) {
    const Status readable = CheckFormat(state);
    TENURE_CHECK(readable.ok(), "{}", MessageOf(readable));
    for (const Section& section : Sections()) {
      if (!section.retired) continue;
      if (!state.NewIterator(PrefixLower(section.letter), PrefixUpper(section.letter))->Valid()) continue;
      notes_.push_back(
          fmt::format("the state holds records of the retired section '{}': not read", section.name));
    }
    records_.Load(state);
    deduplication_.Load(state);
    events_ = {};
    applied_ = applied;
  }

  ipb::CatalogResult Apply(ipb::CatalogCommand&& command, Revision revision, Term term, kv::View& state) {
    TENURE_CHECK(revision > applied_, "revision {} is applied after {}", revision.value(), applied_.value());
    applied_ = revision;
    const bool identified = command.has_id() && command.id().client_id() != 0;
    if (identified) {
      if (auto known = deduplication_.Find(command.id())) return std::move(*known);
    }
    // The next four are not remembered: asked again, their cause may have gone.
    TENURE_CHECK(
        command.version() <= kNewestFormat,
        "the command at revision {} is of format {}; this program reads formats {} to {}: start a newer one",
        revision, command.version(), kOldestFormat, kNewestFormat);
    const CommandType* type = TypeOf(command);
    if (type == nullptr) return PassOver("no known type", command, revision);
    if (type->retired) return PassOver(fmt::format("the retired type {}", type->name), command, revision);
    if (command.version() == 0 || command.version() > FormatVersion()) {
      return PassOver(fmt::format("type {}", type->name), command, revision);
    }
#ifndef TENURE_MUTANT_stale_epoch_accepted
    if (command.epoch() != 0 && command.epoch() != term.value()) {
      return apply::Refused(pb::REASON_STALE_EPOCH,
                            fmt::format("the command belongs to leadership epoch {}; the epoch is {}",
                                        command.epoch(), term.value()));
    }
#endif
    if (!records_.cluster && !command.has_initialize_cluster()) {
      return apply::Refused(pb::REASON_CONDITION_FAILED, "the cluster has no record yet");
    }
    Change change{revision, term, command.now_ms(), state, events_};
    ipb::CatalogResult result = Dispatch(command, change);
    // What may be sent again as it is gets another answer once the cause has gone.
    if (identified && !RuleOf(result.reason()).retryable)
      deduplication_.Remember(command.id(), command.now_ms(), revision, result);
    return result;
  }

  void FinishBatch(kv::View& state) { deduplication_.Write(state); }
  Events TakeEvents() { return std::exchange(events_, {}); }
  std::vector<std::string> TakeNotes() { return std::exchange(notes_, {}); }
  std::optional<ipb::CatalogResult> FindAnswer(const pb::RequestId& id) const {
    if (id.client_id() == 0) return std::nullopt;
    return deduplication_.Find(id);
  }

  const Records& records() const { return records_; }
  Revision applied() const { return applied_; }
  size_t client_count() const { return deduplication_.size(); }

  uint32_t FormatVersion() const {
    return records_.cluster ? records_.cluster->cluster().format_version() : kNewestFormat;
  }

 private:
  ipb::CatalogResult PassOver(const std::string& what, const ipb::CatalogCommand& command,
                              Revision revision) {
    notes_.push_back(
        fmt::format("the command at revision {} is of {}, format {}; the cluster has format {}: nothing done",
                    revision, what, command.version(), FormatVersion()));
    return apply::Refused(pb::REASON_UNSUPPORTED_FORMAT, notes_.back());
  }

  ipb::CatalogResult Dispatch(ipb::CatalogCommand& command, Change& change) {
    using Command = ipb::CatalogCommand;
    switch (command.body_case()) {
      case Command::kInitializeCluster:
        return apply::InitializeCluster(records_, *command.mutable_initialize_cluster(), change);
      case Command::kPutEntry:
        return apply::PutEntry(*command.mutable_put_entry(), change);
      case Command::kDeleteEntry:
        return apply::DeleteEntry(*command.mutable_delete_entry(), change);
      case Command::kRegisterNode:
        return apply::RegisterNode(records_, *command.mutable_register_node(), change);
      case Command::kSetNodeState:
        return apply::SetNodeState(records_, *command.mutable_set_node_state(), change);
      case Command::kCreateDatabase:
        return apply::CreateDatabase(records_, *command.mutable_create_database(), change);
      case Command::kSetDatabaseState:
        return apply::SetDatabaseState(records_, *command.mutable_set_database_state(), change);
      case Command::kSetRegionState:
        return apply::SetRegionState(records_, *command.mutable_set_region_state(), change);
      case Command::kRemoveRegion:
        return apply::RemoveRegion(records_, *command.mutable_remove_region(), change);
      case Command::kRemoveDatabase:
        return apply::RemoveDatabase(records_, *command.mutable_remove_database(), change);
      case Command::kUpdateController:
        return apply::UpdateController(records_, *command.mutable_update_controller(), change);
      case Command::kRaiseFormat:
        return apply::RaiseFormat(records_, *command.mutable_raise_format(), change);
      case Command::kAddController:
        return apply::AddController(records_, *command.mutable_add_controller(), change);
      case Command::kRemoveController:
        return apply::RemoveController(records_, *command.mutable_remove_controller(), change);
      case Command::kPromoteController:
        return apply::PromoteController(records_, *command.mutable_promote_controller(), change);
      case Command::kSetVoterTarget:
        return apply::SetVoterTarget(records_, *command.mutable_set_voter_target(), change);
      case Command::kSetControllerRole:
        return apply::SetControllerRole(records_, *command.mutable_set_controller_role(), change);
      case Command::kRecoverCluster:
        return apply::RecoverCluster(records_, *command.mutable_recover_cluster(), change);
      case Command::kRecoverRegions:
        return apply::RecoverRegions(records_, *command.mutable_recover_regions(), change);
      case Command::kSubmitProcedure:
        return apply::SubmitProcedure(records_, *command.mutable_submit_procedure(), change);
      case Command::kAdvanceProcedure:
        return apply::AdvanceProcedure(records_, *command.mutable_advance_procedure(), change);
      case Command::kCancelProcedure:
        return apply::CancelProcedure(records_, *command.mutable_cancel_procedure(), change);
      case Command::kForgetProcedures:
        return apply::ForgetProcedures(records_, *command.mutable_forget_procedures(), change);
      case Command::kReportRegions:
        return apply::ReportRegions(records_, *command.mutable_report_regions(), change);
      case Command::kSetFencing:
        return apply::SetFencing(records_, *command.mutable_set_fencing(), change);
      case Command::kLowerFencingBound:
        return apply::LowerFencingBound(records_, *command.mutable_lower_fencing_bound(), change);
      case Command::kCreateChangefeed:
        return apply::CreateChangefeed(records_, *command.mutable_create_changefeed(), change);
      case Command::kSetChangefeedOwner:
        return apply::SetChangefeedOwner(records_, *command.mutable_set_changefeed_owner(), change);
      case Command::kProgressChangefeed:
        return apply::ProgressChangefeed(records_, *command.mutable_progress_changefeed(), change);
      case Command::kChangeChangefeed:
        return apply::ChangeChangefeed(records_, *command.mutable_change_changefeed(), change);
      case Command::kDropChangefeed:
        return apply::DropChangefeed(records_, *command.mutable_drop_changefeed(), change);
      case Command::BODY_NOT_SET:
        break;
    }
    TENURE_CHECK(false, "a command without a body reached Dispatch");
  }

  Records records_;
  Deduplication deduplication_;
  Events events_;
  std::vector<std::string> notes_;
  Revision applied_;
};

Status Catalog::CheckFormat(const kv::Reader& state) {
  if (const auto stored = state.Get(kClusterKey)) {
    pb::Record record;
    TENURE_CHECK(record.ParseFromString(*stored), "the cluster record cannot be read");
    const uint32_t format = record.cluster().format_version();
    if (format < kOldestFormat || format > kNewestFormat) {
      return Error(StatusCode::kFailedPrecondition,
                   "the catalog has format {}; this program reads formats {} to {}", format, kOldestFormat,
                   kNewestFormat);
    }
  }
  // From section to section, not from record to record.
  const auto it = state.NewIterator({}, {});
  while (it->Valid()) {
    const char letter = it->key()[0];
    const auto sections = Sections();
    if (std::none_of(sections.begin(), sections.end(),
                     [&](const Section& s) { return s.letter == letter; })) {
      return Error(
          StatusCode::kFailedPrecondition,
          "the catalog holds records of a kind that this program does not know ('{}'): start a newer one",
          letter);
    }
    it->Seek(PrefixUpper(letter));
  }
  return OkStatus();
}

Catalog::Catalog(CatalogLimits limits) : impl_(std::make_unique<Impl>(limits)) {}
Catalog::~Catalog() = default;

void Catalog::Reset(const kv::Reader& state, Revision applied) {
  impl_->Reset(state, applied);
}

ipb::CatalogResult Catalog::Apply(const ipb::CatalogCommand& command, Revision revision, Term term,
                                  kv::View& state) {
  return impl_->Apply(ipb::CatalogCommand(command), revision, term, state);
}

ipb::CatalogResult Catalog::Apply(ipb::CatalogCommand&& command, Revision revision, Term term,
                                  kv::View& state) {
  return impl_->Apply(std::move(command), revision, term, state);
}

void Catalog::FinishBatch(kv::View& state) {
  impl_->FinishBatch(state);
}
Events Catalog::TakeEvents() {
  return impl_->TakeEvents();
}
std::vector<std::string> Catalog::TakeNotes() {
  return impl_->TakeNotes();
}
uint32_t Catalog::format_version() const {
  return impl_->FormatVersion();
}
std::optional<ipb::CatalogResult> Catalog::FindAnswer(const pb::RequestId& id) const {
  return impl_->FindAnswer(id);
}
Revision Catalog::applied() const {
  return impl_->applied();
}

const pb::Record* Catalog::cluster_record() const {
  const auto& cluster = impl_->records().cluster;
  return cluster ? &*cluster : nullptr;
}
const pb::ClusterRecord* Catalog::cluster() const {
  const pb::Record* record = cluster_record();
  return record == nullptr ? nullptr : &record->cluster();
}
const std::map<uint64_t, pb::Record>& Catalog::controllers() const {
  return impl_->records().controllers.all();
}
const std::map<uint64_t, pb::Record>& Catalog::nodes() const {
  return impl_->records().nodes.all();
}
const std::map<uint64_t, pb::Record>& Catalog::databases() const {
  return impl_->records().databases.all();
}
const std::map<uint64_t, pb::Record>& Catalog::regions() const {
  return impl_->records().regions.all();
}
const std::map<uint64_t, pb::Record>& Catalog::procedures() const {
  return impl_->records().procedures.all();
}
const std::map<uint64_t, pb::Record>& Catalog::tables() const {
  return impl_->records().tables.all();
}
const std::map<uint64_t, pb::Record>& Catalog::views() const {
  return impl_->records().views.all();
}
const std::map<uint64_t, pb::Record>& Catalog::changefeeds() const {
  return impl_->records().changefeeds.all();
}
const pb::Record* Catalog::FindChangefeed(std::string_view name) const {
  const auto& by_name = impl_->records().changefeed_by_name;
  const auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : impl_->records().changefeeds.Find(found->second);
}
size_t Catalog::client_count() const {
  return impl_->client_count();
}

const pb::Record* Catalog::FindDatabase(std::string_view name) const {
  const auto& by_name = impl_->records().database_by_name;
  const auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : impl_->records().databases.Find(found->second);
}

const pb::Record* Catalog::FindTableOrView(uint64_t database, std::string_view name) const {
  const auto& by_name = impl_->records().schema_names;
  const auto found = by_name.find(std::pair(database, std::string(name)));
  return found == by_name.end() ? nullptr : FindTableOrView(found->second);
}

const pb::Record* Catalog::FindTableOrView(uint64_t id) const {
  const pb::Record* table = impl_->records().tables.Find(id);
  return table != nullptr ? table : impl_->records().views.Find(id);
}

const pb::Record* Catalog::FindNode(std::string_view uuid) const {
  const auto& by_uuid = impl_->records().node_by_uuid;
  const auto found = by_uuid.find(uuid);
  return found == by_uuid.end() ? nullptr : impl_->records().nodes.Find(found->second);
}

}  // namespace tenure::catalog
