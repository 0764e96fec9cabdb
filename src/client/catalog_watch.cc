#include "client/catalog_watch.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "catalog/refusal.h"

namespace tenure::client {

namespace pb = ::tenure::v1;

struct CatalogWatch::Listing {
  std::vector<pb::Record> records;
  Revision least;  // of its parts
  Revision others;
  std::vector<std::pair<std::string, Revision>> pages;
};

CatalogWatch::CatalogWatch(runtime::Executor& executor, runtime::Network& network,
                           ControllerClient& controllers, CatalogWatchOptions options,
                           WatchObserver& observer, Prng prng)
    : executor_(executor),
      network_(network),
      controllers_(controllers),
      options_(std::move(options)),
      observer_(observer),
      prng_(prng) {
  std::vector<pb::RecordKind> kinds = options_.kinds;
  if (kinds.empty()) {
    kinds = {pb::RECORD_CLUSTER, pb::RECORD_CONTROLLER, pb::RECORD_NODE,      pb::RECORD_DATABASE,
             pb::RECORD_REGION,  pb::RECORD_ENTRY,      pb::RECORD_PROCEDURE, pb::RECORD_TABLE,
             pb::RECORD_VIEW,    pb::RECORD_CHANGEFEED};
  }
  for (const pb::RecordKind kind : kinds) {
    if (kind == pb::RECORD_ENTRY) {
      entries_ = true;
    } else {
      other_kinds_.push_back(kind);
    }
  }
}

CatalogWatch::~CatalogWatch() {
  *alive_ = false;
}

void CatalogWatch::Start() {
  executor_.Post([this, alive = alive_] {
    if (*alive) List();
  });
}

void CatalogWatch::StartAfter(Revision revision) {
  complete_ = revision;
  executor_.Post([this, alive = alive_] {
    if (*alive) Open();
  });
}

void CatalogWatch::List() {
  auto listing = std::make_shared<Listing>();
  if (other_kinds_.empty()) return ListEntries(std::move(listing), "");
  pb::ListRequest request;
  for (const pb::RecordKind kind : other_kinds_) request.add_kinds(kind);
  controllers_.Call<pb::ListResponse>("tenure.v1.Catalog/List", request, {.timeout = options_.list_timeout},
                                      [this, alive = alive_, listing](StatusOr<pb::ListResponse> response) {
                                        if (!*alive) return;
                                        if (!response.ok()) return Again(response.status(), true);
                                        listing->least = listing->others = Revision(response->revision());
                                        for (pb::Record& record : *response->mutable_records())
                                          listing->records.push_back(std::move(record));
                                        if (entries_) {
                                          ListEntries(listing, "");
                                        } else {
                                          FinishListing(listing);
                                        }
                                      });
}

void CatalogWatch::ListEntries(std::shared_ptr<Listing> listing, const std::string& after) {
  pb::ListRequest request;
  request.set_kind(pb::RECORD_ENTRY);
  request.set_prefix(options_.prefix);
  request.set_after(after);
  controllers_.Call<pb::ListResponse>("tenure.v1.Catalog/List", request, {.timeout = options_.list_timeout},
                                      [this, alive = alive_, listing](StatusOr<pb::ListResponse> response) {
                                        if (!*alive) return;
                                        if (!response.ok()) return Again(response.status(), true);
                                        const Revision revision(response->revision());
                                        if (listing->least.IsNone()) listing->least = revision;
                                        listing->least = std::min(listing->least, revision);
                                        listing->pages.emplace_back(response->next_after(), revision);
                                        for (pb::Record& record : *response->mutable_records())
                                          listing->records.push_back(std::move(record));
                                        if (response->next_after().empty()) {
                                          FinishListing(listing);
                                        } else {
                                          ListEntries(listing, response->next_after());
                                        }
                                      });
}

void CatalogWatch::FinishListing(std::shared_ptr<Listing> listing) {
  complete_ = listing->least;
  others_up_to_ = listing->others;
  pages_ = std::move(listing->pages);
  const std::shared_ptr<bool> alive = alive_;
  observer_.OnSnapshot(complete_, std::move(listing->records));
  if (*alive) Open();
}

void CatalogWatch::Open() {
  endpoint_ = controllers_.Target();
  stream_ = network_.OpenStream(endpoint_, "tenure.v1.Catalog/Watch", *this, {});
  pb::WatchRequest request;
  request.set_after_revision(complete_.value());
  for (const pb::RecordKind kind : options_.kinds) request.add_kinds(kind);
  request.set_prefix(options_.prefix);
  stream_->Send(request.SerializeAsString());
}

bool CatalogWatch::IsNews(const pb::Event& event) const {
  const Revision revision(event.revision());
  if (revision <= complete_) return false;
  const pb::Record& record = event.has_new_record() ? event.new_record() : event.old_record();
  if (!record.has_entry()) return revision > others_up_to_;
  for (const auto& [last, page_revision] : pages_) {
    if (last.empty() || record.entry().key() <= last) return revision > page_revision;
  }
  return true;
}

void CatalogWatch::OnMessage(std::string message) {
  pb::WatchResponse response;
  if (!response.ParseFromString(message)) {
    return Again(Error(StatusCode::kInternal, "WatchResponse: malformed"), false);
  }
  failures_ = 0;
  controllers_.OnLeader(endpoint_);
  for (pb::Event& event : *response.mutable_events()) {
    if (IsNews(event)) incomplete_.push_back(std::move(event));
  }
  const Revision before = complete_;
  complete_ = std::max(complete_, Revision(response.progress_revision()));
  // A revision whose events go on in the next message is told as a whole.
  const auto rest = std::find_if(incomplete_.begin(), incomplete_.end(), [&](const pb::Event& event) {
    return event.revision() > complete_.value();
  });
  std::vector<pb::Event> events(std::make_move_iterator(incomplete_.begin()), std::make_move_iterator(rest));
  incomplete_.erase(incomplete_.begin(), rest);
  const bool caught_up =
      std::all_of(pages_.begin(), pages_.end(), [&](const auto& page) { return page.second <= complete_; });
  if (caught_up) pages_.clear();
  if (!events.empty() || complete_ != before) observer_.OnChanges(std::move(events), complete_);
}

void CatalogWatch::OnClosed(Status status) {
  const bool list = catalog::IsReason(status, pb::REASON_OUT_OF_RANGE);
  Again(status.ok() ? Error(StatusCode::kUnavailable, "the controller closed the watch") : status, list);
}

void CatalogWatch::Again(const Status& why, bool list) {
  bool redirected = false;
  incomplete_.clear();
  if (stream_) {
    if (!list) redirected = controllers_.OnStreamFailed(endpoint_, why);
    stream_->Close(Error(StatusCode::kCancelled, "the client watches again"));
    // This may be called from inside the stream's own callback.
    executor_.Post([dead = std::shared_ptr<runtime::Stream>(std::move(stream_))] {});
  }
  ++failures_;
  Duration pause =
      std::min(options_.backoff_max, options_.backoff_min * (int64_t{1} << std::min(failures_ - 1, 8)));
  pause = pause / 2 + Duration(prng_.Between(0, pause.count() / 2));
  if ((redirected || list) && failures_ <= 2) pause = Duration::zero();
  again_ = executor_.After(pause, [this, list] { list ? List() : Open(); });
  if (!list) observer_.OnInterrupted(why);
}

}  // namespace tenure::client
