#include "resp/front_end.h"

#include <utility>

#include "base/check.h"
#include "resp/session.h"

namespace tenure::resp {

FrontEnd::FrontEnd(FrontEndSettings settings, node::DataService& service, const runtime::Clock& clock,
                   Logger logger)
    : settings_(std::move(settings)),
      service_(service),
      clock_(clock),
      logger_(std::move(logger)),
      started_at_(clock.Now()) {}

FrontEnd::~FrontEnd() {
  TENURE_CHECK(sessions_.empty(), "{} sessions outlive their front end", sessions_.size());
}

std::shared_ptr<Session> FrontEnd::Connect(Transport& transport, std::string peer, std::string local) {
  const uint64_t id = next_id_++;
  auto session = std::make_shared<Session>(*this, transport, id, std::move(peer), std::move(local));
  sessions_.emplace(id, session.get());
  ++counters_.connections;
  return session;
}

std::vector<Session*> FrontEnd::Clients() const {
  std::vector<Session*> clients;
  clients.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_) clients.push_back(session);
  return clients;
}

void FrontEnd::AccountMemory(size_t before, size_t after) {
  TENURE_CHECK(total_bytes_ + after >= before, "clients hold {} bytes, one gives back {} of them",
               total_bytes_, before - after);
  total_bytes_ = total_bytes_ + after - before;
  if (after > before && total_bytes_ > settings_.max_total_bytes && !evicting_) EvictLargest();
}

void FrontEnd::EvictLargest() {
  evicting_ = true;
  while (total_bytes_ > settings_.max_total_bytes) {
    Session* largest = nullptr;
    for (const auto& [id, session] : sessions_) {
      if (largest == nullptr || session->memory() > largest->memory()) largest = session;
    }
    if (largest == nullptr || largest->memory() == 0) break;
    ++counters_.evicted_clients;
    logger_.Warn("clients hold {} bytes together, limit {}: disconnecting {} which holds {}", total_bytes_,
                 settings_.max_total_bytes, largest->client().peer, largest->memory());
    largest->Abort();
  }
  evicting_ = false;
}

}  // namespace tenure::resp
