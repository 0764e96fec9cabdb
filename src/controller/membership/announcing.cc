#include "controller/membership/announcing.h"

#include <algorithm>
#include <utility>

#include "catalog/refusal.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr Duration kTimeout = std::chrono::seconds(2);
constexpr size_t kMaxAddresses = 32;

pb::Reason ReasonOf(ipb::AnnouncementVerdict verdict) {
  switch (verdict) {
    case ipb::ANNOUNCEMENT_NOT_ADDED:
    case ipb::ANNOUNCEMENT_REMOVED:
      return pb::REASON_NOT_FOUND;
    case ipb::ANNOUNCEMENT_ID_IN_USE:
      return pb::REASON_CONDITION_FAILED;
    case ipb::ANNOUNCEMENT_ADDRESS_IN_USE:
      return pb::REASON_ALREADY_EXISTS;
    case ipb::ANNOUNCEMENT_WRONG_CLUSTER:
      return pb::REASON_WRONG_CLUSTER;
    case ipb::ANNOUNCEMENT_WRONG_FORMAT:
      return pb::REASON_UNSUPPORTED_FORMAT;
    case ipb::ANNOUNCEMENT_STALE_INCARNATION:
      return pb::REASON_STALE_INCARNATION;
    case ipb::ANNOUNCEMENT_WRONG_TOKEN:
      return pb::REASON_WRONG_TOKEN;
    default:
      return pb::REASON_UNAVAILABLE;
  }
}

}  // namespace

void Announce(runtime::Network& network, const runtime::Endpoint& to, const ipb::Announcement& announcement,
              Callback<StatusOr<ipb::AnnouncementAnswer>> done) {
  network.Call(to, std::string(kAnnounceService) + "/Announce", announcement.SerializeAsString(), kTimeout,
               [done = std::move(done)](StatusOr<std::string> bytes) mutable {
                 if (!bytes.ok()) return done(bytes.status());
                 ipb::AnnouncementAnswer answer;
                 if (!answer.ParseFromString(*bytes)) {
                   return done(Error(StatusCode::kInternal, "AnnouncementAnswer: malformed"));
                 }
                 done(std::move(answer));
               });
}

Status RefusalOf(const ipb::AnnouncementAnswer& answer) {
  if (answer.verdict() == ipb::ANNOUNCEMENT_HEARD || answer.verdict() == ipb::ANNOUNCEMENT_RECORDED) {
    return OkStatus();
  }
  return catalog::MakeRefusal(ReasonOf(answer.verdict()), answer.message());
}

void AddAddresses(const std::vector<std::string>& more, const std::string& self,
                  std::vector<runtime::Endpoint>& addresses) {
  for (const std::string& address : more) {
    if (address.empty() || address == self || addresses.size() >= kMaxAddresses) continue;
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
  }
}

}  // namespace tenure::controller
