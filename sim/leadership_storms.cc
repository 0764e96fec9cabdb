#include "sim/leadership_storms.h"

namespace tenure::sim {

void LeadershipStorms::Start() {
  if (world_.options().storms) Schedule(500, 8000);
}

void LeadershipStorms::Schedule(int64_t min_ms, int64_t max_ms) {
  const Duration gap = std::chrono::milliseconds(prng_.Between(min_ms, max_ms));
  next_ = world_.scheduler().At(world_.scheduler().now() + gap, "storm", [this] { Strike(); });
}

void LeadershipStorms::Strike() {
  if (left_ == 0) {
    left_ = 2 + prng_.Below(7);
    for (size_t& machine : between_) machine = prng_.Below(world_.machines().size());
  }
  const Machine& machine = *world_.machines()[between_[left_ % 2]];
  if (machine.controller_id != 0) world_.TransferCatalogLeadership(machine.controller_id);
  if (--left_ > 0) {
    Schedule(20, 600);
  } else {
    Schedule(3000, 10'000);
  }
}

}  // namespace tenure::sim
