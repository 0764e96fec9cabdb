#include "controller/api/changefeeds_service.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"
#include "changefeed/format/filter.h"
#include "changefeed/sink/address.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;
using changefeed::CommitTs;

namespace {

constexpr std::string_view kEverything = "table:*,prefix:";
constexpr int64_t kFurthestStartMs = 60'000;  // from now
constexpr int64_t kDefaultGcTtlMs = 24 * 3600 * 1000;
constexpr int64_t kDefaultStallMs = 60'000;
constexpr Duration kCheckSinkTimeout = std::chrono::seconds(15);

Status Invalid(const Status& status) {
  return catalog::MakeRefusal(pb::REASON_INVALID_ARGUMENT, std::string(MessageOf(status)));
}

// A table that a rule names, without * or ?, exists: else it is misspelt.
Status CheckFilter(const std::string& text, uint64_t database, const catalog::Catalog& catalog) {
  const auto filter = changefeed::Filter::Parse(text);
  if (!filter.ok()) return Invalid(filter.status());
  for (const std::string& name : filter->NamedTables()) {
    const pb::Record* found = catalog.FindTableOrView(database, name);
    if (found == nullptr || !found->has_table()) {
      return Refuse(pb::REASON_NOT_FOUND, "filter: database '{}' has no table '{}'",
                    catalog.databases().at(database).database().name(), name);
    }
  }
  return OkStatus();
}

pb::Refusal RefusalOf(const ipb::CatalogResult& result) {
  pb::Refusal refusal;
  refusal.set_reason(result.reason());
  refusal.set_message(result.message());
  refusal.set_revision(result.revision());
  return refusal;
}

}  // namespace

StatusOr<std::string> SinkWithProtocol(const std::string& sink, const std::string& protocol) {
  auto address = changefeed::ParseSinkAddress(sink);
  if (!address.ok()) return Invalid(address.status());
  if (protocol.empty()) return sink;
  const auto named = changefeed::ProtocolNamed(protocol);
  if (!named.ok()) return Invalid(Annotate(named.status(), "protocol"));
  const std::string name = address->kind == changefeed::SinkAddress::Kind::kFile ? "format" : "protocol";
  if (sink.find("?" + name + "=") != std::string::npos || sink.find("&" + name + "=") != std::string::npos) {
    if (*named == address->protocol) return sink;
    return Refuse(pb::REASON_INVALID_ARGUMENT, "protocol: {} is given, the sink's address says {}", protocol,
                  NameOf(address->protocol));
  }
  std::string whole =
      fmt::format("{}{}{}={}", sink, sink.find('?') == std::string::npos ? '?' : '&', name, protocol);
  address = changefeed::ParseSinkAddress(whole);
  if (!address.ok()) return Invalid(address.status());
  return whole;
}

template <class Request, class Response, class Run>
void ChangefeedsService::Add(std::string_view method, Run run) {
  calls_[method] = [this, run](const runtime::CallInfo&, std::string bytes, runtime::Reply reply) {
    Serve<Request, Response>(bytes, std::move(reply), [this, run](Request request, auto done) {
      if (const Status serving = leadership_.CheckServing(); !serving.ok()) return done(serving);
      // Names are looked up in what is certainly the present catalog.
      access_.Read({}, [run, request = std::move(request),
                        done = std::move(done)](StatusOr<CatalogView> view) mutable {
        if (!view.ok()) return done(view.status());
        run(std::move(request), std::move(done));
      });
    });
  };
}

ChangefeedsService::ChangefeedsService(runtime::Executor& executor, CatalogAccess& access,
                                       const Leadership& leadership, ChangefeedCoordinator& coordinator,
                                       ChangeHistory& history)
    : executor_(executor),
      access_(access),
      leadership_(leadership),
      coordinator_(coordinator),
      history_(history),
      scope_(executor) {
  Add<pb::CreateChangefeedRequest, Response>("Create", [this](auto request, Done done) {
    scope_.Spawn(Create(std::move(request), std::move(done)));
  });
  Add<pb::UpdateChangefeedRequest, Response>("Update", [this](auto request, Done done) {
    scope_.Spawn(Update(std::move(request), std::move(done)));
  });
  Add<pb::ShowChangefeedRequest, Response>(
      "Show", [this](auto request, Done done) { scope_.Spawn(Show(std::move(request), std::move(done))); });
  const auto change = [this](std::string_view method, void (ipb::ChangeChangefeed::*set)(bool)) {
    Add<pb::ChangefeedRequest, Response>(method, [this, set](auto request, Done done) {
      ipb::ChangeChangefeed command;
      (command.*set)(true);
      Change(request, std::move(command), std::move(done));
    });
  };
  change("Pause", &ipb::ChangeChangefeed::set_pause);
  change("Resume", &ipb::ChangeChangefeed::set_resume);
  change("Remove", &ipb::ChangeChangefeed::set_remove);
  Add<pb::MoveChangefeedRequest, Response>(
      "Move", [this](auto request, Done done) { Move(request, std::move(done)); });
  Add<pb::ListChangefeedsRequest, pb::ListChangefeedsResponse>("List", [this](auto request, auto done) {
    if (!request.database().empty() && access_.catalog().FindDatabase(request.database()) == nullptr)
      return done(Refuse(pb::REASON_NOT_FOUND, "database: there is no '{}'", request.database()));
    done(List(request));
  });
}

void ChangefeedsService::OnCall(const runtime::CallInfo& info, std::string request, runtime::Reply reply) {
  Route(calls_, info, std::move(request), std::move(reply));
}

StatusOr<const pb::ChangefeedRecord*> ChangefeedsService::Find(const std::string& name) const {
  if (name.empty()) return Refuse(pb::REASON_INVALID_ARGUMENT, "name: must not be empty");
  const pb::Record* found = access_.catalog().FindChangefeed(name);
  if (found == nullptr) return Refuse(pb::REASON_NOT_FOUND, "there is no changefeed '{}'", name);
  return &found->changefeed();
}

pb::Changefeed ChangefeedsService::Describe(const pb::ChangefeedRecord& record) const {
  pb::Changefeed feed;
  *feed.mutable_record() = record;
  const auto address = changefeed::ParseSinkAddress(record.sink());
  feed.mutable_record()->set_sink(address.ok() ? changefeed::WithoutSecrets(*address) : "");
  const catalog::Catalog& catalog = access_.catalog();
  if (const auto database = catalog.databases().find(record.database());
      database != catalog.databases().end())
    feed.set_database(database->second.database().name());
  if (const auto node = catalog.nodes().find(record.owner_node()); node != catalog.nodes().end())
    feed.set_owner_name(node->second.node().name());
  CommitTs checkpoint(record.checkpoint_ts());
  if (const FeedDriver* driver = coordinator_.Find(record.id())) {
    checkpoint = std::max(checkpoint, driver->checkpoint());
    feed.set_pending(driver->pending());
    if (const auto rows = driver->rows_behind()) feed.set_lag_rows(*rows);
  } else {
    feed.set_pending("adopt: its coordinator is starting");  // nothing is known of what runs
  }
  feed.set_checkpoint_ts(checkpoint.value());
  if (!checkpoint.IsNone()) {
    feed.set_lag_ms(
        std::max<int64_t>(0, ToMillis(executor_.WallNow()) - changefeed::PhysicalMillis(checkpoint)));
  }
  return feed;
}

pb::ListChangefeedsResponse ChangefeedsService::List(const pb::ListChangefeedsRequest& request) const {
  pb::ListChangefeedsResponse response;
  response.set_revision(access_.applied().value());
  const pb::Record* database =
      request.database().empty() ? nullptr : access_.catalog().FindDatabase(request.database());
  for (const auto& [id, record] : access_.catalog().changefeeds()) {
    if (database != nullptr && record.changefeed().database() != database->database().id()) continue;
    *response.add_changefeeds() = Describe(record.changefeed());
  }
  return response;
}

// ---- changes ----

void ChangefeedsService::Propose(ipb::CatalogCommand command, Done done) {
  access_.ProposeInEpoch(std::move(command), leadership_.epoch(),
                         [this, done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
                           if (!result.ok()) return done(result.status());
                           Response response;
                           response.set_revision(result->revision());
                           const auto& feeds = access_.catalog().changefeeds();
                           if (const auto found = feeds.find(result->object_id()); found != feeds.end())
                             *response.mutable_changefeed() = Describe(found->second.changefeed());
                           done(std::move(response));
                         });
}

// What was done is known, even if the names mean something else by now, or the changefeed is in another state.
std::optional<StatusOr<ChangefeedsService::Response>> ChangefeedsService::AnswerAgain(
    const pb::RequestId& id) const {
  const auto known = access_.catalog().FindAnswer(id);
  if (!known) return std::nullopt;
  if (known->reason() != pb::REASON_UNSPECIFIED) return catalog::MakeRefusal(RefusalOf(*known));
  Response response;
  response.set_revision(known->revision());
  const auto& feeds = access_.catalog().changefeeds();
  if (const auto found = feeds.find(known->object_id()); found != feeds.end())
    *response.mutable_changefeed() = Describe(found->second.changefeed());
  return response;
}

runtime::Task<Status> ChangefeedsService::CheckSink(std::string sink, std::string database) {
  const auto candidates = coordinator_.nodes().Candidates();
  if (candidates.empty())
    co_return Refuse(pb::REASON_NOT_ENOUGH_NODES, "sink: no node is up and connected to try it from");
  ipb::CheckSinkRequest request;
  request.set_cluster_id(coordinator_.nodes().ClusterId());
  request.set_sink(std::move(sink));
  request.set_database(std::move(database));
  const NodeId node = candidates.front().node;
  const auto bytes =
      co_await coordinator_.nodes().Call(node, "tenure.internal.v1.ChangefeedNode/CheckSink",
                                         request.SerializeAsString(), kCheckSinkTimeout, scope_.token());
  if (!bytes.ok()) co_return bytes.status();
  ipb::CheckSinkResponse response;
  if (!response.ParseFromString(*bytes))
    co_return Error(StatusCode::kInternal, "CheckSinkResponse: malformed");
  if (response.code().empty()) co_return OkStatus();
  co_return Refuse(pb::REASON_CONDITION_FAILED,
                   "sink: tried from node {}: {}: {}; --no-verify creates it all the same", node,
                   response.code(), response.message());
}

runtime::Task<Status> ChangefeedsService::CheckStart(uint64_t database, CommitTs start) {
  const auto& feeds = access_.catalog().changefeeds();
  // All regions go to the start, and their timestamps never go back; one that is there already may be named.
  int64_t furthest = ToMillis(executor_.WallNow()) + kFurthestStartMs;
  for (const auto& [id, record] : feeds) {
    const pb::ChangefeedRecord& feed = record.changefeed();
    if (feed.database() == database)
      furthest = std::max(furthest, changefeed::PhysicalMillis(CommitTs(feed.checkpoint_ts())));
  }
  if (changefeed::PhysicalMillis(start) > furthest) {
    co_return Refuse(
        pb::REASON_INVALID_ARGUMENT,
        "start_ts: {} is {} ms since 1970, the limit is a minute from now ({} ms); a commit timestamp has "
        "milliseconds in front of its lower {} bits",
        start, changefeed::PhysicalMillis(start), furthest, changefeed::kCommitTsLogicalBits);
  }
  const bool followed = std::any_of(feeds.begin(), feeds.end(), [database](const auto& entry) {
    const pb::ChangefeedRecord& feed = entry.second.changefeed();
    return feed.database() == database && feed.start_ts() != 0 && !feed.history_given_up();
  });
  if (!followed) {
    if (changefeed::PhysicalMillis(start) >= ToMillis(executor_.WallNow())) co_return OkStatus();
    co_return Refuse(
        pb::REASON_CONDITION_FAILED,
        "start_ts: HISTORY_GONE: {} is in the past, and no changefeed follows the database: its changes are "
        "kept from now on",
        start);
  }
  const auto begin = co_await history_.BeginOf(database, scope_.token());
  if (!begin.ok() || *begin <= start) co_return OkStatus();
  co_return Refuse(pb::REASON_CONDITION_FAILED,
                   "start_ts: HISTORY_GONE: {} is older than the history of changes, which begins at {}",
                   start, *begin);
}

runtime::Task<void> ChangefeedsService::Create(pb::CreateChangefeedRequest request, Done done) {
  ipb::CatalogCommand command;
  if (request.id().client_id() != 0) *command.mutable_id() = request.id();
  if (auto answer = AnswerAgain(request.id())) co_return done(*std::move(answer));
  const pb::Record* database = access_.catalog().FindDatabase(request.database());
  if (database == nullptr)
    co_return done(Refuse(pb::REASON_NOT_FOUND, "database: there is no '{}'", request.database()));
  pb::ChangefeedRecord& feed = *command.mutable_create_changefeed()->mutable_changefeed();
  feed.set_name(request.name());
  feed.set_database(database->database().id());
  feed.set_filter(request.filter().empty() ? std::string(kEverything) : request.filter());
  if (const Status status = CheckFilter(feed.filter(), feed.database(), access_.catalog()); !status.ok())
    co_return done(status);
  const auto sink = SinkWithProtocol(request.sink(), request.protocol());
  if (!sink.ok()) co_return done(sink.status());
  feed.set_sink(*sink);
  feed.set_initial_snapshot(request.initial_snapshot());
  feed.set_requested_start_ts(request.start_ts());
  feed.set_target_ts(request.target_ts());
  feed.set_gc_ttl_ms(request.gc_ttl_ms() == 0 ? kDefaultGcTtlMs : request.gc_ttl_ms());
  feed.set_stall_after_ms(request.stall_after_ms() == 0 ? kDefaultStallMs : request.stall_after_ms());
  if (const pb::Record* same = access_.catalog().FindChangefeed(feed.name())) {
    co_return done(Refuse(pb::REASON_ALREADY_EXISTS, "changefeed '{}' exists already (id {})", feed.name(),
                          same->changefeed().id()));
  }
  // Before anything is asked of a node: what is refused anyway need not wait for it.
  command.set_version(catalog::kFormatOfChangefeeds);
  if (const Status valid = catalog::Catalog::Validate(command, access_.limits()); !valid.ok())
    co_return done(valid);
  if (access_.catalog().format_version() >= catalog::kFormatOfChangefeeds && !request.no_verify()) {
    const Status checked = co_await CheckSink(*sink, request.database());
    if (!checked.ok()) co_return done(checked);
  }
  if (request.start_ts() != 0) {
    const Status kept = co_await CheckStart(feed.database(), CommitTs(request.start_ts()));
    if (!kept.ok()) co_return done(kept);
  }
  Propose(std::move(command), std::move(done));
}

runtime::Task<void> ChangefeedsService::Update(pb::UpdateChangefeedRequest request, Done done) {
  if (auto answer = AnswerAgain(request.id())) co_return done(*std::move(answer));
  const auto feed = Find(request.name());
  if (!feed.ok()) co_return done(feed.status());
  ipb::CatalogCommand command;
  if (request.id().client_id() != 0) *command.mutable_id() = request.id();
  auto& change = *command.mutable_change_changefeed();
  change.set_changefeed((*feed)->id());
  auto& update = *change.mutable_update();
  const uint64_t database = (*feed)->database();
  const std::string database_name = access_.catalog().databases().at(database).database().name();
  if (request.has_filter()) {
    update.set_filter(request.filter().empty() ? std::string(kEverything) : request.filter());
    if (const Status status = CheckFilter(update.filter(), database, access_.catalog()); !status.ok())
      co_return done(status);
  }
  if (request.has_protocol() && !request.has_sink()) {
    co_return done(Refuse(pb::REASON_INVALID_ARGUMENT, "protocol: is given with the sink that it is of"));
  }
  if (request.has_target_ts()) update.set_target_ts(request.target_ts());
  if (request.has_gc_ttl_ms()) update.set_gc_ttl_ms(request.gc_ttl_ms());
  if (request.has_stall_after_ms()) update.set_stall_after_ms(request.stall_after_ms());
  const pb::ChangefeedState state = (*feed)->state();
  if (state != pb::CHANGEFEED_PAUSED && state != pb::CHANGEFEED_FAILED) {
    co_return done(Refuse(pb::REASON_CONDITION_FAILED,
                          "changefeed '{}' is {}: only a paused or failed one can be updated", request.name(),
                          catalog::NameOf(state)));
  }
  if (request.has_sink()) {
    const auto sink = SinkWithProtocol(request.sink(), request.protocol());
    if (!sink.ok()) co_return done(sink.status());
    update.set_sink(*sink);
    if (!request.no_verify()) {
      const Status checked = co_await CheckSink(*sink, database_name);
      if (!checked.ok()) co_return done(checked);
    }
  }
  Propose(std::move(command), std::move(done));
}

void ChangefeedsService::Change(const pb::ChangefeedRequest& request, ipb::ChangeChangefeed change,
                                Done done) {
  ipb::CatalogCommand command;
  if (request.id().client_id() != 0) *command.mutable_id() = request.id();
  const auto feed = Find(request.name());
  if (!feed.ok() && !access_.catalog().FindAnswer(request.id())) return done(feed.status());
  if (feed.ok()) change.set_changefeed((*feed)->id());
  *command.mutable_change_changefeed() = std::move(change);
  Propose(std::move(command), std::move(done));
}

void ChangefeedsService::Move(const pb::MoveChangefeedRequest& request, Done done) {
  const auto feed = Find(request.name());
  if (!feed.ok()) return done(feed.status());
  Response response;
  response.set_revision(access_.applied().value());
  // As it is before: whoever waits for the move waits for a higher epoch than this.
  *response.mutable_changefeed() = Describe(**feed);
  const Status moved = coordinator_.Move((*feed)->id(), NodeId(request.node()));
  if (!moved.ok()) return done(moved);
  done(std::move(response));
}

// ---- show ----

runtime::Task<void> ChangefeedsService::Show(pb::ShowChangefeedRequest request, Done done) {
  const auto feed = Find(request.name());
  if (!feed.ok()) co_return done(feed.status());
  Response response;
  response.set_revision(access_.applied().value());
  *response.mutable_changefeed() = Describe(**feed);
  pb::Changefeed& shown = *response.mutable_changefeed();
  const FeedDriver* driver = coordinator_.Find((*feed)->id());
  const auto running = driver == nullptr ? std::nullopt : driver->running();
  if (!running) {
    if (request.explain()) {
      shown.set_explanation(shown.pending().empty()
                                ? fmt::format("it is {}: nothing runs", catalog::NameOf((*feed)->state()))
                                : shown.pending());
    }
    co_return done(std::move(response));
  }
  ipb::ChangefeedMessage message;
  auto& inspect = *message.mutable_inspect_maintainer();
  *inspect.mutable_sender() = coordinator_.nodes().Sender(coordinator_.epoch());
  inspect.set_owner_epoch(running->epoch.value());
  inspect.set_changefeed((*feed)->id());
  const auto answer =
      co_await coordinator_.nodes().Deliver(running->process.node, std::move(message), scope_.token());
  if (!answer.ok()) {
    if (request.explain())
      shown.set_explanation(
          fmt::format("{} does not answer: {}", running->process, MessageOf(answer.status())));
    co_return done(std::move(response));
  }
  const ipb::MaintainerInspected& inspected = answer->maintainer_inspected();
  for (const auto& dispatcher : inspected.dispatchers()) {
    pb::ChangefeedDispatcher& row = *shown.add_dispatchers();
    row.set_table(dispatcher.table());
    row.set_region(dispatcher.region());
    row.set_node(dispatcher.node());
    row.set_position_ts(dispatcher.position_ts());
    row.set_rows_per_second(dispatcher.rows_per_second());
    row.set_rows_behind(dispatcher.rows_behind());
    row.set_error(dispatcher.error());
    row.set_state(dispatcher.state());
  }
  if (request.explain()) shown.set_explanation(inspected.explanation());
  co_return done(std::move(response));
}

}  // namespace tenure::controller
