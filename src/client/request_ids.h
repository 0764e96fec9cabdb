// Request ids of one client: what makes a change idempotent under retries (catalog/deduplication.h).
//
// Threading: one owner.
#pragma once

#include <cstdint>
#include <set>

#include "base/prng.h"
#include "base/time.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::client {

class RequestIds {
 public:
  // After so long without a request a new session is begun; well below what the
  // controllers remember (catalog::CatalogLimits::client_session).
  static constexpr Duration kSessionIdle = std::chrono::minutes(5);

  // The client's id is drawn: 64 random bits, never zero.
  explicit RequestIds(Prng prng) : prng_(prng), client_id_(prng_.Next64() | 1) {}

  ::tenure::v1::RequestId Next() {
    unanswered_.insert(next_);
    ::tenure::v1::RequestId id;
    id.set_client_id(client_id_);
    id.set_sequence(next_++);
    id.set_answered_below(*unanswered_.begin());
    return id;
  }
  // The request will not be sent again. One of an earlier session is forgotten already.
  void Done(uint64_t sequence) { unanswered_.erase(sequence); }
  void Done(const ::tenure::v1::RequestId& id) {
    if (id.client_id() == client_id_) unanswered_.erase(id.sequence());
  }

  // A new session under a new client id: the controllers forget one that was idle for long
  // (DUPLICATE_EXPIRED). Requests under way keep their ids.
  void Renew() {
    client_id_ = prng_.Next64() | 1;
    next_ = 1;
    unanswered_.clear();
  }
  uint64_t client_id() const { return client_id_; }
  size_t unanswered() const { return unanswered_.size(); }

 private:
  Prng prng_;
  uint64_t client_id_;
  uint64_t next_ = 1;
  std::set<uint64_t> unanswered_;
};

}  // namespace tenure::client
