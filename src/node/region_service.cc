#include "node/region_service.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "base/rare_path.h"

namespace tenure::node {
namespace {

constexpr Duration kDeadlineResolution = std::chrono::milliseconds(250);

Refused ClusterDown(std::string message) {
  return {Refused::Kind::kClusterDown, std::move(message)};
}

Refused Moving(const Region& region, uint16_t slot) {
  return {Refused::Kind::kTryAgain,
          fmt::format("slot {} of region {} is moving to another region", slot, region.id)};
}

size_t BytesOf(const store::Arguments& arguments) {
  size_t bytes = 0;
  for (const std::string& argument : arguments) bytes += argument.size() + 8;
  return bytes;
}

std::string Encode(const store::WriteCommand& command) {
  size_t bytes = 32;
  for (const store::Arguments& arguments : command.commands) bytes += BytesOf(arguments);
  std::string encoded;
  encoded.reserve(bytes);
  store::EncodeWriteCommand(command, encoded);
  return encoded;
}

store::Reply InvalidReply(const Status& status) {
  return store::Reply::Error(std::string(MessageOf(status)));
}

}  // namespace

RegionService::RegionService(runtime::Executor& executor, group::GroupHost& host, RegionTable& table,
                             ClusterViews& views, const NodeOptions& options)
    : executor_(executor),
      host_(host),
      table_(table),
      views_(views),
      options_(options),
      operations_(options.max_pending_operations) {}

// ---- routing ----

Region* RegionService::FindRegion(DatabaseId id, uint16_t slot, Outcome* otherwise) {
  Database* database = table_.Find(id);
  if (database == nullptr) {
    *otherwise =
        Refused{Refused::Kind::kNoSuchDatabase, fmt::format("database {} does not exist any more", id)};
    return nullptr;
  }
  Region* region = slot < database->by_slot.size() ? database->by_slot[slot] : nullptr;
  if (region == nullptr) {
    *otherwise = ClusterDown(fmt::format("slot {} of database {} has no region{}", slot, database->name,
                                         database->state == pb::DATABASE_CREATING ? " yet" : ""));
  }
  return region;
}

Region* RegionService::FindLed(DatabaseId database, uint16_t slot, Outcome* otherwise) {
  Region* region = FindRegion(database, slot, otherwise);
  if (region == nullptr || (region->leads() && region->Serves(slot))) return region;
  if (region->leads()) TENURE_RARE_PATH("node: a leader is asked for a slot that its log does not have");
  *otherwise = region->leads() ? Moving(*region, slot) : Redirect(*region, slot);
  return nullptr;
}

Outcome RegionService::Follow(DatabaseId database, uint16_t slot) {
  Outcome otherwise;
  const Region* region = FindLed(database, slot, &otherwise);
  return region == nullptr ? otherwise : Moving(*region, slot);
}

Outcome RegionService::Redirect(const Region& region, uint16_t slot) const {
  const NodeId target = table_.RedirectTarget(region);
  if (target.IsNone()) return ClusterDown(table_.DescribeLeaderless(region));
  std::string address = views_.RespAddressOf(target);
  if (address.empty()) {
    return ClusterDown(fmt::format("region {} is led by {}, whose Redis address is not known here", region.id,
                                   views_.NameOf(target)));
  }
  return Moved{slot, std::move(address)};
}

store::WriteCommand RegionService::NewCommand(store::WriteCommand::Kind kind) const {
  store::WriteCommand command;
  command.now = executor_.WallNow();
  command.kind = kind;
  command.max_value_bytes = options_.limits.max_value_bytes;
  return command;
}

// ---- entry points ----

void RegionService::Execute(DatabaseId database, uint16_t slot, store::Arguments arguments, ReadMode mode,
                            Callback<Outcome> done) {
  if (const Status valid = store::Validate(arguments, options_.limits); !valid.ok()) {
    return done(InvalidReply(valid));
  }
  const store::CommandSpec* spec = store::FindCommand(arguments[0]);
  TENURE_CHECK(spec != nullptr, "a valid command without a specification: {}", arguments[0]);
  if (!spec->write && mode == ReadMode::kReplica && AnswerFromReplica(database, slot, arguments, done))
    return;
  Outcome otherwise;
  Region* region = FindLed(database, slot, &otherwise);
  if (region == nullptr) return done(std::move(otherwise));
  if (!spec->write) return SubmitRead(*region, slot, Kind::kRead, std::move(arguments), std::move(done));
  store::WriteCommand command = NewCommand(store::WriteCommand::Kind::kSingle);
  command.commands.push_back(std::move(arguments));
  SubmitWrite(*region, slot, Encode(command), std::move(done));
}

void RegionService::ExecuteTransaction(DatabaseId database, uint16_t slot,
                                       std::vector<store::Arguments> commands,
                                       std::vector<store::WatchedKey> watches, Callback<Outcome> done) {
  for (const store::Arguments& arguments : commands) {
    if (const Status valid = store::ValidateQueued(arguments, options_.limits); !valid.ok()) {
      return done(InvalidReply(valid));
    }
  }
  Outcome otherwise;
  Region* region = FindLed(database, slot, &otherwise);
  if (region == nullptr) return done(std::move(otherwise));
  store::WriteCommand command = NewCommand(store::WriteCommand::Kind::kTransaction);
  command.commands = std::move(commands);
  command.watches = std::move(watches);
  SubmitWrite(*region, slot, Encode(command), std::move(done));
}

void RegionService::VersionOf(DatabaseId database, uint16_t slot, std::string key, Callback<Outcome> done) {
  Outcome otherwise;
  Region* region = FindLed(database, slot, &otherwise);
  if (region == nullptr) return done(std::move(otherwise));
  store::Arguments arguments;
  arguments.push_back(std::move(key));
  SubmitRead(*region, slot, Kind::kVersion, std::move(arguments), std::move(done));
}

uint64_t RegionService::KeyCount(DatabaseId id) {
  Database* database = table_.Find(id);
  if (database == nullptr) return 0;
  uint64_t keys = 0;
  for (const Region* region : database->regions) {
    if (region->leads()) keys += region->store->KeyCount(*host_.State(region->group()));
  }
  return keys;
}

Outcome RegionService::CountKeysInSlot(DatabaseId database, uint16_t slot) {
  Outcome otherwise;
  const Region* region = FindLed(database, slot, &otherwise);
  if (region == nullptr) return otherwise;
  const uint64_t keys =
      region->store->CountKeysInSlot(slot, executor_.WallNow(), *host_.State(region->group()));
  return store::Reply::Integer(static_cast<int64_t>(keys));
}

Outcome RegionService::KeysInSlot(DatabaseId database, uint16_t slot, size_t limit) {
  Outcome otherwise;
  const Region* region = FindLed(database, slot, &otherwise);
  if (region == nullptr) return otherwise;
  std::vector<store::Reply> keys;
  limit = std::min(limit, options_.max_scan_count);
  for (std::string& key :
       region->store->KeysInSlot(slot, limit, executor_.WallNow(), *host_.State(region->group()))) {
    keys.push_back(store::Reply::Bulk(std::move(key)));
  }
  return store::Reply::Array(std::move(keys));
}

// A replica that is recent enough answers by itself; the leader goes the usual way.
bool RegionService::AnswerFromReplica(DatabaseId database, uint16_t slot, const store::Arguments& arguments,
                                      Callback<Outcome>& done) {
  Outcome otherwise;
  const Region* region = FindRegion(database, slot, &otherwise);
  // A learner hears from its leader while it still lacks most of what there is.
  if (region == nullptr || !region->Serves(slot) || !region->votes || region->leads()) return false;
  const std::optional<Duration> silence = host_.SinceLeaderContact(region->group());
  if (!silence || *silence > options_.max_staleness) return false;
  // It hears from the leader, but still applies what it missed while it was away.
  const std::optional<group::GroupStatus> status = host_.StatusOf(region->group());
  if (!status || status->applied < status->commit) return false;
  done(ReadNow(*region, Kind::kRead, arguments));
  return true;
}

// ---- submitting ----

std::optional<RegionService::Handle> RegionService::Admit(const Region& region, uint16_t slot, Kind kind,
                                                          Callback<Outcome>& done) {
  if (operations_.full()) {
    done(Refused{Refused::Kind::kOverloaded,
                 fmt::format("{} operations are under way on this node", operations_.size())});
    return std::nullopt;
  }
  const Handle handle = operations_.Add({.done = std::move(done),
                                         .deadline = executor_.Now() + options_.write_timeout,
                                         .database = region.database,
                                         .region = region.id,
                                         .slot = slot,
                                         .kind = kind,
                                         .key = {}});
  ArmDeadlines();
  return handle;
}

void RegionService::SubmitWrite(Region& region, uint16_t slot, std::string encoded, Callback<Outcome> done) {
  // The log refuses it as well; so it does not get there.
  if (region.store->range().IsFrozen(slot)) return done(Moving(region, slot));
  const std::optional<Handle> handle = Admit(region, slot, Kind::kWrite, done);
  if (!handle) return;
  if (region.traffic.waiting.empty()) return Propose(region, *handle, std::move(encoded));
  RegionTraffic::Waiting waiting{.operation = *handle,
                                 .bytes = encoded.size() + sizeof(RegionTraffic::Waiting)};
  waiting.encoded = std::move(encoded);
  Enqueue(region, std::move(waiting));
}

void RegionService::SubmitRead(Region& region, uint16_t slot, Kind kind, store::Arguments arguments,
                               Callback<Outcome> done) {
  const bool nothing_waits = region.traffic.waiting.empty();
  const bool lease = nothing_waits && host_.Serving(region.group());
  const uint32_t* proposed = ProposedInSlot(region.database, slot);
  if (lease && *proposed == 0) return done(ReadNow(region, kind, arguments));
  const std::optional<Handle> handle = Admit(region, slot, kind, done);
  if (!handle) return;
  if (lease) return ProposeRead(region, *handle, std::move(arguments));
  RegionTraffic::Waiting waiting{.operation = *handle, .read = true};
  waiting.bytes = BytesOf(arguments) + sizeof(RegionTraffic::Waiting);
  waiting.arguments = std::move(arguments);
  Enqueue(region, std::move(waiting));
}

void RegionService::Enqueue(Region& region, RegionTraffic::Waiting waiting) {
  if (waiting_bytes_ + waiting.bytes > options_.max_waiting_bytes) {
    auto operation = operations_.Release(waiting.operation);
    return operation.done(
        Refused{Refused::Kind::kOverloaded,
                fmt::format("{} bytes of operations wait for region {} to confirm its leadership",
                            waiting_bytes_, region.id)});
  }
  waiting_bytes_ += waiting.bytes;
  region.traffic.waiting.push_back(std::move(waiting));
  if (region.traffic.confirming > 0 || std::exchange(region.traffic.confirmation_scheduled, true)) return;
  // At the end of the turn: one confirmation for everything that came in it.
  executor_.Post([this, id = region.id, alive = alive_] {
    if (*alive) Confirm(id);
  });
}

uint32_t* RegionService::ProposedInSlot(DatabaseId id, uint16_t slot) {
  Database* database = table_.Find(id);
  return database == nullptr ? nullptr : &database->proposed_by_slot[slot];
}

void RegionService::Propose(Region& region, Handle handle, std::string encoded) {
  PendingOperations::Operation* operation = operations_.Find(handle);
  operation->proposed = true;
  ++*ProposedInSlot(region.database, operation->slot);
  host_.Propose(region.group(), std::move(encoded),
                [this, handle](group::ProposeOutcome outcome) { OnProposed(handle, std::move(outcome)); });
}

// Behind the writes of its slot that are under way, in front of those that come later.
void RegionService::ProposeRead(Region& region, Handle handle, store::Arguments arguments) {
  PendingOperations::Operation* operation = operations_.Find(handle);
  store::WriteCommand command = NewCommand(store::WriteCommand::Kind::kTransaction);
  if (operation->kind == Kind::kVersion) {
    operation->key = std::move(arguments[0]);  // the log only holds the place
  } else {
    operation->kind = Kind::kReadThroughLog;
    command.commands.push_back(std::move(arguments));
  }
  Propose(region, handle, Encode(command));
}

void RegionService::OnProposed(Handle handle, group::ProposeOutcome outcome) {
  PendingOperations::Operation operation = operations_.Release(handle);
  if (uint32_t* proposed = ProposedInSlot(operation.database, operation.slot)) {
    TENURE_CHECK(*proposed > 0, "S2: slot {} of database {}: an answer without a proposal", operation.slot,
                 operation.database);
    --*proposed;
  }
  if (!operation.done) return;  // its time ran out before
  Callback<Outcome> done = std::move(operation.done);
  done(OutcomeOf(operation, std::move(outcome)));
}

Outcome RegionService::OutcomeOf(const PendingOperations::Operation& operation,
                                 group::ProposeOutcome outcome) {
  using ProposeKind = group::ProposeOutcome::Kind;
  const Region* region = table_.Find(operation.region);
  switch (outcome.kind) {
    case ProposeKind::kApplied: {
      if (operation.kind == Kind::kVersion) {
        if (region == nullptr || !region->running) break;
        if (!region->Serves(operation.slot)) return Follow(operation.database, operation.slot);
        return ReadNow(*region, Kind::kVersion, {operation.key});
      }
      StatusOr<store::Reply> reply = store::DecodeReply(outcome.result);
      TENURE_CHECK(reply.ok(), "region {}: the reply of its own log: {}", operation.region,
                   MessageOf(reply.status()));
      // Of a transaction that reads: the region did not hold the slot any more when its turn came.
      if (operation.kind == Kind::kWrite || reply->IsError()) return std::move(*reply);
      TENURE_CHECK(reply->elements.size() == 1, "region {}: {} replies to one read", operation.region,
                   reply->elements.size());
      return std::move(reply->elements[0]);
    }
    case ProposeKind::kNotLeader:
      break;
    case ProposeKind::kTransferring:
      return Refused{Refused::Kind::kTryAgain,
                     fmt::format("the leadership of region {} is being handed over", operation.region)};
    case ProposeKind::kOverloaded:
      return Refused{Refused::Kind::kOverloaded,
                     fmt::format("region {} has too much under way, try again", operation.region)};
    case ProposeKind::kOutOfSpace:
      return Refused{Refused::Kind::kOutOfSpace, "the disk's reserve of this node is reached: reads only"};
    case ProposeKind::kUnknown:
      if (operation.kind != Kind::kWrite) break;
      return Unknown{
          fmt::format("the leadership of region {} was lost while the command was under way: it may or "
                      "may not take effect",
                      operation.region)};
  }
  if (region == nullptr) return ClusterDown(fmt::format("region {} is gone", operation.region));
  if (region->leads()) return ClusterDown(fmt::format("region {} is changing its leader", operation.region));
  return Redirect(*region, operation.slot);
}

store::Reply RegionService::ReadNow(const Region& region, Kind kind,
                                    const store::Arguments& arguments) const {
  const kv::Reader* state = host_.State(region.group());
  TENURE_CHECK(state != nullptr, "region {} is marked as running and has no state", region.id);
  if (kind == Kind::kVersion) {
    return store::Reply::Integer(
        static_cast<int64_t>(region.store->VersionOf(arguments[0], executor_.WallNow(), *state)));
  }
  return region.store->Read(arguments, executor_.WallNow(), *state);
}

// ---- confirmation ----

void RegionService::Confirm(RegionId id) {
  Region* region = table_.Find(id);
  if (region == nullptr) return;
  region->traffic.confirmation_scheduled = false;
  if (region->traffic.waiting.empty() || region->traffic.confirming > 0) return;
  region->traffic.confirming = region->traffic.waiting.size();
  if (!region->running)
    return OnConfirmed(id, Error(StatusCode::kUnavailable, "region {} does not run here", id));
  host_.Read(region->group(), [this, id](Status status) { OnConfirmed(id, status); });
}

void RegionService::OnConfirmed(RegionId id, const Status& status) {
  Region* region = table_.Find(id);
  if (region == nullptr) return;
  const size_t count = std::exchange(region->traffic.confirming, 0);
  if (status.ok()) {
    RunConfirmed(id, count);
  } else {
    for (size_t i = 0; i < count && !region->traffic.waiting.empty(); ++i) {
      RegionTraffic::Waiting waiting = std::move(region->traffic.waiting.front());
      region->traffic.waiting.pop_front();
      waiting_bytes_ -= waiting.bytes;
      if (operations_.Find(waiting.operation) == nullptr) continue;
      auto operation = operations_.Release(waiting.operation);
      operation.done(region->leads() ? ClusterDown(fmt::format("region {} is changing its leader", id))
                                     : Redirect(*region, operation.slot));
    }
  }
  if (region->traffic.waiting.empty() || std::exchange(region->traffic.confirmation_scheduled, true)) return;
  executor_.Post([this, id, alive = alive_] {
    if (*alive) Confirm(id);
  });
}

// The first `count` waiting operations may run, in order. Their callbacks may add further ones behind.
void RegionService::RunConfirmed(RegionId id, size_t count) {
  Region* region = table_.Find(id);
  for (size_t i = 0; i < count && !region->traffic.waiting.empty(); ++i) {
    RegionTraffic::Waiting waiting = std::move(region->traffic.waiting.front());
    waiting_bytes_ -= waiting.bytes;
    PendingOperations::Operation* operation = operations_.Find(waiting.operation);
    if (operation == nullptr) {  // its time ran out
      region->traffic.waiting.pop_front();
      continue;
    }
    // It leaves the queue only when it is on its way: until then later ones must queue up behind it.
    if (!waiting.read) {
      Propose(*region, waiting.operation, std::move(waiting.encoded));
      region->traffic.waiting.pop_front();
    } else if (*ProposedInSlot(region->database, operation->slot) > 0) {
      ProposeRead(*region, waiting.operation, std::move(waiting.arguments));
      region->traffic.waiting.pop_front();
    } else {
      Outcome outcome = region->Serves(operation->slot)
                            ? Outcome(ReadNow(*region, operation->kind, waiting.arguments))
                            : Follow(operation->database, operation->slot);
      auto finished = operations_.Release(waiting.operation);
      region->traffic.waiting.pop_front();
      finished.done(std::move(outcome));
    }
  }
}

void RegionService::RefuseWaiting(const std::string& reason) {
  for (auto& [id, region] : table_.regions()) RefuseWaiting(region, reason);
}

void RegionService::RefuseWaiting(Region& region, const std::string& reason) {
  std::deque<RegionTraffic::Waiting> waiting = std::exchange(region.traffic.waiting, {});
  region.traffic.confirming = 0;
  for (RegionTraffic::Waiting& entry : waiting) {
    waiting_bytes_ -= entry.bytes;
    if (operations_.Find(entry.operation) == nullptr) continue;
    auto operation = operations_.Release(entry.operation);
    operation.done(ClusterDown(reason));
  }
}

// ---- deadlines ----

void RegionService::ArmDeadlines() {
  if (std::exchange(deadlines_armed_, true)) return;
  deadline_timer_ = executor_.After(kDeadlineResolution, [this] { CheckDeadlines(); });
}

void RegionService::CheckDeadlines() {
  deadlines_armed_ = false;
  const Instant now = executor_.Now();
  Handle handle;
  while (operations_.TakeExpired(now, &handle)) {
    PendingOperations::Operation* operation = operations_.Find(handle);
    Callback<Outcome> done = std::move(operation->done);
    operation->done = nullptr;
    Outcome outcome = ExpiredOutcome(*operation);
    if (!operation->proposed) operations_.Release(handle);
    done(std::move(outcome));
  }
  if (operations_.HasDeadlines()) ArmDeadlines();
}

Outcome RegionService::ExpiredOutcome(const PendingOperations::Operation& operation) const {
  const int64_t limit = ToMillis(options_.write_timeout);
  if (operation.kind == Kind::kWrite && operation.proposed) {
    return Unknown{
        fmt::format("no majority of the replicas of region {} acknowledged the command within {} ms: it may "
                    "or may not take effect",
                    operation.region, limit)};
  }
  return ClusterDown(
      fmt::format("no majority of the replicas of region {} answered within {} ms", operation.region, limit));
}

}  // namespace tenure::node
