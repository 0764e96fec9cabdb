// A controller's word to the others: who and where it is, and of which incarnation. Said to everybody until
// the leader has written it down and whenever no leader is known, so that controllers that have all moved
// find each other by the addresses they were started with; to the leader now and then afterwards, whose
// answer also tells a removed controller that it is. Said besides to each member, leading or not, until it
// has answered once: a controller that a recovery has left behind (docs/recovery.md) learns so from whoever
// has gone on, before it can take part in anything. It starts together with the replica of group 0, which for
// one minimum election timeout neither votes nor stands (raft R8). What is not reached here the transport
// notices with the first message.
//
// Threading: the controller's executor.
// Lifetime:  Stop before destruction, or the executor has stopped for good.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/log.h"
#include "controller/catalog_access.h"
#include "controller/controller_directory.h"
#include "controller/leadership/leadership.h"
#include "controller/membership/address_keeper.h"
#include "controller/membership/announcing.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/internal/v1/controllers.pb.h"

namespace tenure::controller {

class Presence {
 public:
  struct Parts {
    runtime::Executor& executor;
    runtime::Network& network;
    const CatalogAccess& access;
    const Leadership& leadership;
    const ControllerDirectory& directory;
    AddressKeeper& addresses;
  };
  // `hints`: where controllers may be found beside what the catalog says. `on_refused`: this process can be
  // no controller of the cluster any more (removed, its id taken, too old, left behind by a recovery, a
  // newcomer without the token); called at most once.
  Presence(const Parts& parts, ::tenure::v1::ControllerRecord self, OwnCluster own,
           std::vector<runtime::Endpoint> hints, Callback<Status> on_refused, Logger logger);
  ~Presence() { *alive_ = false; }

  // `newcomer`: the replica has no log yet, it has taken part in nothing. Until it is accepted, a majority
  // that does not accept its token is final (WRONG_TOKEN); a member goes on, since it is needed to vote, and
  // complains.
  void Start(bool newcomer);
  void Stop();

 private:
  void OnTick();
  std::vector<runtime::Endpoint> Members() const;
  void Tell(const runtime::Endpoint& to);
  void OnAnswer(const ::tenure::internal::v1::AnnouncementAnswer& answer);
  bool IsFinal(const ::tenure::internal::v1::AnnouncementAnswer& answer);
  // So many controllers say that they accept its token, or do not.
  bool IsMajority(bool accepted) const;

  const Parts parts_;
  const ::tenure::v1::ControllerRecord self_;
  const OwnCluster own_;  // its id empty: the catalog will say
  std::vector<runtime::Endpoint> hints_;
  Callback<Status> on_refused_;
  Logger logger_;
  std::set<runtime::Endpoint> answered_;  // at least once
  bool newcomer_ = false;
  std::map<uint64_t, bool> token_accepted_by_;  // what each controller said last
  bool recorded_ = false;
  Instant next_word_{};    // to the leader, once recorded
  std::string complaint_;  // of the last answer, so that each is logged once
  runtime::Timer tick_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::controller
