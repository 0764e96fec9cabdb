#include <algorithm>
#include <set>

#include "base/hash.h"
#include "catalog/catalog.h"
#include "catalog/controllers.h"
#include "catalog/fencing.h"
#include "catalog/names.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"
#include "schema/shape.h"

namespace tenure::catalog {
namespace {

using pb::REASON_INVALID_ARGUMENT;

Status CheckEntryKey(std::string_view key, const CatalogLimits& limits) {
  if (key.empty()) return Refuse(REASON_INVALID_ARGUMENT, "key: must not be empty");
  if (key.size() > limits.max_entry_key_bytes) {
    return Refuse(REASON_INVALID_ARGUMENT, "key: has {} bytes, the limit is {}", key.size(),
                  limits.max_entry_key_bytes);
  }
  return OkStatus();
}

Status CheckSize(std::string_view field, std::string_view text, size_t limit) {
  if (text.size() <= limit) return OkStatus();
  return Refuse(REASON_INVALID_ARGUMENT, "{}: has {} bytes, the limit is {}", field, text.size(), limit);
}

Status Check(const ipb::PutEntry& put, const CatalogLimits& limits) {
  TENURE_RETURN_IF_ERROR(CheckEntryKey(put.key(), limits));
  if (put.value().size() > limits.max_entry_value_bytes) {
    return Refuse(REASON_INVALID_ARGUMENT, "value: has {} bytes, the limit is {}", put.value().size(),
                  limits.max_entry_value_bytes);
  }
  if (put.if_absent() && put.if_revision() != 0) {
    return Refuse(REASON_INVALID_ARGUMENT, "if_absent: cannot be given together with if_revision");
  }
  return OkStatus();
}

Status Check(const ipb::RegisterNode& registration, const CatalogLimits& limits) {
  const pb::NodeRecord& node = registration.node();
  TENURE_RETURN_IF_ERROR(CheckName("node.uuid", node.uuid(), 64));
  if (!node.name().empty())
    TENURE_RETURN_IF_ERROR(CheckName("node.name", node.name(), limits.max_name_bytes));
  if (!node.zone().empty())
    TENURE_RETURN_IF_ERROR(CheckName("node.zone", node.zone(), limits.max_name_bytes));
  TENURE_RETURN_IF_ERROR(CheckAddress("node.address", node.address()));
  if (!node.resp_address().empty())
    TENURE_RETURN_IF_ERROR(CheckAddress("node.resp_address", node.resp_address()));
  if (node.address() == node.resp_address()) {
    return Refuse(REASON_INVALID_ARGUMENT, "node.resp_address: is the same as node.address ({})",
                  node.address());
  }
  TENURE_RETURN_IF_ERROR(CheckSize("node.software_version", node.software_version(), limits.max_name_bytes));
  if (static_cast<size_t>(node.labels_size()) > limits.max_labels) {
    return Refuse(REASON_INVALID_ARGUMENT, "node.labels: there are {}, the limit is {}", node.labels_size(),
                  limits.max_labels);
  }
  std::set<std::string_view> keys;
  for (const pb::Label& label : node.labels()) {
    TENURE_RETURN_IF_ERROR(CheckName("node.labels.key", label.key(), limits.max_name_bytes));
    if (!label.value().empty()) {
      TENURE_RETURN_IF_ERROR(CheckName("node.labels.value", label.value(), limits.max_name_bytes));
    }
    if (!keys.insert(label.key()).second) {
      return Refuse(REASON_INVALID_ARGUMENT, "node.labels: '{}' is given twice", label.key());
    }
  }
  return OkStatus();
}

// Slots 0..16383 without gap or overlap, in order.
Status CheckSlots(const ipb::CreateDatabase& create) {
  uint32_t next = 0;
  for (const auto& region : create.regions()) {
    if (region.slots().first() != next || region.slots().last() < next ||
        region.slots().last() >= kSlotCount) {
      return Refuse(REASON_INVALID_ARGUMENT, "regions: slots {}-{} do not continue at slot {}",
                    region.slots().first(), region.slots().last(), next);
    }
    next = region.slots().last() + 1;
  }
  if (next != kSlotCount) {
    return Refuse(REASON_INVALID_ARGUMENT, "regions: slots from {} on are not covered", next);
  }
  return OkStatus();
}

Status Check(const ipb::CreateDatabase& create, const CatalogLimits& limits) {
  TENURE_RETURN_IF_ERROR(CheckName("name", create.name(), limits.max_name_bytes));
  if (create.regions_size() < 1 ||
      static_cast<uint32_t>(create.regions_size()) > limits.max_regions_per_database) {
    return Refuse(REASON_INVALID_ARGUMENT, "regions: {} is not in 1..{}", create.regions_size(),
                  limits.max_regions_per_database);
  }
  if (create.replicas() < 1 || create.replicas() > limits.max_replicas) {
    return Refuse(REASON_INVALID_ARGUMENT, "replicas: {} is not in 1..{}", create.replicas(),
                  limits.max_replicas);
  }
  for (const auto& region : create.regions()) {
    const std::set<uint64_t> distinct(region.nodes().begin(), region.nodes().end());
    if (static_cast<uint32_t>(region.nodes_size()) != create.replicas() ||
        distinct.size() != create.replicas()) {
      return Refuse(REASON_INVALID_ARGUMENT, "regions: slots {}-{} have {} distinct nodes for {} replicas",
                    region.slots().first(), region.slots().last(), distinct.size(), create.replicas());
    }
  }
  return CheckSlots(create);
}

Status Check(const pb::ControllerRecord& controller, const CatalogLimits& limits) {
  if (controller.id() == 0) return Refuse(REASON_INVALID_ARGUMENT, "controller.id: must not be 0");
  if (!controller.name().empty()) {
    TENURE_RETURN_IF_ERROR(CheckName("controller.name", controller.name(), limits.max_name_bytes));
  }
  if (controller.id() > UINT32_MAX) {
    return Refuse(REASON_INVALID_ARGUMENT, "controller.id: is {}, the limit is {}", controller.id(),
                  UINT32_MAX);
  }
  if (!controller.zone().empty()) {
    TENURE_RETURN_IF_ERROR(CheckName("controller.zone", controller.zone(), limits.max_name_bytes));
  }
  if (!controller.uuid().empty()) TENURE_RETURN_IF_ERROR(CheckName("controller.uuid", controller.uuid(), 64));
  TENURE_RETURN_IF_ERROR(
      CheckSize("controller.software_version", controller.software_version(), limits.max_name_bytes));
  return CheckAddress("controller.address", controller.address());
}

Status Check(const ipb::UpdateController& update, const CatalogLimits& limits) {
  std::set<uint64_t> ids = {update.controller().id()};
  TENURE_RETURN_IF_ERROR(Check(update.controller(), limits));
  for (const pb::ControllerRecord& other : update.others()) {
    TENURE_RETURN_IF_ERROR(Check(other, limits));
    if (!ids.insert(other.id()).second) {
      return Refuse(REASON_INVALID_ARGUMENT, "others: controller {} is given twice", other.id());
    }
  }
  return OkStatus();
}

Status Check(const ipb::SetVoterTarget& set) {
  if (set.target() >= 1 && set.target() <= kMaxVoterTarget && set.target() % 2 == 1) return OkStatus();
  return Refuse(REASON_INVALID_ARGUMENT, "target: is {}, allowed are 1, 3, 5 and 7", set.target());
}

Status Check(const ipb::InitializeCluster& initialize, const CatalogLimits& limits) {
  TENURE_RETURN_IF_ERROR(CheckName("cluster.cluster_id", initialize.cluster().cluster_id(), 64));
  if (initialize.controllers().empty()) return Refuse(REASON_INVALID_ARGUMENT, "controllers: there is none");
  std::set<uint64_t> ids;
  for (const pb::ControllerRecord& controller : initialize.controllers()) {
    TENURE_RETURN_IF_ERROR(Check(controller, limits));
    if (!ids.insert(controller.id()).second) {
      return Refuse(REASON_INVALID_ARGUMENT, "controllers: id {} is given twice", controller.id());
    }
  }
  return OkStatus();
}

Status Check(const ipb::RecoverRegions& recover, const CatalogLimits& limits) {
  if (recover.items().empty()) return Refuse(REASON_INVALID_ARGUMENT, "items: there is none");
  std::set<uint64_t> ids;
  for (const auto& item : recover.items()) {
    if (!ids.insert(item.region()).second) {
      return Refuse(REASON_INVALID_ARGUMENT, "items: region {} is given twice", item.region());
    }
    TENURE_RETURN_IF_ERROR(CheckSize("by", item.recovery().by(), limits.max_name_bytes));
  }
  return OkStatus();
}

// What schema/ refuses, as every refusal: only what is invalid whatever the state is.
Status AsRefusal(const Status& status) {
  if (status.ok()) return status;
  return MakeRefusal(REASON_INVALID_ARGUMENT, std::string(MessageOf(status)));
}

Status Check(const ipb::SchemaIntent& intent) {
  using Intent = ipb::SchemaIntent;
  switch (intent.body_case()) {
    case Intent::kCreateTable: {
      const auto& create = intent.create_table();
      TENURE_RETURN_IF_ERROR(schema::CheckName("name", create.name()));
      TENURE_RETURN_IF_ERROR(schema::CheckColumns(create.columns()));
      if (create.key_type() != pb::COLUMN_TYPE_UNSPECIFIED && !pb::ColumnType_IsValid(create.key_type()))
        return Error(StatusCode::kInvalidArgument, "key_type: is none of {}", schema::TypeNames());
      return schema::CheckTtl(create.ttl_ms());
    }
    case Intent::kCreateView:
      TENURE_RETURN_IF_ERROR(schema::CheckName("name", intent.create_view().name()));
      return schema::CheckViewColumns(intent.create_view().columns());
    case Intent::kAlterTable:
      return schema::CheckAlteration(intent.alter_table());
    case Intent::kAlterView:
      return schema::CheckViewColumns(intent.alter_view().columns());
    case Intent::kRename:
      return schema::CheckName("to", intent.rename());
    case Intent::kDrop:
      return OkStatus();
    case Intent::BODY_NOT_SET:
      break;
  }
  return Error(StatusCode::kInvalidArgument, "schema_intent: says nothing");
}

// The limits keep a record the same size however long a procedure runs.
Status Check(const pb::ProcedureRecord& procedure) {
  TENURE_RETURN_IF_ERROR(CheckName("procedure.type", procedure.type(), 64));
  const auto check = [](std::string_view field, size_t size, size_t limit) {
    if (size <= limit) return OkStatus();
    return Refuse(REASON_INVALID_ARGUMENT, "procedure.{}: has {} bytes, the limit is {}", field, size, limit);
  };
  TENURE_RETURN_IF_ERROR(check("step", procedure.step().size(), 64));
  TENURE_RETURN_IF_ERROR(check("body", procedure.body().size(), 1 << 20));
  TENURE_RETURN_IF_ERROR(check("last_error", procedure.last_error().size(), 1024));
  return check("description", procedure.description().size(), 1024);
}

Status Check(const ipb::AdvanceProcedure& advance) {
  TENURE_RETURN_IF_ERROR(Check(advance.procedure()));
  for (const pb::ProcedureRecord& spawned : advance.spawn()) TENURE_RETURN_IF_ERROR(Check(spawned));
  return OkStatus();
}

Status Check(const ipb::SubmitProcedure& submit, const CatalogLimits& limits) {
  TENURE_RETURN_IF_ERROR(Check(submit.procedure()));
  if (submit.effect().has_create_database()) return Check(submit.effect().create_database(), limits);
  if (submit.effect().has_schema_intent()) return AsRefusal(Check(submit.effect().schema_intent()));
  return OkStatus();
}

Status Check(const ipb::SetFencing& set) {
  if (set.mode() != pb::FENCING_STRICT && set.mode() != pb::FENCING_AVAILABLE) {
    return Refuse(REASON_INVALID_ARGUMENT, "mode: {} is neither FENCING_STRICT nor FENCING_AVAILABLE",
                  static_cast<int>(set.mode()));
  }
  if (set.fence_ms() < ToMillis(kMinFenceTime) || set.fence_ms() > ToMillis(kMaxFenceTime)) {
    return Refuse(REASON_INVALID_ARGUMENT, "fence_ms: {} is not in {}..{}", set.fence_ms(),
                  ToMillis(kMinFenceTime), ToMillis(kMaxFenceTime));
  }
  return OkStatus();
}

// Names stand in names of files, topics and transactions.
Status CheckChangefeedName(std::string_view name) {
  constexpr size_t kMaxBytes = 64;
  if (name.empty()) return Refuse(REASON_INVALID_ARGUMENT, "name: must not be empty");
  if (name.size() > kMaxBytes) {
    return Refuse(REASON_INVALID_ARGUMENT, "name: has {} bytes, the limit is {}", name.size(), kMaxBytes);
  }
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  if (name[0] != '-' && std::all_of(name.begin(), name.end(), allowed)) return OkStatus();
  return Refuse(REASON_INVALID_ARGUMENT,
                "name: '{}' has characters other than letters, digits, '-' and '_', or begins with '-'",
                name);
}

Status CheckText(std::string_view field, const std::string& text, size_t limit) {
  if (text.size() <= limit) return OkStatus();
  return Refuse(REASON_INVALID_ARGUMENT, "{}: has {} bytes, the limit is {}", field, text.size(), limit);
}

Status CheckRange(std::string_view field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return OkStatus();
  return Refuse(REASON_INVALID_ARGUMENT, "{}: {} is not in {}..{}", field, value, low, high);
}

constexpr size_t kMaxFilterBytes = 16 << 10;
constexpr size_t kMaxSinkBytes = 4 << 10;
constexpr int64_t kMinGcTtlMs = 60'000;
constexpr int64_t kMaxGcTtlMs = int64_t{365} * 24 * 3600 * 1000;
constexpr int64_t kMinStallMs = 1'000;
constexpr int64_t kMaxStallMs = int64_t{24} * 3600 * 1000;

Status Check(const ipb::CreateChangefeed& create) {
  const pb::ChangefeedRecord& feed = create.changefeed();
  TENURE_RETURN_IF_ERROR(CheckChangefeedName(feed.name()));
  TENURE_RETURN_IF_ERROR(CheckText("filter", feed.filter(), kMaxFilterBytes));
  TENURE_RETURN_IF_ERROR(CheckText("sink", feed.sink(), kMaxSinkBytes));
  if (feed.sink().empty()) return Refuse(REASON_INVALID_ARGUMENT, "sink: must not be empty");
  if (feed.target_ts() != 0 && feed.target_ts() <= feed.requested_start_ts()) {
    return Refuse(REASON_INVALID_ARGUMENT, "target_ts: {} is not above start_ts {}", feed.target_ts(),
                  feed.requested_start_ts());
  }
  TENURE_RETURN_IF_ERROR(CheckRange("gc_ttl_ms", feed.gc_ttl_ms(), kMinGcTtlMs, kMaxGcTtlMs));
  return CheckRange("stall_after_ms", feed.stall_after_ms(), kMinStallMs, kMaxStallMs);
}

Status Check(const ipb::ChangeChangefeed& change) {
  if (change.body_case() == ipb::ChangeChangefeed::BODY_NOT_SET)
    return Refuse(REASON_INVALID_ARGUMENT, "change_changefeed: says nothing");
  if (!change.has_update()) return OkStatus();
  const auto& update = change.update();
  TENURE_RETURN_IF_ERROR(CheckText("filter", update.filter(), kMaxFilterBytes));
  TENURE_RETURN_IF_ERROR(CheckText("sink", update.sink(), kMaxSinkBytes));
  if (update.has_sink() && update.sink().empty())
    return Refuse(REASON_INVALID_ARGUMENT, "sink: must not be empty");
  if (update.has_gc_ttl_ms())
    TENURE_RETURN_IF_ERROR(CheckRange("gc_ttl_ms", update.gc_ttl_ms(), kMinGcTtlMs, kMaxGcTtlMs));
  if (!update.has_stall_after_ms()) return OkStatus();
  return CheckRange("stall_after_ms", update.stall_after_ms(), kMinStallMs, kMaxStallMs);
}

// What a coordinator writes names the epoch that it relies on, always.
Status CheckIfEpoch(std::string_view command, uint64_t if_epoch) {
  if (if_epoch != 0) return OkStatus();
  return Refuse(REASON_INVALID_ARGUMENT, "{}.if_epoch: must not be 0", command);
}

Status Check(const ipb::ProgressChangefeed& progress) {
  TENURE_RETURN_IF_ERROR(CheckIfEpoch("progress_changefeed", progress.if_epoch()));
  return CheckText("fault.message", progress.fault().message(), 4096);
}

template <class State>
Status CheckMove(State from, State to) {
  if (IsLegalMove(from, to)) return OkStatus();
  return Refuse(REASON_INVALID_ARGUMENT, "to: {} -> {} is no legal move", NameOf(from), NameOf(to));
}

Status CheckBody(const ipb::CatalogCommand& command, const CatalogLimits& limits) {
  using Command = ipb::CatalogCommand;
  switch (command.body_case()) {
    case Command::kInitializeCluster:
      return Check(command.initialize_cluster(), limits);
    case Command::kPutEntry:
      return Check(command.put_entry(), limits);
    case Command::kDeleteEntry:
      return CheckEntryKey(command.delete_entry().key(), limits);
    case Command::kRegisterNode:
      return Check(command.register_node(), limits);
    case Command::kCreateDatabase:
      return Check(command.create_database(), limits);
    case Command::kSetDatabaseState:
      return CheckMove(command.set_database_state().from(), command.set_database_state().to());
    case Command::kSetRegionState:
      return CheckMove(command.set_region_state().from(), command.set_region_state().to());
    case Command::kUpdateController:
      return Check(command.update_controller(), limits);
    case Command::kRaiseFormat:
      if (command.raise_format().to() >= kOldestFormat && command.raise_format().to() <= kNewestFormat)
        return OkStatus();
      return Refuse(REASON_INVALID_ARGUMENT, "to: format {} is not in {}..{}", command.raise_format().to(),
                    kOldestFormat, kNewestFormat);
    case Command::kAddController:
      return Check(command.add_controller().controller(), limits);
    case Command::kSetVoterTarget:
      return Check(command.set_voter_target());
    case Command::kRemoveController:
    case Command::kPromoteController:
    case Command::kSetControllerRole:
    case Command::kSetNodeState:
    case Command::kRemoveRegion:
    case Command::kRemoveDatabase:
      return OkStatus();
    case Command::kSubmitProcedure:
      return Check(command.submit_procedure(), limits);
    case Command::kAdvanceProcedure:
      return Check(command.advance_procedure());
    case Command::kCancelProcedure:
    case Command::kForgetProcedures:
    case Command::kReportRegions:
    case Command::kLowerFencingBound:
      return OkStatus();
    case Command::kSetFencing:
      return Check(command.set_fencing());
    case Command::kCreateChangefeed:
      return Check(command.create_changefeed());
    case Command::kChangeChangefeed:
      return Check(command.change_changefeed());
    case Command::kProgressChangefeed:
      return Check(command.progress_changefeed());
    case Command::kSetChangefeedOwner:
      return CheckIfEpoch("set_changefeed_owner", command.set_changefeed_owner().if_epoch());
    case Command::kDropChangefeed:
      return CheckIfEpoch("drop_changefeed", command.drop_changefeed().if_epoch());
    case Command::kRecoverRegions:
      return Check(command.recover_regions(), limits);
    case Command::kRecoverCluster:
      return Refuse(REASON_INVALID_ARGUMENT,
                    "recover_cluster: is written into a stopped controller's log, never proposed");
    case Command::BODY_NOT_SET:
      break;
  }
  return Refuse(pb::REASON_UNSUPPORTED_FORMAT, "command: its type is not known to this version");
}

}  // namespace

Status Catalog::Validate(const ipb::CatalogCommand& command, const CatalogLimits& limits) {
  if (command.version() == 0 || command.version() > kNewestFormat) {
    return Refuse(pb::REASON_UNSUPPORTED_FORMAT, "version: {} is not in 1..{}", command.version(),
                  kNewestFormat);
  }
  if (command.has_id()) {
    if (command.id().client_id() != 0 && command.id().sequence() == 0) {
      return Refuse(REASON_INVALID_ARGUMENT, "id.sequence: must not be 0");
    }
    if (command.id().answered_below() > command.id().sequence()) {
      return Refuse(REASON_INVALID_ARGUMENT, "id.answered_below: {} is above the request's own sequence {}",
                    command.id().answered_below(), command.id().sequence());
    }
  }
  return CheckBody(command, limits);
}

}  // namespace tenure::catalog
