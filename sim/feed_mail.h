// Mail of the changefeed protocol that comes late, again, in another's name, and without an epoch: what
// anybody sends to a node is sent to it once more after a while, now and then, while there are faults.
//
//   F12 nobody is heard in an epoch that belongs to another, and nobody without an epoch: it is refused.
//
// What comes again as it was may count or not: the other invariants must hold.
//
// Threading: the simulation's thread; sends from a process of its own.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/prng.h"
#include "runtime/executor.h"
#include "sim/sim_clock.h"
#include "sim/sim_executor.h"
#include "sim/sim_network.h"
#include "sim/world.h"
#include "tenure/internal/v1/node.pb.h"

namespace tenure::sim {

class FeedMail final : public CallWatcher {
 public:
  FeedMail(World& world, Prng prng);
  ~FeedMail() override;
  FeedMail(const FeedMail&) = delete;
  FeedMail& operator=(const FeedMail&) = delete;

  uint64_t repeated() const { return repeated_; }
  uint64_t forged() const { return forged_; }

  // CallWatcher
  void OnSent(const Endpoint& from, const Endpoint& to, std::string_view method,
              const std::string& request) override;
  void OnAnswered(const Endpoint& to, std::string_view method, const std::string& request,
                  const std::string& answer) override;

 private:
  using Envelope = ::tenure::internal::v1::ChangefeedEnvelope;
  void Repeat(const Endpoint& to, const std::string& request);
  // Of a maintainer's message: in the name of another node, in the same epoch.
  void ForgeOwner(const Endpoint& to, Envelope envelope);
  // Of an add: a remove without an epoch, to any node.
  void ForgeEpoch(Envelope envelope);
  void SendForged(const Endpoint& to, Duration delay, const Envelope& envelope);
  void Send(const Endpoint& to, Duration delay, std::string request, Callback<StatusOr<std::string>> done);

  World& world_;
  Prng prng_;
  SimClock clock_;
  SimProcess process_;
  SimExecutor& executor_;
  std::unique_ptr<runtime::Network> network_;
  uint64_t repeated_ = 0;
  uint64_t forged_ = 0;
};

}  // namespace tenure::sim
