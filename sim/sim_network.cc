#include "sim/sim_network.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "sim/sim_connection.h"

namespace tenure::sim {

SimNetwork::SimNetwork(Scheduler& world, Prng prng, SimLinkOptions defaults)
    : world_(world), prng_(prng), defaults_(defaults) {}

SimNetwork::~SimNetwork() = default;

void SimNetwork::AddHost(SimProcess& process, const Endpoint& address) {
  TENURE_CHECK(process.alive(), "process {} is dead", process.name());
  TENURE_CHECK(HostAt(address) == nullptr, "{} is taken", address);
  auto host = std::make_shared<SimHost>(*this, process, address);
  hosts_[address] = host;
  by_process_[&process] = host;
  powered_off_.erase(address);
  process.OnKill([this, host] { OnKilled(host); });
}

std::unique_ptr<runtime::Network> SimNetwork::MakeView(SimProcess& process, SimExecutor& executor) {
  const auto host = by_process_.find(&process);
  TENURE_CHECK(host != by_process_.end(), "process {} is not on the network", process.name());
  auto state = std::make_shared<SimViewState>(SimViewState{host->second, executor});
  return std::make_unique<SimNetworkView>(*this, std::move(state));
}

// --- links
// -----------------------------------------------------------------------------------------------------

SimNetwork::Link& SimNetwork::LinkOf(const Endpoint& from, const Endpoint& to) {
  const auto [found, added] = links_.try_emplace({from, to});
  if (added) {
    found->second.options = defaults_;
    found->second.name = from + " > " + to;
    found->second.label = world_.Intern(found->second.name);
  }
  return found->second;
}

void SimNetwork::SetDefaults(SimLinkOptions options) {
  defaults_ = options;
  for (auto& [ends, link] : links_) link.options = options;
}

void SimNetwork::SetLink(const Endpoint& from, const Endpoint& to, SimLinkOptions options) {
  LinkOf(from, to).options = options;
}

Duration SimNetwork::DrawDelay(const Link& link) {
  return Duration(prng_.Between(link.options.min_delay.count(), link.options.max_delay.count()));
}

Instant SimNetwork::Transmit(Link& link, Instant not_before, Closure arrive) {
  const Instant when = std::max(world_.now() + DrawDelay(link), not_before);
  world_.Post(when, link.label,
              [this, &link, arrive = std::move(arrive)]() mutable { Arrive(link, std::move(arrive)); });
  return when;
}

void SimNetwork::Arrive(Link& link, Closure arrive) {
  if (!link.blocked) {
    arrive();
  } else if (!link.given_up) {
    link.held.push_back(std::move(arrive));
  }
}

void SimNetwork::Block(const Endpoint& from, const Endpoint& to) {
  Link& link = LinkOf(from, to);
  if (std::exchange(link.blocked, true)) return;
  ++link.epoch;
  const Duration patience(prng_.Between(min_keepalive_.count(), max_keepalive_.count()));
  world_.After(patience, link.name + " keepalive",
               [this, from, to, epoch = link.epoch] { GiveUp(from, to, epoch); });
}

void SimNetwork::GiveUp(const Endpoint& from, const Endpoint& to, uint64_t epoch) {
  Link& link = LinkOf(from, to);
  if (!link.blocked || link.epoch != epoch) return;
  link.given_up = true;
  link.held.clear();
  BreakConnections(from, to);
}

bool SimNetwork::Dead(const Endpoint& a, const Endpoint& b) {
  return LinkOf(a, b).given_up || LinkOf(b, a).given_up;
}

void SimNetwork::Unblock(const Endpoint& from, const Endpoint& to) {
  Link& link = LinkOf(from, to);
  if (!std::exchange(link.blocked, false)) return;
  link.given_up = false;
  ++link.epoch;
  // At once and in order, before anything else that is on its way.
  for (Closure& arrive : std::exchange(link.held, {})) Arrive(link, std::move(arrive));
}

void SimNetwork::Partition(const std::vector<Endpoint>& side, const std::vector<Endpoint>& other) {
  for (const Endpoint& a : side) {
    for (const Endpoint& b : other) {
      Block(a, b);
      Block(b, a);
    }
  }
}

void SimNetwork::HealAll() {
  std::vector<std::pair<Endpoint, Endpoint>> blocked_links;
  for (const auto& [ends, link] : links_) {
    if (link.blocked) blocked_links.push_back(ends);
  }
  for (const auto& [from, to] : blocked_links) Unblock(from, to);
}

bool SimNetwork::blocked(const Endpoint& from, const Endpoint& to) const {
  const auto found = links_.find({from, to});
  return found != links_.end() && found->second.blocked;
}

const SimLinkOptions& SimNetwork::OptionsOf(const Endpoint& from, const Endpoint& to) const {
  const auto found = links_.find({from, to});
  return found == links_.end() ? defaults_ : found->second.options;
}

// --- hosts and connections
// -------------------------------------------------------------------------------------

SimHost* SimNetwork::HostAt(const Endpoint& address) {
  const auto found = hosts_.find(address);
  return found == hosts_.end() ? nullptr : found->second.get();
}

void SimNetwork::PowerOff(const Endpoint& address) {
  powered_off_.insert(address);
}

void SimNetwork::AddConnection(const std::shared_ptr<SimConnection>& connection) {
  connections_.emplace(connection->id, connection);
}

std::vector<std::shared_ptr<SimConnection>> SimNetwork::ConnectionsOf(const Endpoint& a, const Endpoint& b) {
  std::vector<std::shared_ptr<SimConnection>> found;
  for (const auto& [id, connection] : connections_) {
    const Endpoint& client = connection->ends[SimConnection::kClient].view->host->address;
    if ((client == a && connection->to == b) || (client == b && connection->to == a))
      found.push_back(connection);
  }
  return found;
}

void SimNetwork::BreakConnections(const Endpoint& a, const Endpoint& b) {
  for (const auto& connection : ConnectionsOf(a, b)) {
    const Status reset = Error(StatusCode::kUnavailable, "{}: the connection broke", connection->to);
    connection->Fail(SimConnection::kClient, reset);
    connection->Fail(SimConnection::kServer,
                     Error(StatusCode::kCancelled, "the client of {} is gone", connection->method));
  }
}

std::vector<std::pair<std::shared_ptr<SimConnection>, int>> SimNetwork::EndsOn(
    const std::function<bool(const SimViewState&)>& selects) const {
  std::vector<std::pair<std::shared_ptr<SimConnection>, int>> found;
  for (const auto& [id, connection] : connections_) {
    for (const auto side : {SimConnection::kClient, SimConnection::kServer}) {
      const auto& view = connection->ends[side].view;
      if (view && selects(*view)) found.emplace_back(connection, side);
    }
  }
  return found;
}

void SimNetwork::OnKilled(const std::shared_ptr<SimHost>& host) {
  host->alive = false;
  host->silent = powered_off_.contains(host->address);
  hosts_.erase(host->address);
  by_process_.erase(&host->process);
  for (const auto& [connection, number] :
       EndsOn([&](const SimViewState& view) { return view.host == host; })) {
    const auto side = static_cast<SimConnection::Side>(number);
    connection->OnViewGone(side);
    if (!host->silent) continue;
    // Its peer finds out when the pings stay unanswered.
    const Duration patience(prng_.Between(min_keepalive_.count(), max_keepalive_.count()));
    world_.After(patience, "keepalive", [connection, side] {
      connection->Fail(SimConnection::Other(side),
                       Error(StatusCode::kUnavailable, "{}: keepalive timeout", connection->to));
    });
  }
}

}  // namespace tenure::sim
