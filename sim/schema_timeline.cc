#include "sim/schema_timeline.h"

#include <fmt/format.h>

#include <algorithm>

namespace tenure::sim {

namespace {

bool Overlaps(const SchemaTimeline::Lifetime& life, Instant called, Instant returned) {
  return life.begun <= returned && (!life.ended || *life.ended >= called);
}

}  // namespace

std::string TableNameOf(size_t lane, bool renamed) {
  return fmt::format("t{}{}", lane, renamed ? "b" : "a");
}
std::string ViewNameOf(size_t lane) {
  return fmt::format("v{}", lane);
}
std::string ColumnNameOf(uint32_t number) {
  return fmt::format("c{}", number);
}
std::string ColumnKeyOf(size_t lane, const std::string& column) {
  return fmt::format("{}/{}", lane, column);
}

void SchemaTimeline::End(const std::string& name, Instant now) {
  for (Lifetime& life : lives_[name]) {
    if (!life.ended) life.ended = now;
  }
}

std::optional<Instant> SchemaTimeline::LatestUse(const std::string& name, Instant called,
                                                 Instant returned) const {
  std::optional<Instant> latest;
  const auto found = lives_.find(name);
  if (found == lives_.end()) return latest;
  for (const Lifetime& life : found->second) {
    if (!Overlaps(life, called, returned)) continue;
    latest = std::max(latest.value_or(called), std::min(life.ended.value_or(returned), returned));
  }
  return latest;
}

std::optional<Instant> SchemaTimeline::EarliestBirth(const std::string& name, Instant called,
                                                     Instant returned) const {
  std::optional<Instant> earliest;
  const auto found = lives_.find(name);
  if (found == lives_.end()) return earliest;
  for (const Lifetime& life : found->second) {
    if (Overlaps(life, called, returned)) earliest = std::min(earliest.value_or(life.begun), life.begun);
  }
  return earliest;
}

bool SchemaTimeline::Stable(const std::string& name, Instant from, Instant to) const {
  const auto found = lives_.find(name);
  if (found == lives_.end()) return false;
  return std::ranges::any_of(found->second, [&](const Lifetime& life) {
    return life.settled && *life.settled <= from && (!life.doomed || *life.doomed > to);
  });
}

}  // namespace tenure::sim
