// The door that every request passes which uses what this node has cached of the catalog: in, while the node
// serves; and out, when its result leaves.
//
//   const auto ticket = fence.Enter();            // none: FENCED
//   ... the request is executed ...
//   if (!fence.MayLeave(*ticket, now)) ...        // the result must not leave
//   fence.Leave(*ticket);                         // it has left, or never will
//
// Three things hold when a result leaves: the lease is valid, no recovery happened since the request began,
// and no view newer than the request's was reported. The last one holds because the report waits: a heartbeat
// names no view that is newer than that of the oldest request in flight (ViewsInUse).
//
// Threading: one executor; two comparisons of the clock and no lock per request.
// Invariants: F1 every ticket is given back exactly once.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

#include "base/check.h"
#include "base/ids.h"
#include "node/lease/node_lease.h"
#include "runtime/clock.h"

namespace tenure::node {

// A view is the catalog as requests see it, up to a revision; each change of its content makes another one.
class ViewsInUse {
 public:
  // The content changed; it is the catalog's up to `revision`.
  void OnView(Revision revision) {
    if (views_.back().uses > 0) views_.push_back({});
    views_.back().revision = revision;
  }
  // It did not change up to that revision.
  void OnProgress(Revision revision) {
    if (views_.back().revision < revision) views_.back().revision = revision;
  }
  // A request of the present view begins; the number goes to End.
  uint64_t Begin() {
    ++views_.back().uses;
    return first_ + views_.size() - 1;
  }
  void End(uint64_t number) {
    TENURE_CHECK(number >= first_ && number - first_ < views_.size() && views_[number - first_].uses > 0,
                 "F1: view {} is not in use", number);
    --views_[number - first_].uses;
    while (views_.size() > 1 && views_.front().uses == 0) {
      views_.pop_front();
      ++first_;
    }
  }
  Revision present() const { return views_.back().revision; }
  // Of the oldest view that a request still goes by.
  Revision oldest() const { return views_.front().revision; }
  Revision RevisionOf(uint64_t number) const { return views_[number - first_].revision; }

 private:
  struct View {
    Revision revision;
    uint64_t uses = 0;
  };
  // From the oldest in use to the present one.
  std::deque<View> views_{View{}};
  uint64_t first_ = 1;  // number of views_.front()
};

// What a request holds from its beginning until its result has left.
struct ViewTicket {
  uint64_t view = 0;
  uint64_t recovery = 0;
};

// Sees what leaves and from which view, for checkers outside the product (the simulator's). Must not call
// back.
class FenceTrace {
 public:
  virtual ~FenceTrace() = default;
  virtual void OnResult(Revision view) = 0;
};

class RequestFence {
 public:
  explicit RequestFence(const runtime::Clock& clock) : clock_(clock), lease_(clock.Now()) {}
  RequestFence(const RequestFence&) = delete;
  RequestFence& operator=(const RequestFence&) = delete;
  void SetTrace(FenceTrace* trace) { trace_ = trace; }
  // Called when no request goes by a view older than the revision any more that `Await` named.
  void SetOnReached(std::function<void()> on_reached) { on_reached_ = std::move(on_reached); }

  NodeLease& lease() { return lease_; }
  const NodeLease& lease() const { return lease_; }

  // None: this node is fenced.
  std::optional<ViewTicket> Enter() {
    if (!lease_.Serves(clock_.Now())) return std::nullopt;
    return ViewTicket{views_.Begin(), lease_.recoveries()};
  }
  bool MayLeave(ViewTicket ticket, Instant now) const { return lease_.MayLeave(ticket.recovery, now); }
  // `left`: its result goes to the client now.
  void Leave(ViewTicket ticket, bool left) {
    if (left && trace_ != nullptr) trace_->OnResult(views_.RevisionOf(ticket.view));
    views_.End(ticket.view);
    CheckAwaited();
  }

  // What is served from changed, or is known to be the same up to a later revision.
  void OnView(Revision revision) {
    views_.OnView(revision);
    CheckAwaited();
  }
  void OnProgress(Revision revision) {
    views_.OnProgress(revision);
    CheckAwaited();
  }
  // Somebody waits until that revision is reported; none: nobody.
  void Await(Revision revision) {
    awaited_ = revision;
    CheckAwaited();
  }

  // What a heartbeat says that is sent now; none: fenced.
  Revision Report();
  // From which the node serves now.
  Revision present() const { return views_.present(); }

 private:
  void CheckAwaited();

  const runtime::Clock& clock_;
  NodeLease lease_;
  ViewsInUse views_;
  Revision awaited_;
  Revision reported_;  // by the newest heartbeat
  FenceTrace* trace_ = nullptr;
  std::function<void()> on_reached_;
};

}  // namespace tenure::node
