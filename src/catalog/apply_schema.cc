#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "catalog/apply.h"
#include "catalog/history.h"
#include "catalog/keys.h"
#include "catalog/procedures.h"
#include "catalog/state_moves.h"
#include "schema/shape.h"

namespace tenure::catalog::apply {

using namespace ::tenure::v1;

namespace {

using commands::SchemaIntent;
using commands::SchemaStep;

CatalogResult FromStatus(const Status& status, uint64_t revision = 0) {
  Reason reason = REASON_INVALID_ARGUMENT;
  if (status.code() == StatusCode::kNotFound) reason = REASON_NOT_FOUND;
  if (status.code() == StatusCode::kAlreadyExists) reason = REASON_ALREADY_EXISTS;
  return Refused(reason, std::string(MessageOf(status)), revision);
}

// "table 7 ('orders')".
std::string Describe(const Record& record) {
  return record.has_table()
             ? fmt::format("table {} ('{}')", record.table().id(), record.table().shape().name())
             : fmt::format("view {} ('{}')", record.view().id(), record.view().shape().name());
}

TableState StateOf(const Record& record) {
  return record.has_table() ? record.table().state() : record.view().state();
}
uint64_t DatabaseOf(const Record& record) {
  return record.has_table() ? record.table().database() : record.view().database();
}

const Record* Find(const Records& records, uint64_t id) {
  const Record* table = records.tables.Find(id);
  return table != nullptr ? table : records.views.Find(id);
}

void Index(Records& records, const Record& record) {
  const auto add = [&](uint64_t id, const auto& shape) {
    if (!shape.name().empty()) records.schema_names[{DatabaseOf(record), shape.name()}] = id;
  };
  if (record.has_table()) {
    add(record.table().id(), record.table().shape());
    add(record.table().id(), record.table().next());
  } else {
    add(record.view().id(), record.view().shape());
    add(record.view().id(), record.view().next());
  }
}

void Unindex(Records& records, const Record& record) {
  const auto drop = [&](const auto& shape) {
    records.schema_names.erase({DatabaseOf(record), shape.name()});
  };
  if (record.has_table()) {
    drop(record.table().shape());
    drop(record.table().next());
  } else {
    drop(record.view().shape());
    drop(record.view().next());
  }
}

void Put(Records& records, Record record, Change& change) {
  const uint64_t id = record.has_table() ? record.table().id() : record.view().id();
  RecordTable& place = record.has_table() ? records.tables : records.views;
  if (const Record* before = place.Find(id)) Unindex(records, *before);
  Index(records, place.Put(id, std::move(record), change));
}

void Erase(Records& records, uint64_t id, Change& change) {
  const Record* found = Find(records, id);
  Unindex(records, *found);
  (found->has_table() ? records.tables : records.views).Erase(id, change);
}

// " (procedure 12)"; empty if there is none.
std::string ChangedBy(const Records& records, uint64_t id) {
  for (const auto& [number, record] : records.procedures.all()) {
    if (IsEnded(record.procedure().state())) continue;
    for (const ProcedureLock& lock : record.procedure().locks()) {
      if (lock.object() == LOCKED_TABLE && lock.id() == id && !lock.shared())
        return fmt::format(" (procedure {})", number);
    }
  }
  return "";
}

CatalogResult CheckPublic(const Records& records, const Record& record) {
  const TableState state = StateOf(record);
  if (state == TABLE_PUBLIC) return {};
  const uint64_t id = record.has_table() ? record.table().id() : record.view().id();
  return Refused(REASON_CONDITION_FAILED,
                 fmt::format("{} is {}{}", Describe(record), NameOf(state), ChangedBy(records, id)),
                 record.modify_revision());
}

CatalogResult CheckNameFree(const Records& records, uint64_t database, const std::string& name) {
  const auto found = records.schema_names.find({database, name});
  if (found == records.schema_names.end()) return {};
  const Record& holder = *Find(records, found->second);
  return Refused(REASON_ALREADY_EXISTS,
                 fmt::format("name: database {} has {} '{}' already (id {}, {}){}", database,
                             holder.has_table() ? "a table" : "a view", name, found->second,
                             NameOf(StateOf(holder)), ChangedBy(records, found->second)),
                 holder.modify_revision());
}

// Of a database that may be given another table or view of this name.
CatalogResult CheckRoom(const Records& records, uint64_t database, const std::string& name) {
  const Record* found = records.databases.Find(database);
  if (found == nullptr) return Refused(REASON_NOT_FOUND, fmt::format("database {} does not exist", database));
  if (found->database().state() != DATABASE_PUBLIC) {
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("database {} ('{}') is {}, expected PUBLIC", database,
                               found->database().name(), NameOf(found->database().state())),
                   found->modify_revision());
  }
  if (CatalogResult taken = CheckNameFree(records, database, name); IsRefusal(taken)) return taken;
  const auto first = records.schema_names.lower_bound({database, std::string()});
  const auto last = records.schema_names.lower_bound({database + 1, std::string()});
  if (static_cast<size_t>(std::distance(first, last)) < schema::kMaxTablesPerDatabase) return {};
  return Refused(REASON_CONDITION_FAILED,
                 fmt::format("database {} ('{}') has {} tables and views, which is the limit", database,
                             found->database().name(), schema::kMaxTablesPerDatabase),
                 found->modify_revision());
}

uint64_t TakeId(Records& records, Change& change) {
  const uint64_t id = std::max<uint64_t>(records.ids.next_table(), 1);
#ifdef TENURE_MUTANT_table_id_reused
  if (records.views.all().empty())
    return records.tables.all().empty() ? 1 : records.tables.all().rbegin()->first + 1;
#endif
  records.ids.set_next_table(id + 1);
  change.state.Put(kIdsKey, records.ids.SerializeAsString());
  return id;
}

CatalogResult CreateTable(Records& records, const SchemaIntent::CreateTable& create, Change& change) {
  if (CatalogResult refused = CheckRoom(records, create.database(), create.name()); IsRefusal(refused))
    return refused;
  Record record;
  TableRecord& table = *record.mutable_table();
  table.set_id(TakeId(records, change));
  table.set_database(create.database());
  table.set_state(TABLE_CREATING);
  table.set_key_type(create.key_type() == COLUMN_TYPE_UNSPECIFIED ? COLUMN_BYTES : create.key_type());
  table.set_slot_name(create.name());
  table.set_created_at_ms(change.now_ms);
  uint32_t next_column = 1;
  TableShape& shape = *table.mutable_shape();
  shape.set_version(1);
  shape.set_name(create.name());
  *shape.mutable_columns() = schema::WithIds(create.columns(), next_column);
  shape.set_ttl_ms(create.ttl_ms());
  table.set_next_column(next_column);
  table.set_next_version(2);
  const uint64_t id = table.id();
  Put(records, std::move(record), change);
  return Done(change, true, id);
}

// The columns that a view is to show: of a table that is not being changed itself.
StatusOr<google::protobuf::RepeatedPtrField<ViewColumn>> Shown(const Records& records, uint64_t table,
                                                               const schema::ViewColumnRequests& columns,
                                                               CatalogResult& refused) {
  const Record* found = records.tables.Find(table);
  if (found == nullptr) {
    refused = Refused(REASON_NOT_FOUND, fmt::format("table {} does not exist", table));
    return Error(StatusCode::kNotFound, "{}", refused.message());
  }
  refused = CheckPublic(records, *found);
  if (IsRefusal(refused)) return Error(StatusCode::kAborted, "{}", refused.message());
  auto resolved = schema::Resolve(columns, found->table().shape());
  if (!resolved.ok()) refused = FromStatus(resolved.status(), found->modify_revision());
  return resolved;
}

CatalogResult CreateView(Records& records, const SchemaIntent::CreateView& create, Change& change) {
  if (CatalogResult refused = CheckRoom(records, create.database(), create.name()); IsRefusal(refused))
    return refused;
  CatalogResult refused;
  auto columns = Shown(records, create.table(), create.columns(), refused);
  if (!columns.ok()) return refused;
  const Record& table = *records.tables.Find(create.table());
  if (table.table().database() != create.database()) {
    return Refused(REASON_INVALID_ARGUMENT,
                   fmt::format("table: {} is of database {}, not of {}", Describe(table),
                               table.table().database(), create.database()));
  }
  Record record;
  ViewRecord& view = *record.mutable_view();
  view.set_id(TakeId(records, change));
  view.set_database(create.database());
  view.set_table(create.table());
  view.set_state(TABLE_CREATING);
  view.mutable_shape()->set_version(1);
  view.mutable_shape()->set_name(create.name());
  *view.mutable_shape()->mutable_columns() = *std::move(columns);
  view.set_next_version(2);
  view.set_created_at_ms(change.now_ms);
  const uint64_t id = view.id();
  Put(records, std::move(record), change);
  return Done(change, true, id);
}

// A column that a view shows, now or soon, stays.
CatalogResult CheckUnused(const Records& records, const Record& table, const TableAlteration& alteration) {
  for (const std::string& name : alteration.drop_columns()) {
    const ColumnRecord* column = schema::FindColumn(table.table().shape(), name);
    if (column == nullptr) continue;
    for (const auto& [id, record] : records.views.all()) {
      if (record.view().table() != table.table().id()) continue;
      for (const ViewShape* shape : {&record.view().shape(), &record.view().next()}) {
        for (const ViewColumn& shown : shape->columns()) {
          if (shown.column() != column->id()) continue;
          return Refused(REASON_CONDITION_FAILED,
                         fmt::format("drop_columns: column '{}' of {} is shown by {}", name, Describe(table),
                                     Describe(record)),
                         record.modify_revision());
        }
      }
    }
  }
  return {};
}

CatalogResult AlterTable(Records& records, const Record& found, const TableAlteration& alteration,
                         Change& change) {
  if (CatalogResult refused = CheckUnused(records, found, alteration); IsRefusal(refused)) return refused;
  uint32_t next_column = found.table().next_column();
  auto next = schema::Altered(found.table().shape(), alteration, next_column);
  if (!next.ok()) return FromStatus(next.status(), found.modify_revision());
  Record record = found;
  TableRecord& table = *record.mutable_table();
  next->set_version(table.next_version());
  *table.mutable_next() = *std::move(next);
  table.set_state(TABLE_ALTERING);
  table.set_next_column(next_column);
  table.set_next_version(table.next_version() + 1);
  Put(records, std::move(record), change);
  return Done(change);
}

CatalogResult AlterView(Records& records, const Record& found, const SchemaIntent::AlterView& alteration,
                        Change& change) {
  CatalogResult refused;
  auto columns = Shown(records, found.view().table(), alteration.columns(), refused);
  if (!columns.ok()) return refused;
  Record record = found;
  ViewRecord& view = *record.mutable_view();
  *view.mutable_next() = view.shape();
  *view.mutable_next()->mutable_columns() = *std::move(columns);
  view.mutable_next()->set_version(view.next_version());
  view.set_next_version(view.next_version() + 1);
  view.set_state(TABLE_ALTERING);
  Put(records, std::move(record), change);
  return Done(change);
}

// Of a table or a view: the same shape under another name.
template <class Object>
void SetNextName(Object& object, const std::string& name) {
  *object.mutable_next() = object.shape();
  object.mutable_next()->set_name(name);
  object.mutable_next()->set_version(object.next_version());
  object.set_next_version(object.next_version() + 1);
  object.set_state(TABLE_ALTERING);
}

CatalogResult Rename(Records& records, const Record& found, const std::string& name, Change& change) {
  if (CatalogResult taken = CheckNameFree(records, DatabaseOf(found), name); IsRefusal(taken)) return taken;
  Record record = found;
  if (record.has_table()) {
    SetNextName(*record.mutable_table(), name);
  } else {
    SetNextName(*record.mutable_view(), name);
  }
  Put(records, std::move(record), change);
  return Done(change);
}

CatalogResult Drop(Records& records, const Record& found, Change& change) {
  for (const auto& [id, view] : records.views.all()) {
    if (!found.has_table() || view.view().table() != found.table().id()) continue;
    return Refused(REASON_CONDITION_FAILED,
                   fmt::format("{} is shown by {}: drop that first", Describe(found), Describe(view)),
                   view.modify_revision());
  }
  Record record = found;
  if (record.has_table()) {
    record.mutable_table()->set_state(TABLE_PRE_DELETE);
  } else {
    record.mutable_view()->set_state(TABLE_PRE_DELETE);
  }
  Put(records, std::move(record), change);
  return Done(change);
}

// The shape that is published: the next one, if there is one.
template <class Object>
void Publish(Object& object) {
  if (object.has_next()) *object.mutable_shape() = std::move(*object.mutable_next());
  object.clear_next();
  object.set_state(TABLE_PUBLIC);
}

// What must hold of a table or view for a step of its change.
CatalogResult CheckStep(const Record& found, SchemaStep::Op op) {
  const TableState state = StateOf(found);
  const bool deleting = found.has_table() && found.table().data_deletion();
  bool fits = false;
  switch (op) {
    case SchemaStep::PUBLISH:
      fits = state == TABLE_CREATING || state == TABLE_ALTERING;
      break;
    case SchemaStep::ROLL_BACK:
      fits = state != TABLE_PUBLIC && !deleting;
#ifdef TENURE_MUTANT_rollback_after_deletion
      fits = state != TABLE_PUBLIC;
#endif
      break;
    case SchemaStep::DELETE_DATA:
      fits = state == TABLE_PRE_DELETE && found.has_table();
      break;
    case SchemaStep::ERASE:
      fits = state == TABLE_PRE_DELETE && (deleting || found.has_view());
      break;
    case SchemaStep::SEAL:
      fits = state == TABLE_PUBLIC && found.has_table();
      break;
    default:
      break;
  }
  if (fits) return {};
  return Refused(REASON_CONDITION_FAILED,
                 fmt::format("{} is {}{}: {} does not fit", Describe(found), NameOf(state),
                             deleting ? " with its data being deleted" : "", SchemaStep::Op_Name(op)),
                 found.modify_revision());
}

}  // namespace

CatalogResult BeginSchemaChange(Records& records, const SchemaIntent& intent, Change& change) {
  if (intent.has_create_table()) return CreateTable(records, intent.create_table(), change);
  if (intent.has_create_view()) return CreateView(records, intent.create_view(), change);
  const Record* found = Find(records, intent.object());
  if (found == nullptr)
    return Refused(REASON_NOT_FOUND, fmt::format("table or view {} does not exist", intent.object()));
  if (CatalogResult refused = CheckPublic(records, *found); IsRefusal(refused)) return refused;
  if (found->has_table()) {
    const bool drops = intent.body_case() == SchemaIntent::kDrop;
    CatalogResult refused = drops ? CheckRoomForDrop(records, *found) : CheckRoomForVersion(records, *found);
    if (IsRefusal(refused)) return refused;
  }
  if (intent.has_alter_table() && found->has_table())
    return AlterTable(records, *found, intent.alter_table(), change);
  if (intent.has_alter_view() && found->has_view())
    return AlterView(records, *found, intent.alter_view(), change);
  if (intent.body_case() == SchemaIntent::kRename) return Rename(records, *found, intent.rename(), change);
  if (intent.body_case() == SchemaIntent::kDrop) return Drop(records, *found, change);
  return Refused(REASON_INVALID_ARGUMENT, fmt::format("{} cannot be altered like this", Describe(*found)));
}

CatalogResult AdvanceSchema(Records& records, const SchemaStep& step, Change& change) {
  const Record* found = Find(records, step.object());
  if (found == nullptr)
    return Refused(REASON_NOT_FOUND, fmt::format("table or view {} does not exist", step.object()));
  if (CatalogResult refused = CheckStep(*found, step.op()); IsRefusal(refused)) return refused;
  Record record = *found;
  TableRecord* table = record.has_table() ? record.mutable_table() : nullptr;
  ViewRecord* view = record.has_view() ? record.mutable_view() : nullptr;
  const bool erased = step.op() == SchemaStep::ERASE ||
                      (step.op() == SchemaStep::ROLL_BACK && StateOf(record) == TABLE_CREATING);
  const bool keeps = KeepsHistory(records) && table != nullptr;
  if (erased) {
    if (keeps && step.op() == SchemaStep::ERASE && IsRefusal(CheckNotFollowed(records, table->database())))
      AddDropped(records, *table, step.announced_ts(), change);
    Erase(records, step.object(), change);
    return Done(change);
  }
  if (step.op() == SchemaStep::DELETE_DATA) {
    table->set_data_deletion(true);
  } else if (step.op() == SchemaStep::SEAL) {
    if (keeps) Seal(records, *table, step.announced_ts(), change);
  } else {
    if (keeps && step.op() == SchemaStep::PUBLISH) AddVersion(records, *table);
    if (step.op() == SchemaStep::ROLL_BACK) {
      if (table != nullptr) table->clear_next();
      if (view != nullptr) view->clear_next();
    }
    if (table != nullptr) Publish(*table);
    if (view != nullptr) Publish(*view);
  }
  Put(records, std::move(record), change);
  return Done(change);
}

void LeaveOutVersions(Records& records, uint32_t count, Change& change) {
  std::vector<Record> changed;
  for (const RecordTable* place : {&records.tables, &records.views}) {
    for (const auto& [id, record] : place->all()) changed.push_back(record);
  }
  const auto raise = [count](auto& object) {
    uint64_t next = object.next_version() + count;
    object.mutable_shape()->set_version(next++);
    if (object.has_next()) object.mutable_next()->set_version(next++);
    object.set_next_version(next);
  };
  for (Record& record : changed) {
    if (record.has_view()) {
      raise(*record.mutable_view());
    } else {
      TableRecord& table = *record.mutable_table();
      const TableShape before = table.shape();
      raise(table);
      table.set_next_column(table.next_column() + count);
      if (KeepsHistory(records) && table.state() != TABLE_CREATING) AddSame(records, before, table, change);
    }
    Put(records, std::move(record), change);
  }
}

void EraseSchemaOf(Records& records, uint64_t database, Change& change) {
  std::vector<uint64_t> ids;
  for (const auto& [id, record] : records.views.all()) {
    if (record.view().database() == database) ids.push_back(id);
  }
  for (const auto& [id, record] : records.tables.all()) {
    if (record.table().database() == database) ids.push_back(id);
  }
  for (const uint64_t id : ids) Erase(records, id, change);
}

void IndexSchemaNames(Records& records) {
  records.schema_names.clear();
  for (const auto& [id, record] : records.tables.all()) Index(records, record);
  for (const auto& [id, record] : records.views.all()) Index(records, record);
}

}  // namespace tenure::catalog::apply
