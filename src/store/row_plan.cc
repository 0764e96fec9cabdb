#include "store/row_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "schema/shape.h"
#include "schema/values.h"
#include "store/command_list.h"
#include "store/dispatch.h"
#include "store/errors.h"

namespace tenure::store {
namespace {

using namespace ::tenure::v1;
using enum RowOperation;

struct Planned {
  std::string_view name;
  RowOperation operation;
};
constexpr auto kPlanned = std::to_array<Planned>({
    {"del", kRemove},     {"exists", kExists},     {"expiretime", kExpireTime},
    {"hdel", kErase},     {"hexists", kHas},       {"hget", kGet},
    {"hgetall", kGetAll}, {"hincrby", kIncrement}, {"hincrbyfloat", kIncrementFloat},
    {"hkeys", kNames},    {"hlen", kCount},        {"hmget", kGetMany},
    {"hmset", kSetOk},    {"hset", kSet},          {"hsetnx", kSetIfAbsent},
    {"hstrlen", kLength}, {"hvals", kValues},      {"pexpiretime", kPExpireTime},
    {"pttl", kPTtl},      {"touch", kExists},      {"ttl", kTtl},
    {"type", kType},      {"unlink", kRemove},
});
static_assert(std::ranges::is_sorted(kPlanned, {}, &Planned::name));

constexpr size_t kQuotedBytes = 128;

std::string Quoted(std::string_view text) {
  return "'" + PrintableInError(text.substr(0, kQuotedBytes)) + (text.size() > kQuotedBytes ? "..." : "") +
         "'";
}

template <class... Args>
Reply Refused(fmt::format_string<Args...> format, Args&&... args) {
  return Reply::Error("ERR " + fmt::format(format, std::forward<Args>(args)...));
}

// Why a table or view in this state is not served.
std::optional<Reply> Unavailable(std::string_view what, const std::string& name, TableState state) {
  if (state == TABLE_PRE_DELETE) return Refused("{} '{}' is being dropped", what, name);
  if (state == TABLE_CREATING)
    return Reply::Error(fmt::format("TRYAGAIN {} '{}' is being created", what, name));
  return std::nullopt;
}

RowSchema::Column ColumnOf(const ColumnRecord& record, const std::string& name) {
  RowSchema::Column column;
  column.column.id = record.id();
  column.column.name = name;
  if (record.has_default_value()) column.column.fallback = record.default_value();
  column.type = record.type();
  column.nullable = record.nullable();
  return column;
}

RowSchema CommonOf(const TableRecord& table) {
  RowSchema schema;
  schema.table = table.id();
  schema.version = table.shape().version();
  schema.table_name = table.shape().name();
  schema.slot_name = table.slot_name();
  schema.key_type = table.key_type();
  schema.ttl_ms = table.shape().ttl_ms();
  return schema;
}

// One key of a row and one operation: what the planner of a command works on.
class Planner {
 public:
  Planner(const CommandSpec& spec, const Arguments& arguments, const RowSchemas& schemas)
      : spec_(spec), arguments_(arguments), schemas_(schemas) {}

  std::variant<RowCommand, Reply> Plan();

 private:
  using Error = std::optional<Reply>;
  const RowSchema& schema() const { return *schema_; }
  std::string What() const {
    return fmt::format("{} {}", schema().is_view ? "view" : "table", Quoted(name_));
  }
  Error CheckOperation();
  Error AddKeys();
  Error AddKey(std::string_view key);
  Error AddColumns();
  Error AddColumn(std::string_view name, const RowSchema::Column** found);
  Error AddValue(const RowSchema::Column& column, std::string_view name, const std::string& text);
  Error AddAssignments();
  Error AddIncrement();

  const CommandSpec& spec_;
  const Arguments& arguments_;
  const RowSchemas& schemas_;
  const RowSchema* schema_ = nullptr;  // of the first key that is a row's
  std::string_view name_;              // by which that key calls it
  RowCommand command_;
  std::shared_ptr<RowColumns> columns_ = std::make_shared<RowColumns>();
};

std::variant<RowCommand, Reply> Planner::Plan() {
  VisitKeys(spec_, arguments_, [this](std::string_view key) {
    schema_ = schemas_.OfKey(key);
    name_ = TableNameOfKey(key);
    return schema_ == nullptr;
  });
  TENURE_CHECK(schema_ != nullptr, "'{}' names no row", spec_.name);
  if (schema().unavailable) return *schema().unavailable;
  if (auto error = CheckOperation()) return *std::move(error);
  // Odd arguments of HSET, an increment that is no number.
  if (const auto check = ImplementationOf(spec_).check; check != nullptr) {
    if (auto error = check(arguments_)) return *std::move(error);
  }
  command_.table = schema().table_name;
  command_.ttl_ms = schema().ttl_ms;
  if (auto error = AddKeys()) return *std::move(error);
  if (auto error = AddColumns()) return *std::move(error);
  if (command_.columns == nullptr) command_.columns = std::move(columns_);
  return std::move(command_);
}

Planner::Error Planner::CheckOperation() {
  const auto* const planned = std::ranges::lower_bound(kPlanned, spec_.name, {}, &Planned::name);
  if (planned == kPlanned.end() || planned->name != spec_.name) {
    if (spec_.name.find("expire") != std::string_view::npos || spec_.name == "persist") {
      return Refused("{}: '{}' is for plain keys, rows expire by the ttl of their table", What(), spec_.name);
    }
    return Reply::Error(
        fmt::format("WRONGTYPE {}: '{}' is for plain keys, not for rows", What(), spec_.name));
  }
  command_.operation = planned->operation;
  return std::nullopt;
}

Planner::Error Planner::AddKeys() {
  Error error;
  VisitKeys(spec_, arguments_, [&](std::string_view key) {
    error = AddKey(key);
    return !error;
  });
  return error;
}

Planner::Error Planner::AddKey(std::string_view key) {
  const RowSchema* const of_key = schemas_.OfKey(key);
  if (of_key == nullptr) {
    command_.keys.push_back({.slot = SlotOfKey(key), .key = std::string(key)});
  } else {
    if (of_key->is_view && spec_.write) {
      return Refused("view {} of table '{}' cannot be written", Quoted(TableNameOfKey(key)),
                     of_key->table_name);
    }
    auto place = PlaceOf(*of_key, key);
    if (auto* const error = std::get_if<Reply>(&place)) return std::move(*error);
    command_.keys.push_back(std::get<RowKey>(std::move(place)));
  }
  if (command_.keys.back().slot == command_.keys.front().slot) return std::nullopt;
  return Reply::Error(
      "CROSSSLOT The rows that the command names lie in different slots: rows of a table that was renamed, "
      "and of a "
      "view, lie where the table's first name puts them");
}

Planner::Error Planner::AddColumn(std::string_view name, const RowSchema::Column** found) {
  const auto it = schema().columns.find(name);
  if (it == schema().columns.end()) return Refused("{} has no column {}", What(), Quoted(name));
  *found = &it->second;
  return std::nullopt;
}

Planner::Error Planner::AddValue(const RowSchema::Column& column, std::string_view name,
                                 const std::string& text) {
  auto value = schema::Canonical(column.type, text);
  if (!value.ok()) return Refused("{}: column {}: {}", What(), Quoted(name), MessageOf(value.status()));
  for (size_t i = 0; i < columns_->size(); ++i) {
    if ((*columns_)[i].id != column.column.id) continue;
    command_.values[i] = *std::move(value);  // named twice: the later one counts
    return std::nullopt;
  }
  columns_->push_back(column.column);
  command_.values.push_back(*std::move(value));
  return std::nullopt;
}

Planner::Error Planner::AddAssignments() {
  for (size_t at = 2; at + 1 < arguments_.size(); at += 2) {
    const RowSchema::Column* column = nullptr;
    if (auto error = AddColumn(arguments_[at], &column)) return error;
    if (auto error = AddValue(*column, arguments_[at], arguments_[at + 1])) return error;
  }
  return std::nullopt;
}

Planner::Error Planner::AddIncrement() {
  const RowSchema::Column* column = nullptr;
  if (auto error = AddColumn(arguments_[2], &column)) return error;
  const ColumnType wanted = command_.operation == kIncrement ? COLUMN_INT64 : COLUMN_FLOAT64;
  if (column->type != wanted) {
    return Refused("{}: column {} is {}: '{}' is for {}", What(), Quoted(arguments_[2]),
                   schema::NameOf(column->type), spec_.name, schema::NameOf(wanted));
  }
  return AddValue(*column, arguments_[2], arguments_[3]);
}

Planner::Error Planner::AddColumns() {
  Error error;
  switch (command_.operation) {
    case kSet:
    case kSetOk:
    case kSetIfAbsent:
      error = AddAssignments();
      break;
    case kIncrement:
    case kIncrementFloat:
      error = AddIncrement();
      break;
    case kErase:
    case kGet:
    case kGetMany:
    case kHas:
    case kLength:
      for (size_t at = 2; at < arguments_.size() && !error; ++at) {
        const RowSchema::Column* column = nullptr;
        error = AddColumn(arguments_[at], &column);
        if (error) break;
        if (command_.operation == kErase && !column->nullable)
          return Refused("{}: column {} is not nullable", What(), Quoted(arguments_[at]));
        columns_->push_back(column->column);
      }
      break;
    case kGetAll:
    case kNames:
    case kValues:
    case kCount:
      command_.columns = schema().shown;
      break;
    default:
      break;
  }
  if (error || command_.operation > kIncrementFloat || command_.operation == kErase) return error;
  for (const RowColumn& required : schema().required) {
    const bool given =
        std::ranges::any_of(*columns_, [&](const RowColumn& column) { return column.id == required.id; });
    if (given) continue;
    command_.missing = required.name;
    break;
  }
  return std::nullopt;
}

}  // namespace

RowSchema SchemaOf(const TableRecord& table) {
  RowSchema schema = CommonOf(table);
  schema.unavailable = Unavailable("table", table.shape().name(), table.state());
  auto shown = std::make_shared<RowColumns>();
  for (const ColumnRecord& record : table.shape().columns()) {
    RowSchema::Column column = ColumnOf(record, record.name());
    shown->push_back(column.column);
    if (!record.nullable() && !record.has_default_value()) schema.required.push_back(column.column);
    schema.columns.emplace(record.name(), std::move(column));
  }
  schema.shown = std::move(shown);
  // Does not replace: a name of the shape in force means what it means there.
  for (const ColumnRecord& record : table.next().columns())
    schema.columns.emplace(record.name(), ColumnOf(record, record.name()));
  return schema;
}

RowSchema SchemaOf(const ViewRecord& view, const TableRecord& table) {
  RowSchema schema = CommonOf(table);
  schema.is_view = true;
  schema.unavailable = Unavailable("view", view.shape().name(), view.state());
  if (!schema.unavailable) schema.unavailable = Unavailable("table", table.shape().name(), table.state());
  auto shown = std::make_shared<RowColumns>();
  for (const ViewColumn& of_view : view.shape().columns()) {
    const ColumnRecord* const record = schema::FindColumn(table.shape(), of_view.column());
    if (record == nullptr) continue;  // of a table's shape that is yet to come
    RowSchema::Column column = ColumnOf(*record, of_view.name());
    shown->push_back(column.column);
    schema.columns.emplace(of_view.name(), std::move(column));
  }
  schema.shown = std::move(shown);
  for (const ViewColumn& of_view : view.next().columns()) {
    const ColumnRecord* const record = schema::FindColumn(table.shape(), of_view.column());
    if (record != nullptr) schema.columns.emplace(of_view.name(), ColumnOf(*record, of_view.name()));
  }
  return schema;
}

std::string_view TableNameOfKey(std::string_view key) {
  const size_t colon = key.substr(0, schema::kMaxNameBytes + 1).find(':');
  return colon == std::string_view::npos ? std::string_view() : key.substr(0, colon);
}

std::variant<RowKey, Reply> PlaceOf(const RowSchema& schema, std::string_view key) {
  if (schema.unavailable) return *schema.unavailable;
  const std::string_view name = TableNameOfKey(key);
  const std::string_view rest = key.substr(name.size() + 1);
  const std::string what = fmt::format("{} {}", schema.is_view ? "view" : "table", Quoted(name));
  if (rest.empty()) return Refused("{}: the key of a row is missing behind ':'", what);
  if (schema.key_type != COLUMN_TYPE_UNSPECIFIED && schema.key_type != COLUMN_BYTES) {
    const auto canonical = schema::Canonical(schema.key_type, rest);
    if (!canonical.ok()) return Refused("{}: the key {}", what, MessageOf(canonical.status()));
    // Another text would be the same key in another slot.
    if (*canonical != rest)
      return Refused("{}: the key {} has to be written {}", what, Quoted(rest), Quoted(*canonical));
  }
  const uint16_t slot =
      name == schema.slot_name ? SlotOfKey(key) : SlotOfKey(fmt::format("{}:{}", schema.slot_name, rest));
  return RowKey{.table = schema.table, .version = schema.version, .slot = slot, .key = std::string(rest)};
}

std::variant<RowCommand, Reply> PlanRowCommand(const CommandSpec& spec, const Arguments& arguments,
                                               const RowSchemas& schemas) {
  return Planner(spec, arguments, schemas).Plan();
}

}  // namespace tenure::store
