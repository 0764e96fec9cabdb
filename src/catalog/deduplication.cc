#include "catalog/deduplication.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/codec.h"
#include "base/rare_path.h"
#include "catalog/keys.h"

namespace tenure::catalog {
namespace {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;

constexpr uint8_t kClientFormat = 1;
constexpr size_t kMaxMessageBytes = 256;  // of a remembered refusal

enum AnswerFlags : uint8_t { kChanged = 1, kHasObject = 2, kIsRefusal = 4 };

ipb::CatalogResult Expired(const pb::RequestId& id, std::string_view why) {
  ipb::CatalogResult result;
  result.set_reason(pb::REASON_DUPLICATE_EXPIRED);
  result.set_message(fmt::format("request {} of client {:016x}: {}; it may have been done", id.sequence(),
                                 id.client_id(), why));
  return result;
}

}  // namespace

Deduplication::Deduplication(size_t max_clients, size_t max_results_per_client, Duration session)
    : max_clients_(max_clients),
      max_results_per_client_(max_results_per_client),
      session_ms_(ToMillis(session)) {
  TENURE_CHECK(max_clients > 0 && max_results_per_client > 0, "deduplication needs room");
}

std::optional<ipb::CatalogResult> Deduplication::Find(const pb::RequestId& id) const {
#ifdef TENURE_MUTANT_dedup_ignored
  return std::nullopt;
#endif
  const auto found = by_id_.find(id.client_id());
  if (found == by_id_.end()) return std::nullopt;
  const Client& client = *found->second;
  if (id.sequence() < client.floor) {
    return Expired(id, fmt::format("answers below {} have been forgotten", client.floor));
  }
  const auto answer =
      std::lower_bound(client.answers.begin(), client.answers.end(), id.sequence(),
                       [](const Answer& a, uint64_t sequence) { return a.sequence < sequence; });
  if (answer == client.answers.end() || answer->sequence != id.sequence()) return std::nullopt;
  ipb::CatalogResult result;
  result.set_revision(answer->revision);
  result.set_changed(answer->changed);
  result.set_object_id(answer->object_id);
  result.set_reason(answer->reason);
  result.set_message(answer->message);
  TENURE_RARE_PATH("catalog: a repeated request gets its first answer");
  result.set_duplicate(true);
  return result;
}

Deduplication::Clients::iterator Deduplication::Use(uint64_t id, int64_t now_ms, Revision revision) {
  const int64_t clock = clients_.empty() ? now_ms : std::max(now_ms, clients_.back().last_seen_ms);
  const auto found = by_id_.find(id);
  Clients::iterator client;
  if (found == by_id_.end()) {
    client = clients_.emplace(clients_.end());
    client->id = id;
    by_id_.emplace(id, client);
    gone_.erase(id);
  } else {
    client = found->second;
    clients_.splice(clients_.end(), clients_, client);
  }
  client->last_seen_ms = clock;
  client->last_revision = revision.value();
  client->dirty = true;
  return client;
}

void Deduplication::Insert(Client& client, Answer answer) const {
  const auto place =
      std::lower_bound(client.answers.begin(), client.answers.end(), answer.sequence,
                       [](const Answer& a, uint64_t sequence) { return a.sequence < sequence; });
  client.answers.insert(place, std::move(answer));
  while (client.answers.size() > max_results_per_client_) {
    client.floor = client.answers.front().sequence + 1;
    client.answers.pop_front();
  }
}

void Deduplication::Remember(const pb::RequestId& id, int64_t now_ms, Revision revision,
                             const ipb::CatalogResult& result) {
  Client& client = *Use(id.client_id(), now_ms, revision);
  client.floor = std::max(client.floor, id.answered_below());
  while (!client.answers.empty() && client.answers.front().sequence < client.floor)
    client.answers.pop_front();
  if (id.sequence() >= client.floor) {
    Answer answer;
    answer.sequence = id.sequence();
    answer.revision = result.revision();
    answer.object_id = result.object_id();
    answer.changed = result.changed();
    answer.reason = result.reason();
    answer.message = result.message().substr(0, kMaxMessageBytes);
    Insert(client, std::move(answer));
  }
  Evict();
}

void Deduplication::Evict() {
  // The last client is the one just used: it stays, whatever the limits.
  const int64_t clock = clients_.back().last_seen_ms;
  while (clients_.size() > 1 &&
         (clients_.size() > max_clients_ || clients_.front().last_seen_ms + session_ms_ < clock)) {
    gone_.insert(clients_.front().id);
    by_id_.erase(clients_.front().id);
    clients_.pop_front();
  }
}

void Deduplication::Write(kv::View& state) {
  for (const uint64_t id : gone_) state.Delete(IdKey(kClientPrefix, id));
  gone_.clear();
  // Used ones stand at the end: what was used since the last call is a suffix of the list.
  for (auto client = clients_.rbegin(); client != clients_.rend() && client->dirty; ++client) {
    state.Put(IdKey(kClientPrefix, client->id), Encode(*client));
    client->dirty = false;
  }
}

void Deduplication::Load(const kv::Reader& state) {
  clients_.clear();
  by_id_.clear();
  gone_.clear();
  std::vector<Client> loaded;
  const auto iterator = state.NewIterator(PrefixLower(kClientPrefix), PrefixUpper(kClientPrefix));
  for (; iterator->Valid(); iterator->Next()) {
    TENURE_CHECK(iterator->key().size() == 9, "a client's key has {} bytes", iterator->key().size());
    loaded.push_back(Decode(GetBigEndian64(iterator->key().data() + 1), iterator->value()));
  }
  std::sort(loaded.begin(), loaded.end(),
            [](const Client& a, const Client& b) { return a.last_revision < b.last_revision; });
  for (Client& client : loaded) {
    const uint64_t id = client.id;
    by_id_.emplace(id, clients_.insert(clients_.end(), std::move(client)));
  }
}

// byte 1 (format), varints last_seen_ms, last_revision, floor, number of answers; per answer: varint sequence
// - that of the one before (the floor for the first), byte flags, varint revision, [varint object id],
// [varint reason, prefixed message].
std::string Deduplication::Encode(const Client& client) {
  std::string out;
  out.reserve(32 + client.answers.size() * 8);
  out.push_back(static_cast<char>(kClientFormat));
  PutVarint(out, static_cast<uint64_t>(client.last_seen_ms));
  PutVarint(out, client.last_revision);
  PutVarint(out, client.floor);
  PutVarint(out, client.answers.size());
  uint64_t before = client.floor;
  for (const Answer& answer : client.answers) {
    PutVarint(out, answer.sequence - before);
    before = answer.sequence;
    const bool refusal = answer.reason != pb::REASON_UNSPECIFIED;
    out.push_back(static_cast<char>((answer.changed ? kChanged : 0) |
                                    (answer.object_id != 0 ? kHasObject : 0) | (refusal ? kIsRefusal : 0)));
    PutVarint(out, answer.revision);
    if (answer.object_id != 0) PutVarint(out, answer.object_id);
    if (refusal) {
      PutVarint(out, static_cast<uint64_t>(answer.reason));
      PutPrefixed(out, answer.message);
    }
  }
  return out;
}

Deduplication::Client Deduplication::Decode(uint64_t id, std::string_view bytes) {
  ByteReader reader(bytes);
  const uint8_t format = reader.Byte();
  Client client;
  client.id = id;
  client.last_seen_ms = static_cast<int64_t>(reader.Varint());
  client.last_revision = reader.Varint();
  client.floor = reader.Varint();
  const uint64_t count = reader.Varint();
  uint64_t before = client.floor;
  for (uint64_t i = 0; i < count && reader.ok(); ++i) {
    Answer answer;
    answer.sequence = before + reader.Varint();
    before = answer.sequence;
    const uint8_t flags = reader.Byte();
    answer.changed = (flags & kChanged) != 0;
    answer.revision = reader.Varint();
    if (flags & kHasObject) answer.object_id = reader.Varint();
    if (flags & kIsRefusal) {
      answer.reason = static_cast<pb::Reason>(reader.Varint());
      answer.message = reader.Prefixed();
    }
    client.answers.push_back(std::move(answer));
  }
  TENURE_CHECK(reader.AtEnd() && format == kClientFormat,
               "the deduplication record of client {:016x} (format {}, {} bytes) cannot be read", id, format,
               bytes.size());
  return client;
}

}  // namespace tenure::catalog
