#include "controller/membership/announcement_service.h"

#include <set>
#include <utility>

#include "base/format.h"
#include "catalog/controllers.h"
#include "catalog/format.h"
#include "catalog/refusal.h"
#include "controller/membership/announcing.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

// One says its name, its addresses and the like.
constexpr size_t kMaxAnnouncedBytes = 4096;
// Of those that no record names: of a cluster that has yet to form, or of which this controller has not heard
// everything.
constexpr size_t kMaxUnknown = 64;

// `record` with what the controller says about itself.
pb::ControllerRecord Merged(pb::ControllerRecord record, const pb::ControllerRecord& announced) {
  record.set_address(announced.address());
  record.set_name(announced.name());
  if (!announced.zone().empty()) record.set_zone(announced.zone());  // else as the operator added it
  record.set_uuid(announced.uuid());
  record.set_newest_format(announced.newest_format());
  record.set_software_version(announced.software_version());
  return record;
}

}  // namespace

AnnouncementService::AnnouncementService(CatalogAccess& access, const Leadership& leadership,
                                         const ControllerDirectory& directory, AddressKeeper& addresses,
                                         pb::ControllerRecord self, OwnCluster own,
                                         std::function<void(uint64_t)> on_superseded, Logger logger)
    : access_(access),
      leadership_(leadership),
      directory_(directory),
      addresses_(addresses),
      self_(std::move(self)),
      own_(std::move(own)),
      on_superseded_(std::move(on_superseded)),
      logger_(std::move(logger)) {
  announced_[self_.id()] = self_;
  calls_["Announce"] = [this](const runtime::CallInfo&, std::string bytes, runtime::Reply reply) {
    Serve<ipb::Announcement, ipb::AnnouncementAnswer>(
        bytes, std::move(reply), [this](const auto& request, auto done) { Hear(request, std::move(done)); });
  };
}

void AnnouncementService::OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) {
  Route(calls_, info, std::move(request), std::move(reply));
}

ipb::AnnouncementAnswer AnnouncementService::Judge(const ipb::Announcement& announcement) const {
  const pb::ControllerRecord& announced = announcement.controller();
  const pb::ClusterRecord* cluster = access_.catalog().cluster();
  ipb::AnnouncementAnswer answer;
  answer.set_cluster_id(cluster == nullptr ? own_.id : cluster->cluster_id());
  *answer.mutable_answered_by() = self_;
  answer.set_incarnation(own_.incarnation);
  for (const pb::ControllerRecord& controller : directory_.All()) {
    if (!controller.address().empty()) answer.add_addresses(controller.address());
  }
  const auto say = [&answer](ipb::AnnouncementVerdict verdict, std::string message) {
    answer.set_verdict(verdict);
    answer.set_message(std::move(message));
    return answer;
  };
  const std::string& theirs = announcement.cluster_id();
  if (!theirs.empty() && !answer.cluster_id().empty() && theirs != answer.cluster_id()) {
    return say(ipb::ANNOUNCEMENT_WRONG_CLUSTER,
               fmt::format("controller {} at {} belongs to cluster {}, {} to cluster {}", announced.id(),
                           announced.address(), theirs, self_.address(), answer.cluster_id()));
  }
  if (announcement.incarnation() != 0 && announcement.incarnation() < own_.incarnation) {
    return say(
        ipb::ANNOUNCEMENT_STALE_INCARNATION,
        fmt::format("controller {} is of incarnation {} of cluster {}, which a recovery has taken to "
                    "incarnation {}: its data directory was left behind and cannot join again",
                    announced.id(), announcement.incarnation(), answer.cluster_id(), own_.incarnation));
  }
  // Nothing of one without the token is believed, not even that there is a higher incarnation.
  if (const Status allowed = own_.tokens.Check(announcement); !allowed.ok()) {
    answer.clear_addresses();
    return say(ipb::ANNOUNCEMENT_WRONG_TOKEN, std::string(MessageOf(allowed)));
  }
  if (cluster == nullptr) return say(ipb::ANNOUNCEMENT_HEARD, {});
  if (catalog::NewestFormatOr1(announced.newest_format()) < cluster->format_version()) {
    return say(ipb::ANNOUNCEMENT_WRONG_FORMAT,
               fmt::format("cluster {} has format {}, this program knows up to {}: use a newer one",
                           cluster->cluster_id(), cluster->format_version(),
                           catalog::NewestFormatOr1(announced.newest_format())));
  }
  const auto found = access_.catalog().controllers().find(announced.id());
  if (found == access_.catalog().controllers().end()) {
    // Only the leader knows that it is not just being added.
    if (!leadership_.serving()) return say(ipb::ANNOUNCEMENT_HEARD, {});
    return say(ipb::ANNOUNCEMENT_NOT_ADDED,
               fmt::format("cluster {} has no controller {}: tenure controller add {}={}",
                           cluster->cluster_id(), announced.id(), announced.id(), announced.address()));
  }
  const pb::ControllerRecord& record = found->second.controller();
  if (catalog::IsRemoved(record)) {
    return say(
        ipb::ANNOUNCEMENT_REMOVED,
        fmt::format(
            "controller {} was removed from cluster {} and cannot come back: neither its id nor its data "
            "directory is used again; start a new controller with an empty directory and a new id",
            announced.id(), cluster->cluster_id()));
  }
  const bool other_directory = !record.uuid().empty() && record.uuid() != announced.uuid();
  bool forgotten = other_directory || (record.uuid().empty() && record.voter() && announcement.joining());
#ifdef TENURE_MUTANT_emptied_directory_returns
  forgotten = false;
#endif
  if (forgotten) {
    return say(
        ipb::ANNOUNCEMENT_ID_IN_USE,
        fmt::format(
            "controller {} of cluster {} has taken part with another data directory (uuid {}): with its "
            "votes forgotten it must not return under this id. Add a controller with a new id and remove "
            "this one (tenure controller add, remove)",
            announced.id(), cluster->cluster_id(), record.uuid().empty() ? "unknown" : record.uuid()));
  }
  return say(ipb::ANNOUNCEMENT_HEARD, {});
}

void AnnouncementService::Hear(const ipb::Announcement& announcement, Answers done) {
  const pb::ControllerRecord& announced = announcement.controller();
  if (announced.id() == 0 || announced.uuid().empty() || announced.address().empty()) {
    return done(
        catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "controller: id, uuid and address must be given"));
  }
  if (announced.ByteSizeLong() > kMaxAnnouncedBytes) {
    return done(catalog::Refuse(pb::REASON_INVALID_ARGUMENT, "controller: has {} bytes, the limit is {}",
                                announced.ByteSizeLong(), kMaxAnnouncedBytes));
  }
  ipb::AnnouncementAnswer answer = Judge(announcement);
  if (answer.verdict() == ipb::ANNOUNCEMENT_WRONG_TOKEN &&
      std::exchange(last_turned_away_, answer.message()) != answer.message()) {
    logger_.Warn("announcement refused: {}", answer.message());
  }
  if (answer.verdict() != ipb::ANNOUNCEMENT_HEARD) return done(std::move(answer));
  if (announcement.incarnation() > own_.incarnation && announcement.cluster_id() == answer.cluster_id()) {
    on_superseded_(announcement.incarnation());
    return done(std::move(answer));
  }
  if (directory_.Find(announced.id()) == nullptr && !announced_.contains(announced.id()) &&
      announced_.size() >= kMaxUnknown) {
    return done(catalog::Refuse(pb::REASON_OVERLOADED,
                                "controller {} is not known here, and {} others have announced themselves: "
                                "no more are kept",
                                announced.id(), announced_.size()));
  }
  addresses_.OnAnnounced(announced.id(), announced.address());
  announced_[announced.id()] = announced;
  if (access_.catalog().cluster() == nullptr || !leadership_.serving()) return done(std::move(answer));
  Record(announced, std::move(answer), std::move(done));
}

void AnnouncementService::Record(const pb::ControllerRecord& announced, ipb::AnnouncementAnswer answer,
                                 Answers done) {
  const auto& records = access_.catalog().controllers();
  ipb::CatalogCommand command;
  ipb::UpdateController& update = *command.mutable_update_controller();
  *update.mutable_controller() = Merged(records.at(announced.id()).controller(), announced);
  // Whoever holds this address in the catalog and has moved away moves in the same command, so that two
  // controllers may swap their addresses.
  std::set<uint64_t> moved = {announced.id()};
  std::string wanted = announced.address();
  for (auto it = records.begin(); it != records.end();) {
    const auto& [id, record] = *it++;
    const pb::ControllerRecord& holder = record.controller();
    const auto news = announced_.find(id);
    if (catalog::IsRemoved(holder) || holder.address() != wanted || news == announced_.end() ||
        news->second.address() == wanted || !moved.insert(id).second) {
      continue;
    }
    *update.add_others() = Merged(holder, news->second);
    wanted = news->second.address();
    it = records.begin();
  }
  const pb::ControllerRecord& known = records.at(announced.id()).controller();
  if (known.SerializeAsString() == update.controller().SerializeAsString()) {
    answer.set_verdict(ipb::ANNOUNCEMENT_RECORDED);
    return done(std::move(answer));
  }
  logger_.Info("controller {} is at {} (uuid {})", announced.id(), announced.address(), announced.uuid());
  access_.ProposeInEpoch(
      std::move(command), leadership_.epoch(),
      [answer = std::move(answer), done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
        if (result.ok()) {
          answer.set_verdict(ipb::ANNOUNCEMENT_RECORDED);
        } else if (catalog::IsReason(result.status(), pb::REASON_ALREADY_EXISTS)) {
          answer.set_verdict(ipb::ANNOUNCEMENT_ADDRESS_IN_USE);
          answer.set_message(std::string(MessageOf(result.status())));
        } else if (catalog::IsReason(result.status(), pb::REASON_CONDITION_FAILED)) {
          answer.set_verdict(ipb::ANNOUNCEMENT_ID_IN_USE);
          answer.set_message(std::string(MessageOf(result.status())));
        } else if (catalog::IsReason(result.status(), pb::REASON_INVALID_ARGUMENT)) {
          return done(result.status());
        }
        // Else it stays HEARD: whoever leads next is told again.
        done(std::move(answer));
      });
}

}  // namespace tenure::controller
