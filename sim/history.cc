#include "sim/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tenure::sim {

History::Ticket History::Begin(const std::string& key, Operation operation) {
  auto& operations = operations_[key];
  operations.emplace_back(std::move(operation));
  return {key, operations.size() - 1};
}

void History::Finish(const Ticket& ticket, Instant returned) {
  Operation& operation = *operations_[ticket.key][ticket.index];
  operation.returned = returned;
  ++acknowledged_;
  if (operation.kind == Operation::Kind::kWrite) ++acknowledged_writes_;
  last_acknowledged_ = returned;
}

void History::FinishRead(const Ticket& ticket, Instant returned, std::optional<std::string> value) {
  operations_[ticket.key][ticket.index]->value = std::move(value);
  Finish(ticket, returned);
}

void History::Limit(const Ticket& ticket, Instant latest) {
  operations_[ticket.key][ticket.index]->latest = latest;
}

void History::Discard(const Ticket& ticket) {
  operations_[ticket.key][ticket.index].reset();
}

uint64_t History::unknown() const {
  uint64_t count = 0;
  for (const auto& [key, operations] : operations_) {
    for (const auto& operation : operations) count += operation && !operation->returned ? 1 : 0;
  }
  return count;
}

std::map<std::string, std::string> History::AcknowledgedValues(std::string_view prefix, Instant since,
                                                               Instant before) const {
  std::map<std::string, std::string> values;
  for (const auto& [key, operations] : operations_) {
    if (!key.starts_with(prefix)) continue;
    for (const auto& operation : operations) {
      if (operation && operation->kind == Operation::Kind::kWrite && operation->returned &&
          operation->value && operation->called >= since && *operation->returned < before) {
        values[*operation->value] =
            fmt::format("write of {} to {} at {} to {} ms", operation->value->substr(0, 20), key,
                        ToMillis(operation->called - Instant()), ToMillis(*operation->returned - Instant()));
      }
    }
  }
  return values;
}

History::Silence History::LongestSilence(std::string_view prefix, Instant from, Instant to) const {
  std::vector<Instant> acknowledged = {to};
  for (const auto& [key, operations] : operations_) {
    if (!key.starts_with(prefix)) continue;
    for (const auto& operation : operations) {
      if (!operation || operation->kind != Operation::Kind::kWrite || !operation->returned) continue;
      if (*operation->returned > from && *operation->returned < to)
        acknowledged.push_back(*operation->returned);
    }
  }
  std::sort(acknowledged.begin(), acknowledged.end());
  Silence longest{from, {}};
  for (Instant last = from; const Instant time : acknowledged) {
    if (time - last > longest.length) longest = {last, time - last};
    last = time;
  }
  return longest;
}

History::Judgement History::Judge(uint64_t max_steps_per_register) const {
  Judgement judgement;
  for (const auto& [key, recorded] : operations_) {
    std::vector<Operation> operations;
    for (const auto& operation : recorded) {
      if (operation) operations.push_back(*operation);
    }
    ++judgement.registers;
    const CheckResult result = CheckRegister(std::move(operations), max_steps_per_register);
    if (result.verdict == Verdict::kUndecided) ++judgement.undecided;
    if (result.verdict == Verdict::kViolation) {
      judgement.violations.push_back(fmt::format("register {}: {}", key, result.explanation));
    }
  }
  return judgement;
}

}  // namespace tenure::sim
