#include "sim/database_operator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "sim/database_checker.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

constexpr char kDatabaseHost[] = "databases";
constexpr Duration kRepeatAfter = std::chrono::milliseconds(300);
constexpr Duration kWriteTimeout = std::chrono::seconds(3);
constexpr uint32_t kLastValues = 8;  // of a database in the end: enough to meet each of its regions
constexpr uint32_t kFull = 3;        // replicas with which one machine may go

}  // namespace

DatabaseOperator::DatabaseOperator(World& world, Prng prng)
    : world_(world),
      prng_(prng),
      clock_(world.scheduler(), Instant(std::chrono::seconds(1000)), WallFromMillis(1'700'000'000'000)),
      process_(world.scheduler(), clock_, kDatabaseHost, prng.Fork("process")),
      executor_(process_.AddExecutor("operator")),
      ids_(prng.Fork("ids")) {
  world_.network().AddHost(process_, kDatabaseHost);
  network_ = world_.network().MakeView(process_, executor_);
  controllers_ = std::make_unique<client::ControllerClient>(executor_, *network_, world_.ServerAddresses(),
                                                            prng.Fork("client"));
  max_replicas_ = std::min(kFull, world_.options().processes);
  // Of each group one replica may be lost for good: it needs two others.
  const auto plan = PlanOf(world_.options());
  if (std::any_of(plan.begin(), plan.end(), [](const Fault& f) { return f.kind == FaultKind::kRot; }))
    min_replicas_ = max_replicas_;
  for (uint32_t i = 0; i < world_.options().databases; ++i) {
    Name& name = *names_.emplace_back(std::make_unique<Name>());
    name.name = fmt::format("d{}", i + 1);
    name.values = std::make_unique<RespClient>(executor_, *network_, world_.NodeAddresses(),
                                               prng.Fork("values of " + name.name), kWriteTimeout, name.name);
  }
}

DatabaseOperator::~DatabaseOperator() {
  process_.Kill();
}

void DatabaseOperator::Start() {
  for (auto& name : names_) {
    executor_.Post([this, &name = *name] { Pause(name); });
  }
}

void DatabaseOperator::Finish() {
  finishing_ = true;
}

void DatabaseOperator::DropThin() {
  for (auto& name : names_) {
    if (!name->exists || name->replicas >= kFull) continue;
    name->under_way = Wish::kDrop;
    executor_.Post([this, &name = *name] { Begin(name, Wish::kDrop); });
  }
}

std::string DatabaseOperator::Unfinished() const {
  for (const auto& name : names_) {
    if (name->under_way != Wish::kNone || (name->exists && name->taken < kLastValues))
      return fmt::format("the operator to be done with database {}", name->name);
  }
  return {};
}

void DatabaseOperator::Pause(Name& name) {
  const Duration pause =
      std::chrono::milliseconds(prng_.Between(0, !finishing_ && prng_.Chance(1, 3) ? 4000 : 400));
  name.timer = executor_.After(pause, [this, &name] { Decide(name); });
}

void DatabaseOperator::Decide(Name& name) {
  if (finishing_) {
    if (name.exists && name.taken < kLastValues) Write(name);
    return;
  }
  if (!name.exists) return Begin(name, Wish::kCreate);
  if (prng_.Chance(2, 3)) return Write(name);
  Begin(name, Wish::kDrop);
}

void DatabaseOperator::Begin(Name& name, Wish wish) {
  name.under_way = wish;
  name.request = ids_.Next();
  name.sent = std::make_shared<bool>(false);
  if (wish == Wish::kCreate) {
    name.regions = static_cast<uint32_t>(prng_.Between(1, 3));
    name.replicas = static_cast<uint32_t>(prng_.Between(min_replicas_, max_replicas_));
  }
  Send(name);
}

void DatabaseOperator::Send(Name& name) {
  client::CallOptions options;
  // A short one is answered while the database is still being made.
  options.timeout = std::chrono::milliseconds(prng_.Chance(1, 2) ? prng_.Between(200, 1000) : 8000);
  options.changes = true;
  options.maybe_executed = name.sent;
  const auto done = [this, &name](const StatusOr<pb::ChangeResponse>& answer) { OnAnswer(name, answer); };
  if (name.under_way == Wish::kDrop) {
    pb::DropDatabaseRequest request;
    *request.mutable_id() = name.request;
    request.set_name(name.name);
    return controllers_->Call<pb::ChangeResponse>("tenure.v1.Catalog/DropDatabase", request, options, done);
  }
  pb::CreateDatabaseRequest request;
  *request.mutable_id() = name.request;
  request.set_name(name.name);
  request.set_regions(name.regions);
  request.set_replicas(name.replicas);
  controllers_->Call<pb::ChangeResponse>("tenure.v1.Catalog/CreateDatabase", request, options, done);
}

void DatabaseOperator::OnAnswer(Name& name, const StatusOr<pb::ChangeResponse>& answer) {
  if (!answer.ok()) return OnRefused(name, answer.status());
  if (name.under_way == Wish::kCreate) return OnCreated(name, answer->record().database());
  ++dropped_;
  ids_.Done(name.request);
  OnGone(name);
}

void DatabaseOperator::OnCreated(Name& name, const pb::DatabaseRecord& made) {
  if (!name.exists) {
    name.exists = true;
    name.id = made.id();
    world_.Note(fmt::format("database {}: {} with {} regions of {} replicas", name.name, name.id,
                            name.regions, name.replicas));
    world_.databases().OnCreated(name.id, name.name, name.regions, name.replicas);
  } else if (name.id != made.id()) {
    world_.Fail("D4 a creation that is asked for again is answered with the same database",
                fmt::format("{}: id {}, then {}", name.name, name.id, made.id()));
  }
  name.is_public = made.state() == pb::DATABASE_PUBLIC;
  if (!name.is_public && (finishing_ || prng_.Chance(1, 2))) {
    name.timer = executor_.After(kRepeatAfter, [this, &name] { Send(name); });
    return;
  }
  ++created_;
  ids_.Done(name.request);
  if (!name.is_public) return Begin(name, Wish::kDrop);
  Done(name);
}

void DatabaseOperator::OnGone(Name& name) {
  name.exists = name.is_public = false;
  world_.Note(fmt::format("database {}: {} is gone", name.name, name.id));
  world_.databases().OnDropped(name.id);
  if (!finishing_ && prng_.Chance(1, 2)) return Begin(name, Wish::kCreate);
  Done(name);
}

void DatabaseOperator::OnRefused(Name& name, const Status& status) {
  const std::string what = fmt::format("database {}: {}: {}", name.name,
                                       name.under_way == Wish::kDrop ? "drop" : "create", MessageOf(status));
  const bool was_being_made = name.exists && !name.is_public;
  switch (catalog::ReasonOf(status)) {
    case pb::REASON_NOT_ENOUGH_NODES:
      world_.Note(what);
      ids_.Done(name.request);
      return Done(name);
    case pb::REASON_CONDITION_FAILED:
      ids_.Done(name.request);
      world_.Note(what);
      // Its creation has failed. A drop is refused if the database became public in the same moment, and this
      // id was used up by that.
      if (was_being_made && name.under_way == Wish::kCreate) return OnGone(name);
      return Begin(name, name.under_way);
    case pb::REASON_NOT_FOUND:
      if (was_being_made && name.under_way == Wish::kDrop) {
        world_.Note(what);
        ids_.Done(name.request);
        return OnGone(name);
      }
      [[fallthrough]];
    case pb::REASON_ALREADY_EXISTS:
    case pb::REASON_INVALID_ARGUMENT:
    case pb::REASON_DUPLICATE_EXPIRED:
      return world_.Fail("a name exists from its creation to its dropping", what);
    default:
      name.timer = executor_.After(kRepeatAfter, [this, &name] { Send(name); });
  }
}

void DatabaseOperator::Done(Name& name) {
  name.under_way = Wish::kNone;
  Pause(name);
}

void DatabaseOperator::Write(Name& name) {
  name.under_way = Wish::kWrite;
  const DatabaseChecker::Value value{name.id, ++values_};
  name.values->Execute({"SET", DatabaseChecker::KeyOf(value), DatabaseChecker::TextOf(value)},
                       [this, &name, value](const RespAnswer& answer) {
                         if (answer.kind == RespAnswer::Kind::kValue) {
                           world_.databases().OnAcknowledged(value);
                           name.taken += finishing_ ? 1 : 0;
                         }
                         Done(name);
                       });
}

}  // namespace tenure::sim
