#include "tests/store/row_region.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/hash.h"
#include "schema/values.h"
#include "store/layout.h"

namespace tenure::store {

namespace pb = ::tenure::v1;

void TestSchemas::Put(const pb::TableRecord& table) {
  tables_[table.id()] = table;
  by_name_[table.shape().name()] = SchemaOf(table);
  if (table.has_next()) by_name_.try_emplace(table.next().name(), SchemaOf(table));
}

void TestSchemas::Put(const pb::ViewRecord& view) {
  by_name_[view.shape().name()] = SchemaOf(view, tables_.at(view.table()));
}

const RowSchema* TestSchemas::OfKey(std::string_view key) const {
  const std::string_view name = TableNameOfKey(key);
  const auto it = by_name_.find(name);
  return name.empty() || it == by_name_.end() ? nullptr : &it->second;
}

std::string_view TestSchemas::NameOf(uint64_t table) const {
  const auto it = tables_.find(table);
  if (it == tables_.end() || it->second.state() == pb::TABLE_PRE_DELETE) return {};
  return it->second.shape().name();
}

pb::TableRecord TableOf(uint64_t id, const std::string& name, std::string_view columns) {
  pb::TableRecord table;
  table.set_id(id);
  table.set_state(pb::TABLE_PUBLIC);
  table.set_slot_name(name);
  table.mutable_shape()->set_name(name);
  table.mutable_shape()->set_version(1);
  uint32_t next = 1;
  for (std::string text : Words(columns)) {
    pb::ColumnRecord& column = *table.mutable_shape()->add_columns();
    column.set_id(next++);
    if (const size_t at = text.find('='); at != text.npos) {
      column.set_default_value(text.substr(at + 1));
      text.resize(at);
    }
    column.set_nullable(text.ends_with(":null"));
    if (column.nullable()) text.resize(text.size() - 5);
    const size_t colon = text.find(':');
    column.set_name(text.substr(0, colon));
    column.set_type(*schema::ParseType(text.substr(colon + 1)));
  }
  table.set_next_column(next);
  return table;
}

Step RowRegion::Plan(const Arguments& arguments) const {
  const CommandSpec& spec = *FindCommand(arguments[0]);
  bool rows = false;
  for (const std::string_view key : KeysOf(spec, arguments)) rows = rows || schemas.OfKey(key) != nullptr;
  if (!rows) return arguments;
  auto planned = PlanRowCommand(spec, arguments, schemas);
  if (auto* const reply = std::get_if<Reply>(&planned)) return *reply;
  return std::get<RowCommand>(planned);
}

Reply RowRegion::Apply(const WriteCommand& command) {
  std::string encoded;
  EncodeWriteCommand(command, encoded);
  const auto decoded = DecodeWriteCommand(encoded);
  EXPECT_TRUE(decoded.ok()) << decoded.status();
  std::string again;
  EncodeWriteCommand(*decoded, again);
  EXPECT_EQ(again, encoded);
  region.index = region.index.Next();
  Reply reply = region.store.Apply(*decoded, region.index, region.state);
  EXPECT_EQ(region.store.Apply(*decoded, region.index, replica), reply);
  EXPECT_EQ(region.state.map(), replica.map());
  CheckInvariants(region.state);
  return reply;
}

Reply RowRegion::Run(const Arguments& arguments) {
  if (const Status valid = Validate(arguments, Limits{}); !valid.ok())
    return Reply::Error(std::string(MessageOf(valid)));
  Step step = Plan(arguments);
  if (auto* const refused = std::get_if<Reply>(&step)) return *refused;
  const bool write = FindCommand(arguments[0])->write;
  WriteCommand command{.now = region.now};
  if (auto* const rows = std::get_if<RowCommand>(&step)) {
    if (!write) return region.store.Read(*rows, region.now, region.state);
    command.kind = WriteCommand::Kind::kRows;
    command.steps.push_back(std::move(step));
  } else {
    if (!write) return region.store.Read(arguments, region.now, region.state);
    command.commands.push_back(arguments);
  }
  return Apply(command);
}

Reply RowRegion::Transaction(const std::vector<std::string>& lines, std::vector<WatchedKey> watches) {
  WriteCommand command{.now = region.now, .kind = WriteCommand::Kind::kRowTransaction};
  for (const std::string& line : lines) command.steps.push_back(Plan(Words(line)));
  command.watches = std::move(watches);
  return Apply(command);
}

void RowRegion::Tell(const SchemaCommand& schema) {
  WriteCommand command{.now = region.now, .kind = WriteCommand::Kind::kSchema};
  command.schema = schema;
  Apply(command);
}

int64_t RowRegion::Sweep(uint32_t limit) {
  return Apply(WriteCommand{.now = region.now, .kind = WriteCommand::Kind::kSweep, .sweep_limit = limit})
      .integer;
}

void RowRegion::Script(std::string_view script) {
  std::istringstream lines{std::string(script)};
  std::string line;
  while (std::getline(lines, line)) {
    line.erase(0, std::min(line.find_first_not_of(' '), line.size()));
    if (line.starts_with("+ ")) region.now += std::chrono::milliseconds(std::stoll(line.substr(2)));
    if (!line.starts_with("> ")) continue;
    std::string expected;
    std::getline(lines, expected);
    expected.erase(0, std::min(expected.find_first_not_of(' '), expected.size()));
    EXPECT_EQ(Ask(line.substr(2)), expected) << line;
  }
}

std::vector<std::string> RowRegion::ScanAll(size_t count, std::optional<std::string_view> type) const {
  std::vector<std::string> found;
  std::string from;
  do {
    auto result = region.store.Scan(from, count, std::nullopt, type, region.now, region.state, &schemas);
    EXPECT_LE(result.keys.size(), count);
    found.insert(found.end(), result.keys.begin(), result.keys.end());
    from = result.next;
  } while (!from.empty());
  return found;
}

}  // namespace tenure::store
