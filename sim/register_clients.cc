#include "sim/register_clients.h"

#include <fmt/format.h>

#include <utility>

#include "catalog/refusal.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

std::string RegisterName(std::string_view kind, uint64_t number) {
  return fmt::format("{}-{}", kind, number);
}

Operation NewOperation(Operation::Kind kind, std::optional<std::string> value, Instant now,
                       const std::string& by) {
  return {kind, std::move(value), now, std::nullopt, by};
}

// Unique; now and then so large that the commit of the log that it is in takes several sectors and may be
// torn.
std::string NewValue(const std::string& name, uint64_t number, Prng& prng) {
  std::string value = fmt::format("{}.{}", name, number);
  if (prng.Chance(1, 8)) value.append(prng.Below(2000), '.');
  return value;
}

// Nothing happened, for sure.
bool Refused(const Status& status) {
  const auto refusal = catalog::RefusalOf(status);
  return refusal && catalog::RuleOf(refusal->reason()).effect == catalog::Effect::kNone &&
         refusal->reason() != pb::REASON_UNAVAILABLE && !refusal->retryable();
}

}  // namespace

// ---- keys ----

KeyClient::KeyClient(Scheduler& world, runtime::Executor& executor, runtime::Network& network,
                     std::vector<runtime::Endpoint> nodes, History& history, Prng prng,
                     RegisterClientOptions options)
    : world_(world),
      executor_(executor),
      history_(history),
      prng_(prng),
      options_(std::move(options)),
      client_(executor, network, std::move(nodes), prng.Fork("resp"), options_.timeout) {}

void KeyClient::Pause() {
  Duration pause(prng_.Between(0, options_.think_time_max.count()));
  if (options_.max_rest > Duration::zero() && prng_.Chance(1, 10))
    pause = Duration(prng_.Between(0, options_.max_rest.count()));
  timer_ = executor_.After(pause, [this] { Next(); });
}

void KeyClient::Next() {
  if (stopped_) return;
  const std::string key = RegisterName("key", prng_.Below(options_.registers));
  const bool read = prng_.Below(100) < options_.read_percent;
  std::vector<std::string> command = {"GET", key};
  std::optional<std::string> value;
  if (!read && prng_.Below(100) < options_.delete_percent) {
    command = {"DEL", key};
  } else if (!read) {
    value = NewValue(options_.name, next_value_++, prng_);
    command = {"SET", key, *value};
  }
  const auto ticket =
      history_.Begin(key, NewOperation(read ? Operation::Kind::kRead : Operation::Kind::kWrite, value,
                                       world_.now(), options_.name));
  client_.Execute(std::move(command),
                  [this, ticket, read](RespAnswer answer) { OnAnswer(ticket, read, answer); });
}

void KeyClient::OnAnswer(const History::Ticket& ticket, bool read, const RespAnswer& answer) {
  switch (answer.kind) {
    case RespAnswer::Kind::kValue:
      if (read) {
        history_.FinishRead(ticket, world_.now(),
                            answer.null ? std::nullopt : std::optional<std::string>(answer.text));
      } else {
        history_.Finish(ticket, world_.now());
        last_write_ = world_.now();
      }
      break;
    case RespAnswer::Kind::kRefused:
      history_.Discard(ticket);
      break;
    case RespAnswer::Kind::kUnknown:
      if (read) history_.Discard(ticket);
      break;
  }
  Pause();
}

// ---- entries ----

EntryClient::EntryClient(Scheduler& world, runtime::Executor& executor, runtime::Network& network,
                         std::vector<runtime::Endpoint> controllers, History& history, Prng prng,
                         RegisterClientOptions options)
    : world_(world),
      executor_(executor),
      history_(history),
      prng_(prng),
      options_(std::move(options)),
      client_(executor, network, std::move(controllers), prng.Fork("client")),
      ids_(prng.Fork("ids")) {}

void EntryClient::Pause() {
  timer_ = executor_.After(Duration(prng_.Between(0, options_.think_time_max.count())), [this] { Next(); });
}

void EntryClient::Next() {
  if (stopped_) return;
  const std::string key = RegisterName("entry", prng_.Below(options_.registers));
  if (prng_.Below(100) < options_.read_percent) return Read(key);
  Write(key, prng_.Below(100) < options_.delete_percent);
}

void EntryClient::Write(const std::string& key, bool remove) {
  std::optional<std::string> value;
  if (!remove) value = NewValue(options_.name, next_value_++, prng_);
  Operation operation = NewOperation(Operation::Kind::kWrite, value, world_.now(), options_.name);
  const auto known = known_.find(key);
  const bool conditional =
      !remove && known != known_.end() && prng_.Below(100) < options_.conditional_percent;
  if (conditional) operation.expected = known->second.value;
  const auto ticket = history_.Begin(key, std::move(operation));
  const pb::RequestId id = ids_.Next();
  const auto done = [this, ticket, sequence = id.sequence()](StatusOr<pb::ChangeResponse> response) {
    OnChanged(ticket, sequence, response.status());
  };
  if (remove) {
    pb::DeleteEntryRequest request;
    *request.mutable_id() = id;
    request.set_key(key);
    client_.Call<pb::ChangeResponse>("tenure.v1.Catalog/DeleteEntry", request, {.timeout = options_.timeout},
                                     done);
  } else {
    pb::PutEntryRequest request;
    *request.mutable_id() = id;
    request.set_key(key);
    request.set_value(*value);
    if (conditional && known->second.value) request.set_if_revision(known->second.revision);
    if (conditional && !known->second.value) request.set_if_absent(true);
    client_.Call<pb::ChangeResponse>("tenure.v1.Catalog/PutEntry", request, {.timeout = options_.timeout},
                                     done);
  }
}

void EntryClient::OnChanged(const History::Ticket& ticket, uint64_t sequence, const Status& status) {
  ids_.Done(sequence);
  if (status.ok()) {
    history_.Finish(ticket, world_.now());
    last_write_ = world_.now();
  } else if (Refused(status)) {
    history_.Discard(ticket);
  }
  Pause();
}

void EntryClient::Read(const std::string& key) {
  const auto ticket =
      history_.Begin(key, NewOperation(Operation::Kind::kRead, std::nullopt, world_.now(), options_.name));
  pb::GetEntryRequest request;
  request.set_key(key);
  client_.Call<pb::GetEntryResponse>("tenure.v1.Catalog/GetEntry", request, {.timeout = options_.timeout},
                                     [this, ticket, key](StatusOr<pb::GetEntryResponse> response) {
                                       if (!response.ok()) {
                                         history_.Discard(ticket);
                                       } else {
                                         Known& known = known_[key];
                                         known = {};
                                         if (response->has_record())
                                           known = {response->record().entry().value(),
                                                    response->record().modify_revision()};
                                         history_.FinishRead(ticket, world_.now(), known.value);
                                       }
                                       Pause();
                                     });
}

}  // namespace tenure::sim
