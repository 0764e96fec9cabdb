#include "controller/membership/presence.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "controller/membership/announcing.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

namespace {

constexpr Duration kPresenceTick = std::chrono::milliseconds(500);
constexpr Duration kReminder = std::chrono::seconds(5);

}  // namespace

Presence::Presence(const Parts& parts, pb::ControllerRecord self, OwnCluster own,
                   std::vector<runtime::Endpoint> hints, Callback<Status> on_refused, Logger logger)
    : parts_(parts),
      self_(std::move(self)),
      own_(std::move(own)),
      on_refused_(std::move(on_refused)),
      logger_(std::move(logger)) {
  AddAddresses(hints, self_.address(), hints_);
}

void Presence::Start(bool newcomer) {
  newcomer_ = newcomer;
  OnTick();
}

void Presence::Stop() {
  tick_.Cancel();
  on_refused_ = nullptr;
}

void Presence::OnTick() {
  tick_ = parts_.executor.After(kPresenceTick, [this] { OnTick(); });
  std::vector<runtime::Endpoint> to = Members();
  // A new controller may know its leader by id before it has any of the catalog.
  const std::string leader = parts_.directory.AddressOf(parts_.leadership.leader().value());
  const bool leads = parts_.leadership.leading();
  if (leads) recorded_ = false;  // by this leader itself; the next one is told again
  if (leads || (recorded_ && !leader.empty())) {
    const Instant now = parts_.executor.Now();
    const bool reminder = !leads && now >= next_word_;
    if (reminder) next_word_ = now + kReminder;
    std::erase_if(to, [&](const runtime::Endpoint& member) {
      return answered_.contains(member) && !(reminder && member == leader);
    });
  } else {
    // After the members, which must have a place: hints are many after some replacements.
    AddAddresses(hints_, self_.address(), to);
  }
  for (const runtime::Endpoint& member : to) Tell(member);
}

std::vector<runtime::Endpoint> Presence::Members() const {
  std::vector<runtime::Endpoint> members;
  for (const pb::ControllerRecord& controller : parts_.directory.All()) {
    AddAddresses({controller.address()}, self_.address(), members);
  }
  return members;
}

void Presence::Tell(const runtime::Endpoint& to) {
  if (to.empty() || to == self_.address()) return;
  const pb::ClusterRecord* cluster = parts_.access.catalog().cluster();
  ipb::Announcement announcement;
  announcement.set_cluster_id(cluster == nullptr ? own_.id : cluster->cluster_id());
  announcement.set_incarnation(own_.incarnation);
  *announcement.mutable_controller() = self_;
  announcement.mutable_controller()->set_newest_format(catalog::kNewestFormat);
  own_.tokens.Sign(announcement);
  Announce(parts_.network, to, announcement,
           [this, alive = alive_, to](StatusOr<ipb::AnnouncementAnswer> answer) {
             if (!*alive) return;
             if (answer.ok()) {
               answered_.insert(to);
               return OnAnswer(*answer);
             }
             // The leader it knows may be one no more, and gone: the others are asked again.
             if (to == parts_.directory.AddressOf(parts_.leadership.leader().value())) recorded_ = false;
           });
}

void Presence::OnAnswer(const ipb::AnnouncementAnswer& answer) {
  if (!on_refused_) return;  // stopped
  const Status refusal = RefusalOf(answer);
  if (refusal.ok()) {
    parts_.addresses.OnAnnounced(answer.answered_by().id(), answer.answered_by().address());
    AddAddresses({answer.addresses().begin(), answer.addresses().end()}, self_.address(), hints_);
    token_accepted_by_[answer.answered_by().id()] = true;
    if (IsMajority(/*accepted=*/true)) newcomer_ = false;
    if (answer.verdict() != ipb::ANNOUNCEMENT_RECORDED) return;
    newcomer_ = false;
    if (!std::exchange(recorded_, true)) next_word_ = parts_.executor.Now() + kReminder;
    return;
  }
  recorded_ = false;
  if (std::exchange(complaint_, answer.message()) != answer.message()) {
    logger_.Warn("controller {} at {}: {}", answer.answered_by().id(), answer.answered_by().address(),
                 answer.message());
  }
  if (!IsFinal(answer)) return;
  Callback<Status> refused = std::exchange(on_refused_, nullptr);
  tick_.Cancel();
  refused(refusal);
}

bool Presence::IsFinal(const ipb::AnnouncementAnswer& answer) {
  switch (answer.verdict()) {
    case ipb::ANNOUNCEMENT_REMOVED:
    case ipb::ANNOUNCEMENT_ID_IN_USE:
    case ipb::ANNOUNCEMENT_STALE_INCARNATION:
    case ipb::ANNOUNCEMENT_WRONG_FORMAT:
      return true;
    case ipb::ANNOUNCEMENT_WRONG_TOKEN:
      token_accepted_by_[answer.answered_by().id()] = false;
      return newcomer_ && IsMajority(/*accepted=*/false);
    default:
      return false;  // a stranger's address among the hints, or something an operator can put right
  }
}

// Of all controllers, this one included; of two, the other one is enough. When a cluster forms, one process
// with a wrong token must not turn the others away.
bool Presence::IsMajority(bool accepted) const {
  const size_t all = parts_.directory.All().size();
  const size_t majority = all / 2 + 1;
  const auto saying =
      static_cast<size_t>(std::count_if(token_accepted_by_.begin(), token_accepted_by_.end(),
                                        [accepted](const auto& word) { return word.second == accepted; }));
  return saying >= std::min(majority, std::max<size_t>(all, 2) - 1);
}

}  // namespace tenure::controller
