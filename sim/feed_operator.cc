#include "sim/feed_operator.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "catalog/refusal.h"
#include "changefeed/views/followed_view.h"
#include "sim/schema_timeline.h"
#include "sim/server.h"

namespace tenure::sim {

namespace pb = ::tenure::v1;

namespace {

constexpr char kFeedHost[] = "feeds";
constexpr char kKeysDatabase[] = "default";
constexpr Duration kRepeatFeedAfter = std::chrono::milliseconds(400);
constexpr Duration kMoveAgainAfter = std::chrono::seconds(15);
// At rest what was acknowledged so long ago has arrived.
constexpr Duration kLag = std::chrono::seconds(5);

template <class Visitor>
void ForEachNode(World& world, Visitor visit) {
  for (const auto& machine : world.machines()) {
    Server* server = machine->server.get();
    if (server == nullptr || !server->process().alive() || !server->started()) continue;
    if (server->node() != nullptr && server->feeds() != nullptr) visit(*server);
  }
}

}  // namespace

std::string FeedOperator::Lane::name() const {
  return fmt::format("feed-{}-{}", number, made);
}

FeedOperator::FeedOperator(World& world, Prng prng)
    : world_(world),
      prng_(prng),
      clock_(world.scheduler(), Instant(std::chrono::seconds(1000)), WallFromMillis(1'700'000'000'000)),
      process_(world.scheduler(), clock_, kFeedHost, prng.Fork("process")),
      executor_(process_.AddExecutor("operator")) {
  world_.network().AddHost(process_, kFeedHost);
  network_ = world_.network().MakeView(process_, executor_);
  rows_ = std::make_unique<RespClient>(executor_, *network_, world_.NodeAddresses(), prng.Fork("rows"),
                                       std::chrono::seconds(3), kTablesDatabase);
  for (uint32_t i = 0; i < world_.options().changefeeds; ++i) {
    lanes_.push_back(std::make_unique<Lane>());
    lanes_.back()->number = i + 1;
  }
}

FeedOperator::~FeedOperator() {
  process_.Kill();
}

void FeedOperator::Start() {
  if (lanes_.empty()) return;
  for (auto& lane : lanes_) {
    executor_.Post([this, &lane = *lane] { Decide(lane); });
  }
  if (world_.options().tables > 0) executor_.Post([this] { WriteRow(); });
}

void FeedOperator::Finish() {
  finishing_ = true;
  row_timer_.Cancel();
  for (auto& lane : lanes_) {
    executor_.Post([this, &lane = *lane] { Decide(lane); });
  }
}

void FeedOperator::RemoveAll() {
  removing_ = true;
  for (auto& lane : lanes_) {
    executor_.Post([this, &lane = *lane] { Decide(lane); });
  }
}

void FeedOperator::MoveAll() {
  world_.feed_checker().JudgeMoves();
  for (auto& lane : lanes_) {
    lane->to_move = true;
    executor_.Post([this, &lane = *lane] {
      if (lane.under_way == Wish::kNone) Begin(lane, Wish::kMove);
    });
  }
}

std::string FeedOperator::NotMoved() {
  for (const auto& lane : lanes_) {
    if (lane->to_move || (lane->moved_from && lane->epoch <= *lane->moved_from))
      return fmt::format("{} to be moved", lane->name());
  }
  return {};
}

// Whether a row is taken depends on the table; what is committed has to arrive in order.
void FeedOperator::WriteRow() {
  const std::string key = fmt::format("t{}{}:k{}", prng_.Between(1, world_.options().tables),
                                      prng_.Chance(1, 2) ? "a" : "b", prng_.Below(5));
  RowWrite write{.c1 = std::to_string(next_row_++), .called = world_.scheduler().now()};
  std::vector<std::string> command = {"HSET", key, "c1", write.c1};
  const bool removes = prng_.Chance(1, 8);
  if (removes) command = {"DEL", key};
  rows_->Execute(std::move(command), [this, removes, write](const RespAnswer& answer) {
    if (!removes && answer.kind == RespAnswer::Kind::kValue) {
      written_rows_.push_back(write);
      written_rows_.back().returned = world_.scheduler().now();
    }
    const Duration pause = std::chrono::milliseconds(prng_.Between(1, 300));
    if (!finishing_) row_timer_ = executor_.After(pause, [this] { WriteRow(); });
  });
}

// ---- wishes ----

const char* FeedOperator::DatabaseOf(const Lane& lane) const {
  return lane.follows_keys ? kKeysDatabase : kTablesDatabase;
}

void FeedOperator::Pause(Lane& lane) {
  const Duration pause = std::chrono::milliseconds(prng_.Between(200, prng_.Chance(1, 3) ? 9000 : 3000));
  lane.timer = executor_.After(pause, [this, &lane] { Decide(lane); });
}

void FeedOperator::Decide(Lane& lane) {
  if (lane.under_way != Wish::kNone) return;
  if (removing_) return lane.exists ? Begin(lane, Wish::kRemove) : void();
  if (!lane.exists) return Begin(lane, Wish::kCreate);
  if (finishing_) return lane.paused ? Begin(lane, Wish::kResume) : void();
  const uint64_t draw = prng_.Below(10);
  if (draw == 0) return Begin(lane, Wish::kRemove);
  if (lane.paused) return draw < 7 ? Begin(lane, Wish::kResume) : Pause(lane);
  if (draw < 5) return Begin(lane, Wish::kMove);
  if (draw < 8) return Begin(lane, Wish::kPause);
  Pause(lane);
}

void FeedOperator::Begin(Lane& lane, Wish wish) {
  lane.under_way = wish;
  if (wish == Wish::kCreate) {
    ++lane.made;
    lane.epoch = 0;
    lane.moved_from.reset();
    lane.covered_since.reset();
    pb::CreateChangefeedRequest request;
    *request.mutable_id() = world_.NextRequestId();
    request.set_name(lane.name());
    lane.follows_keys = world_.options().tables == 0 || prng_.Chance(1, 2);
    request.set_database(DatabaseOf(lane));
    request.set_filter(prng_.Chance(1, 2) ? "" : lane.follows_keys ? "prefix:" : "table:*");
    request.set_sink("stdout:?protocol=json");
    request.set_initial_snapshot(prng_.Chance(1, 3));
    lane.method = "Create";
    lane.request = request.SerializeAsString();
  } else if (wish == Wish::kMove) {
    pb::MoveChangefeedRequest request;
    request.set_name(lane.name());
    lane.method = "Move";
    lane.request = request.SerializeAsString();
  } else {
    pb::ChangefeedRequest request;
    *request.mutable_id() = world_.NextRequestId();
    request.set_name(lane.name());
    lane.method = wish == Wish::kPause ? "Pause" : wish == Wish::kResume ? "Resume" : "Remove";
    lane.request = request.SerializeAsString();
  }
  world_.Note(fmt::format("feed operator: {} {}", lane.method, lane.name()));
  Send(lane);
}

void FeedOperator::Send(Lane& lane) {
  world_.Ask("tenure.v1.Changefeeds/" + lane.method, lane.request,
             [this, &lane](StatusOr<std::string> answer) {
               executor_.Post([this, &lane, answer = std::move(answer)] { OnAnswer(lane, answer); });
             });
}

void FeedOperator::OnAnswer(Lane& lane, const StatusOr<std::string>& answer) {
  const pb::Reason reason = answer.ok() ? pb::REASON_UNSPECIFIED : catalog::ReasonOf(answer.status());
  // An earlier attempt may have been executed, or it is not in a state for it (any more).
  const bool refused = reason == pb::REASON_ALREADY_EXISTS || reason == pb::REASON_NOT_FOUND ||
                       reason == pb::REASON_CONDITION_FAILED || reason == pb::REASON_BUSY;
  if (reason == pb::REASON_INVALID_ARGUMENT) {
    return world_.Fail("changefeeds take valid requests",
                       fmt::format("{} {}: {}", lane.method, lane.name(), MessageOf(answer.status())));
  }
  if (answer.ok() || refused) {
    world_.Note(fmt::format("feed operator: {} {}: {}", lane.method, lane.name(),
                            answer.ok() ? "done" : std::string(MessageOf(answer.status()))));
  }
  switch (lane.under_way) {
    case Wish::kCreate:
      if (!answer.ok() && reason != pb::REASON_ALREADY_EXISTS) break;
      lane.exists = true;
      lane.paused = false;
      ++created_;
      return Done(lane);
    case Wish::kMove:  // whether it came or not
      if (pb::ChangefeedResponse moved; lane.to_move && answer.ok() && moved.ParseFromString(*answer))
        lane.moved_from = moved.changefeed().record().owner_epoch();
      lane.to_move = false;
      return Done(lane);
    case Wish::kPause:
    case Wish::kResume:
      if (!answer.ok() && !refused) break;
      if (answer.ok()) lane.paused = lane.under_way == Wish::kPause;
      Done(lane);
      if (lane.paused) AwaitStop(lane);
      return;
    case Wish::kRemove:
      if (!answer.ok() && reason != pb::REASON_NOT_FOUND) break;
      lane.exists = false;
      return Done(lane);
    case Wish::kNone:
      return;
  }
  lane.timer = executor_.After(kRepeatFeedAfter, [this, &lane] { Send(lane); });
}

void FeedOperator::Done(Lane& lane) {
  lane.under_way = Wish::kNone;
  if (finishing_ && lane.moved_from) {
    // A leader that comes knows nothing of what the one before was asked.
    lane.timer = executor_.After(kMoveAgainAfter, [this, &lane] {
      const bool idle = lane.under_way == Wish::kNone && !removing_;
      if (idle && lane.epoch <= *lane.moved_from) Begin(lane, Wish::kMove);
    });
  }
  if (finishing_) return Decide(lane);
  Pause(lane);
}

void FeedOperator::AwaitStop(Lane& lane) {
  pb::ShowChangefeedRequest request;
  request.set_name(lane.name());
  world_.Ask(
      "tenure.v1.Changefeeds/Show", request.SerializeAsString(),
      [this, &lane, name = lane.name()](StatusOr<std::string> answer) {
        executor_.Post([this, &lane, name, answer = std::move(answer)] { OnShown(lane, name, answer); });
      });
}

// As `tenure changefeed pause` waits for it.
void FeedOperator::OnShown(Lane& lane, const std::string& name, const StatusOr<std::string>& answer) {
  pb::ChangefeedResponse response;
  if (answer.ok() && response.ParseFromString(*answer)) {
    const pb::Changefeed& feed = response.changefeed();
    const pb::ChangefeedRecord& record = feed.record();
    if (record.state() != pb::CHANGEFEED_PAUSED) return;
    if (record.owner_node() == 0 && feed.pending().empty()) {
      world_.Note(fmt::format("feed operator: {} has stopped, epoch {}", name, record.owner_epoch()));
      return world_.feed_sinks().OnStopped(name, record.owner_epoch());
    }
  }
  if (!lane.paused || lane.under_way != Wish::kNone || lane.name() != name) return;
  lane.stop_timer = executor_.After(kRepeatFeedAfter, [this, &lane] { AwaitStop(lane); });
}

// ---- looking ----

void FeedOperator::Look() {
  for (const auto& machine : world_.machines()) {
    Server* server = machine->server.get();
    if (server == nullptr || !server->process().alive() || server->controller() == nullptr) continue;
    for (const auto& [id, record] : server->controller()->catalog().changefeeds()) {
      const pb::ChangefeedRecord& feed = record.changefeed();
      for (auto& lane : lanes_) {
        if (lane->name() == feed.name()) LookAt(*lane, feed);
      }
    }
  }
}

void FeedOperator::LookAt(Lane& lane, const pb::ChangefeedRecord& record) {
  if (record.owner_node() != 0) lane.epoch = std::max(lane.epoch, record.owner_epoch());
  if (record.state() == pb::CHANGEFEED_FAILED) {
    world_.Fail("a changefeed does not fail by itself",
                fmt::format("{}: {}", record.name(), record.fault().ShortDebugString()));
  }
  if (!lane.covered_since && record.start_ts() != 0 && IsCovered(lane, record.start_ts()))
    lane.covered_since = world_.scheduler().now();
}

// Whatever is committed from now on, in whichever region, is behind the start.
bool FeedOperator::IsCovered(const Lane& lane, uint64_t start_ts) {
  controller::Controller* serving = world_.ServingController();
  if (serving == nullptr) return false;
  std::set<uint64_t> ahead;
  ForEachNode(world_, [&](Server& server) {
    for (const auto& [id, record] : serving->catalog().regions()) {
      if (server.node()->change_logs().ResolvedOf(RegionId(id)).value_or(0) >= start_ts) ahead.insert(id);
    }
  });
  const pb::Record* database = serving->catalog().FindDatabase(DatabaseOf(lane));
  if (database == nullptr) return false;
  for (const auto& [id, record] : serving->catalog().regions()) {
    const bool over = record.region().state() == pb::REGION_REMOVING;
    if (!over && record.region().database() == database->database().id() && !ahead.contains(id)) return false;
  }
  return true;
}

std::string FeedOperator::Incomplete(const Lane& lane) {
  if (!lane.covered_since) return fmt::format("changefeed {} to have begun in all regions", lane.name());
  const Instant before = world_.scheduler().now() - kLag;
  if (before < *lane.covered_since + kLag)
    return fmt::format("changefeed {} to run for a while", lane.name());
  if (!lane.follows_keys) return IncompleteRows(lane, before);
  const auto written = world_.history().AcknowledgedValues("key", *lane.covered_since, before);
  for (const auto& [value, write] : written) {
    if (world_.feed_sinks().Has(lane.name(), value)) continue;
    return fmt::format("changefeed {}, which delivers what is written from {} on, to deliver the {}",
                       lane.name(), ToMillis(*lane.covered_since - Instant()), write);
  }
  return {};
}

std::string FeedOperator::IncompleteRows(const Lane& lane, Instant before) {
  const auto lacks = [&](const std::string& c1) { return !world_.feed_sinks().HasRow(lane.name(), c1); };
  for (const auto& [c1, write] : world_.history().AcknowledgedValues("row", *lane.covered_since, before)) {
    if (lacks(c1)) return fmt::format("changefeed {} to deliver the {}", lane.name(), write);
  }
  for (const RowWrite& write : written_rows_) {
    if (write.called >= *lane.covered_since && write.returned < before && lacks(write.c1))
      return fmt::format("changefeed {} to deliver the row with c1 {}", lane.name(), write.c1);
  }
  return {};
}

// One maintainer for each changefeed, one dispatcher for each span.
std::string FeedOperator::NotOnce() {
  std::map<uint64_t, uint64_t> maintainers;
  std::map<std::pair<uint64_t, changefeed::SpanKey>, uint64_t> dispatchers;
  const node::CatalogView* view = nullptr;
  ForEachNode(world_, [&](Server& server) {
    for (const changefeed::ChangefeedId id : server.feeds()->agent().maintained()) ++maintainers[id.value()];
    for (const changefeed::DispatcherSpec* spec : server.feeds()->dispatchers().specs())
      ++dispatchers[{spec->changefeed.value(), spec->key}];
    if (view == nullptr || server.node()->catalog().newest() > view->newest())
      view = &server.node()->catalog();
  });
  if (view == nullptr) return "a node";
  for (const auto& [id, feed] : view->changefeeds()) {
    if (maintainers[id] != 1) return fmt::format("{} maintainers of {}", maintainers[id], feed.name());
  }
  if (maintainers.size() != lanes_.size())
    return fmt::format("maintainers of {} changefeeds, not {}", lanes_.size(), maintainers.size());
  for (const auto& [key, count] : dispatchers) {
    if (count > 1) {
      return fmt::format("{} dispatchers of table {} in region {} of changefeed {}", count, key.second.table,
                         key.second.generation.region, key.first);
    }
  }
  for (const auto& [id, feed] : view->changefeeds()) {
    const auto filter = changefeed::Filter::Parse(feed.filter());
    if (!filter.ok()) return "a valid filter of " + feed.name();
    const changefeed::FollowedView followed = changefeed::ComputeFollowedView(
        *view, DatabaseId(feed.database()), *filter, [](RegionId) { return NodeId(); });
    for (const auto& region : followed.regions) {
      for (const auto& item : followed.followed) {
        if (region.end || item.until) continue;
        if (dispatchers.contains({id, {item.table, item.prefix, region.generation}})) continue;
        return fmt::format("a dispatcher of table {} in region {} of changefeed {}", item.table,
                           region.generation.region, feed.name());
      }
    }
  }
  return {};
}

// What the catalog says that holds it back.
std::string FeedOperator::FaultOf(const Lane& lane) {
  controller::Controller* serving = world_.ServingController();
  if (serving == nullptr) return {};
  const pb::Record* record = serving->catalog().FindChangefeed(lane.name());
  if (record == nullptr || !record->changefeed().has_fault()) return {};
  return fmt::format(" ({})", record->changefeed().fault().message());
}

std::string FeedOperator::Unfinished() {
  for (const auto& lane : lanes_) {
    if (lane->under_way != Wish::kNone || !lane->exists || lane->paused)
      return fmt::format("the operator to be done with {} {}", lane->method, lane->name());
    if (const std::string missing = Incomplete(*lane); !missing.empty()) return missing + FaultOf(*lane);
  }
  return NotOnce();
}

std::string FeedOperator::NotRemoved() {
  for (const auto& lane : lanes_) {
    if (lane->exists) return "the removal of " + lane->name();
  }
  controller::Controller* serving = world_.ServingController();
  if (serving == nullptr) return "a serving controller";
  for (const auto& [id, record] : serving->catalog().changefeeds()) return record.changefeed().name();
  std::string kept;
  ForEachNode(world_, [&](Server& server) {
    for (const auto& [id, record] : serving->catalog().regions()) {
      if (server.node()->change_logs().ResolvedOf(RegionId(id)))
        kept = fmt::format("region {} to drop its change log", id);
    }
    if (!server.feeds()->dispatchers().specs().empty()) kept = "dispatchers to end";
  });
  return kept;
}

}  // namespace tenure::sim
