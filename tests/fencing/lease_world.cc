#include "tests/fencing/lease_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/format.h"

namespace tenure {

namespace pb = ::tenure::v1;
using namespace std::chrono_literals;  // NOLINT

namespace {

constexpr NodeId kNode{1};
constexpr size_t kKept = 6;        // messages of a kind that may come again
constexpr size_t kStory = 60;      // steps told with a violation
constexpr int64_t kMaxPpm = 4500;  // of each clock
constexpr Duration kLengths[] = {4s, 2s, 10s};

template <class T>
void Keep(std::vector<T>& messages, T message) {
  messages.push_back(std::move(message));
  if (messages.size() > kKept) messages.erase(messages.begin());
}

}  // namespace

LeaseWorld::LeaseWorld(uint64_t seed) : prng_(Prng(seed).Fork("lease world")) {
  node_ppm_ = prng_.Between(-2 * kMaxPpm, 2 * kMaxPpm);
  fencing_.fence_time = fencing_.bound = kLengths[prng_.Below(2)];
  fence_ = std::make_unique<node::RequestFence>(clock_);
  leaders_[1].alive = true;
  leaders_[1].contacts.Begin(Term(1), LeaderNow());
}

void LeaseWorld::Say(std::string what) {
  story_.push_back(fmt::format("{:9.3f} {}", static_cast<double>(ToMillis(time_ - 1h)) / 1000, what));
  if (story_.size() > kStory) story_.erase(story_.begin());
}

void LeaseWorld::Violated(const std::string& what) {
  Say("VIOLATION " + what);
  for (const std::string& line : story_) violation_ += line + "\n";
}

std::string LeaseWorld::Run(int steps) {
  for (int i = 0; i < steps && violation_.empty(); ++i) Step();
  for (const Request& request : requests_) fence_->Leave(request.ticket, false);
  return violation_;
}

controller::NodeRecords LeaseWorld::Records() const {
  controller::NodeRecords records;
  pb::NodeRecord& node = *records[kNode.value()].mutable_node();
  node.set_id(kNode.value());
  node.set_state(pb::NODE_UP);
  node.set_registration_epoch(process_);
  node.set_newest_format(catalog::kFormatOfLeases);
  return records;
}

void LeaseWorld::Step() {
  const uint64_t draw = prng_.Below(100);
  if (draw < 14) return Pass();
  if (draw < 60) return NodeStep();
  if (draw < 62) return Elect();
  // Mostly the newest leader, now and then one that was deposed.
  const uint64_t epoch = prng_.Chance(1, 6) ? 1 + prng_.Below(epoch_) : epoch_;
  LeaderStep(epoch);
}

// Mostly a moment, now and then as long as a lease or what a barrier waits for.
void LeaseWorld::Pass() {
  Duration passed = std::chrono::milliseconds(prng_.Between(1, 400));
  if (prng_.Chance(1, 5)) passed = std::chrono::milliseconds(prng_.Between(500, 3000));
  if (prng_.Chance(1, 12)) passed = fencing_.bound + std::chrono::milliseconds(prng_.Between(-60, 60));
  if (prng_.Chance(1, 12)) {
    passed = fencing_.bound * 101 / 100 + catalog::kProceedMargin +
             std::chrono::milliseconds(prng_.Between(-30, 30));
  }
  time_ += passed;
  clock_.now += passed + Duration(passed.count() / 1'000'000 * node_ppm_);
}

void LeaseWorld::Elect() {
  if (At(epoch_).holds || epoch_ >= 6) return;
  ++epoch_;
  Leader& leader = At(epoch_);
  leader.alive = true;
  Say(fmt::format("leader {} is elected", epoch_));
}

void LeaseWorld::LeaderStep(uint64_t epoch) {
  Leader& leader = At(epoch);
  if (!leader.alive) return;
  const bool newest = epoch == epoch_;
  switch (prng_.Below(12)) {
    case 0:
      if (!newest || !leader.applied.IsNone()) return;
      leader.applied = committed_;
      leader.contacts.Begin(Term(epoch), LeaderNow());
      return Say(fmt::format("leader {} applies its first entry, revision {}", epoch, committed_));
    case 1:
      if (!newest || leader.applied.IsNone() || leader.holds) return;
      leader.holds = true;
      return Say(fmt::format("leader {} holds its lease", epoch));
    case 2:
      if (!leader.holds || !prng_.Chance(1, 4)) return;
      leader.holds = false;
      return Say(fmt::format("leader {} loses its lease", epoch));
    case 3:
      if (!newest || leader.applied != committed_ || !leader.holds) return;
      committed_ = committed_.Next();
      if (prng_.Chance(3, 4)) leader.applied = committed_;
      return Say(fmt::format("leader {} commits revision {}", epoch, committed_));
    case 4:
      if (!newest || leader.applied.IsNone() || leader.applied >= committed_) return;
      leader.applied = leader.applied.Next();
      return;
    case 5:
    case 6:
    case 7:
      if (leader.applied.IsNone() || heartbeats_.empty()) return;
      // Mostly the newest; an old one may come late, or again.
      return Answer(leader, epoch,
                    prng_.Chance(3, 4) ? heartbeats_.back() : heartbeats_[prng_.Below(heartbeats_.size())]);
    case 8:
      return Pull(epoch);
    case 9:
      if (newest && prng_.Chance(1, 6)) Settings(leader);
      return;
    default:
      return Judge(leader, epoch);
  }
}

// As AgentService does.
void LeaseWorld::Answer(Leader& leader, uint64_t epoch, const Heartbeat& heartbeat) {
  const controller::LeaseReport& report = heartbeat.report;
  if (report.registration_epoch != process_ || report.seen_epoch > Term(epoch)) return;
  leader.contacts.OnReport(report);
  if (!heartbeat.asks || !leader.holds) {
    return Say(fmt::format("leader {} hears of heartbeat {} (serves {}{})", epoch, report.sent_at_ns,
                           report.serving, report.given_up ? ", gave up" : ""));
  }
  leader.contacts.OnGranted(kNode, report.sent_at_ns, LeaderNow());
  Keep(grants_, Grant{process_,
                      {.sent_at = Instant(Duration(report.sent_at_ns)),
                       .epoch = Term(epoch),
                       .revision = leader.applied,
                       .length = fencing_.fence_time,
                       .version = fencing_.version,
                       .mode = fencing_.mode}});
  Say(fmt::format(
      "leader {} answers heartbeat {} (serves {}, epoch {}) with a grant at revision {}, version {}", epoch,
      report.sent_at_ns, report.serving, report.seen_epoch, leader.applied, fencing_.version));
}

void LeaseWorld::Pull(uint64_t epoch) {
  Leader& leader = At(epoch);
  // Of one that has lost its lease nothing is pulled; what was answered before may come any time later.
  if (!leader.holds || !fence_->lease().WantsPull(clock_.now)) return;
  Keep(pulls_, Pulled{process_, leader.applied});
  Say(fmt::format("leader {} answers a pull with revision {}", epoch, leader.applied));
}

void LeaseWorld::Settings(Leader& leader) {
  if (!leader.holds || leader.applied != committed_) return;
  const auto unconfirmed =
      leader.contacts.Unconfirmed(Records(), catalog::kFormatOfLeases, fencing_, LeaderNow());
  if (!catalog::IsBoundLowered(fencing_) && unconfirmed.empty()) {
    fencing_.bound = fencing_.fence_time;
    fencing_.bound_available = fencing_.mode == pb::FENCING_AVAILABLE;
    ++counts_.bounds;
    committed_ = leader.applied = committed_.Next();
    return Say(fmt::format("the bound becomes {} ms", ToMillis(fencing_.bound)));
  }
  committed_ = leader.applied = committed_.Next();
  fencing_.fence_time = kLengths[prng_.Below(std::size(kLengths))];
  fencing_.mode = prng_.Chance(1, 5) ? pb::FENCING_AVAILABLE : pb::FENCING_STRICT;
  fencing_.version = committed_;
  fencing_.bound = std::max(fencing_.bound, fencing_.fence_time);
  fencing_.bound_available = fencing_.bound_available || fencing_.mode == pb::FENCING_AVAILABLE;
  Say(fmt::format("settings of version {}: {} ms, {}", fencing_.version, ToMillis(fencing_.fence_time),
                  fencing_.mode == pb::FENCING_AVAILABLE ? "available" : "strict"));
}

void LeaseWorld::Judge(Leader& leader, uint64_t epoch) {
  if (leader.applied.IsNone() || leader.applied <= proceeded_ || !leader.holds) return;
  const auto evidence = leader.contacts.Evidence(Records(), catalog::kFormatOfLeases, LeaderNow());
  const auto proceed_after = catalog::ProceedAfter(fencing_);
  if (!planner::MayProceed(evidence, leader.applied, proceed_after)) return;
  proceeded_ = leader.applied;
  ++counts_.barriers;
  const auto disposition = planner::ComputeDisposition(evidence[0], proceeded_, proceed_after);
  if (disposition == planner::Disposition::kFencedSafe) ++counts_.fenced_safe;
  Say(fmt::format("leader {}: the barrier for revision {} proceeds, the node is {}", epoch, proceeded_,
                  planner::NameOf(disposition)));
  if (fence_->lease().Serves(clock_.now) && fence_->present() < proceeded_) {
    Violated(fmt::format("the node serves from revision {}, a barrier for {} has proceeded",
                         fence_->present(), proceeded_));
  }
}

// ---- the node ----

void LeaseWorld::NodeStep() {
  switch (prng_.Below(16)) {
    case 0:
    case 1:
    case 2:
      return Beat(/*notice=*/false);
    case 3:
      if (seen_ == 0 || !prng_.Chance(1, 8)) return;
      return Beat(/*notice=*/true);
    case 4:
    case 5:
    case 6:
    case 7:
      if (grants_.empty()) return;
      return Take(prng_.Chance(3, 4) ? grants_.back() : grants_[prng_.Below(grants_.size())]);
    case 8:
    case 9: {
      if (pulls_.empty()) return;
      const Pulled pulled = prng_.Chance(3, 4) ? pulls_.back() : pulls_[prng_.Below(pulls_.size())];
      if (pulled.process != process_) return;
      const bool older = pulled.revision < view_;
      if (!fence_->lease().OnPulled(pulled.revision, clock_.now)) return;
      // Lists replace what was held, be it newer: only the check of the lease keeps the view from going back.
      view_ = pulled.revision;
      fence_->OnView(view_);
      ++counts_.recoveries;
      return Say(
          fmt::format("the node serves from revision {} on{}", view_, older ? ", which is older" : ""));
    }
    case 10:
    case 11:
      return BeginRequest();
    case 12:
    case 13:
      return EndRequest();
    case 14:
      return Watch();
    default:
      if (prng_.Chance(1, 25)) Restart();
  }
}

void LeaseWorld::Beat(bool notice) {
  if (notice) fence_->lease().GiveUp(clock_.now, "for a test");
  Heartbeat heartbeat;
  heartbeat.asks = !notice;
  controller::LeaseReport& report = heartbeat.report;
  report.node = kNode;
  report.registration_epoch = process_;
  report.sent_at_ns = clock_.now.time_since_epoch().count();
  report.seen_epoch = Term(seen_);
  report.serving = fence_->Report();
  report.given_up = notice;
  report.confirms = fence_->lease().Confirms(clock_.now);
  Say(fmt::format("the node sends heartbeat {}: serves {}, epoch {}, confirms {}{}", report.sent_at_ns,
                  report.serving, seen_, report.confirms, notice ? ", gives up" : ""));
  Keep(heartbeats_, std::move(heartbeat));
}

void LeaseWorld::Take(const Grant& grant) {
  node::NodeLease& lease = fence_->lease();
#ifndef TENURE_MUTANT_grants_of_earlier_life
  // A stream belongs to one run of the process; that is the first of two reasons.
  if (grant.process != process_) return;
#endif
  const Duration before = lease.Left(clock_.now);
  lease.OnGrant(grant.grant, clock_.now);
  seen_ = std::max(seen_, grant.grant.epoch.value());
  if (lease.Left(clock_.now) != before) {
    Say(fmt::format("the node takes the grant of leader {} for heartbeat {}: {} ms left{}", grant.grant.epoch,
                    grant.grant.sent_at.time_since_epoch().count(), ToMillis(lease.Left(clock_.now)),
                    lease.WantsPull(clock_.now) ? ", and pulls" : ""));
  }
}

void LeaseWorld::Restart() {
  for (const Request& request : requests_) fence_->Leave(request.ticket, false);
  requests_.clear();
  ++process_;
  seen_ = 0;
  fence_ = std::make_unique<node::RequestFence>(clock_);
  // The saved copy, which is older than what it served from now and then.
  if (prng_.Chance(1, 2)) view_ = view_.Previous();
  fence_->OnView(view_);
  Say(fmt::format("the node restarts, with revision {} on its disk", view_));
}

void LeaseWorld::BeginRequest() {
  if (requests_.size() >= 3) return;
  const auto ticket = fence_->Enter();
  if (!ticket) return;
  requests_.push_back({*ticket, fence_->present()});
  Say(fmt::format("a request begins with view {}", fence_->present()));
}

void LeaseWorld::EndRequest() {
  if (requests_.empty()) return;
  const size_t chosen = prng_.Below(requests_.size());
  const Request request = requests_[chosen];
  requests_.erase(requests_.begin() + static_cast<std::ptrdiff_t>(chosen));
  const bool leaves = fence_->MayLeave(request.ticket, clock_.now);
  fence_->Leave(request.ticket, leaves);
  if (!leaves) return;
  ++counts_.results;
  Say(fmt::format("its result from view {} leaves", request.view));
  if (request.view < proceeded_) {
    Violated(fmt::format("a result from view {} leaves, a barrier for {} has proceeded", request.view,
                         proceeded_));
  }
}

void LeaseWorld::Watch() {
  // From a follower, which may know more than the leader has applied. Nothing is watched before the first
  // pull.
  if (fence_->lease().recoveries() == 0 || view_ >= committed_) return;
  view_ = view_.Next();
  fence_->OnView(view_);
  Say(fmt::format("the node applies revision {}", view_));
}

}  // namespace tenure
