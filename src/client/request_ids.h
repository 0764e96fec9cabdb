// Request ids of one client: what makes a change idempotent under retries (catalog/deduplication.h).
//
// Threading: one owner.
#pragma once

#include <cstdint>
#include <set>

#include "base/prng.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::client {

class RequestIds {
 public:
  // The client's id is drawn: 64 random bits, never zero.
  explicit RequestIds(Prng prng) : client_id_(prng.Next64() | 1) {}

  ::tenure::v1::RequestId Next() {
    unanswered_.insert(next_);
    ::tenure::v1::RequestId id;
    id.set_client_id(client_id_);
    id.set_sequence(next_++);
    id.set_answered_below(*unanswered_.begin());
    return id;
  }
  // The request with this sequence will not be sent again.
  void Done(uint64_t sequence) { unanswered_.erase(sequence); }

 private:
  const uint64_t client_id_;
  uint64_t next_ = 1;
  std::set<uint64_t> unanswered_;
};

}  // namespace tenure::client
