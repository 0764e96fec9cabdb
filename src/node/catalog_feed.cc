#include "node/catalog_feed.h"

#include <algorithm>
#include <utility>

#include "base/format.h"

namespace tenure::node {
namespace {

constexpr std::string_view kList = "tenure.v1.Catalog/List";
constexpr std::string_view kWatch = "tenure.v1.Catalog/Watch";
// Kinds that controllers of an earlier program do not know, and have none of.
bool IsRecent(pb::RecordKind kind) {
  return kind == pb::RECORD_TABLE || kind == pb::RECORD_VIEW || kind == pb::RECORD_CHANGEFEED;
}
constexpr Duration kListTimeout = std::chrono::seconds(10);

}  // namespace

CatalogFeed::CatalogFeed(runtime::Executor& executor, ClusterLink& link, CatalogView& view,
                         const NodeOptions& options, Callbacks callbacks, Logger logger)
    : executor_(executor),
      link_(link),
      view_(view),
      options_(options),
      callbacks_(std::move(callbacks)),
      logger_(std::move(logger)),
      stream_ended_(executor),
      scope_(executor) {}

CatalogFeed::~CatalogFeed() = default;

void CatalogFeed::Start(NodeId self, std::string uuid) {
  self_ = self;
  uuid_ = std::move(uuid);
  scope_.Spawn(Run());
}

void CatalogFeed::StartOver() {
  view_.ForgetRevisions();
  current_ = false;
  pulled_ = Revision();
  EndWatch(Error(StatusCode::kOutOfRange, "the cluster has a new incarnation"));
}

void CatalogFeed::Pull() {
  if (!current_) return;  // it is being listed, or about to be
  current_ = false;
  EndWatch(Error(StatusCode::kOutOfRange, "the catalog is pulled again"));
}

void CatalogFeed::StopAndJoin(Closure joined) {
  stream_.reset();
  scope_.StopAndJoin(std::move(joined));
}

runtime::Task<void> CatalogFeed::Run() {
  Duration pause = options_.retry_min;
  while (!scope_.stop_requested()) {
    Status status = current_ ? OkStatus() : co_await ListAll();
    if (status.ok()) {
      pause = options_.retry_min;
      status = co_await Watch();
      if (stream_answered_) last_failure_.clear();
      if (status.code() == StatusCode::kOutOfRange) {
        current_ = false;
        continue;
      }
    }
    if (scope_.stop_requested()) break;
    LogFailure(status);
    if (!co_await runtime::SleepFor(executor_, pause, scope_.token())) break;
    pause = std::min(pause * 2, options_.retry_max);
  }
}

runtime::Task<StatusOr<CatalogFeed::List>> CatalogFeed::ListKind(pb::RecordKind kind) {
  List list;
  pb::ListRequest request;
  request.set_kind(kind);
  while (true) {
    auto call = [this, bytes = request.SerializeAsString()](Callback<StatusOr<std::string>> done) mutable {
      link_.Call(kList, std::move(bytes), kListTimeout, std::move(done));
    };
    TENURE_CO_ASSIGN_OR_RETURN(const std::string bytes, co_await runtime::AsyncUntil<StatusOr<std::string>>(
                                                            executor_, scope_.token(), std::move(call)));
    pb::ListResponse response;
    if (!response.ParseFromString(bytes)) co_return Error(StatusCode::kInternal, "ListResponse: malformed");
    if (list.revision.IsNone()) list.revision = Revision(response.revision());
    for (pb::Record& record : *response.mutable_records()) list.records.push_back(std::move(record));
    if (response.next_after().empty()) break;
    request.set_after(response.next_after());
  }
  co_return list;
}

runtime::Task<Status> CatalogFeed::ListAll() {
  TENURE_CO_ASSIGN_OR_RETURN(const List cluster, co_await ListKind(pb::RECORD_CLUSTER));
  std::vector<List> lists;
  for (const pb::RecordKind kind : kKeptKinds) {
    auto list = co_await ListKind(kind);
    if (!list.ok() && list.status().code() == StatusCode::kInvalidArgument && IsRecent(kind)) {
      // The controller's program is from before there were such records, so there are none.
      list = List{{}, lists.back().revision};
    }
    if (!list.ok()) co_return list.status();
    lists.push_back(*std::move(list));
  }
  TENURE_CO_RETURN_IF_ERROR(TakeOver(lists));
  for (const pb::Record& record : cluster.records) view_.SetCluster(record.cluster());
  current_ = true;
  pulled_ = view_.revision();
  awaited_ = Revision();
  callbacks_.on_pulled();
  co_return OkStatus();
}

Status CatalogFeed::TakeOver(const std::vector<List>& lists) {
  bool knows_us = false;
  for (const List& list : lists) {
    if (list.revision < view_.newest()) {
      return Error(
          StatusCode::kFailedPrecondition,
          "the controllers' catalog stands at revision {}, this node has seen revision {}: it is not taken "
          "over (was it restored from an old copy?)",
          list.revision, view_.newest());
    }
    for (const pb::Record& record : list.records) {
      knows_us = knows_us ||
                 (record.has_node() && record.node().uuid() == uuid_ && NodeId(record.node().id()) == self_);
    }
  }
  if (!knows_us) {
    return Error(StatusCode::kFailedPrecondition,
                 "the controllers' catalog does not name this node (id {}, uuid {}): it is not taken over",
                 self_, uuid_);
  }
  // In the order of the lists their revisions rise, so none is refused half-way.
  for (size_t i = 0; i < lists.size(); ++i) {
    TENURE_RETURN_IF_ERROR(view_.Replace(kKeptKinds[i], lists[i].records, lists[i].revision));
  }
  return OkStatus();
}

runtime::Task<Status> CatalogFeed::Watch() {
  pb::WatchRequest request;
  request.set_after_revision(view_.revision().value());
  for (const pb::RecordKind kind : kKeptKinds) request.add_kinds(kind);
  stream_ended_.Reset();
  stream_end_ = OkStatus();
  stream_answered_ = false;
  awaited_ = Revision();
  stream_ = link_.OpenStream(kWatch, *this, &stream_to_);
  if (!stream_) co_return Error(StatusCode::kUnavailable, "no controller is known to watch the catalog at");
  stream_->Send(request.SerializeAsString());
  co_await stream_ended_.Wait(scope_.token());
  stream_.reset();
  co_return stream_end_;
}

void CatalogFeed::OnMessage(std::string message) {
  if (stream_ended_.is_set()) return;
  pb::WatchResponse response;
  if (!response.ParseFromString(message)) {
    return EndWatch(Error(StatusCode::kInternal, "WatchResponse: malformed"));
  }
  stream_answered_ = true;
  bool changed = false;
  const Revision before = view_.revision();
  for (const pb::Event& event : response.events()) changed = view_.Apply(event) || changed;
  if (response.progress_revision() > 0) view_.AdvanceTo(Revision(response.progress_revision()));
  if (changed) {
    callbacks_.on_change();
  } else if (view_.revision() > before) {
    callbacks_.on_progress();
  }
}

void CatalogFeed::OnClosed(Status status) {
  EndWatch(status.ok() ? Error(StatusCode::kUnavailable, "the watch was closed") : status);
}

void CatalogFeed::EndWatch(Status status) {
  if (stream_ended_.is_set()) return;
  if (status.code() != StatusCode::kOutOfRange) link_.OnStreamFailed(stream_to_, status);
  stream_end_ = std::move(status);
  stream_ended_.Set();
}

void CatalogFeed::OnLeaderRevision(Revision revision) {
  if (!current_ || !stream_) return;
  const Instant now = executor_.Now();
  if (view_.revision() >= awaited_) {
    awaited_ = revision;
    awaited_since_ = now;
  } else if (now - awaited_since_ > options_.watch_lag) {
    EndWatch(Error(StatusCode::kUnavailable, "the watch stays at revision {}, the leader was at {} {} ms ago",
                   view_.revision(), awaited_, ToMillis(now - awaited_since_)));
  }
}

void CatalogFeed::LogFailure(const Status& status) {
  std::string text(MessageOf(status));
  if (text == last_failure_) return;
  logger_.Info("catalog not followed: {}", text);
  last_failure_ = std::move(text);
}

}  // namespace tenure::node
