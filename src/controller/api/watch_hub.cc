#include "controller/api/watch_hub.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "catalog/refusal.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
using catalog::Refuse;

namespace {

pb::RecordKind KindOf(const pb::Record& record) {
  switch (record.body_case()) {
    case pb::Record::kCluster:
      return pb::RECORD_CLUSTER;
    case pb::Record::kController:
      return pb::RECORD_CONTROLLER;
    case pb::Record::kNode:
      return pb::RECORD_NODE;
    case pb::Record::kDatabase:
      return pb::RECORD_DATABASE;
    case pb::Record::kRegion:
      return pb::RECORD_REGION;
    case pb::Record::kEntry:
      return pb::RECORD_ENTRY;
    case pb::Record::kProcedure:
      return pb::RECORD_PROCEDURE;
    case pb::Record::kTable:
      return pb::RECORD_TABLE;
    case pb::Record::kView:
      return pb::RECORD_VIEW;
    case pb::Record::kChangefeed:
      return pb::RECORD_CHANGEFEED;
    case pb::Record::BODY_NOT_SET:
      break;
  }
  return pb::RECORD_KIND_UNSPECIFIED;
}

const pb::Record& AnyRecord(const pb::Event& event) {
  return event.has_new_record() ? event.new_record() : event.old_record();
}

}  // namespace

// One watcher. `next_` is the number of the first kept event it has not looked at.
class WatchHub::WatchStream : public runtime::StreamHandler {
 public:
  WatchStream(WatchHub* hub, std::unique_ptr<runtime::Stream> stream)
      : hub_(hub), number_(hub == nullptr ? 0 : hub->next_stream_++), stream_(std::move(stream)) {
    if (hub_ != nullptr) hub_->streams_.insert(this);
  }
  ~WatchStream() override { Detach(); }
  uint64_t number() const { return number_; }

  void OnMessage(std::string message) override {
    if (hub_ == nullptr) return;
    pb::WatchRequest request;
    if (!request.ParseFromString(message)) {
      return Close(Refuse(pb::REASON_INVALID_ARGUMENT, "the request is not a valid WatchRequest"));
    }
    if (started_) return Close(Refuse(pb::REASON_INVALID_ARGUMENT, "a watch stream takes one request"));
    Begin(std::move(request));
  }
  void OnClosed(Status) override { Detach(); }

  void Close(const Status& status) {
    Detach();
    stream_->Close(status);
  }
  void Detach() {
    if (hub_ != nullptr) hub_->streams_.erase(this);
    hub_ = nullptr;
  }

  // Sends what the stream may take; returns true if there is more to send later.
  bool Pump();
  void SendProgressIfMoved() {
    if (started_ && next_ == hub_->first_number_ + hub_->history_.size() && progress_ < hub_->applied_ &&
        stream_->buffered_bytes() < hub_->options_.buffer_mark_bytes) {
      SendProgress();
    }
  }

 private:
  void Begin(pb::WatchRequest request);
  bool Matches(const Kept& kept) const {
    if (kept.event.revision <= after_) return false;
    if (!kinds_.empty() && !kinds_.contains(kept.kind)) return false;
    return kept.kind != pb::RECORD_ENTRY || kept.event.key().starts_with(prefix_);
  }
  void SendProgress() {
    pb::WatchResponse response;
    progress_ = hub_->applied_;
    response.set_progress_revision(progress_.value());
    stream_->Send(response.SerializeAsString());
  }
  std::string Gather();

  WatchHub* hub_;
  const uint64_t number_;  // null once closed
  std::unique_ptr<runtime::Stream> stream_;
  bool started_ = false;
  uint64_t after_ = 0;
  std::set<pb::RecordKind> kinds_;
  std::string prefix_;
  uint64_t next_ = 0;
  Revision progress_;
  std::optional<Instant> stalled_since_;
};

void WatchHub::WatchStream::Begin(pb::WatchRequest request) {
  after_ = request.after_revision();
  kinds_ = {};
  for (const int kind : request.kinds()) kinds_.insert(static_cast<pb::RecordKind>(kind));
  prefix_ = std::move(*request.mutable_prefix());
  started_ = true;
  const uint64_t end = hub_->first_number_ + hub_->history_.size();
  if (after_ == 0) {
    after_ = hub_->applied_.value();
    next_ = end;
    SendProgress();
    return;
  }
  // Whoever leads has applied all that any leader before it told of. What is said to come after that was lost
  // in a recovery, and the same revisions stand for other changes now.
  if (after_ > hub_->applied_.value()) {
    pb::Refusal refusal;
    refusal.set_reason(pb::REASON_OUT_OF_RANGE);
    refusal.set_message(
        fmt::format("after_revision {} is ahead of the catalog, which is at revision {}: list again", after_,
                    hub_->applied_.value()));
    refusal.set_revision(hub_->applied_.value());
    return Close(catalog::MakeRefusal(std::move(refusal)));
  }
  if (after_ < hub_->history_from_.value()) {
    pb::Refusal refusal;
    refusal.set_reason(pb::REASON_OUT_OF_RANGE);
    refusal.set_message(
        fmt::format("changes after revision {} are no longer in memory, only those after {}: list again",
                    after_, hub_->history_from_.value()));
    refusal.set_revision(hub_->applied_.value());
    return Close(catalog::MakeRefusal(std::move(refusal)));
  }
  const auto first = std::lower_bound(hub_->history_.begin(), hub_->history_.end(), after_ + 1,
                                      [](const Kept& kept, uint64_t r) { return kept.event.revision < r; });
  next_ = hub_->first_number_ + static_cast<uint64_t>(first - hub_->history_.begin());
  hub_->SchedulePump();
}

// The next WatchResponse; empty if nothing of what is left matches. Messages one behind the other are one with
// the fields of all.
std::string WatchHub::WatchStream::Gather() {
  std::string response;
  const uint64_t end = hub_->first_number_ + hub_->history_.size();
  for (; next_ < end && response.size() < hub_->options_.message_bytes; ++next_) {
    const Kept& kept = hub_->history_[next_ - hub_->first_number_];
    if (Matches(kept)) response.append(kept.event.message);
  }
  if (response.empty()) return response;
  // Events of one revision may go on in the next message.
  progress_ = next_ == end ? hub_->applied_
                           : Revision(hub_->history_[next_ - hub_->first_number_].event.revision - 1);
  pb::WatchResponse progress;
  progress.set_progress_revision(progress_.value());
  progress.AppendToString(&response);
  return response;
}

bool WatchHub::WatchStream::Pump() {
  if (!started_) return false;
  if (next_ < hub_->first_number_) {
    Close(Refuse(pb::REASON_OUT_OF_RANGE,
                 "the watcher was too slow: it is more than {} events or {} MiB behind",
                 hub_->options_.history_events, hub_->options_.history_bytes >> 20));
    return false;
  }
  while (next_ < hub_->first_number_ + hub_->history_.size()) {
    if (stream_->buffered_bytes() >= hub_->options_.buffer_mark_bytes) {
      const Instant now = hub_->executor_.Now();
      if (!stalled_since_) stalled_since_ = now;
      if (now - *stalled_since_ < hub_->options_.stall_limit) return true;
      Close(Refuse(pb::REASON_OVERLOADED, "the watcher took nothing for {} ms",
                   ToMillis(hub_->options_.stall_limit)));
      return false;
    }
    stalled_since_.reset();
    if (std::string response = Gather(); !response.empty()) stream_->Send(std::move(response));
  }
  return false;
}

WatchHub::WatchHub(runtime::Executor& executor, const Leadership& leadership, WatchOptions options,
                   Logger logger)
    : executor_(executor),
      leadership_(leadership),
      options_(options),
      logger_(std::move(logger)),
      self_(std::make_shared<WatchHub*>(this)) {}

WatchHub::~WatchHub() {
  *self_ = nullptr;
  while (!streams_.empty()) (*streams_.begin())->Detach();
}

std::unique_ptr<runtime::StreamHandler> WatchHub::Accept(std::unique_ptr<runtime::Stream> stream) {
  const Status leading = leadership_.CheckLeading();
  auto handler = std::make_unique<WatchStream>(leading.ok() ? this : nullptr, std::move(stream));
  if (!leading.ok()) handler->Close(leading);
  return handler;
}

void WatchHub::OnCatalogChanged(const std::vector<pb::Event>&, Revision applied) {
  applied_ = applied;
}

void WatchHub::Keep(pb::RecordKind kind, catalog::EntryEvent event) {
  history_bytes_ += history_.emplace_back(kind, std::move(event)).size();
}

void WatchHub::Take(catalog::Events events) {
  auto entry = events.entries.begin();
  const auto keep_entries_before = [&](uint64_t revision) {
    for (; entry != events.entries.end() && entry->revision < revision; ++entry) {
      Keep(pb::RECORD_ENTRY, std::move(*entry));
    }
  };
  for (pb::Event& event : events.records) {
    const uint64_t revision = event.revision();
    const pb::RecordKind kind = KindOf(AnyRecord(event));
    keep_entries_before(revision);
    pb::WatchResponse single;
    *single.add_events() = std::move(event);
    Keep(kind, {.revision = revision, .message = single.SerializeAsString()});
  }
  keep_entries_before(std::numeric_limits<uint64_t>::max());
  while (history_.size() > options_.history_events || history_bytes_ > options_.history_bytes) {
    // Whole revisions go, so that what is left begins at a boundary.
    history_from_ = Revision(history_.front().event.revision);
    while (!history_.empty() && history_.front().event.revision == history_from_.value()) {
      history_bytes_ -= history_.front().size();
      history_.pop_front();
      ++first_number_;
    }
  }
  if (!streams_.empty() && !events.empty()) SchedulePump();
}

void WatchHub::OnCatalogReset(Revision applied) {
  first_number_ += history_.size();
  history_.clear();
  history_bytes_ = 0;
  history_from_ = applied;
  applied_ = applied;
  // Streams exist only while leading, and a leader's state is not replaced.
  CloseAll(Refuse(pb::REASON_OUT_OF_RANGE, "the state was replaced: list again"));
}

void WatchHub::SchedulePump() {
  if (std::exchange(pump_posted_, true)) return;
  executor_.Post([self = self_] {
    if (*self == nullptr) return;
    (*self)->pump_posted_ = false;
    (*self)->PumpAll();
  });
}

void WatchHub::PumpAll() {
  bool more = false;
  for (auto next = streams_.begin(); next != streams_.end();) {
    WatchStream& stream = **next++;  // it may go
    more = stream.Pump() || more;
  }
  if (more && !tick_retry_) {
    tick_retry_ = true;
    retry_ = executor_.After(options_.retry_interval, [this] {
      tick_retry_ = false;
      PumpAll();
    });
  }
}

void WatchHub::OnTick() {
  tick_ = executor_.After(options_.progress_interval, [this] { OnTick(); });
  SendProgress();
}

void WatchHub::SendProgress() {
  for (WatchStream* stream : streams_) stream->SendProgressIfMoved();
}

void WatchHub::CloseAll(const Status& status) {
  while (!streams_.empty()) (*streams_.begin())->Close(status);
}

runtime::Task<Status> WatchHub::Start(Term, runtime::StopToken) {
  OnTick();
  co_return OkStatus();
}

void WatchHub::Stop() {
  tick_.Cancel();
  CloseAll(leadership_.NotLeader());
}

}  // namespace tenure::controller
