// Where controllers are: the addresses they were started with, overruled by the catalog's records.
//
// Threading: the controller's executor.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "catalog/catalog.h"
#include "catalog/controllers.h"

namespace tenure::controller {

class ControllerDirectory {
 public:
  ControllerDirectory(std::vector<::tenure::v1::ControllerRecord> initial, const catalog::Catalog& catalog)
      : catalog_(catalog) {
    for (auto& record : initial) {
      const uint64_t id = record.id();
      initial_[id] = std::move(record);
    }
  }

  // Null if there is no such controller.
  const ::tenure::v1::ControllerRecord* Find(uint64_t id) const {
    if (const auto found = catalog_.controllers().find(id); found != catalog_.controllers().end()) {
      return &found->second.controller();
    }
    const auto found = initial_.find(id);
    return found == initial_.end() || !catalog_.controllers().empty() ? nullptr : &found->second;
  }
  std::string AddressOf(uint64_t id) const {
    const auto* record = Find(id);
    return record == nullptr ? std::string() : record->address();
  }
  std::string NameOf(uint64_t id) const {
    const auto* record = Find(id);
    return record == nullptr ? std::string() : record->name();
  }
  // In order of ids, without those that were removed.
  std::vector<::tenure::v1::ControllerRecord> All() const {
    std::map<uint64_t, ::tenure::v1::ControllerRecord> all;
    if (catalog_.controllers().empty()) all = initial_;
    for (const auto& [id, record] : catalog_.controllers()) {
      if (!catalog::IsRemoved(record.controller())) all[id] = record.controller();
    }
    std::vector<::tenure::v1::ControllerRecord> result;
    for (auto& [id, record] : all) result.push_back(std::move(record));
    return result;
  }

 private:
  std::map<uint64_t, ::tenure::v1::ControllerRecord> initial_;
  const catalog::Catalog& catalog_;
};

}  // namespace tenure::controller
