// Where the transport finds the other controllers: what they announced themselves, and what the catalog says.
// The newest word counts: a record changes an address only when the record itself changes, since a process
// that has moved is heard before the catalog knows, and perhaps before there is a leader who could tell the
// catalog.
//
// Threading: the controller's executor.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "controller/catalog_machine.h"
#include "controller/controller_directory.h"
#include "group/transport.h"

namespace tenure::controller {

class AddressKeeper : public CatalogListener {
 public:
  // Both must outlive this.
  AddressKeeper(group::AddressBook& book, const ControllerDirectory& directory)
      : book_(book), directory_(directory) {}

  void Refresh() {
    for (const ::tenure::v1::ControllerRecord& record : directory_.All()) {
      std::string& recorded = recorded_[record.id()];
      if (recorded == record.address()) continue;
      recorded = record.address();
      if (recorded.empty()) {
        book_.Erase(record.id());  // another controller has its address now
      } else {
        book_.Set(record.id(), recorded);
      }
    }
  }
  // Controller `id` said itself that it is there.
  void OnAnnounced(uint64_t id, const std::string& address) { book_.Set(id, address); }

  void OnCatalogChanged(const std::vector<::tenure::v1::Event>& events, Revision) override {
    for (const ::tenure::v1::Event& event : events) {
      if (event.new_record().has_controller()) return Refresh();
    }
  }
  void OnCatalogReset(Revision) override { Refresh(); }

 private:
  group::AddressBook& book_;
  const ControllerDirectory& directory_;
  std::map<uint64_t, std::string> recorded_;  // as the catalog had it when it was last taken over
};

}  // namespace tenure::controller
