// tenure.internal.v1.Controllers: hears where other controllers are. Every controller tells its transport at
// once; the leader also writes it into the catalog. A data directory (uuid) belongs to the first id it was
// announced under, and an id to the first directory: an emptied directory cannot come back with votes it has
// forgotten. Who does not prove that it has the cluster's token is not listened to (docs/operations.md).
//
// Threading:  the controller's executor.
// Invariants: A1 an id whose record names a directory is never given to another
//             A2 what is final (REMOVED, ID_IN_USE) is said only of what is applied, hence committed
#pragma once

#include <map>
#include <memory>
#include <string>

#include "controller/api/call.h"
#include "controller/catalog_access.h"
#include "controller/controller_directory.h"
#include "controller/leadership/leadership.h"
#include "controller/membership/address_keeper.h"
#include "controller/membership/announcing.h"
#include "runtime/network.h"
#include "tenure/internal/v1/controllers.pb.h"

namespace tenure::controller {

class AnnouncementService : public runtime::Service {
 public:
  // All must outlive this. `on_superseded`: as in ControllerOptions.
  AnnouncementService(CatalogAccess& access, const Leadership& leadership,
                      const ControllerDirectory& directory, AddressKeeper& addresses,
                      ::tenure::v1::ControllerRecord self, OwnCluster own,
                      std::function<void(uint64_t incarnation)> on_superseded, Logger logger);
  ~AnnouncementService() override { *alive_ = false; }

  // runtime::Service
  void OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) override;
  std::unique_ptr<runtime::StreamHandler> OnStream(const runtime::CallInfo&,
                                                   std::unique_ptr<runtime::Stream>) override {
    return nullptr;
  }

 private:
  using Answers = Answer<::tenure::internal::v1::AnnouncementAnswer>;
  void Hear(const ::tenure::internal::v1::Announcement& announcement, Answers done);
  // What can be said without asking anybody; HEARD if nothing speaks against it.
  ::tenure::internal::v1::AnnouncementAnswer Judge(
      const ::tenure::internal::v1::Announcement& announcement) const;
  // The leader's part.
  void Record(const ::tenure::v1::ControllerRecord& announced,
              ::tenure::internal::v1::AnnouncementAnswer answer, Answers done);

  CatalogAccess& access_;
  const Leadership& leadership_;
  const ControllerDirectory& directory_;
  AddressKeeper& addresses_;
  const ::tenure::v1::ControllerRecord self_;
  const OwnCluster own_;
  const std::function<void(uint64_t)> on_superseded_;
  Logger logger_;
  CallTable calls_;
  std::map<uint64_t, ::tenure::v1::ControllerRecord> announced_;  // what members said last
  std::string last_turned_away_;  // so that a process that tries on is logged once
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::controller
