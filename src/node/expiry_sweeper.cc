#include "node/expiry_sweeper.h"

#include <utility>

namespace tenure::node {

ExpirySweeper::ExpirySweeper(runtime::Executor& executor, group::GroupHost& host, RegionTable& table,
                             const NodeOptions& options)
    : executor_(executor), host_(host), table_(table), options_(options) {}

void ExpirySweeper::Schedule() {
  timer_ = executor_.After(options_.sweep_interval, [this] {
    Look();
    Schedule();
  });
}

void ExpirySweeper::Look() {
  const auto& regions = table_.regions();
  auto it = regions.lower_bound(next_region_);
  const size_t rounds = std::min(options_.sweep_regions, regions.size());
  for (size_t i = 0; i < rounds; ++i) {
    if (it == regions.end()) it = regions.begin();
    const Region& region = it->second;
    ++it;
    if (!region.leads() || region.serving_term.IsNone() || sweeping_.contains(region.id)) continue;
    if (region.store->HasExpired(executor_.WallNow(), *host_.State(region.group()))) Sweep(region);
  }
  next_region_ = it == regions.end() ? 0 : it->first;
}

void ExpirySweeper::Sweep(const Region& region) {
  const store::WriteCommand command{.now = executor_.WallNow(),
                                    .kind = store::WriteCommand::Kind::kSweep,
                                    .commands = {},
                                    .watches = {},
                                    .sweep_limit = options_.sweep_keys};
  std::string encoded;
  store::EncodeWriteCommand(command, encoded);
  const RegionId id = region.id;
  sweeping_.insert(id);
  host_.Propose(region.group(), std::move(encoded),
                [this, id](group::ProposeOutcome outcome) { OnSwept(id, outcome); });
}

void ExpirySweeper::OnSwept(RegionId id, const group::ProposeOutcome& outcome) {
  sweeping_.erase(id);
  if (outcome.kind != group::ProposeOutcome::Kind::kApplied) return;  // the next look tries again
  const StatusOr<store::Reply> reply = store::DecodeReply(outcome.result);
  if (!reply.ok() || reply->integer < options_.sweep_keys) return;
  const Region* region = table_.Find(id);
  if (region != nullptr && region->leads()) Sweep(*region);
}

}  // namespace tenure::node
