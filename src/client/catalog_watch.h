// Follows the catalog: a snapshot of the records asked for, then every change of them in order, over any
// number of broken streams and changes of leader. When the controllers no longer hold the changes since the
// last one seen, a new snapshot replaces what the observer has.
//
// Threading:  one executor; the observer is called on it, never inside a call of its own.
// Lifetime:   `controllers` and the observer outlive this. Destruction ends it without a further call.
// Invariants: F1 between two snapshots the observer is told each change once, in order of revisions.
//             F2 a change is never told that the snapshot holds already, although the parts of a snapshot
//             (pages of entries) are of different revisions: each part remembers its own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/prng.h"
#include "base/status.h"
#include "client/controller_client.h"
#include "runtime/executor.h"
#include "runtime/network.h"
#include "tenure/v1/catalog.pb.h"

namespace tenure::client {

class WatchObserver {
 public:
  virtual ~WatchObserver() = default;
  // Replaces everything known. With entries among the kinds `revision` is that of the oldest part; changes up
  // to the newest part follow.
  virtual void OnSnapshot(Revision revision, std::vector<::tenure::v1::Record> records) = 0;
  // `events` may be empty: then only the progress is news.
  virtual void OnChanges(std::vector<::tenure::v1::Event> events, Revision complete_up_to) = 0;
  // Nobody serves the watch at present; it goes on by itself.
  virtual void OnInterrupted(const Status& why) { (void)why; }
};

struct CatalogWatchOptions {
  std::vector<::tenure::v1::RecordKind> kinds;  // empty: all
  std::string prefix;                           // of entries
  Duration list_timeout = std::chrono::seconds(10);
  Duration backoff_min = std::chrono::milliseconds(20);
  Duration backoff_max = std::chrono::seconds(1);
};

class CatalogWatch : public runtime::StreamHandler {
 public:
  CatalogWatch(runtime::Executor& executor, runtime::Network& network, ControllerClient& controllers,
               CatalogWatchOptions options, WatchObserver& observer, Prng prng);
  ~CatalogWatch() override;

  // Begins with a snapshot.
  void Start();
  // Begins with the changes after `revision` (with a snapshot if they are not in memory any more).
  void StartAfter(Revision revision);
  Revision complete_up_to() const { return complete_; }

  // --- runtime::StreamHandler ---
  void OnMessage(std::string message) override;
  void OnClosed(Status status) override;

 private:
  struct Listing;

  void List();
  void ListEntries(std::shared_ptr<Listing> listing, const std::string& after);
  void FinishListing(std::shared_ptr<Listing> listing);
  void Open();
  void Again(const Status& why, bool list);
  bool IsNews(const ::tenure::v1::Event& event) const;

  runtime::Executor& executor_;
  runtime::Network& network_;
  ControllerClient& controllers_;
  const CatalogWatchOptions options_;
  WatchObserver& observer_;
  Prng prng_;

  std::vector<::tenure::v1::RecordKind> other_kinds_;  // asked for, but entries
  bool entries_ = false;                               // asked for
  Revision complete_;
  // What the last snapshot held beyond complete_ (F2); empty once that is reached.
  Revision others_up_to_;
  std::vector<std::pair<std::string, Revision>>
      pages_;  // (last key, revision); the last page's key counts as highest
  std::vector<::tenure::v1::Event>
      incomplete_;  // of a revision beyond complete_, whose rest is still to come
  std::unique_ptr<runtime::Stream> stream_;
  runtime::Endpoint endpoint_;
  int failures_ = 0;
  runtime::Timer again_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tenure::client
