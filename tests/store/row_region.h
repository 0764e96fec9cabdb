// A region with tables, driven by lines of text: what a client sends is planned with the schemas, goes
// through the log's form, and is applied by two replicas, whose states have to stay equal.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/row_plan.h"
#include "tests/store/test_region.h"

namespace tenure::store {

class TestSchemas final : public RowSchemas {
 public:
  void Put(const ::tenure::v1::TableRecord& table);
  void Put(const ::tenure::v1::ViewRecord& view);
  void Erase(const std::string& name) { by_name_.erase(name); }
  ::tenure::v1::TableRecord& table(uint64_t id) { return tables_.at(id); }

  const RowSchema* OfKey(std::string_view key) const override;
  std::string_view NameOf(uint64_t table) const override;

 private:
  std::map<std::string, RowSchema, std::less<>> by_name_;
  std::map<uint64_t, ::tenure::v1::TableRecord> tables_;
};

// "qty:int64 note:text:null state:text=new": columns with ids from 1 on.
::tenure::v1::TableRecord TableOf(uint64_t id, const std::string& name, std::string_view columns);

struct RowRegion {
  TestRegion region;
  MapView replica;
  TestSchemas schemas;

  // The step of a command as a node makes it.
  Step Plan(const Arguments& arguments) const;
  Reply Run(const Arguments& arguments);
  std::string Ask(std::string_view line) { return Show(Run(Words(line))); }
  Reply Transaction(const std::vector<std::string>& lines, std::vector<WatchedKey> watches = {});
  void Tell(const SchemaCommand& schema);
  int64_t Sweep(uint32_t limit);
  // As TestRegion::Script.
  void Script(std::string_view script);
  std::vector<std::string> ScanAll(size_t count, std::optional<std::string_view> type = std::nullopt) const;

 private:
  Reply Apply(const WriteCommand& command);
};

}  // namespace tenure::store
