// What recent requests were answered, so that a request that is sent again (same client, same sequence) is
// applied once. Part of the replicated state: one record per client, written once per batch, however many of
// its requests the batch held.
//
// Driven by Catalog.
// Determinism: memory after any command is a function of the commands up to it; the records written at the
//              end of a batch are exactly that memory. Clients are kept in the order of their last use, which
//              is both the order of eviction (max_clients) and of expiry (session), since last_seen never
//              goes back: the clock is the highest `now_ms` of any command that was recorded, and every use
//              sets last_seen to it. So the clock is itself the last_seen of the last client, and needs no
//              record.
// Limits:      a client that is not known is a new one, or one whose session is over: its request is applied.
//              A resend that arrives after its client was forgotten is therefore applied again; sessions (10
//              minutes) are long compared with the time for which a client resends (its deadline, seconds).
//              Of a client that is known, a sequence below what is remembered is DUPLICATE_EXPIRED.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/time.h"
#include "kv/kv.h"
#include "tenure/internal/v1/command.pb.h"

namespace tenure::catalog {

class Deduplication {
 public:
  Deduplication(size_t max_clients, size_t max_results_per_client, Duration session);

  // Replaces memory by what `state` holds.
  void Load(const kv::Reader& state);
  // The remembered answer (duplicate = true), a DUPLICATE_EXPIRED refusal, or nothing for a new request.
  std::optional<::tenure::internal::v1::CatalogResult> Find(const ::tenure::v1::RequestId& id) const;
  // Remembers the answer of a new request, forgets what the client says it has; evicts.
  void Remember(const ::tenure::v1::RequestId& id, int64_t now_ms, Revision revision,
                const ::tenure::internal::v1::CatalogResult& result);
  // Writes the clients used or gone since the last call.
  void Write(kv::View& state);

  size_t size() const { return clients_.size(); }

 private:
  struct Answer {
    uint64_t sequence = 0;
    uint64_t revision = 0;
    uint64_t object_id = 0;
    bool changed = false;
    ::tenure::v1::Reason reason = ::tenure::v1::REASON_UNSPECIFIED;
    std::string message;  // of a refusal
  };
  struct Client {
    uint64_t id = 0;
    int64_t last_seen_ms = 0;
    uint64_t last_revision = 0;
    uint64_t floor = 1;          // lower sequences are answered or forgotten
    std::deque<Answer> answers;  // by sequence, all >= floor
    bool dirty = false;
  };
  using Clients = std::list<Client>;  // least recently used first

  Clients::iterator Use(uint64_t id, int64_t now_ms, Revision revision);
  void Insert(Client& client, Answer answer) const;
  void Evict();
  static std::string Encode(const Client& client);
  static Client Decode(uint64_t id, std::string_view bytes);

  const size_t max_clients_;
  const size_t max_results_per_client_;
  const int64_t session_ms_;
  Clients clients_;
  std::map<uint64_t, Clients::iterator> by_id_;
  std::set<uint64_t> gone_;  // evicted and not yet deleted
};

}  // namespace tenure::catalog
