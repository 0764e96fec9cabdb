#include "node/region_service.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/format.h"
#include "base/rare_path.h"
#include "store/errors.h"
#include "store/transaction_work.h"

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

size_t BytesOf(const store::Step& step) {
  if (const auto* arguments = std::get_if<store::Arguments>(&step)) return BytesOf(*arguments);
  // The columns of a whole table are shared.
  const auto& rows = std::get<store::RowCommand>(step);
  return sizeof(rows) + rows.keys[0].key.size() + rows.table.size();
}

constexpr std::string_view kRowsCrossSlots =
    "CROSSSLOT The keys of the transaction lie in different slots: rows of a table that was renamed, and of "
    "a view, lie where the table's first name puts them";

bool NamesRow(const DatabaseSchemas& schemas, const store::CommandSpec& spec,
              const store::Arguments& arguments) {
  const auto keys = store::KeysOf(spec, arguments);
  return std::ranges::any_of(keys, [&](std::string_view key) { return schemas.OfKey(key) != nullptr; });
}

store::Reply NoRow(std::string_view key) {
  return store::Reply::Error(
      fmt::format("ERR the database is strict and has rows of tables only: no table is named by the key '{}'",
                  store::PrintableInError(key.substr(0, 128))));
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
                             ClusterViews& views, const RowSchemaTable& schemas, const NodeOptions& options)
    : executor_(executor),
      host_(host),
      table_(table),
      views_(views),
      schemas_(schemas),
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

// A client that is sent elsewhere learns it for the slot that it knows: that is where it will ask.
Region* RegionService::FindLed(DatabaseId database, Place place, Outcome* otherwise) {
  Region* region = FindRegion(database, place.slot, otherwise);
  if (region == nullptr || (region->leads() && region->Serves(place.slot))) return region;
  if (region->leads()) TENURE_RARE_PATH("node: a leader is asked for a slot that its log does not have");
  *otherwise = region->leads() ? Moving(*region, place.slot) : Redirect(*region, place.asked);
  return nullptr;
}

Outcome RegionService::Follow(DatabaseId database, Place place) {
  Outcome otherwise;
  const Region* region = FindLed(database, place, &otherwise);
  return region == nullptr ? otherwise : Moving(*region, place.slot);
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
  Place place{slot, slot};
  store::Step step = std::move(arguments);
  if (const DatabaseSchemas* schemas = schemas_.Of(database)) {
    if (spec->write && NamesRow(*schemas, *spec, std::get<store::Arguments>(step))) {
      auto request = std::make_unique<RowRequest>();
      request->commands.push_back(std::get<store::Arguments>(std::move(step)));
      return WriteRows(database, place, *schemas, std::move(request), false, std::move(done));
    }
    if (auto refused = Plan(*schemas, place, step, nullptr)) return done(*std::move(refused));
  }
  if (!spec->write && mode == ReadMode::kReplica && AnswerFromReplica(database, place.slot, step, done))
    return;
  Outcome otherwise;
  Region* region = FindLed(database, place, &otherwise);
  if (region == nullptr) return done(std::move(otherwise));
  if (!spec->write) return SubmitRead(*region, place, Kind::kRead, std::move(step), std::move(done));
  store::WriteCommand command = NewCommand(store::WriteCommand::Kind::kSingle);
  command.commands.push_back(std::get<store::Arguments>(std::move(step)));
  SubmitWrite(*region, place, Encode(command), std::move(done));
}

void RegionService::ExecuteTransaction(DatabaseId database, uint16_t slot,
                                       std::vector<store::Arguments> commands,
                                       std::vector<store::WatchedKey> watches, Callback<Outcome> done) {
  for (const store::Arguments& arguments : commands) {
    if (const Status valid = store::ValidateQueued(arguments, options_.limits); !valid.ok()) {
      return done(InvalidReply(valid));
    }
  }
  const Place place{slot, slot};
  if (const DatabaseSchemas* schemas = schemas_.Of(database)) {
    auto request = std::make_unique<RowRequest>();
    request->transaction = true;
    request->commands = std::move(commands);
    request->watches = std::move(watches);
    return ExecuteRowTransaction(database, place, *schemas, std::move(request), false, std::move(done));
  }
  Outcome otherwise;
  Region* region = FindLed(database, place, &otherwise);
  if (region == nullptr) return done(std::move(otherwise));
  store::WriteCommand command = NewCommand(store::WriteCommand::Kind::kTransaction);
  command.commands = std::move(commands);
  command.watches = std::move(watches);
  if (const Status small = CheckWork(*region, command); !small.ok()) return done(InvalidReply(small));
  SubmitWrite(*region, place, Encode(command), std::move(done));
}

void RegionService::VersionOf(DatabaseId database, uint16_t slot, std::string key, Callback<Outcome> done) {
  Place place{slot, slot};
  Kind kind = Kind::kVersion;
  store::Step step = store::Arguments{std::move(key)};
  if (const DatabaseSchemas* schemas = schemas_.Of(database)) {
    std::vector<store::WatchedKey> watch(1);
    watch[0].key = std::get<store::Arguments>(step)[0];
    if (auto refused = PlanWatches(*schemas, place, watch)) return done(*std::move(refused));
    if (watch[0].table != 0) {
      store::RowCommand rows{.operation = store::RowOperation::kVersion,
                             .columns = std::make_shared<store::RowColumns>()};
      rows.keys.push_back({.table = watch[0].table,
                           .version = schemas->VersionOf(watch[0].table),
                           .slot = watch[0].slot,
                           .key = std::move(watch[0].key)});
      step = std::move(rows);
      kind = Kind::kRead;
    }
  }
  Outcome otherwise;
  Region* region = FindLed(database, place, &otherwise);
  if (region == nullptr) return done(std::move(otherwise));
  SubmitRead(*region, place, kind, std::move(step), std::move(done));
}

// ---- rows ----

std::optional<store::Reply> RegionService::Plan(const DatabaseSchemas& schemas, Place& place,
                                                store::Step& step, RowRequest* request) const {
  const auto& arguments = std::get<store::Arguments>(step);
  const store::CommandSpec& spec = *store::FindCommand(arguments[0]);
  if (!NamesRow(schemas, spec, arguments)) {
    if (schemas.strict()) return NoRow(store::KeysOf(spec, arguments)[0]);
    return std::nullopt;
  }
  auto planned = store::PlanRowCommand(spec, arguments, schemas);
  if (auto* const refused = std::get_if<store::Reply>(&planned)) return std::move(*refused);
  auto& rows = std::get<store::RowCommand>(planned);
  place.slot = store::SlotOf(rows);
  for (const store::RowKey& key : rows.keys) {
    if (key.table == 0 && schemas.strict()) return NoRow(key.key);
    if (key.table != 0 && request != nullptr) request->versions.emplace_back(key.table, key.version);
  }
  step = std::move(rows);
  return std::nullopt;
}

std::optional<store::Reply> RegionService::PlanWatches(const DatabaseSchemas& schemas, Place& place,
                                                       std::vector<store::WatchedKey>& watches) const {
  for (store::WatchedKey& watch : watches) {
    const store::RowSchema* const schema = schemas.OfKey(watch.key);
    if (schema == nullptr) {
      if (schemas.strict()) return NoRow(watch.key);
      continue;
    }
    auto found = store::PlaceOf(*schema, watch.key);
    if (auto* const refused = std::get_if<store::Reply>(&found)) return std::move(*refused);
    auto& key = std::get<store::RowKey>(found);
    watch.table = key.table;
    watch.slot = place.slot = key.slot;
    watch.key = std::move(key.key);
  }
  return std::nullopt;
}

void RegionService::ExecuteRowTransaction(DatabaseId database, Place place, const DatabaseSchemas& schemas,
                                          std::unique_ptr<RowRequest> request, bool again,
                                          Callback<Outcome> done) {
  store::WriteCommand command = NewCommand(store::WriteCommand::Kind::kRowTransaction);
  command.watches = request->watches;
  std::optional<uint16_t> slot;  // where all of it lies
  bool one_slot = true;
  const auto lies_in = [&](uint16_t found) {
    one_slot = one_slot && slot.value_or(found) == found, slot = found;
  };
  if (auto refused = PlanWatches(schemas, place, command.watches)) return done(*std::move(refused));
  for (const store::WatchedKey& watch : command.watches) lies_in(watch.table == 0 ? place.asked : watch.slot);
  bool rows =
      std::ranges::any_of(command.watches, [](const store::WatchedKey& watch) { return watch.table != 0; });
  bool nothing_to_do = command.watches.empty();
  for (const store::Arguments& arguments : request->commands) {
    store::Step step = arguments;
    Place of_step{place.asked, place.asked};
    // What is wrong with a command is its reply in the array, as everywhere else.
    if (auto refused = Plan(schemas, of_step, step, request.get())) step = *std::move(refused);
    const bool answered = std::holds_alternative<store::Reply>(step);
    if (!answered) lies_in(of_step.slot);
    nothing_to_do = nothing_to_do && answered;
    rows = rows || !std::holds_alternative<store::Arguments>(step);
    command.steps.push_back(std::move(step));
  }
  if (!one_slot) return done(store::Reply::Error(std::string(kRowsCrossSlots)));
  if (nothing_to_do) {
    std::vector<store::Reply> answers;
    for (store::Step& step : command.steps) answers.push_back(std::get<store::Reply>(std::move(step)));
    return done(store::Reply::Array(std::move(answers)));
  }
  place.slot = slot.value_or(place.asked);
  if (!rows) {
    command.kind = store::WriteCommand::Kind::kTransaction;
    command.commands = std::move(request->commands);
    command.steps.clear();
  }
  Outcome otherwise;
  Region* region = FindLed(database, place, &otherwise);
  if (region == nullptr) return done(std::move(otherwise));
  if (const Status small = CheckWork(*region, command); !small.ok()) return done(InvalidReply(small));
  SubmitWrite(*region, place, Encode(command), std::move(done),
              rows && !again ? std::move(request) : nullptr);
}

void RegionService::WriteRows(DatabaseId database, Place place, const DatabaseSchemas& schemas,
                              std::unique_ptr<RowRequest> request, bool again, Callback<Outcome> done) {
  store::WriteCommand command = NewCommand(store::WriteCommand::Kind::kRows);
  store::Step step = request->commands[0];
  if (auto refused = Plan(schemas, place, step, request.get())) return done(*std::move(refused));
  // The table was dropped since it was checked: what named a row is a plain key now.
  if (std::holds_alternative<store::Arguments>(step)) {
    command.kind = store::WriteCommand::Kind::kSingle;
    command.commands.push_back(std::get<store::Arguments>(std::move(step)));
  } else {
    command.steps.push_back(std::move(step));
  }
  Outcome otherwise;
  Region* region = FindLed(database, place, &otherwise);
  if (region == nullptr) return done(std::move(otherwise));
  SubmitWrite(*region, place, Encode(command), std::move(done), again ? nullptr : std::move(request));
}

bool RegionService::MayCheckAgain(const PendingOperations::Operation& operation,
                                  const Outcome& outcome) const {
  const auto* const reply = std::get_if<store::Reply>(&outcome);
  if (operation.again == nullptr || reply == nullptr || !reply->IsError() ||
      !reply->text.starts_with(store::kOlderSchema)) {
    return false;
  }
  const Region* const region = table_.Find(operation.region);
  const Database* const database = table_.Find(operation.database);
  // Whoever came later must not be overtaken by it, nor it by them.
  if (region == nullptr || database == nullptr || !region->traffic.waiting.empty() ||
      database->proposed_by_slot[operation.slot] > 0) {
    return false;
  }
  const DatabaseSchemas* const schemas = schemas_.Of(operation.database);
  if (schemas == nullptr) return false;
  return std::ranges::any_of(operation.again->versions, [schemas](const auto& checked) {
    return schemas->VersionOf(checked.first) > checked.second;
  });
}

std::optional<Moved> RegionService::MovedElsewhere(DatabaseId database, uint16_t slot,
                                                   const store::Arguments& arguments) {
  Place place{slot, slot};
  if (const DatabaseSchemas* const schemas = schemas_.Of(database)) {
    store::Step step = arguments;
    Plan(*schemas, place, step, nullptr);
  }
  Outcome otherwise;
  if (FindLed(database, place, &otherwise) != nullptr) return std::nullopt;
  const auto* const moved = std::get_if<Moved>(&otherwise);
  return moved == nullptr ? std::nullopt : std::optional(*moved);
}

// ---- counting ----

uint64_t RegionService::KeyCount(DatabaseId id) {
  Database* database = table_.Find(id);
  if (database == nullptr) return 0;
  uint64_t keys = 0;
  for (const Region* region : database->regions) {
    if (region->leads()) keys += region->store->KeyCount(*host_.State(region->group()), schemas_.Of(id));
  }
  return keys;
}

Outcome RegionService::CountKeysInSlot(DatabaseId database, uint16_t slot) {
  Outcome otherwise;
  const Region* region = FindLed(database, {slot, slot}, &otherwise);
  if (region == nullptr) return otherwise;
  const uint64_t keys = region->store->CountKeysInSlot(slot, executor_.WallNow(),
                                                       *host_.State(region->group()), schemas_.Of(database));
  return store::Reply::Integer(static_cast<int64_t>(keys));
}

Outcome RegionService::KeysInSlot(DatabaseId database, uint16_t slot, size_t limit) {
  Outcome otherwise;
  const Region* region = FindLed(database, {slot, slot}, &otherwise);
  if (region == nullptr) return otherwise;
  std::vector<store::Reply> keys;
  limit = std::min(limit, options_.max_scan_count);
  for (std::string& key : region->store->KeysInSlot(slot, limit, executor_.WallNow(),
                                                    *host_.State(region->group()), schemas_.Of(database))) {
    keys.push_back(store::Reply::Bulk(std::move(key)));
  }
  return store::Reply::Array(std::move(keys));
}

// A replica that is recent enough answers by itself; the leader goes the usual way.
bool RegionService::AnswerFromReplica(DatabaseId database, uint16_t slot, const store::Step& step,
                                      Callback<Outcome>& done) {
  Outcome otherwise;
  const Region* region = FindRegion(database, slot, &otherwise);
  // A learner hears from its leader while it still lacks most of what there is.
  if (region == nullptr || !region->Serves(slot) || !region->votes || region->leads()) return false;
  const std::optional<Duration> staleness = host_.Staleness(region->group());
  if (!staleness || *staleness > options_.max_staleness) return false;
  done(ReadNow(*region, Kind::kRead, step));
  return true;
}

// ---- submitting ----

std::optional<RegionService::Handle> RegionService::Admit(const Region& region, Place place, Kind kind,
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
                                         .slot = place.slot,
                                         .asked = place.asked,
                                         .kind = kind});
  ArmDeadlines();
  return handle;
}

void RegionService::SubmitWrite(Region& region, Place place, std::string encoded, Callback<Outcome> done,
                                std::unique_ptr<RowRequest> again) {
  // The log refuses it as well; so it does not get there.
  if (region.store->range().IsFrozen(place.slot)) return done(Moving(region, place.slot));
  const std::optional<Handle> handle = Admit(region, place, Kind::kWrite, done);
  if (!handle) return;
  if (again) operations_.Find(*handle)->again = std::move(again);
  if (region.traffic.waiting.empty()) return Propose(region, *handle, std::move(encoded));
  RegionTraffic::Waiting waiting{.operation = *handle,
                                 .bytes = encoded.size() + sizeof(RegionTraffic::Waiting)};
  waiting.encoded = std::move(encoded);
  Enqueue(region, std::move(waiting));
}

void RegionService::SubmitRead(Region& region, Place place, Kind kind, store::Step step,
                               Callback<Outcome> done) {
  const bool nothing_waits = region.traffic.waiting.empty();
  const bool lease = nothing_waits && host_.Serving(region.group());
  const uint32_t* proposed = ProposedInSlot(region.database, place.slot);
  if (lease && *proposed == 0) return done(ReadNow(region, kind, step));
  const std::optional<Handle> handle = Admit(region, place, kind, done);
  if (!handle) return;
  if (lease) return ProposeRead(region, *handle, std::move(step));
  RegionTraffic::Waiting waiting{.operation = *handle, .read = true};
  waiting.bytes = BytesOf(step) + sizeof(RegionTraffic::Waiting);
  waiting.step = std::move(step);
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
void RegionService::ProposeRead(Region& region, Handle handle, store::Step step) {
  PendingOperations::Operation* operation = operations_.Find(handle);
  store::WriteCommand command = NewCommand(store::WriteCommand::Kind::kTransaction);
  auto* const arguments = std::get_if<store::Arguments>(&step);
  if (operation->kind == Kind::kVersion) {
    // Read where it stands in the log: when its answer comes, entries behind it are applied already.
    command.watches.push_back({.key = std::move((*arguments)[0]), .version = store::kAskForVersion});
  } else if (arguments != nullptr) {
    command.commands.push_back(std::move(*arguments));
  } else {
    command.kind = store::WriteCommand::Kind::kRowTransaction;
    command.steps.push_back(std::move(step));
  }
  operation->kind = Kind::kReadThroughLog;
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
  Outcome answer = OutcomeOf(operation, std::move(outcome));
  if (!MayCheckAgain(operation, answer)) return done(std::move(answer));
  const Place place{operation.asked, operation.asked};
  const DatabaseSchemas& schemas = *schemas_.Of(operation.database);
  const bool transaction = operation.again->transaction;
  operation.again->versions.clear();
  if (transaction) {
    ExecuteRowTransaction(operation.database, place, schemas, std::move(operation.again), true,
                          std::move(done));
  } else {
    WriteRows(operation.database, place, schemas, std::move(operation.again), true, std::move(done));
  }
}

Outcome RegionService::OutcomeOf(const PendingOperations::Operation& operation,
                                 group::ProposeOutcome outcome) {
  using ProposeKind = group::ProposeOutcome::Kind;
  const Region* region = table_.Find(operation.region);
  switch (outcome.kind) {
    case ProposeKind::kApplied: {
      StatusOr<store::Reply> reply = store::DecodeReply(outcome.result);
      TENURE_CHECK(reply.ok(), "region {}: the reply of its own log: {}", operation.region,
                   MessageOf(reply.status()));
      // Of a transaction that reads: the region did not hold the slot any more when its turn came, or the
      // schema of its rows has changed since it was planned.
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
  return Redirect(*region, operation.asked);
}

store::Reply RegionService::ReadNow(const Region& region, Kind kind, const store::Step& step) const {
  const kv::Reader* state = host_.State(region.group());
  TENURE_CHECK(state != nullptr, "region {} is marked as running and has no state", region.id);
  if (const auto* rows = std::get_if<store::RowCommand>(&step))
    return region.store->Read(*rows, executor_.WallNow(), *state);
  const auto& arguments = std::get<store::Arguments>(step);
  if (kind == Kind::kVersion) {
    return store::Reply::Integer(
        static_cast<int64_t>(region.store->VersionOf(arguments[0], executor_.WallNow(), *state)));
  }
  return region.store->Read(arguments, executor_.WallNow(), *state);
}

Status RegionService::CheckWork(const Region& region, const store::WriteCommand& transaction) const {
  const kv::Reader* state = host_.State(region.group());
  return state == nullptr ? OkStatus() : store::CheckTransactionWork(transaction, *state);
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
                                     : Redirect(*region, operation.asked));
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
      ProposeRead(*region, waiting.operation, std::move(waiting.step));
      region->traffic.waiting.pop_front();
    } else {
      Outcome outcome = region->Serves(operation->slot)
                            ? Outcome(ReadNow(*region, operation->kind, waiting.step))
                            : Follow(operation->database, {operation->slot, operation->asked});
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
